#include <random>

#include "media.hpp"

using namespace media;

namespace {

// Seeks all over the file and compares with what playing up to there gives.
void check_exact(const std::string& name) {
    INFO(name);
    const auto whole = read_pcm(*media::open(name));
    auto source = media::open(name);
    REQUIRE(source->info().seekable);
    std::mt19937 random{1};
    const std::int64_t last = whole.samples();
    std::vector<std::int64_t> places{1, 959, 1'152, last / 2, last - 2'000, 5, last - 1, last / 3};
    for (int i = 0; i < 12; ++i) places.push_back(static_cast<std::int64_t>(random()) % last);
    for (const std::int64_t place : places) {
        INFO("at " << place);
        source->seek(Samples{place});
        const auto part = read_pcm(*source, 6'000);
        REQUIRE(part.begin == place);
        REQUIRE(part.samples() == std::min<std::int64_t>(6'000, last - place));
        REQUIRE(part.continuous);
        CHECK(error_db(whole.values, place, part.values) < -60);
    }
    CHECK(source->decode_errors() == 0);
}

}  // namespace

TEST_CASE("after a seek every sample is the one that playing up to it gives") {
    for (const char* name :
         {"a44.wav",  "a48.wav",  "cbr.mp3",    "vbr.mp3",       "vbr-noxing.mp3", "cbr48.mp3",
          "low.mp3",  "aac.m4a",  "aac.aac",    "vorbis.ogg",    "vorbis48.ogg",   "flac.flac",
          "flac.ogg", "alac.m4a", "s24be.aiff", "rate11025.wav", "rate96000.wav",  "wavpack.wv",
          "mp2.mp2",  "aac.mka",  "vorbis.webm"}) {
        check_exact(name);
    }
}

TEST_CASE("seeking crosses the links of a chain and the seams of joined files") {
    for (const char* name : {"chain-vorbis.ogg", "joined.mp3", "joined.flac"}) check_exact(name);
}

TEST_CASE("a seek to the end or past it ends, and a seek back from there plays again") {
    for (const char* name : {"cbr.mp3", "aac.m4a", "vorbis.ogg", "flac.flac", "a44.wav"}) {
        INFO(name);
        auto source = media::open(name);
        const std::int64_t length = length_of(name);
        for (const std::int64_t place : {length, length + 1, length * 1'000}) {
            MediaUnit unit;
            source->seek(Samples{place});
            CHECK(next(*source, unit) == ReadStatus::end);
            CHECK(next(*source, unit) == ReadStatus::end);
        }
        source->seek(Samples{0});
        const auto again = read_pcm(*source);
        CHECK(again.begin == 0);
        CHECK(again.samples() == length);
        source->seek(Samples{length - 10});
        CHECK(read_pcm(*source).samples() == 10);
    }
}

TEST_CASE("a length that was only estimated is not the end") {
    const auto whole = read_pcm(*media::open("joined.ac3"));
    CHECK(whole.samples() > 2 * length_of("a48.wav"));
    auto source = media::open("joined.ac3");
    REQUIRE(source->info().duration->count() < whole.samples() / 3 * 2);
    for (const std::int64_t behind : {100'000, 50'000, 2'000}) {
        const std::int64_t place = whole.samples() - behind;
        source->seek(Samples{place});
        const auto part = read_pcm(*source);
        CHECK(part.begin == place);
        REQUIRE(part.samples() == behind);
        // AC-3 decoders fill in noise of their own; one sample beside it would be -20 dB.
        CHECK(error_db(whole.values, place, part.values) < -40);
    }
    MediaUnit unit;
    source->seek(Samples{whole.samples()});
    CHECK(next(*source, unit) == ReadStatus::end);
}

TEST_CASE("seeking behind damage in an mp3 leads where playing through it leads") {
    const auto whole = read_pcm(*media::open("corrupt-cbr.mp3"));
    auto source = media::open("corrupt-cbr.mp3");
    const std::int64_t place = whole.samples() - 30'000;
    source->seek(Samples{place});
    const auto part = read_pcm(*source, 6'000);
    CHECK(part.begin == place);
    CHECK(error_db(whole.values, place, part.values) < -60);
}

TEST_CASE("seeking back to 0 gives the same as opening anew") {
    auto source = media::open("cbr.mp3");
    const auto first = read_pcm(*source);
    source->seek(Samples{0});
    CHECK(read_pcm(*source).values == first.values);
}

TEST_CASE(
    "Opus packets after a seek begin at least the pre-roll before the target, where they were") {
    for (const char* name :
         {"opus.opus", "opus.webm", "opus.mp4", "opus-60ms.opus", "opus-late.opus",
          "opus-2.5ms.opus", "chain-opus.opus", "chain-twins.opus"}) {
        INFO(name);
        const auto whole = read_packets(*media::open(name));
        auto source = media::open(name);
        for (const std::int64_t place : {100'000, 30, 4'000, 140'000, 48'000, 149'999}) {
            INFO("at " << place);
            source->seek(Samples{place});
            const auto part = read_packets(*source, 8);
            REQUIRE_FALSE(part.units.empty());
            const std::int64_t begin = part.units[0].position.count();
            CHECK(begin <= std::max<std::int64_t>(place - audio::kOpusPreroll.count(),
                                                  whole.units[0].position.count()));
            // No earlier than needed: a packet is 60 ms long at most.
            CHECK(begin >=
                  std::min<std::int64_t>(place - audio::kOpusPreroll.count() - 2'880, place));
            const auto same = std::find_if(
                whole.units.begin(), whole.units.end(),
                [begin](const MediaUnit& unit) { return unit.position.count() == begin; });
            REQUIRE(same != whole.units.end());
            CHECK(whole.bytes[static_cast<std::size_t>(same - whole.units.begin())] ==
                  part.bytes[0]);
        }
        source->seek(Samples{1'000'000});
        CHECK(read_packets(*source).units.empty());
        source->seek(Samples{0});
        CHECK(read_packets(*source).units.size() == whole.units.size());
    }
}
