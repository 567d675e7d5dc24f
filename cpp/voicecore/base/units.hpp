// The units of the media clock. One constant per fact; everything else is derived beside it.
#pragma once

#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>

namespace voicecore {

inline constexpr int kSampleRate = 48'000;  // Hz, the only rate past the decoder
inline constexpr int kChannels = 2;         // interleaved stereo, the only layout past the decoder

// A count of samples per channel at 48 kHz.
using Samples = std::chrono::duration<std::int64_t, std::ratio<1, kSampleRate>>;
using Nanoseconds = std::chrono::nanoseconds;

inline constexpr Nanoseconds kFrameDuration = std::chrono::milliseconds{20};
inline constexpr int kFrameSamples = 960;  // per channel
inline constexpr std::size_t kFrameValues = std::size_t{kFrameSamples} * kChannels;
inline constexpr int kFramesPerSecond = 50;

static_assert(std::chrono::duration_cast<Samples>(kFrameDuration).count() == kFrameSamples);
static_assert(kFrameSamples * kFramesPerSecond == kSampleRate);

[[nodiscard]] constexpr double to_seconds(Samples samples) noexcept {
    return static_cast<double>(samples.count()) / kSampleRate;
}

// Rounds to the nearest sample. The caller has checked that the value is finite and in range.
[[nodiscard]] constexpr Samples samples_from_seconds(double seconds) noexcept {
    const double scaled = seconds * kSampleRate;
    return Samples{static_cast<std::int64_t>(scaled + (scaled < 0 ? -0.5 : 0.5))};
}

// A linear factor, 0 (mute) to kMaxGain.
class Gain {
  public:
    constexpr Gain() noexcept = default;
    constexpr explicit Gain(float linear) noexcept : linear_{linear} {}
    [[nodiscard]] constexpr float linear() const noexcept { return linear_; }
    [[nodiscard]] constexpr bool neutral() const noexcept { return linear_ == 1.0F; }
    constexpr bool operator==(const Gain&) const noexcept = default;

  private:
    float linear_ = 1.0F;
};
inline constexpr float kMaxGain = 4.0F;

}  // namespace voicecore
