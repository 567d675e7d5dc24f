#include "voicecore/transport/memory_sink.hpp"

#include <utility>

namespace voicecore::transport {

class MemorySink::Store final : public PacketWriter {
  public:
    [[nodiscard]] Status write(const RingPacket& packet) override {
        const auto bytes = packet.opus.bytes();
        const std::lock_guard lock{mutex_};
        tick_ += packet.ticks;
        packets_.push_back(MemoryPacket{.opus = {bytes.begin(), bytes.end()},
                                        .tick = tick_ - 1,  // the first packet comes at tick 0
                                        .media_samples = packet.media_samples,
                                        .silence = packet.silence});
        return Done{};
    }
    [[nodiscard]] std::vector<MemoryPacket> take() {
        const std::lock_guard lock{mutex_};
        return std::exchange(packets_, {});
    }

  private:
    std::mutex mutex_;
    std::vector<MemoryPacket> packets_;
    std::uint64_t tick_ = 0;
};

std::unique_ptr<MemorySink> MemorySink::create(std::size_t limit, const Options& ring) {
    auto store = std::make_unique<Store>();
    Store& kept = *store;
    return std::unique_ptr<MemorySink>{
        new MemorySink{std::move(store), kept, limit, ring}};  // NOLINT: private
}

MemorySink::MemorySink(std::unique_ptr<Store> store, Store& kept, std::size_t limit,
                       const Options& ring)
    : RingSink{std::move(store), ring}, store_{kept}, limit_{limit} {}

bool MemorySink::has_room() const noexcept {
    return accepted() - taken_.load(std::memory_order_acquire) < limit_;
}

std::vector<MemoryPacket> MemorySink::take() {
    // The sink's thread looks at the ring now and then only; whoever asks gets what is there.
    const Status drained = drain();
    static_cast<void>(drained);  // storing cannot fail
    auto packets = store_.take();
    taken_.fetch_add(packets.size(), std::memory_order_release);
    return packets;
}

}  // namespace voicecore::transport
