// NullSink: counts what it gets and keeps nothing.
#pragma once

#include <atomic>
#include <cstdint>

#include "voicecore/audio/packet_sink.hpp"

namespace voicecore::transport {

struct NullStatistics {
    std::uint64_t packets = 0;  // silence included
    std::uint64_t silence = 0;
    std::uint64_t bytes = 0;
    std::uint64_t ticks = 0;  // up to the last packet
};

// statistics() from any thread; the rest as the port says. Ends on the clock thread's side: there
// is nothing to wait for.
class NullSink final : public audio::PacketSink {
  public:
    [[nodiscard]] Status available() const override;
    [[nodiscard]] Status start(audio::SinkListener& listener) override;
    audio::SendStatus send(const audio::OutgoingPacket& packet) noexcept override;
    void idle(TimePoint) noexcept override {}
    void finish() noexcept override;
    [[nodiscard]] NullStatistics statistics() const noexcept;

  private:
    std::atomic<audio::SinkListener*> listener_{nullptr};
    std::atomic<std::uint64_t> packets_{0};
    std::atomic<std::uint64_t> silence_{0};
    std::atomic<std::uint64_t> bytes_{0};
    std::atomic<std::uint64_t> ticks_{0};
};

}  // namespace voicecore::transport
