// A sine tone.
#pragma once

#include <array>
#include <memory>
#include <optional>

#include "voicecore/audio/media_source.hpp"

namespace voicecore::sources {

struct ToneOptions {
    double frequency = 440.0;         // Hz, above 0 and at most 24,000
    double amplitude = 0.5;           // 0 to 1
    std::optional<Samples> duration;  // null: without end
};

// The same on both channels; sample n is amplitude × sin(2π × frequency × n / 48,000), whatever was
// read or sought before. Thread-safety as MediaSource.
class ToneSource final : public audio::MediaSource {
  public:
    [[nodiscard]] static Result<std::unique_ptr<audio::MediaSource>> create(
        const ToneOptions& options);

    [[nodiscard]] const audio::SourceInfo& info() const noexcept override { return info_; }
    [[nodiscard]] audio::ReadStatus read(audio::MediaUnit& unit) noexcept override;
    void seek(Samples position) noexcept override;
    [[nodiscard]] Error error() const override;
    [[nodiscard]] std::uint64_t decode_errors() const noexcept override { return 0; }
    void set_ready_hook(std::function<void()> hook) override;

    explicit ToneSource(const ToneOptions& options);  // checked by create()

  private:
    const ToneOptions options_;
    audio::SourceInfo info_;
    std::int64_t next_ = 0;
    std::array<float, kFrameValues> frame_{};
};

}  // namespace voicecore::sources
