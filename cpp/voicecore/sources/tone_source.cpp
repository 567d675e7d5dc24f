#include "voicecore/sources/tone_source.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numbers>

namespace voicecore::sources {
namespace {

Error refuse(const char* format, double value) {
    char text[100];
    std::snprintf(text, sizeof text, format, value);
    return Error{.code = Errc::invalid_argument, .native = 0, .message = text};
}

}  // namespace

Result<std::unique_ptr<audio::MediaSource>> ToneSource::create(const ToneOptions& options) {
    if (!(options.frequency > 0.0 && options.frequency <= kSampleRate / 2.0)) {
        return refuse("frequency %g: expected above 0 and at most 24000 Hz", options.frequency);
    }
    if (!(options.amplitude >= 0.0 && options.amplitude <= 1.0)) {
        return refuse("amplitude %g: expected 0 to 1", options.amplitude);
    }
    if (options.duration && *options.duration < Samples{0}) {
        return refuse("duration %g: expected 0 or more seconds", to_seconds(*options.duration));
    }
    return std::unique_ptr<audio::MediaSource>{std::make_unique<ToneSource>(options)};
}

ToneSource::ToneSource(const ToneOptions& options) : options_{options} {
    info_.kind = audio::MediaKind::pcm;
    info_.container = "tone";
    info_.codec = "pcm_f32le";
    info_.sample_rate = kSampleRate;
    info_.channels = kChannels;
    info_.duration = options.duration;
    info_.no_passthrough = "it is generated as PCM";
    info_.seekable = true;
}

audio::ReadStatus ToneSource::read(audio::MediaUnit& unit) noexcept {
    // Always from a frame line on, so that rounding does not depend on where reading started.
    const std::int64_t line = next_ / kFrameSamples * kFrameSamples;
    const std::int64_t end = options_.duration
                                 ? std::min(line + kFrameSamples, options_.duration->count())
                                 : line + kFrameSamples;
    if (next_ >= end) return audio::ReadStatus::end;
    const double step = options_.frequency / kSampleRate;  // turns per sample
    double whole = 0.0;
    const double turn = std::modf(step * static_cast<double>(line), &whole);
    constexpr double kTurn = 2.0 * std::numbers::pi;
    double sine = std::sin(kTurn * turn);
    double cosine = std::cos(kTurn * turn);
    const double step_sine = std::sin(kTurn * step);
    const double step_cosine = std::cos(kTurn * step);
    for (std::size_t i = 0; i < static_cast<std::size_t>(kFrameSamples); ++i) {
        frame_[2 * i] = frame_[2 * i + 1] = static_cast<float>(options_.amplitude * sine);
        const double turned = sine * step_cosine + cosine * step_sine;
        cosine = cosine * step_cosine - sine * step_sine;
        sine = turned;
    }
    const auto first = static_cast<std::size_t>(next_ - line) * kChannels;
    const auto count = static_cast<std::size_t>(end - next_) * kChannels;
    unit = {};
    unit.position = Samples{next_};
    unit.pcm = std::span<const float>{frame_}.subspan(first, count);
    unit.duration = Samples{end - next_};
    next_ = end;
    return audio::ReadStatus::ok;
}

void ToneSource::seek(Samples position) noexcept {
    next_ = std::max<std::int64_t>(0, position.count());
}

Error ToneSource::error() const {
    return Error{.code = Errc::internal, .native = 0, .message = "a tone cannot fail"};
}

void ToneSource::set_ready_hook(std::function<void()>) {}  // a tone never makes anyone wait

}  // namespace voicecore::sources
