// Stream: what the clock thread sees of a player.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "voicecore/audio/packet_sink.hpp"
#include "voicecore/audio/packet_source.hpp"
#include "voicecore/base/clock.hpp"
#include "voicecore/base/link_stack.hpp"
#include "voicecore/base/spsc_ring.hpp"
#include "voicecore/playback/counters.hpp"
#include "voicecore/playback/event.hpp"

namespace voicecore::playback {

class Player;

// A packet in the ring. A generation grows with each seek and each rewind; the clock drops what an
// older one left behind.
struct QueuedPacket {
    std::uint32_t generation = 0;
    audio::PlayablePacket packet;
};

// What the feeder side is doing, for telling why a ring is empty.
enum class FeedState : std::uint8_t { idle, queued, running, blocked };

// Three parties meet here, each with its own part: the clock thread (tick), the one feeder that
// holds the player (the packet ring's producer end), and callers on any thread (the intents).
class Stream {
  public:
    Stream(std::uint64_t id, std::size_t ring_capacity, audio::PacketSink& sink,
           EventListener& events, TimePoint created, std::uint64_t limit_ticks = 0);

    // -- callers, any thread -------------------------------------------------------------------
    enum class Intent : std::uint8_t { play, pause, stop };
    void want(Intent intent) noexcept { intent_.store(intent, std::memory_order_release); }
    [[nodiscard]] Intent wanted() const noexcept { return intent_.load(std::memory_order_acquire); }
    // Everything of a generation before this one is not played any more, from the next tick on.
    void drop_before(std::uint32_t generation) noexcept {
        floor_.store(generation, std::memory_order_release);
    }
    [[nodiscard]] const StreamCounters& counters() const noexcept { return counters_; }
    [[nodiscard]] Samples position() const noexcept {
        return Samples{position_.load(std::memory_order_relaxed)};
    }
    // Where a seek is going, until its first frame leaves.
    void announce_position(Samples position) noexcept {
        position_.store(position.count(), std::memory_order_relaxed);
    }
    [[nodiscard]] std::uint32_t track() const noexcept {
        return track_.load(std::memory_order_relaxed);
    }
    [[nodiscard]] bool started() const noexcept { return started_.load(std::memory_order_acquire); }
    // An underrun was told and its end was not.
    [[nodiscard]] bool starved() const noexcept { return starved_.load(std::memory_order_acquire); }
    [[nodiscard]] bool over() const noexcept { return over_.load(std::memory_order_seq_cst); }
    [[nodiscard]] std::uint64_t id() const noexcept { return id_; }

    // -- the feeder that holds the player ------------------------------------------------------
    [[nodiscard]] QueuedPacket* claim() noexcept { return ring_.claim(); }
    // Hands the claimed slot over.
    void publish(std::uint64_t next_produced) noexcept {
        ring_.publish();
        produced_.store(next_produced,
                        std::memory_order_release);  // after: whoever sees it finds it
    }
    // Frames of a generation before `generation` are dropped from frame `index` on: their new
    // versions are in the ring already. Once for a generation.
    void supersede(std::uint32_t generation, std::uint64_t index) noexcept {
        // Each comes with a packet in the packets' ring, which is as large: there is room when the
        // clock has looked at what it took from there.
        cuts_.push({generation, index});
    }
    // No packet of this generation or an earlier one will follow. 0 takes it back.
    void set_feed_end(std::uint32_t generation) noexcept {
        feed_end_.store(generation, std::memory_order_release);
    }
    void set_feed_state(FeedState state) noexcept {
        feed_state_.store(state, std::memory_order_relaxed);
    }
    [[nodiscard]] FeedState feed_state() const noexcept {
        return feed_state_.load(std::memory_order_relaxed);
    }
    // Index of the frame that the next tick sends.
    [[nodiscard]] std::uint64_t next_index() const noexcept {
        return next_index_.load(std::memory_order_acquire);
    }
    // Frames produced and not yet sent; superseded and flushed ones not counted.
    [[nodiscard]] std::uint64_t ahead() const noexcept {
        const auto next = next_index_.load(std::memory_order_relaxed);
        const auto base = base_.load(std::memory_order_relaxed);
        const auto produced = produced_.load(std::memory_order_acquire);
        const auto from = base > next ? base : next;
        return produced > from ? produced - from : 0;
    }
    // The first frame that will be heard after the newest break; 0 before the first break. Until it
    // was answered the clock asks for the feeder, and virtual time waits.
    [[nodiscard]] std::uint64_t broken_at() const noexcept {
        return broken_at_.load(std::memory_order_acquire);
    }
    void answer_break(std::uint64_t broken_at) noexcept {
        answered_.store(broken_at, std::memory_order_release);
    }
    [[nodiscard]] bool break_answered() const noexcept {
        return answered_.load(std::memory_order_acquire) == broken_at();
    }
    // After a flush: the first frame that counts as ahead.
    void set_base(std::uint64_t index) noexcept { base_.store(index, std::memory_order_relaxed); }
    [[nodiscard]] std::size_t ring_free() const noexcept { return ring_.capacity() - ring_.size(); }
    [[nodiscard]] bool feed_ended() const noexcept {
        const auto end = feed_end_.load(std::memory_order_acquire);
        return end != 0 && end >= floor_.load(std::memory_order_acquire);
    }

    // -- the clock thread ----------------------------------------------------------------------
    struct Tick {
        const Clock& clock;
        TimePoint deadline;             // what lateness is measured from
        std::uint64_t skipped = 0;      // ticks given up right before this one
        bool workers_idle = false;      // some feeder had nothing to do
        Histogram* lateness = nullptr;  // of the whole clock
        Nanoseconds cost{0};            // CPU time of a stream's tick, as it was last
    };
    // Sends at most one packet. False when the stream is over: it must not be ticked again.
    [[nodiscard]] bool tick(const Tick& tick) noexcept;
    // Hints for the caches: with hundreds of streams nothing of one is left in them from its last
    // tick, and most of it lies on pages of its own. Each step fetches what the one before has
    // found: the stream (about to be so late), its sink and packet, what the sink points at.
    void prefetch(Nanoseconds lateness) const noexcept;
    void prefetch_packet() noexcept;
    void prefetch_sink() const noexcept { sink_.prefetch(); }
    // True when a first packet waits and a pause does not hold it back.
    [[nodiscard]] bool ready() noexcept;
    // Before the first tick: true when there will be none (stopped, or nothing to play).
    [[nodiscard]] bool over_before_start() noexcept;
    // Before the first tick too the sink is idle for each 20 ms, told in one go now and then.
    void begin_to_wait(TimePoint now) noexcept { waited_until_ = now; }
    void wait_idly(TimePoint now) noexcept;
    void mark_over() noexcept { over_.store(true, std::memory_order_seq_cst); }
    // True when the feeder should be asked for more; the caller then queues the stream.
    [[nodiscard]] bool wants_fill(std::uint64_t below) noexcept {
        return ((ahead() < below && !feed_ended()) || !break_answered()) &&
               !fill_requested_.exchange(true, std::memory_order_acq_rel);
    }
    // True when the caller took the right to queue the stream for a feeder.
    [[nodiscard]] bool take_fill_request() noexcept {
        return !fill_requested_.exchange(true, std::memory_order_acq_rel);
    }
    [[nodiscard]] bool fill_requested() const noexcept {
        return fill_requested_.load(std::memory_order_acquire);
    }
    void clear_fill_request() noexcept { fill_requested_.store(false, std::memory_order_release); }

    Player* owner = nullptr;       // set before the stream is attached
    Stream* clock_link = nullptr;  // attach hand-over, then the clock's list
    Stream* fill_link = nullptr;   // queue of fill requests
    Stream* over_link = nullptr;   // hand-over of ended streams to the feeders

  private:
    enum class Break : std::uint8_t { none, pause, seek, underrun, end };

    [[nodiscard]] QueuedPacket* front() noexcept;
    void send_media(const QueuedPacket& queued, const Tick& tick) noexcept;
    void send(const audio::OutgoingPacket& packet, const Tick& tick) noexcept;
    void begin_break(Break cause, const Tick& tick) noexcept;
    bool continue_break(const Tick& tick) noexcept;
    [[nodiscard]] UnderrunCause underrun_cause(const Tick& tick) const noexcept;
    void emit(EventKind kind, std::int64_t value = 0) noexcept {
        events_.emit(Event{.subject = id_, .value = value, .kind = kind});
    }

    // Of what was in the ring before it.
    struct Cut {
        std::uint32_t generation = 0;
        std::uint64_t index = 0;
    };
    void take_cuts() noexcept;
    [[nodiscard]] bool superseded(const QueuedPacket& queued) noexcept;

    const std::uint64_t id_;
    const TimePoint created_;
    const std::uint64_t limit_ticks_;  // periods after the first frame until the end; 0: no limit
    audio::PacketSink& sink_;
    EventListener& events_;
    SpscRing<QueuedPacket> ring_;
    SpscRing<Cut> cuts_;
    StreamCounters counters_;

    std::atomic<Intent> intent_{Intent::play};
    std::atomic<std::uint32_t> floor_{0};
    std::atomic<std::uint32_t> feed_end_{0};
    std::atomic<FeedState> feed_state_{FeedState::queued};
    std::atomic<bool> fill_requested_{false};
    std::atomic<std::uint64_t> produced_{0};
    std::atomic<std::uint64_t> base_{0};
    std::atomic<std::uint64_t> next_index_{0};
    std::atomic<std::uint64_t> broken_at_{0};
    std::atomic<std::uint64_t> answered_{0};
    std::atomic<std::int64_t> position_{0};
    std::atomic<std::uint32_t> track_{0};
    std::atomic<bool> started_{false};
    std::atomic<bool> starved_{false};  // a pause may lie between
    std::atomic<bool> over_{false};

    // Clock thread only.
    Break break_ = Break::none;
    int silence_left_ = 0;
    bool sink_gone_ = false;  // the sink cannot go on: no more silence either
    std::uint32_t floor_seen_ = 0;
    std::uint32_t ticks_since_packet_ = 0;
    TimePoint waited_until_;      // before the first tick
    std::vector<Cut> cuts_seen_;  // that concern packets in the ring; never grows
};

}  // namespace voicecore::playback
