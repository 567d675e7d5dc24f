// Our parser against libopus'. Both must say the same of any bytes.
#include <opus.h>

#include <random>
#include <vector>

#include "catch.hpp"
#include "voicecore/audio/opus_packet.hpp"
#include "voicecore/opus/encoder.hpp"

using voicecore::audio::parse_opus_packet;

namespace {

using Bytes = std::vector<std::uint8_t>;

void require_agreement(const Bytes& bytes) {
    const auto ours = parse_opus_packet(bytes);
    unsigned char toc = 0;
    const unsigned char* frames[48];
    opus_int16 sizes[48];
    const int theirs = opus_packet_parse(bytes.data(), static_cast<opus_int32>(bytes.size()), &toc,
                                         frames, sizes, nullptr);
    const bool agreed =
        ours.has_value() == (theirs > 0) &&
        (!ours ||
         (ours->frame_count == theirs &&
          ours->frame_samples == opus_packet_get_samples_per_frame(bytes.data(), 48'000) &&
          ours->stereo == (opus_packet_get_nb_channels(bytes.data()) == 2) && ours->toc == toc));
    if (agreed) return;
    CAPTURE(bytes);  // only now: to print a packet costs more than to parse it
    REQUIRE(agreed);
}

}  // namespace

TEST_CASE("random bytes are packets to us exactly when they are to libopus") {
    std::mt19937 random{1};
    for (int i = 0; i < 300'000; ++i) {
        Bytes bytes(1 + random() % (i % 10 == 0 ? 3'000 : 12));
        for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random());
        if (i % 3 == 0) bytes[0] |= 3;  // code 3 is where the rules are
        require_agreement(bytes);
    }
}

TEST_CASE("every first two bytes are judged as libopus does") {
    for (const std::size_t size : {1U, 2U, 3U, 10U, 400U, 2'551U, 2'552U}) {
        Bytes bytes(size, std::uint8_t{7});
        for (unsigned value = 0; value < 65'536; ++value) {
            bytes[0] = static_cast<std::uint8_t>(value);
            if (size > 1) bytes[1] = static_cast<std::uint8_t>(value >> 8U);
            require_agreement(bytes);
        }
    }
    SUCCEED("as libopus judges them");
}

TEST_CASE("no bytes are no packet") {
    REQUIRE_FALSE(parse_opus_packet({}).has_value());
}

TEST_CASE("packets that libopus made are read as what they are, cut short as libopus reads them") {
    for (const int bitrate : {12'000, 24'000, 64'000, 256'000}) {
        for (const int samples : {120, 240, 480, 960, 1'920, 2'880, 5'760}) {
            int error = 0;
            OpusEncoder* encoder = opus_encoder_create(48'000, 2, OPUS_APPLICATION_AUDIO, &error);
            opus_encoder_ctl(encoder, OPUS_SET_BITRATE(bitrate));
            std::vector<float> pcm(static_cast<std::size_t>(samples) * 2);
            for (std::size_t i = 0; i < pcm.size(); ++i) {
                pcm[i] = static_cast<float>(i * 7'919 % 1'000) / 2'000.0F;
            }
            Bytes bytes(8'000);
            const int size = opus_encode_float(encoder, pcm.data(), samples, bytes.data(), 8'000);
            opus_encoder_destroy(encoder);
            REQUIRE(size > 0);
            bytes.resize(static_cast<std::size_t>(size));
            REQUIRE(parse_opus_packet(bytes)->samples() == samples);
            for (std::size_t cut = 1; cut < bytes.size(); cut += 1 + cut / 8) {
                require_agreement(
                    Bytes(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(cut)));
            }
        }
    }
}
