// A log-linear histogram of durations: 1 µs to 67 s.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstdint>
#include <vector>

namespace voicecore {

// One thread records (relaxed, no lock, no allocation); any thread reads a snapshot. Each power of
// two has 2^SubBits linear steps: the relative error is at most 1 in that many.
template <int SubBits>
class BasicHistogram {
  public:
    static constexpr int kSubBits = SubBits;
    static constexpr int kOctaves = 26 - SubBits;  // above the first, linear one
    static constexpr std::size_t kBuckets = (kOctaves + 1) << kSubBits;

    // Negative durations count as zero; longer than the range as the last bucket.
    void record(std::chrono::nanoseconds value) noexcept {
        const std::int64_t ns = value.count() < 0 ? 0 : value.count();
        auto& bucket = counts_[index_of(static_cast<std::uint64_t>(ns) / 1000)];
        bucket.store(bucket.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
        if (ns > max_.load(std::memory_order_relaxed)) max_.store(ns, std::memory_order_relaxed);
    }

    // A hint before record() of such a value.
    void prefetch(std::chrono::nanoseconds value) const noexcept {
        const auto us = static_cast<std::uint64_t>(value.count() < 0 ? 0 : value.count()) / 1000;
        __builtin_prefetch(&counts_[index_of(us)], 1);
    }

    struct Snapshot {
        std::vector<std::uint64_t> counts;  // kBuckets of them
        std::uint64_t total = 0;
        std::chrono::nanoseconds max{0};

        // The upper edge of the bucket that holds the given fraction (0 to 1), never above max; 0
        // when nothing was recorded.
        [[nodiscard]] std::chrono::nanoseconds quantile(double fraction) const noexcept {
            if (total == 0) return std::chrono::nanoseconds{0};
            const double wanted = fraction * static_cast<double>(total);
            std::uint64_t seen = 0;
            for (std::size_t i = 0; i < counts.size(); ++i) {
                seen += counts[i];
                if (counts[i] != 0 && static_cast<double>(seen) >= wanted) {
                    const auto edge = upper_edge(i);
                    return edge < max ? edge : max;
                }
            }
            return max;
        }
    };
    [[nodiscard]] Snapshot snapshot() const {
        Snapshot out;
        out.counts.reserve(kBuckets);
        for (const auto& count : counts_) {
            out.counts.push_back(count.load(std::memory_order_relaxed));
            out.total += out.counts.back();
        }
        out.max = std::chrono::nanoseconds{max_.load(std::memory_order_relaxed)};
        return out;
    }

    // Exclusive upper edge of a bucket.
    [[nodiscard]] static constexpr std::chrono::nanoseconds upper_edge(std::size_t index) noexcept {
        const std::size_t octave = index >> kSubBits;
        const std::uint64_t step = (index & ((1U << kSubBits) - 1)) + 1;
        const std::uint64_t us =
            octave == 0 ? step : ((std::uint64_t{1} << kSubBits) + step) << (octave - 1);
        return std::chrono::microseconds{us};
    }
    [[nodiscard]] static constexpr std::size_t index_of(std::uint64_t us) noexcept {
        constexpr std::uint64_t kLinear = std::uint64_t{1} << kSubBits;
        if (us < kLinear) return us;
        const auto octave = static_cast<std::size_t>(std::bit_width(us)) - kSubBits;
        const std::size_t index = (octave << kSubBits) + ((us >> (octave - 1)) & (kLinear - 1));
        return index < kBuckets ? index : kBuckets - 1;
    }

  private:
    // 64 bits: the packets of a thousand streams pass 2^32 within a day.
    std::array<std::atomic<std::uint64_t>, kBuckets> counts_{};
    std::atomic<std::int64_t> max_{0};
};

// For lateness, where the order of magnitude counts: 3 KiB for each player.
using Histogram = BasicHistogram<4>;
// For times around 20 ms, told apart to 32 µs: 72 KiB, for receivers.
using FineHistogram = BasicHistogram<9>;

}  // namespace voicecore
