// Whatever a decoder gives becomes interleaved stereo float at 48 kHz.
#pragma once

#include <span>
#include <vector>

#include "voicecore/base/result.hpp"
#include "voicecore/codec/handles.hpp"

namespace voicecore::codec {

// What is resampled. Telephones have 8 kHz and the fastest converters 768 kHz; beyond, a header is
// wrong, and one frame at a few Hz would become minutes of sound.
inline constexpr int kLowestRate = 1'000;
inline constexpr int kHighestRate = 768'000;
[[nodiscard]] Status check_rate(int rate);

// Not thread-safe. Starts without delay: output sample 0 belongs to input sample 0.
class Resampler {
  public:
    // For frames like this one; drops what was inside before.
    [[nodiscard]] Status configure(const AVFrame& like);
    [[nodiscard]] bool configured() const noexcept { return static_cast<bool>(swr_) || copies_; }
    [[nodiscard]] bool matches(const AVFrame& frame) const noexcept;
    void reset() noexcept {
        swr_.reset();
        copies_ = false;
    }

    // Samples [first, first + count) of the frame; appends what comes out.
    [[nodiscard]] Status push(const AVFrame& frame, int first, int count, std::vector<float>& out);
    [[nodiscard]] Status push_silence(int count, std::vector<float>& out);
    // The tail that is still inside; configure() again before the next push().
    [[nodiscard]] Status flush(std::vector<float>& out);

    // Input samples after which input and output fall together again: a run may start at any
    // multiple and is sampled at the same instants as one that started at 0.
    [[nodiscard]] static std::int64_t period(int rate) noexcept;
    // Input samples before a place that still colour it, generously.
    [[nodiscard]] static std::int64_t memory(int rate) noexcept;

  private:
    [[nodiscard]] int begin(const std::vector<double>& matrix);
    [[nodiscard]] Status convert(const std::uint8_t** in, int count, std::vector<float>& out);

    SwrPtr swr_;
    bool copies_ = false;  // the input is right already
    int rate_ = 0;
    int format_ = -1;
    AVChannelLayout layout_{};  // native or unspecified order: nothing to free
};

}  // namespace voicecore::codec
