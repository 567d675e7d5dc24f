// Any bytes: our packet parser agrees with libopus, and cutting them to the 20 ms grid neither
// crashes nor loses a sample nor makes anything that is not a packet.
#include <opus.h>

#include <cstdint>
#include <cstdlib>
#include <vector>

#include "voicecore/audio/opus_packet.hpp"
#include "voicecore/opus/decoder.hpp"
#include "voicecore/pipeline/opus_segments.hpp"

namespace {

using voicecore::audio::parse_opus_packet;

void check(bool claim) {
    if (!claim) std::abort();
}

// -1 when libopus does not accept the bytes.
int libopus_frames(std::span<const std::uint8_t> bytes) {
    unsigned char toc = 0;
    const unsigned char* frames[48];
    opus_int16 sizes[48];
    const int count = opus_packet_parse(bytes.data(), static_cast<opus_int32>(bytes.size()), &toc,
                                        frames, sizes, nullptr);
    return count > 0 ? count : -1;
}

struct Totals {
    int in = 0;
    int out = 0;
};

void drain(voicecore::pipeline::OpusSegmenter& segmenter, Totals& totals,
           voicecore::opus::Decoder& decoder) {
    static std::vector<float> pcm;
    voicecore::pipeline::OpusPiece piece;
    while (segmenter.take(piece)) {
        const auto info = parse_opus_packet(piece.bytes);
        check(info.has_value());
        check(info->samples() == piece.samples);
        check(!piece.copyable || (piece.samples == 960 && totals.out % 960 == 0 &&
                                  piece.bytes.size() <= voicecore::audio::kMaxPacketBytes));
        totals.out += piece.samples;
        pcm.resize(static_cast<std::size_t>(piece.samples) * 2);
        if (decoder.decode(piece.bytes, pcm) != voicecore::opus::CodecStatus::ok) {
            decoder.conceal(pcm);
        }
    }
    check(totals.in - totals.out == segmenter.held());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::span<const std::uint8_t> rest{data, size};
    voicecore::pipeline::OpusSegmenter segmenter;
    static auto decoder = voicecore::opus::Decoder::create();
    decoder->reset();
    Totals totals;
    // A stream: each packet is preceded by its length in two bytes.
    while (rest.size() > 2) {
        const std::size_t length =
            std::min<std::size_t>(rest.size() - 2, rest[0] | (rest[1] & 0x0FU) << 8U);
        // A copy of its own, so that reading past its end is seen.
        const std::vector<std::uint8_t> packet(rest.begin() + 2,
                                               rest.begin() + 2 + static_cast<long>(length));
        rest = rest.subspan(2 + length);
        const auto info = parse_opus_packet(packet);
        if (packet.empty()) {
            check(!info);
            continue;
        }
        const int frames = libopus_frames(packet);
        check(info.has_value() == (frames > 0));
        if (!info) continue;
        check(info->frame_count == frames);
        check(info->samples() == opus_packet_get_nb_samples(packet.data(),
                                                            static_cast<opus_int32>(packet.size()),
                                                            48'000));
        totals.in += info->samples();
        segmenter.add(packet);
        drain(segmenter, totals, *decoder);
    }
    segmenter.flush();
    drain(segmenter, totals, *decoder);
    check(segmenter.held() == 0);
    return 0;
}
