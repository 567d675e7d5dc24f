// NonceCounter: which nonces of a key have been used. It belongs to the key, not to who holds it.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <span>

#include "voicecore/base/result.hpp"

namespace voicecore::transport {

// Thread-safe, lock-free: one atomic addition for each claim, so that any number of sinks may share
// a key. One for each key and process; lives until the process ends.
class NonceCounter {
  public:
    static constexpr std::uint64_t kRound = std::uint64_t{1} << 32U;  // the suffix has 32 bits

    // A count from 0 ends at 2^32, wherever in it we begin: what lies before was somebody else's. A
    // start past that is a place in a count that goes round, and each suffix is given out once.
    explicit NonceCounter(std::uint64_t first) noexcept
        : next_{first}, limit_{first < kRound ? kRound : first + kRound} {}

    // A value that nobody got before; null once all are used up (it never starts again).
    [[nodiscard]] std::optional<std::uint32_t> claim() noexcept {
        const std::uint64_t value = next_.fetch_add(1, std::memory_order_relaxed);
        if (value >= limit_) return std::nullopt;
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
    std::atomic<std::uint64_t> next_;
    const std::uint64_t limit_;
};

// The counter of this key, which gives at least `first`; made the first time the key is seen in
// this process. Fails with `closed` in the child of a fork for a key of its parent's: both would go
// on from the same value. The registry knows a fingerprint (BLAKE2b, 128 bit), not the key.
// Thread-safe; locks, so not for the clock thread. Call sodium_init() before.
[[nodiscard]] Result<NonceCounter*> nonce_counter_of(std::span<const std::uint8_t> key,
                                                     std::uint64_t first);

}  // namespace voicecore::transport
