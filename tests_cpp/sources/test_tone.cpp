#include <cmath>
#include <numbers>

#include "catch.hpp"
#include "voicecore/sources/tone_source.hpp"

using voicecore::Samples;
using voicecore::audio::MediaUnit;
using voicecore::audio::ReadStatus;
using voicecore::sources::ToneOptions;
using voicecore::sources::ToneSource;

namespace {

std::vector<float> read_all(voicecore::audio::MediaSource& source, std::size_t most = 1'000'000) {
    std::vector<float> out;
    MediaUnit unit;
    while (out.size() < most * 2 && source.read(unit) == ReadStatus::ok) {
        out.insert(out.end(), unit.pcm.begin(), unit.pcm.end());
    }
    return out;
}

ToneOptions tone(double frequency, double amplitude, std::optional<Samples> duration) {
    ToneOptions options;
    options.frequency = frequency;
    options.amplitude = amplitude;
    options.duration = duration;
    return options;
}

}  // namespace

TEST_CASE("every sample of a tone is the sine at its place") {
    auto source = std::move(ToneSource::create(tone(997.0, 0.25, Samples{100'000}))).value();
    const auto pcm = read_all(*source);
    REQUIRE(pcm.size() == 200'000);
    double worst = 0.0;
    for (std::size_t n = 0; n < 100'000; ++n) {
        const double turns = std::fmod(997.0 * static_cast<double>(n), 48'000.0) / 48'000.0;
        const double expected = 0.25 * std::sin(2.0 * std::numbers::pi * turns);
        worst = std::max(worst, std::abs(expected - static_cast<double>(pcm[2 * n])));
        REQUIRE(pcm[2 * n] == pcm[2 * n + 1]);
    }
    REQUIRE(worst < 1e-7);
}

TEST_CASE("a tone sounds the same after a seek as without") {
    auto whole = std::move(ToneSource::create(tone(440.0, 0.5, Samples{9'600}))).value();
    const auto pcm = read_all(*whole);
    auto sought = std::move(ToneSource::create(tone(440.0, 0.5, Samples{9'600}))).value();
    sought->seek(Samples{1'234});
    const auto rest = read_all(*sought);
    REQUIRE(rest == std::vector<float>(pcm.begin() + 2 * 1'234, pcm.end()));
    sought->seek(Samples{9'600});
    MediaUnit unit;
    REQUIRE(sought->read(unit) == ReadStatus::end);
}

TEST_CASE("a tone without a duration goes on") {
    auto source = std::move(ToneSource::create(tone(440.0, 0.5, std::nullopt))).value();
    source->seek(Samples{std::int64_t{48'000} * 3'600 * 24});
    REQUIRE(read_all(*source, 48'000).size() == 96'000);
    REQUIRE_FALSE(source->info().duration.has_value());
}

TEST_CASE("a tone refuses numbers out of their range and says which") {
    REQUIRE(ToneSource::create(tone(0.0, 0.5, std::nullopt)).error().message ==
            "frequency 0: expected above 0 and at most 24000 Hz");
    REQUIRE_FALSE(ToneSource::create(tone(std::nan(""), 0.5, std::nullopt)).ok());
    REQUIRE_FALSE(ToneSource::create(tone(440.0, 1.5, std::nullopt)).ok());
    REQUIRE_FALSE(ToneSource::create(tone(440.0, 0.5, Samples{-1})).ok());
}
