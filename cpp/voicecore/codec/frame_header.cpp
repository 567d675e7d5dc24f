#include "voicecore/codec/frame_header.hpp"

#include <array>
#include <cstring>
#include <string_view>

namespace voicecore::codec {
namespace {

using Bytes = std::span<const std::uint8_t>;

// kbit/s by version (1, then 2 and 2.5), layer and index; ISO 11172-3 2.4.2.3, ISO 13818-3 2.4.2.3.
constexpr std::array<std::array<std::array<std::int16_t, 15>, 3>, 2> kBitrates{
    {{{{0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448},
       {0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384},
       {0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320}}},
     {{{0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256},
       {0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160},
       {0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160}}}}};
constexpr std::array kMpegRates{44'100, 48'000, 32'000};
constexpr std::array kAacRates{96'000, 88'200, 64'000, 48'000, 44'100, 32'000, 24'000,
                               22'050, 16'000, 12'000, 11'025, 8'000,  7'350};

std::optional<FrameHeader> parse_mpeg(Bytes b) noexcept {
    const unsigned version_bits = b[1] >> 3U & 3U;  // 3: MPEG 1, 2: MPEG 2, 0: MPEG 2.5
    const unsigned layer = 4 - (b[1] >> 1U & 3U);   // 1 to 3
    const unsigned bitrate_index = b[2] >> 4U;
    const unsigned rate_index = b[2] >> 2U & 3U;
    // Free-format streams (bitrate index 0) do not tell their frame size; nobody makes them.
    if (version_bits == 1 || bitrate_index == 0 || bitrate_index == 15 || rate_index == 3 ||
        (b[3] & 3U) == 2) {
        return std::nullopt;
    }
    const bool first_version = version_bits == 3;
    const int shift = first_version ? 0 : version_bits == 2 ? 1 : 2;
    const int bitrate = kBitrates[first_version ? 0 : 1][layer - 1][bitrate_index] * 1000;
    const int padding = b[2] >> 1 & 1;
    FrameHeader header;
    header.rate = kMpegRates[rate_index] >> shift;
    header.bitrate = bitrate;
    header.channels = b[3] >> 6U == 3 ? 1 : 2;
    if (layer == 1) {
        header.codec = AV_CODEC_ID_MP1;
        header.samples = 384;
        header.size = (12 * bitrate / header.rate + padding) * 4;
    } else {
        header.codec = layer == 2 ? AV_CODEC_ID_MP2 : AV_CODEC_ID_MP3;
        header.samples = layer == 3 && !first_version ? 576 : 1152;
        header.size = header.samples / 8 * bitrate / header.rate + padding;
        const int side =
            first_version ? (header.channels == 1 ? 17 : 32) : (header.channels == 1 ? 9 : 17);
        header.info_at = 4 + side;
    }
    return header;
}

std::optional<FrameHeader> parse_adts(Bytes b) noexcept {
    const unsigned rate_index = b[2] >> 2U & 15U;
    const int size = (b[3] & 3) << 11 | b[4] << 3 | b[5] >> 5;
    if (rate_index >= kAacRates.size() || size < 8) return std::nullopt;
    FrameHeader header;
    header.codec = AV_CODEC_ID_AAC;
    header.rate = kAacRates[rate_index];
    header.size = size;
    header.samples = 1024 * ((b[6] & 3) + 1);
    header.channels = (b[2] & 1) << 2 | b[3] >> 6;
    return header;
}

std::int64_t big32(Bytes b) noexcept {
    return std::int64_t{b[0]} << 24 | b[1] << 16 | b[2] << 8 | b[3];
}

bool has(Bytes bytes, std::size_t at, std::string_view magic) noexcept {
    return bytes.size() >= at + magic.size() &&
           std::memcmp(bytes.data() + at, magic.data(), magic.size()) == 0;
}

}  // namespace

std::optional<FrameHeader> parse_frame_header(Bytes b) noexcept {
    if (b.size() < kFrameHeaderBytes || b[0] != 0xFF || (b[1] & 0xE0U) != 0xE0) return std::nullopt;
    if ((b[1] & 0x06U) != 0) return parse_mpeg(b);
    return (b[1] & 0xF6U) == 0xF0 ? parse_adts(b) : std::nullopt;
}

bool stands_alone(Bytes frame) noexcept {
    const bool has_checksum = frame.size() > 1 && (frame[1] & 1U) == 0;
    const std::size_t side = has_checksum ? 6 : 4;
    if (frame.size() < side + 2) return false;
    const bool first_version = (frame[1] & 8U) != 0;  // 9 bits there, 8 in the later ones
    return frame[side] == 0 && (!first_version || (frame[side + 1] & 0x80U) == 0);
}

std::optional<InfoFrame> parse_info_frame(Bytes frame, const FrameHeader& header) noexcept {
    if (header.codec != AV_CODEC_ID_MP3) return std::nullopt;
    const auto at = static_cast<std::size_t>(header.info_at);
    InfoFrame info;
    if (has(frame, 36, "VBRI") && frame.size() >= 36 + 18) {
        info.bytes = big32(frame.subspan(36 + 10));
        info.frames = big32(frame.subspan(36 + 14));
        return info;
    }
    if (!has(frame, at, "Xing") && !has(frame, at, "Info")) return std::nullopt;
    Bytes rest = frame.subspan(at + 4);
    if (rest.size() < 4) return info;
    const std::int64_t flags = big32(rest);
    rest = rest.subspan(4);
    for (const std::int64_t bit : {1, 2}) {
        if ((flags & bit) == 0 || rest.size() < 4) continue;
        (bit == 1 ? info.frames : info.bytes) = big32(rest);
        rest = rest.subspan(4);
    }
    constexpr std::size_t kToc = 100;
    const std::size_t skipped = ((flags & 4) != 0 ? kToc : 0) + ((flags & 8) != 0 ? 4U : 0U);
    if (rest.size() < skipped + 24) return info;
    rest = rest.subspan(skipped);
    if (has(rest, 0, "LAME") || has(rest, 0, "Lavc") || has(rest, 0, "Lavf")) {
        info.trims = true;
        info.delay = rest[21] << 4 | rest[22] >> 4;
        info.padding = (rest[22] & 15) << 8 | rest[23];
    }
    return info;
}

}  // namespace voicecore::codec
