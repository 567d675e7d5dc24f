#include <unistd.h>

#include <array>
#include <bit>
#include <filesystem>
#include <random>

#include "media.hpp"

using namespace media;

namespace {

std::string little(std::uint32_t value, int bytes) {
    std::string out;
    for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i) & 0xFFU);
    return out;
}

struct WavFormat {
    std::uint32_t tag = 1;
    std::uint32_t channels = 2;
    std::uint32_t rate = 44'100;
    std::uint32_t bytes_per_second = 176'400;
    std::uint32_t block = 4;
    std::uint32_t bits = 16;
    std::string extra = {};
};

// A WAV file for as long as the test runs.
class WavFile {
  public:
    WavFile(const WavFormat& f, const std::string& data)
        : path_{std::filesystem::temp_directory_path() /
                ("voicecore-test-" + std::to_string(::getpid()) + ".wav")} {
        std::string format = little(f.tag, 2) + little(f.channels, 2) + little(f.rate, 4) +
                             little(f.bytes_per_second, 4) + little(f.block, 2) + little(f.bits, 2);
        if (!f.extra.empty()) format += little(static_cast<std::uint32_t>(f.extra.size()), 2);
        format += f.extra;
        const auto chunk = [](const std::string& name, const std::string& body) {
            return name + little(static_cast<std::uint32_t>(body.size()), 4) + body;
        };
        const std::string body = "WAVE" + chunk("fmt ", format) + chunk("data", data);
        std::ofstream{path_, std::ios::binary} << chunk("RIFF", body);
    }
    ~WavFile() { std::filesystem::remove(path_); }
    WavFile(const WavFile&) = delete;
    [[nodiscard]] OpenRequest request() const { return media::request(path_.string()); }

  private:
    std::filesystem::path path_;
};

// KSDATAFORMAT_SUBTYPE_PCM
const std::string kPcm{"\1\0\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71", 16};

std::string noise(std::size_t bytes) {
    std::mt19937 random{1};
    std::string out;
    for (std::size_t i = 0; i < bytes; ++i) out += static_cast<char>(random() & 0xFFU);
    return out;
}

// Random nibbles behind valid block heads: loud, and every place is recognisable.
std::string ima_blocks(int count, std::size_t block) {
    const std::string all = noise(block * static_cast<std::size_t>(count));
    std::string out;
    for (int i = 0; i < count; ++i) {
        out += little(100, 2) + little(20, 2) + little(200, 2) + little(30, 2);
        out += all.substr(static_cast<std::size_t>(i) * block, block - 8);
    }
    return out;
}

std::string ms_blocks(int count, std::size_t block) {
    const std::string all = noise(block * static_cast<std::size_t>(count));
    std::string out;
    for (int i = 0; i < count; ++i) {
        out += little(1, 1) + little(2, 1);    // predictors
        out += little(40, 2) + little(60, 2);  // steps
        out += little(5, 2) + little(7, 2);    // samples
        out += little(11, 2) + little(13, 2);
        out += all.substr(static_cast<std::size_t>(i) * block, block - 14);
    }
    return out;
}

}  // namespace

TEST_CASE("a sample rate that no recording has is refused with the number and the range") {
    for (const std::uint32_t rate : {1U, 50U, 999U, 768'001U, 6'000'000U, 2'147'483'647U}) {
        const WavFile file{{.rate = rate, .bytes_per_second = rate * 4}, noise(8'000)};
        for (const Samples start : {Samples{0}, Samples{1'000}}) {
            auto wanted = file.request();
            wanted.start = start;
            auto opened = codec::open_media(wanted, nullptr);
            REQUIRE_FALSE(opened.ok());
            INFO(opened.error().message);
            CHECK(opened.error().code == Errc::unsupported);
            CHECK(opened.error().message.find(std::to_string(rate) + " Hz") != std::string::npos);
            CHECK(opened.error().message.find("1000 to 768000 Hz") != std::string::npos);
        }
    }
    for (const std::uint32_t rate : {1'000U, 768'000U}) {
        const WavFile file{{.rate = rate, .bytes_per_second = rate * 4}, noise(8'000)};
        const auto pcm = read_pcm(*media::open(file.request()));
        CHECK(pcm.last == ReadStatus::end);
        CHECK(pcm.samples() == 2'000 * 48'000 / static_cast<std::int64_t>(rate));
    }
}

TEST_CASE("whatever loudspeakers a file is for, it plays, on both sides and below full scale") {
    std::mt19937 random{1};
    std::vector<std::uint32_t> masks{0x30, 0x600, 0x5, 0x9, 0xe, 0x13, 0x3f, 0x63f, 0x3ffff};
    for (int i = 0; i < 150; ++i) {
        std::uint32_t mask = random() & 0x3FFFFU;
        // Half of them with few channels.
        if (i % 2 == 0) mask &= static_cast<std::uint32_t>(random() & random());
        if (mask != 0) masks.push_back(mask);
    }
    for (const std::uint32_t mask : masks) {
        const auto channels = static_cast<std::uint32_t>(std::popcount(mask));
        INFO("mask " << std::hex << mask);
        const WavFile file{{.tag = 0xFFFE,
                            .channels = channels,
                            .rate = 48'000,
                            .bytes_per_second = 96'000 * channels,
                            .block = 2 * channels,
                            .extra = little(16, 2) + little(mask, 4) + kPcm},
                           noise(9'600 * std::size_t{channels})};
        const auto pcm = read_pcm(*media::open(file.request()));
        CHECK(pcm.samples() == 4'800);
        std::array<float, 2> peaks{};
        for (std::size_t i = 0; i < pcm.values.size(); ++i) {
            peaks[i % 2] = std::max(peaks[i % 2], std::abs(pcm.values[i]));
        }
        CHECK(std::min(peaks[0], peaks[1]) > 0.1F);
        CHECK(std::max(peaks[0], peaks[1]) < 1.001F);
    }
}

TEST_CASE("a layout that has no mixing rule is heard from where its loudspeakers are") {
    // One channel after the other at full scale, 4,800 samples each.
    const auto levels = [](std::uint32_t mask) {
        const auto channels = static_cast<std::uint32_t>(std::popcount(mask));
        std::string data;
        for (std::uint32_t turn = 0; turn < channels; ++turn) {
            for (int i = 0; i < 4'800; ++i) {
                for (std::uint32_t c = 0; c < channels; ++c)
                    data += little(c == turn ? 32'767 : 0, 2);
            }
        }
        const WavFile file{{.tag = 0xFFFE,
                            .channels = channels,
                            .rate = 48'000,
                            .bytes_per_second = 96'000 * channels,
                            .block = 2 * channels,
                            .extra = little(16, 2) + little(mask, 4) + kPcm},
                           data};
        const auto pcm = read_pcm(*media::open(file.request()));
        std::vector<std::pair<float, float>> out;
        for (std::uint32_t turn = 0; turn < channels; ++turn) {
            const std::size_t at = (std::size_t{turn} * 4'800 + 2'400) * 2;
            out.emplace_back(pcm.values.at(at), pcm.values.at(at + 1));
        }
        return out;
    };
    const auto back = levels(0x30);  // back left, back right
    CHECK(back[0].first > 0.99F);
    CHECK(back[0].second == 0.0F);
    CHECK(back[1].first == 0.0F);
    CHECK(back[1].second > 0.99F);
    const auto front = levels(0x5);  // front left, centre
    CHECK(front[0].second == 0.0F);
    CHECK(front[1].first > 0.4F);
    CHECK(front[1].second == front[1].first);
    const auto bass = levels(0x9);  // front left, subwoofer: nothing on the right but what is there
    CHECK(bass[0].first > 0.49F);
    CHECK(bass[0].second == bass[0].first);
}

TEST_CASE("a seek in ADPCM is exact, whatever byte rate the header tells") {
    const std::string ms_head = little(1'012, 2) + little(7, 2) + little(256, 2) + little(0, 2) +
                                little(512, 2) + little(0xFF00, 2) + little(0, 2) + little(0, 2) +
                                little(192, 2) + little(64, 2) + little(240, 2) + little(0, 2) +
                                little(460, 2) + little(0xFF30, 2) + little(392, 2) +
                                little(0xFF18, 2);
    for (const std::uint32_t told : {48'000U, 88'200U, 1'000U}) {
        for (const bool ima : {true, false}) {
            const WavFile file{{.tag = ima ? 0x11U : 2U,
                                .bytes_per_second = told,
                                .block = 1'024,
                                .bits = 4,
                                .extra = ima ? little(1'017, 2) : ms_head},
                               ima ? ima_blocks(200, 1'024) : ms_blocks(200, 1'024)};
            const auto whole = read_pcm(*media::open(file.request()));
            CHECK(whole.samples() > 200'000);
            auto source = media::open(file.request());
            REQUIRE(source->info().seekable);
            for (const std::int64_t place : {100'000, 1, 200'000, 50'001, 0}) {
                INFO(told << " at " << place);
                source->seek(Samples{place});
                const auto part = read_pcm(*source, 5'000);
                CHECK(part.begin == place);
                CHECK(error_db(whole.values, place, part.values) < -60);
            }
        }
    }
}
