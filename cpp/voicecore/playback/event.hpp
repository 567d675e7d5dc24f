// What a player tells the outside.
#pragma once

#include <cstdint>

namespace voicecore::playback {

enum class EventKind : std::uint8_t {
    started,        // the first frame left
    paused,         // the break of a pause began
    resumed,        // the first frame after a pause left
    seeked,         // the first frame after a seek or a skip left
    underrun,       // the ring was empty at a tick; value: UnderrunCause
    recovered,      // the first frame after an underrun left
    track_started,  // value: the track's number
    track_failed,   // value: the track's number; Player::track_error() says why
    finished,       // the player and its sink are done; value: FinishReason. Always the last.
    opened,         // an open operation has its result; the subject is the operation
    completed,      // a call on the queue has its result; the subject is the call
    ticked,         // a scheduler's tick; value: ticks missed so far
    commands,       // a scheduler has commands for its owner; value: how they were noticed
    steered,        // a scheduler has steered, or lost, a session
    trouble,        // a scheduler's file failed it
    writable,       // a push source has room again, or ended; the subject is the source
};

enum class FinishReason : std::uint8_t { ended, stopped, source_failed, sink_failed };

struct Event {
    std::uint64_t subject = 0;  // whose event: an id from next_id()
    std::int64_t value = 0;
    EventKind kind = EventKind::started;
};

// Unique in the process, never 0.
[[nodiscard]] std::uint64_t next_id() noexcept;

// Where events go. emit() is called from any thread, the clock thread included: it neither locks
// nor allocates nor waits.
class EventListener {
  public:
    EventListener() = default;
    EventListener(const EventListener&) = delete;
    EventListener& operator=(const EventListener&) = delete;
    virtual ~EventListener() = default;
    virtual void emit(const Event& event) noexcept = 0;
};

}  // namespace voicecore::playback
