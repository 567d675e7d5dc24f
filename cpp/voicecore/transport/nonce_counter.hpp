// NonceCounter: which nonces of a key have been used. It belongs to the key, not to who holds it.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <span>

namespace voicecore::transport {

// Thread-safe, lock-free: one atomic addition for each claim, so that any number of sinks may share
// a key. One for each key and process; lives until the process ends.
class NonceCounter {
  public:
    static constexpr std::uint64_t kLimit = std::uint64_t{1} << 32U;  // the suffix has 32 bits

    // A value that nobody got before; null once all 2^32 are used up (it never starts again).
    [[nodiscard]] std::optional<std::uint32_t> claim() noexcept {
        const std::uint64_t value = next_.fetch_add(1, std::memory_order_relaxed);
        if (value >= kLimit) return std::nullopt;
        return static_cast<std::uint32_t>(value);
    }
    // The next claim gives at least `first`: for a key that somebody else has sent with. It never
    // goes back.
    void raise_to(std::uint64_t first) noexcept {
        std::uint64_t seen = next_.load(std::memory_order_relaxed);
        while (seen < first &&
               !next_.compare_exchange_weak(seen, first, std::memory_order_relaxed)) {
        }
    }
    // What the next claim would give.
    [[nodiscard]] std::uint64_t next() const noexcept {
        return next_.load(std::memory_order_relaxed);
    }

  private:
    std::atomic<std::uint64_t> next_{0};
};

// The counter of this key, made the first time the key is seen in this process. The registry knows
// a fingerprint (BLAKE2b, 128 bit), not the key. Thread-safe; locks, so not for the clock thread.
// Call sodium_init() before.
[[nodiscard]] NonceCounter& nonce_counter_of(std::span<const std::uint8_t> key);

}  // namespace voicecore::transport
