#include "voicecore/codec/packet_lengths.hpp"

#include <algorithm>
#include <string_view>

#include "voicecore/codec/allow_list.hpp"

namespace voicecore::codec {
namespace {

std::uint32_t little32(const std::uint8_t* b) noexcept {
    return std::uint32_t{b[0]} | std::uint32_t{b[1]} << 8U | std::uint32_t{b[2]} << 16U |
           std::uint32_t{b[3]} << 24U;
}

// A quarter of the short block: every length is a multiple of it. 0 when that is finer than
// milliseconds can tell, or the header is not there.
std::int64_t vorbis_grid(const AVCodecParameters& parameters) noexcept {
    constexpr std::string_view kMagic = "\x01vorbis";
    constexpr std::size_t kBlockSizes = 28;
    const std::string_view headers{reinterpret_cast<const char*>(parameters.extradata),
                                   static_cast<std::size_t>(parameters.extradata_size)};
    const auto at = headers.find(kMagic);
    if (at == std::string_view::npos || headers.size() < at + kBlockSizes + 1) return 0;
    const std::int64_t grid = (1LL << (headers[at + kBlockSizes] & 15)) / 4;
    return grid * 1'000 > parameters.sample_rate ? grid : 0;
}

}  // namespace

Trims trims_of(const AVPacket& packet) noexcept {
    std::size_t size = 0;
    const auto* data = av_packet_get_side_data(&packet, AV_PKT_DATA_SKIP_SAMPLES, &size);
    if (data == nullptr || size < 8) return {};
    return {little32(data), little32(data + 4)};
}

std::int64_t packet_samples(const AVCodecParameters& parameters) noexcept {
    switch (parameters.codec_id) {
        case AV_CODEC_ID_OPUS:
            return 120;  // 2.5 ms, of which every packet is a multiple
        case AV_CODEC_ID_AAC:
            return parameters.frame_size > 0 ? parameters.frame_size : 1024;
        case AV_CODEC_ID_MP3:
            return parameters.sample_rate >= 32'000 ? 1152 : 576;
        case AV_CODEC_ID_AC3:
        case AV_CODEC_ID_EAC3:
            return 1536;
        case AV_CODEC_ID_VORBIS:
            return vorbis_grid(parameters);
        default:
            return parameters.frame_size;
    }
}

std::int64_t block_samples(const AVInputFormat& format, const AVCodecParameters& parameters) {
    const bool coded = parameters.codec_id == AV_CODEC_ID_ADPCM_MS ||
                       parameters.codec_id == AV_CODEC_ID_ADPCM_IMA_WAV ||
                       parameters.codec_id == AV_CODEC_ID_ADPCM_IMA_QT;
    if (!coded || parameters.block_align <= 0 || !allowed(format.name, "wav,w64,aiff")) return 0;
    AVCodecParameters copy = parameters;  // not const for libavcodec
    return std::max(av_get_audio_frame_duration2(&copy, parameters.block_align), 0);
}

}  // namespace voicecore::codec
