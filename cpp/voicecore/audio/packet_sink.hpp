// The sink port: where packets go, one tick at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "voicecore/base/clock.hpp"
#include "voicecore/base/export.hpp"
#include "voicecore/base/result.hpp"

namespace voicecore::audio {

// What the clock hands to a sink at a tick.
struct OutgoingPacket {
    std::span<const std::uint8_t> opus;  // valid during the call only
    std::uint32_t ticks = 1;  // ticks since the packet before: the RTP timestamp moves 960 each
    std::uint16_t media_samples = 960;  // see PlayablePacket
    bool silence = false;               // one of the five that start a break
};

enum class SendStatus : std::uint8_t {
    sent,
    dropped,   // the system had no room, or the peer is not there: counted, playing goes on
    overflow,  // the ring to the sink's own thread is full: counted, playing goes on
    failed,    // cannot go on; the listener has been or will be told why
};

// Told by a sink, from any thread, at most once for each start().
class VOICECORE_EXPORT SinkListener {
  public:
    virtual ~SinkListener();
    // Everything sent before finish() has reached its end, or `error` says why not. May come before
    // finish() when the sink fails.
    virtual void on_sink_finished(std::optional<Error> error) noexcept = 0;
};

// Port. A sink serves one player at a time and may serve several in turn.
class VOICECORE_EXPORT PacketSink {
  public:
    PacketSink() = default;
    PacketSink(const PacketSink&) = delete;
    PacketSink& operator=(const PacketSink&) = delete;
    virtual ~PacketSink();

    // Whether start() would do now, and what it would fail with: asked before anything is given
    // away for a playing. Any thread.
    [[nodiscard]] virtual Status available() const { return Done{}; }

    // Off the clock thread, before the first send(). The listener outlives the call of
    // on_sink_finished(). Fails with already_playing while another player uses the sink.
    [[nodiscard]] virtual Status start(SinkListener& listener) = 0;

    // Clock thread: no allocation, no lock, no wait.
    virtual SendStatus send(const OutgoingPacket& packet) noexcept = 0;
    // Clock thread: a tick without a packet (keep-alives leave from here).
    virtual void idle(TimePoint now) noexcept = 0;
    // Clock thread, some packets before send(): a hint to fetch what lies elsewhere in memory.
    virtual void prefetch() const noexcept {}

    // Off the clock thread, after the last send(): flush, close, then tell the listener (possibly
    // before this returns). Never waits for a disk.
    virtual void finish() noexcept = 0;

    // True when send() has room: virtual time waits for it instead of overflowing.
    [[nodiscard]] virtual bool ready() const noexcept { return true; }
};

}  // namespace voicecore::audio
