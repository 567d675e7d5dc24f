#include "play.hpp"
#include "voicecore/pipeline/timeline.hpp"

using namespace test;
using voicecore::kFrameValues;
using voicecore::pipeline::Playlist;
using voicecore::pipeline::Timeline;
using voicecore::pipeline::TimelineOptions;

TEST_CASE("a decoder that starts in the middle is warmed up before it is believed") {
    voicecore::opus::EncoderOptions options;
    options.bitrate = 64'000;
    const auto packets = encode(music(48'000 * 2), options);
    const auto reference = decode(packets);
    for (std::int64_t index = 20; index < 60; index += 7) {
        Playlist playlist;
        playlist.append(std::make_unique<OpusFake>(packets));
        playlist.close();
        Timeline timeline{playlist, TimelineOptions{}};
        timeline.start(0, Samples{0}, false, true);
        REQUIRE(timeline.place_until((index + 1) * 960) == ReadStatus::ok);
        std::vector<float> got(kFrameValues);
        timeline.read(index * 960, got);
        const auto first = static_cast<std::size_t>(index) * kFrameValues;
        const std::vector<float> expected(
            reference.begin() + static_cast<std::ptrdiff_t>(first),
            reference.begin() + static_cast<std::ptrdiff_t>(first + kFrameValues));
        CHECK(error_db(expected, got, 0, 1) < -45.0);
    }
}

TEST_CASE("outside of a run there is silence") {
    Playlist playlist;
    playlist.append(std::make_unique<PcmFake>(std::vector<float>(2'000, 0.5F)));
    playlist.close();
    Timeline timeline{playlist, TimelineOptions{}};
    timeline.start(0, Samples{0}, false, true);
    REQUIRE(timeline.place_until(960 * 3) == ReadStatus::end);
    REQUIRE(timeline.length() == 2);  // 312 + 1,000 samples
    std::vector<float> got(2 * 4'000, 9.0F);
    timeline.read(-1'000, got);
    for (std::size_t i = 0; i < got.size(); ++i) {
        const bool inside = i >= 2 * 1'312 && i < 2 * 2'312;
        REQUIRE(got[i] == (inside ? 0.5F : 0.0F));
    }
}
