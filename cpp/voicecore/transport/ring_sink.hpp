// RingSink: for sinks whose work does not belong on the clock thread. Packets cross a ring to a
// thread of the sink's own.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "voicecore/audio/opus_packet.hpp"
#include "voicecore/audio/packet_sink.hpp"
#include "voicecore/base/spsc_ring.hpp"

namespace voicecore::transport {

// An OutgoingPacket that outlives the call.
struct RingPacket {
    audio::OpusPacket opus;
    std::uint32_t ticks = 1;
    std::uint16_t media_samples = 960;
    bool silence = false;
};

// Port: what happens to the packets. All calls come from the sink's thread, except for available()
// and admit().
// After one of them fails, none follows until the next admit().
class PacketWriter {
  public:
    PacketWriter() = default;
    PacketWriter(const PacketWriter&) = delete;
    PacketWriter& operator=(const PacketWriter&) = delete;
    virtual ~PacketWriter();
    // A player wants to start (its thread): may it? Then it does.
    [[nodiscard]] virtual Status available() const { return Done{}; }
    virtual void admit() {}
    [[nodiscard]] virtual Status begin() { return Done{}; }
    [[nodiscard]] virtual Status write(const RingPacket& packet) = 0;
    [[nodiscard]] virtual Status end() { return Done{}; }
};

struct RingStatistics {
    std::uint64_t packets = 0;   // accepted by send()
    std::uint64_t overflow = 0;  // refused by send(): the ring, or the sink, was full
};

// As the port says; statistics from any thread. The thread (`vc-write`) lives from start() until
// the listener was told. It looks at the ring by itself every `interval`, so that in the steady
// state send() makes no system call; it is woken when the ring is half full, at the first packet
// after it found nothing for a whole interval, and by finish(). The destructor waits for the
// thread, and with it for a write in progress; it must not run inside on_sink_finished().
class RingSink : public audio::PacketSink {
  public:
    struct Options {
        std::size_t packets = 256;  // that fit into the ring: 5 s of a stuck disk
        Nanoseconds interval = std::chrono::milliseconds{200};
    };
    RingSink(std::unique_ptr<PacketWriter> writer, const Options& options);
    ~RingSink() override;

    [[nodiscard]] Status available() const override;
    [[nodiscard]] Status start(audio::SinkListener& listener) override;
    audio::SendStatus send(const audio::OutgoingPacket& packet) noexcept override;
    void idle(TimePoint) noexcept override {}
    void finish() noexcept override;
    [[nodiscard]] bool ready() const noexcept override;

    [[nodiscard]] RingStatistics ring_statistics() const noexcept;

  protected:
    // Clock thread: may another packet be taken?
    [[nodiscard]] virtual bool has_room() const noexcept { return true; }
    // Hands everything in the ring to the writer. Any thread but the clock's.
    [[nodiscard]] Status drain();
    [[nodiscard]] std::uint64_t accepted() const noexcept {
        return accepted_.load(std::memory_order_relaxed);
    }

  private:
    void run() noexcept;
    [[nodiscard]] Status work();
    void rest() noexcept;
    void conclude(std::optional<Error> error) noexcept;
    [[nodiscard]] std::uint64_t waiting() const noexcept {
        return accepted_.load(std::memory_order_seq_cst) - drained_.load(std::memory_order_relaxed);
    }

    const Options options_;
    const std::unique_ptr<PacketWriter> writer_;
    SpscRing<RingPacket> ring_;
    WakeSignal wake_;

    std::atomic<std::uint64_t> accepted_{0};  // clock thread writes
    std::atomic<std::uint64_t> overflow_{0};  // clock thread writes
    std::uint32_t lost_ticks_ = 0;            // clock thread: of packets refused since the last one
    std::atomic<bool> dozing_{false};         // the writer sleeps without a time limit
    std::atomic<bool> prodded_{false};        // a wake-up for a half-full ring is on its way
    std::atomic<bool> finishing_{false};
    std::atomic<bool> failed_{false};

    std::mutex drain_mutex_;  // the ring's consumer side
    std::atomic<std::uint64_t> drained_{0};

    [[nodiscard]] Status available_locked() const;

    mutable std::mutex mutex_;  // the four below; never taken by the clock thread
    audio::SinkListener* listener_ = nullptr;
    bool in_use_ = false;
    bool concluded_ = false;  // the listener has been told, or is being told
    bool finished_ = false;   // finish() was called
    std::thread thread_;      // start() and the destructor only
};

}  // namespace voicecore::transport
