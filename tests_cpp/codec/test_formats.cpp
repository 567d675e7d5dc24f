#include "media.hpp"

using namespace media;

namespace {

// Files whose format tells the length exactly.
const char* const kExact[] = {
    "a44.wav",        "a48.wav",       "mono.wav",      "short.wav",     "cbr.mp3",
    "low.mp3",        "vbr.mp3",       "cbr48.mp3",     "short.mp3",     "aac.m4a",
    "aac-front.m4a",  "vorbis.ogg",    "vorbis48.ogg",  "flac.flac",     "flac.ogg",
    "alac.m4a",       "wavpack.wv",    "u8.wav",        "s24le.wav",     "s32le.wav",
    "f32le.wav",      "f64le.wav",     "alaw.wav",      "mulaw.wav",     "s8.aif",
    "s16be.aiff",     "s24be.aiff",    "s32be.aiff",    "f32be.aiff",    "f64be.aiff",
    "rate8000.wav",   "rate11025.wav", "rate22050.wav", "rate96000.wav", "rate192000.wav",
    "rate384000.wav", "six.wav",       "three.wav",     "six.flac",      "cover.mp3",
    "mp3-inside.wav", "opus-six.opus",
};

// How far the decoded file lies below the original; both at 44.1 kHz made 48.
double against_original(const std::string& name) {
    const auto original = read_pcm(*media::open("a44.wav"));
    auto decoded = read_pcm(*media::open(name));
    decoded.values.resize(std::min(decoded.values.size(), original.values.size()));
    return error_db(original.values, 0, decoded.values);
}

}  // namespace

TEST_CASE("every format gives exactly as many samples as were put in, without a gap") {
    for (const std::string name : kExact) {
        INFO(name);
        auto source = media::open(name);
        REQUIRE(source->info().kind == audio::MediaKind::pcm);
        const auto pcm = read_pcm(*source);
        CHECK(pcm.last == ReadStatus::end);
        CHECK(pcm.begin == 0);
        CHECK(pcm.continuous);
        CHECK(pcm.samples() == length_of(name));
        CHECK(source->decode_errors() == 0);
        REQUIRE(source->info().duration.has_value());
        CHECK(source->info().duration->count() == length_of(name));
    }
}

TEST_CASE("lossless formats give the very samples of the original") {
    for (const char* name :
         {"flac.flac", "flac.ogg", "alac.m4a", "wavpack.wv", "s24le.wav", "s32le.wav", "f32le.wav",
          "f64le.wav", "s16be.aiff", "s24be.aiff", "s32be.aiff", "f32be.aiff", "f64be.aiff"}) {
        INFO(name);
        CHECK(against_original(name) < -90);
    }
}

TEST_CASE("lossy formats are in step with the original to the sample") {
    // A shift by one sample would cost more than what these codecs lose.
    for (const char* name : {"vbr.mp3", "aac.m4a", "aac-front.m4a", "vorbis.ogg"}) {
        INFO(name);
        CHECK(against_original(name) < -22);
    }
}

TEST_CASE("a mono file comes at full level on both sides") {
    const auto pcm = read_pcm(*media::open("mono.wav"));
    double power = 0;
    for (std::size_t i = 0; i < pcm.values.size(); i += 2) {
        REQUIRE(pcm.values[i] == pcm.values[i + 1]);
        power += static_cast<double>(pcm.values[i]) * pcm.values[i];
    }
    CHECK(std::sqrt(power / static_cast<double>(pcm.samples())) == Approx(0.2155).epsilon(0.01));
}

TEST_CASE("more than two channels are mixed without exceeding full scale") {
    for (const char* name : {"six.wav", "six.flac", "three.wav", "opus-six.opus", "loud-six.wav"}) {
        INFO(name);
        const auto pcm = read_pcm(*media::open(name));
        float peak = 0;
        for (const float value : pcm.values) peak = std::max(peak, std::abs(value));
        CHECK(peak <= 1.05F);
        CHECK(peak > 0.1F);
    }
}

TEST_CASE("multichannel Opus is decoded, and says why it cannot pass through") {
    auto source = media::open("opus-six.opus");
    CHECK(source->info().kind == audio::MediaKind::pcm);
    CHECK(source->info().no_passthrough.find("mapping family 1") != std::string::npos);
}

TEST_CASE("a source tells what it is") {
    auto mp3 = media::open("cover.mp3");
    CHECK(mp3->info().container == "mp3");
    CHECK(mp3->info().codec == "mp3");
    CHECK(mp3->info().sample_rate == 44'100);
    CHECK(mp3->info().channels == 2);
    CHECK(mp3->info().seekable);
    CHECK(mp3->info().bitrate == Approx(128'000).epsilon(0.03));
    CHECK(mp3->info().no_passthrough == "the codec is mp3, not Opus");
    const auto& tags = mp3->info().tags;
    CHECK(std::find(tags.begin(), tags.end(),
                    std::pair<std::string, std::string>{"title", "Pr\xC3\xA9lude"}) != tags.end());
    auto m4a = media::open("cover.m4a");
    CHECK(m4a->info().codec == "aac");
    CHECK_FALSE(m4a->info().tags.empty());
}

TEST_CASE("formats without a length of their own still give everything that was put in") {
    for (const char* name :
         {"aac.aac", "vbr-noxing.mp3", "mp2.mp2", "ac3.ac3", "aac.mka", "vorbis.webm"}) {
        INFO(name);
        const auto pcm = read_pcm(*media::open(name));
        CHECK(pcm.last == ReadStatus::end);
        CHECK(pcm.samples() >= length_of(name));
        CHECK(pcm.samples() <= length_of(name) + 3'000);
    }
}

TEST_CASE("a chain of Ogg files plays as one, whatever their rates and codecs") {
    const auto both = read_pcm(*media::open("chain-vorbis.ogg"));
    CHECK(both.continuous);
    CHECK(both.samples() == length_of("vorbis.ogg") + length_of("vorbis48.ogg"));
    const auto first = read_pcm(*media::open("vorbis.ogg"));
    const auto second = read_pcm(*media::open("vorbis48.ogg"));
    CHECK(error_db(both.values, 0, first.values) < -100);
    CHECK(error_db(both.values, first.samples(), second.values) < -100);
    auto mixed = media::open("chain-mixed.ogg");
    CHECK(mixed->info().kind == audio::MediaKind::pcm);
    CHECK(mixed->info().no_passthrough == "a later part of the chain is not Opus");
    CHECK(read_pcm(*mixed).samples() == length_of("opus.opus") + length_of("vorbis.ogg"));
}

TEST_CASE("joined mp3 files of different rates play to the end, each trimmed by its own header") {
    auto source = media::open("joined.mp3");
    const std::int64_t all = length_of("cbr.mp3") + length_of("cbr48.mp3");
    CHECK(source->info().duration->count() == all);
    const auto both = read_pcm(*source);
    CHECK(both.continuous);
    CHECK(both.samples() == all);
    const auto second = read_pcm(*media::open("cbr48.mp3"));
    CHECK(error_db(both.values, length_of("cbr.mp3"), second.values) < -100);
}

TEST_CASE("a day of audio opens at once and seeks to its last second") {
    auto source = media::open("day.wav");
    const std::int64_t day = 24LL * 3'600 * kSampleRate;
    REQUIRE(source->info().duration->count() == day);
    source->seek(Samples{day - kSampleRate});
    const auto pcm = read_pcm(*source);
    CHECK(pcm.begin == day - kSampleRate);
    CHECK(pcm.samples() == kSampleRate);
}

TEST_CASE("start in the request is where the first unit begins") {
    auto wanted = request(path("cbr.mp3"));
    wanted.start = Samples{50'000};
    const auto pcm = read_pcm(*media::open(wanted));
    CHECK(pcm.begin == 50'000);
    CHECK(pcm.samples() == length_of("cbr.mp3") - 50'000);
}

TEST_CASE("the libraries behind it have names, versions and a licence") {
    const auto versions = codec::library_versions();
    CHECK(versions.avformat.find('.') != std::string::npos);
    CHECK(versions.license.find("GPL") != std::string::npos);
    CHECK(versions.tls.find("OpenSSL") != std::string::npos);
}
