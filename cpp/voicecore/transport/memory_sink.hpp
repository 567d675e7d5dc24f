// MemorySink: keeps packets until somebody takes them.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "voicecore/transport/ring_sink.hpp"

namespace voicecore::transport {

struct MemoryPacket {
    std::vector<std::uint8_t> opus;
    std::uint64_t tick =
        0;  // of the sink's life; the first packet of each player follows the last one
    std::uint16_t media_samples = 960;
    bool silence = false;
};

// take() and the statistics from any thread; the rest as the port says. Serves several players in
// turn.
class MemorySink final : public RingSink {
  public:
    static constexpr std::size_t kDefaultLimit = 90'000;  // half an hour

    // More than `limit` packets that nobody took are refused and counted as overflow.
    [[nodiscard]] static std::unique_ptr<MemorySink> create(std::size_t limit = kDefaultLimit,
                                                            const Options& ring = Options{});

    // Everything sent so far that was not taken yet.
    [[nodiscard]] std::vector<MemoryPacket> take();

  private:
    class Store;
    MemorySink(std::unique_ptr<Store> store, Store& kept, std::size_t limit, const Options& ring);
    [[nodiscard]] bool has_room() const noexcept override;

    Store& store_;  // owned by the base, which outlives this part
    const std::uint64_t limit_;
    std::atomic<std::uint64_t> taken_{0};
};

}  // namespace voicecore::transport
