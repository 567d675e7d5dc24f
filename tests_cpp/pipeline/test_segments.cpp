#include <opus.h>

#include <random>

#include "play.hpp"
#include "voicecore/pipeline/opus_segments.hpp"

using namespace test;
using voicecore::pipeline::OpusPiece;
using voicecore::pipeline::OpusSegmenter;

namespace {

// Packets of any length that libopus makes.
std::vector<Packet> encode_as(const std::vector<float>& pcm, const std::vector<int>& lengths,
                              int application = OPUS_APPLICATION_AUDIO, int bitrate = 96'000) {
    int error = 0;
    std::unique_ptr<OpusEncoder, void (*)(OpusEncoder*)> encoder{
        opus_encoder_create(48'000, 2, application, &error), opus_encoder_destroy};
    opus_encoder_ctl(encoder.get(), OPUS_SET_BITRATE(bitrate));
    std::vector<Packet> out;
    std::size_t at = 0;
    for (std::size_t i = 0;; ++i) {
        const int length = lengths[i % lengths.size()];
        if ((at + static_cast<std::size_t>(length)) * 2 > pcm.size()) return out;
        Packet packet(4'000);
        const int bytes =
            opus_encode_float(encoder.get(), &pcm[at * 2], length, packet.data(), 4'000);
        REQUIRE(bytes > 0);
        packet.resize(static_cast<std::size_t>(bytes));
        out.push_back(packet);
        at += static_cast<std::size_t>(length);
    }
}

struct Cut {
    std::vector<Packet> pieces;
    std::vector<int> samples;
    int copyable = 0;
    int total = 0;
};
Cut cut(const std::vector<Packet>& packets) {
    OpusSegmenter segmenter;
    Cut result;
    const auto drain = [&] {
        OpusPiece piece;
        while (segmenter.take(piece)) {
            if (piece.copyable) {
                REQUIRE(piece.samples == 960);
                REQUIRE(result.total % 960 == 0);
                ++result.copyable;
            }
            result.total += piece.samples;
            result.pieces.emplace_back(piece.bytes.begin(), piece.bytes.end());
            result.samples.push_back(piece.samples);
        }
    };
    for (const auto& packet : packets) {
        segmenter.add(packet);
        drain();
    }
    segmenter.flush();
    drain();
    REQUIRE(segmenter.held() == 0);
    return result;
}

// Cutting changes nothing that a decoder hears.
void require_same_sound(const std::vector<Packet>& packets, const Cut& result) {
    const auto a = decode(packets);
    const auto b = decode(result.pieces);
    REQUIRE(a.size() == b.size());
    REQUIRE(a == b);
}

}  // namespace

TEST_CASE("shorter packets are joined to 20 ms and decode to the same samples") {
    for (const int length : {120, 240, 480}) {
        const auto packets = encode_as(music(48'000), {length});
        const auto result = cut(packets);
        REQUIRE(result.copyable == 50);
        REQUIRE(result.pieces.size() == 50);
        require_same_sound(packets, result);
    }
}

TEST_CASE("packets of several frames are split to 20 ms and decode to the same samples") {
    for (const int length : {1'920, 2'880, 5'760}) {
        const auto packets = encode_as(music(5'760 * 5), {length});
        const auto result = cut(packets);
        REQUIRE(result.copyable == 5'760 * 5 / 960);
        require_same_sound(packets, result);
    }
}

TEST_CASE("a SILK frame of 60 ms is left whole, to be decoded") {
    const auto packets = encode_as(speech(48'000), {2'880}, OPUS_APPLICATION_VOIP, 12'000);
    REQUIRE(voicecore::audio::parse_opus_packet(packets[3])->frame_samples == 2'880);
    const auto result = cut(packets);
    REQUIRE(result.copyable == 0);
    require_same_sound(packets, result);
}

TEST_CASE("mixed lengths come out complete, joined where they meet the grid") {
    for (const std::vector<int>& lengths : std::vector<std::vector<int>>{
             {480, 960, 480}, {120, 240, 480, 120}, {960, 960, 480, 480}, {2'880, 120, 960}}) {
        const auto packets = encode_as(music(48'000), lengths);
        const auto result = cut(packets);
        require_same_sound(packets, result);
    }
}

TEST_CASE("10 ms packets of different kinds are not joined") {
    const auto celt = encode_as(music(4'800), {480});
    const auto silk = encode_as(speech(4'800), {480}, OPUS_APPLICATION_VOIP, 12'000);
    REQUIRE(cut({celt[4], silk[4]}).copyable == 0);
    REQUIRE(cut({celt[4], celt[5]}).copyable == 1);
}

TEST_CASE("a program plays packets of every length without losing or moving a sample") {
    struct Kind {
        std::vector<int> lengths;
        int application;
        int bitrate;
        bool copied;
    };
    for (const Kind& kind : std::vector<Kind>{{{480}, OPUS_APPLICATION_AUDIO, 96'000, true},
                                              {{2'880}, OPUS_APPLICATION_AUDIO, 96'000, true},
                                              {{5'760}, OPUS_APPLICATION_AUDIO, 96'000, true},
                                              {{2'880}, OPUS_APPLICATION_VOIP, 12'000, false},
                                              {{1'920}, OPUS_APPLICATION_VOIP, 12'000, false}}) {
        const auto signal =
            kind.application == OPUS_APPLICATION_VOIP ? speech(57'600) : music(57'600);
        const auto packets = encode_as(signal, kind.lengths, kind.application, kind.bitrate);
        auto source = std::make_unique<OpusFake>(packets);
        const auto media = source->media_samples();
        auto program = program_of(std::move(source));
        const auto played = play(*program);
        REQUIRE(played.last == ReadStatus::end);
        REQUIRE(played.media() == media);
        REQUIRE((played.copied() == played.packets.size()) == kind.copied);
        REQUIRE(error_db(decode(packets), decode(played.bytes()), 3, 50) <
                (kind.copied ? -100.0 : -12.0));
    }
}
