// The packet port: what a player's feeder pulls 20 ms packets from.
#pragma once

#include <cstdint>

#include "voicecore/audio/media_source.hpp"
#include "voicecore/audio/opus_packet.hpp"
#include "voicecore/base/export.hpp"
#include "voicecore/base/units.hpp"

namespace voicecore::audio {

// A packet with what the player must know about it.
struct PlayablePacket {
    std::uint64_t index =
        0;  // of the frame: 0, 1, 2, ... since the source was built; seeks go on counting
    Samples position{0};                          // media position of the frame's end, in its track
    std::uint32_t track = 0;                      // 0, 1, 2, ... in order of playing
    std::uint16_t media_samples = kFrameSamples;  // of the frame, how many belong to the media:
                                                  // fewer in a last partial frame
    bool passthrough = false;                     // copied, not encoded here
    OpusPacket opus;  // last: what is used of it follows the rest in memory
};

// Where the listener is.
struct ListenerPlace {
    std::uint64_t next = 0;  // index of the frame that is heard next
    bool waits = false;      // silence is heard, because there was nothing to play
};

// Why a track ended before its end.
struct TrackError {
    std::uint32_t track = 0;  // as in PlayablePacket
    Error error;
};

// CPU time spent so far, by stage.
struct StageTimes {
    Nanoseconds decode{0};  // demuxing included when it runs on the feeder
    Nanoseconds encode{0};
};

// Port. Only the feeder that holds the player calls it; nothing here blocks.
class VOICECORE_EXPORT PacketSource {
  public:
    PacketSource() = default;
    PacketSource(const PacketSource&) = delete;
    PacketSource& operator=(const PacketSource&) = delete;
    virtual ~PacketSource();

    // The next packet. `failed`: error() says why.
    [[nodiscard]] virtual ReadStatus next(PlayablePacket& packet) noexcept = 0;

    // Applies from frame `index` on: frames at or after it that were handed out already are
    // produced again by the next calls of next(), with the encoder in the state that it had then.
    // When `index` lies further back than the history kept, from the oldest frame kept. Returns the
    // index from which next() goes on.
    virtual std::uint64_t set_gain(Gain gain, std::uint64_t index) noexcept = 0;

    // Silence was heard right before frame `index`, and nothing after it yet: from there on frames
    // lean on nothing that came before, so that its decoder, which has forgotten that, is not
    // misled. Else as set_gain().
    virtual std::uint64_t start_afresh(std::uint64_t index) noexcept = 0;

    // The listener's track is the one that he heard last, also when its last frame is gone. Only
    // who waits at its end is with the next one as soon as that is appended.

    // Goes on at a position of the listener's track. False when that cannot seek: nothing has
    // changed then.
    virtual bool seek(Samples position, ListenerPlace place) noexcept = 0;

    // Goes on with the track after the listener's; next() gives end when there is none.
    virtual void skip_track(ListenerPlace place) noexcept = 0;

    // The largest step back that set_gain() can make, in frames.
    [[nodiscard]] virtual std::uint64_t history() const noexcept = 0;

    [[nodiscard]] virtual Error error() const = 0;
    // The tracks that failed since the last call; playing went on with the next one.
    [[nodiscard]] virtual std::vector<TrackError> take_track_errors() = 0;
    [[nodiscard]] virtual std::uint64_t decode_errors() const noexcept = 0;
    [[nodiscard]] virtual StageTimes stage_times() const noexcept = 0;

    // True while next() gives would_block for a source that the caller feeds by hand.
    [[nodiscard]] virtual bool caller_paced() const noexcept = 0;

    // As in MediaSource; called from any thread.
    virtual void set_ready_hook(std::function<void()> hook) = 0;
};

}  // namespace voicecore::audio
