#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

#include "catch.hpp"
#include "voicecore/opus/decoder.hpp"
#include "voicecore/opus/encoder.hpp"
#include "voicecore/opus/error.hpp"
#include "voicecore/opus/repacketizer.hpp"

using namespace voicecore;
using namespace voicecore::opus;

namespace {

using Frame = std::vector<float>;

Frame tone_frame(int index, double frequency = 440.0) {
    Frame frame(kFrameValues);
    for (int i = 0; i < kFrameSamples; ++i) {
        const double t = static_cast<double>(index * kFrameSamples + i) / kSampleRate;
        const auto value =
            static_cast<float>(0.4 * std::sin(2.0 * std::numbers::pi * frequency * t) +
                               0.1 * std::sin(2.0 * std::numbers::pi * 3.7 * frequency * t));
        frame[static_cast<std::size_t>(2 * i)] = value;
        frame[static_cast<std::size_t>(2 * i + 1)] = value * 0.5F;
    }
    return frame;
}

std::vector<std::uint8_t> encode(Encoder& encoder, const Frame& frame) {
    audio::OpusPacket packet;
    REQUIRE(encoder.encode(std::span{frame}.first<kFrameValues>(), packet) == CodecStatus::ok);
    return {packet.bytes().begin(), packet.bytes().end()};
}

Encoder make(const EncoderOptions& options = {}) {
    auto encoder = Encoder::create(options);
    REQUIRE(encoder.ok());
    return std::move(encoder).value();
}

std::string refusal(const EncoderOptions& options) {
    auto encoder = Encoder::create(options);
    REQUIRE_FALSE(encoder.ok());
    REQUIRE(encoder.error().code == Errc::invalid_argument);
    return encoder.error().message;
}

}  // namespace

TEST_CASE("an encoder refuses values out of their range and says what was expected") {
    EncoderOptions options;
    options.bitrate = 0;
    CHECK(refusal(options) == "bitrate 0: expected 500 to 510000 bit/s");
    options.bitrate = 510'001;
    CHECK(refusal(options) == "bitrate 510001: expected 500 to 510000 bit/s");
    options = {};
    options.complexity = 11;
    CHECK(refusal(options) == "complexity 11: expected 0 to 10");
    options.complexity = -1;
    CHECK(refusal(options) == "complexity -1: expected 0 to 10");
    options = {};
    options.expected_loss = 1.5;
    CHECK(refusal(options) == "expected loss 1.5: expected 0 to 1");
    options.expected_loss = std::numeric_limits<double>::quiet_NaN();
    CHECK(refusal(options) == "expected loss nan: expected 0 to 1");
}

TEST_CASE("the ends of every range are accepted") {
    for (const int bitrate : {500, 510'000}) {
        for (const int complexity : {0, 10}) {
            for (const double loss : {0.0, 1.0}) {
                EncoderOptions options;
                options.bitrate = bitrate;
                options.complexity = complexity;
                options.expected_loss = loss;
                options.fec = loss > 0.0;
                auto encoder = make(options);
                CHECK_FALSE(encode(encoder, tone_frame(0)).empty());
            }
        }
    }
}

TEST_CASE("every option reaches libopus: it shows in the packets") {
    EncoderOptions options;
    options.rate_mode = RateMode::cbr;
    auto cbr = make(options);
    for (int i = 0; i < 5; ++i) REQUIRE(encode(cbr, tone_frame(i)).size() == 320);
    options = {};
    options.max_bandwidth = Bandwidth::wide;
    auto wide = make(options);
    // Configurations 20 to 23 are CELT wideband, 8 to 11 SILK wideband.
    const unsigned config = encode(wide, tone_frame(0))[0] >> 3U;
    REQUIRE((config / 4 == 5 || config / 4 == 2));
    options = {};
    options.dtx = true;
    options.application = Application::voip;
    options.bitrate = 16'000;
    auto dtx = make(options);
    std::size_t smallest = 1'000;
    for (int i = 0; i < 60; ++i) {
        smallest = std::min(smallest, encode(dtx, Frame(kFrameValues, 0.0F)).size());
    }
    REQUIRE(smallest <= 2);
    options = {};
    options.fec = true;
    options.expected_loss = 0.15;
    options.bitrate = 32'000;
    options.signal = Signal::voice;
    auto fec = make(options);
    REQUIRE(audio::parse_opus_packet(encode(fec, tone_frame(0)))->mode != audio::OpusMode::celt);
}

TEST_CASE("the look-ahead is what libopus says for each application") {
    REQUIRE(make().lookahead() == Samples{312});
    EncoderOptions options;
    options.application = Application::voip;
    REQUIRE(make(options).lookahead() == Samples{312});
    options.application = Application::low_delay;
    REQUIRE(make(options).lookahead() == Samples{120});
}

TEST_CASE("an encoder that is put back repeats itself bit for bit") {
    for (const int bitrate : {24'000, 128'000}) {  // a SILK hybrid and CELT
        EncoderOptions options;
        options.bitrate = bitrate;
        auto encoder = make(options);
        for (int i = 0; i < 7; ++i) (void)encode(encoder, tone_frame(i));
        std::vector<std::byte> state(encoder.state_bytes());
        encoder.save(state);
        std::vector<std::vector<std::uint8_t>> first;
        for (int i = 7; i < 20; ++i) first.push_back(encode(encoder, tone_frame(i)));
        encoder.set_bitrate(300'000);
        for (int i = 0; i < 5; ++i) (void)encode(encoder, tone_frame(i, 900.0));
        encoder.restore(state);
        for (int i = 7; i < 20; ++i) {
            REQUIRE(encode(encoder, tone_frame(i)) == first[static_cast<std::size_t>(i - 7)]);
        }
    }
}

TEST_CASE("a reset encoder is as new") {
    auto used = make();
    auto fresh = make();
    for (int i = 0; i < 9; ++i) (void)encode(used, tone_frame(i, 300.0));
    used.set_bitrate(64'000);
    used.set_prediction_disabled(true);
    used.imitate(std::uint8_t{0x48});  // SILK
    used.reset();
    for (int i = 0; i < 9; ++i)
        REQUIRE(encode(used, tone_frame(i)) == encode(fresh, tone_frame(i)));
}

TEST_CASE("an encoder imitates mode, bandwidth and channels of another's packets") {
    auto encoder = make();
    for (const unsigned config : {9U, 13U, 15U, 23U, 27U, 31U}) {  // the 20 ms ones but config 9
        for (const unsigned stereo : {0U, 4U}) {
            const auto toc = static_cast<std::uint8_t>(config << 3U | stereo);
            encoder.reset();
            encoder.imitate(toc);
            std::vector<std::uint8_t> packet;
            for (int i = 0; i < 5; ++i) packet = encode(encoder, tone_frame(i));
            INFO(config);
            CHECK((packet[0] & 0xFCU) == toc);
        }
    }
}

TEST_CASE("a decoder that is put back repeats itself bit for bit") {
    auto encoder = make();
    std::vector<std::vector<std::uint8_t>> packets;
    for (int i = 0; i < 20; ++i) packets.push_back(encode(encoder, tone_frame(i)));
    auto decoder = std::move(Decoder::create()).value();
    Frame pcm(kFrameValues);
    for (std::size_t i = 0; i < 10; ++i)
        REQUIRE(decoder.decode(packets[i], pcm) == CodecStatus::ok);
    std::vector<std::byte> state(decoder.state_bytes());
    decoder.save(state);
    auto clone = std::move(Decoder::create()).value();
    clone.copy_from(decoder);
    REQUIRE(decoder.decode(packets[10], pcm) == CodecStatus::ok);
    const Frame expected = pcm;
    REQUIRE(clone.decode(packets[10], pcm) == CodecStatus::ok);
    REQUIRE(pcm == expected);
    (void)decoder.decode(packets[3], pcm);
    decoder.restore(state);
    REQUIRE(decoder.decode(packets[10], pcm) == CodecStatus::ok);
    REQUIRE(pcm == expected);
}

TEST_CASE("a decoder refuses a packet of another length than asked for") {
    auto encoder = make();
    const auto packet = encode(encoder, tone_frame(0));
    auto decoder = std::move(Decoder::create()).value();
    Frame pcm(kFrameValues / 2);
    REQUIRE(decoder.decode(packet, pcm) == CodecStatus::failed);
    pcm.resize(kFrameValues * 2);
    REQUIRE(decoder.decode(packet, pcm) == CodecStatus::failed);
    REQUIRE(decoder.decode({}, pcm) == CodecStatus::failed);
}

TEST_CASE("a lost packet is concealed by something like the sound before it") {
    auto encoder = make();
    auto decoder = std::move(Decoder::create()).value();
    Frame pcm(kFrameValues);
    for (int i = 0; i < 20; ++i) {
        REQUIRE(decoder.decode(encode(encoder, tone_frame(i)), pcm) == CodecStatus::ok);
    }
    decoder.conceal(pcm);
    float loudest = 0.0F;
    for (const float value : pcm) loudest = std::max(loudest, std::abs(value));
    REQUIRE(loudest > 0.1F);
    REQUIRE(loudest < 1.0F);
}

TEST_CASE("not a number and beyond full scale go in, and packets come out") {
    auto encoder = make();
    REQUIRE_FALSE(encode(encoder, Frame(kFrameValues, std::nanf(""))).empty());
    REQUIRE_FALSE(encode(encoder, Frame(kFrameValues, 1e30F)).empty());
    REQUIRE_FALSE(
        encode(encoder, Frame(kFrameValues, std::numeric_limits<float>::infinity())).empty());
    for (int i = 0; i < 10; ++i) (void)encode(encoder, tone_frame(i));
    auto decoder = std::move(Decoder::create()).value();
    Frame pcm(kFrameValues);
    for (int i = 10; i < 20; ++i) {
        REQUIRE(decoder.decode(encode(encoder, tone_frame(i)), pcm) == CodecStatus::ok);
    }
    for (const float value : pcm) REQUIRE(std::abs(value) < 1.0F);  // the damage does not stay
}

TEST_CASE("libopus' numbers become our errors in words") {
    const Error error = translate(-4, "reading a packet");
    REQUIRE(error.code == Errc::corrupt);
    REQUIRE(error.native == -4);
    REQUIRE(error.message == "reading a packet: libopus says \"corrupted stream\"");
    REQUIRE(library_version().starts_with("libopus "));
}
