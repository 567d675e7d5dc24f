#include "voicecore/codec/flac_header.hpp"

extern "C" {
#include <libavutil/crc.h>
}

#include <array>
#include <string_view>

namespace voicecore::codec {
namespace {

using Bytes = std::span<const std::uint8_t>;

constexpr std::array kRates{0,      88'200, 176'400, 192'000, 8'000,  16'000,
                            22'050, 24'000, 32'000,  44'100,  48'000, 96'000};
constexpr std::array kBits{0, 8, 12, -1, 16, 20, 24, 32};

int big16(const std::uint8_t* b) noexcept {
    return b[0] << 8 | b[1];
}

// The number of the frame or of its first sample, in the way of UTF-8, but up to 36 bits.
std::optional<std::int64_t> take_number(Bytes bytes, std::size_t& at) noexcept {
    const std::uint8_t first = bytes[at++];
    if (first < 0x80) return first;
    if (first < 0xC0 || first == 0xFF) return std::nullopt;
    int more = 1;
    while (more < 6 && (first & 0x40 >> more) != 0) ++more;
    std::int64_t number = first & (0x3F >> more);
    for (; more > 0; --more) {
        const std::uint8_t next = bytes[at++];
        if ((next & 0xC0U) != 0x80) return std::nullopt;
        number = number << 6 | (next & 0x3F);
    }
    return number;
}

// Of the bytes behind those that gave `before`; 0 behind whole frames.
std::uint32_t checksum(Bytes bytes, std::uint32_t before) noexcept {
    return av_crc(av_crc_get_table(AV_CRC_16_ANSI), before, bytes.data(), bytes.size());
}

}  // namespace

std::optional<FlacInfo> parse_flac_begin(Bytes b) noexcept {
    constexpr std::string_view kMagic{"fLaC"};
    constexpr int kInfoBytes = 34;
    constexpr int kSmallestBlock = 16;
    if (b.size() < kFlacBeginBytes ||
        std::string_view{reinterpret_cast<const char*>(b.data()), 4} != kMagic ||
        (b[4] & 0x7FU) != 0 || b[5] != 0 || big16(&b[6]) != kInfoBytes) {
        return std::nullopt;
    }
    const auto* info = &b[8];
    FlacInfo out;
    out.largest_block = big16(info + 2);
    out.largest_frame = info[7] << 16 | big16(info + 8);
    out.rate = info[10] << 12 | info[11] << 4 | info[12] >> 4;
    out.channels = (info[12] >> 1 & 7) + 1;
    out.bits = ((info[12] & 1) << 4 | info[13] >> 4) + 1;
    out.samples =
        std::int64_t{info[13] & 15} << 32 | std::int64_t{big16(info + 14)} << 16 | big16(info + 16);
    const int smallest = big16(info);
    if (smallest < kSmallestBlock || out.largest_block < smallest || out.rate == 0 ||
        out.bits < 4) {
        return std::nullopt;
    }
    return out;
}

std::optional<FlacFrame> parse_flac_frame(Bytes b, const FlacInfo& info) noexcept {
    if (b.size() < kFlacHeaderBytes || b[0] != 0xFF || (b[1] & 0xFEU) != 0xF8) return std::nullopt;
    const unsigned block_code = b[2] >> 4U;
    const unsigned rate_code = b[2] & 15U;
    const unsigned channel_code = b[3] >> 4U;
    const int bits = kBits[b[3] >> 1U & 7U];
    const int channels = channel_code < 8 ? static_cast<int>(channel_code) + 1 : 2;
    if (block_code == 0 || rate_code == 15 || channel_code > 10 || (b[3] & 1U) != 0 ||
        channels != info.channels || (bits != 0 && bits != info.bits)) {
        return std::nullopt;
    }
    std::size_t at = 4;
    const auto number = take_number(b, at);
    if (!number) return std::nullopt;
    FlacFrame frame;
    if (block_code == 1) {
        frame.samples = 192;
    } else if (block_code < 6) {
        frame.samples = 144 << block_code;
    } else if (block_code == 6) {
        frame.samples = b[at++] + 1;
    } else if (block_code == 7) {
        frame.samples = big16(&b[at]) + 1;
        at += 2;
    } else {
        frame.samples = 1 << block_code;
    }
    int rate = rate_code < kRates.size() ? kRates[rate_code] : 0;
    if (rate_code == 12) {
        rate = b[at++] * 1'000;
    } else if (rate_code > 12) {
        rate = big16(&b[at]) * (rate_code == 13 ? 1 : 10);
        at += 2;
    }
    if ((rate_code != 0 && rate != info.rate) || frame.samples > info.largest_block) {
        return std::nullopt;
    }
    if (av_crc(av_crc_get_table(AV_CRC_8_ATM), 0, b.data(), at) != b[at]) return std::nullopt;
    const bool counts_samples = (b[1] & 1U) != 0;
    frame.start = counts_samples ? *number : *number * info.largest_block;
    return frame;
}

std::optional<std::size_t> flac_frame_size(Bytes bytes) noexcept {
    const std::string_view text{reinterpret_cast<const char*>(bytes.data()), bytes.size()};
    std::optional<std::size_t> before_tag;
    std::uint32_t sum = 0;
    std::size_t summed = 0;
    // Each byte is summed once, however many tags there seem to be.
    for (auto at = text.find_first_of("ITA"); at != std::string_view::npos && !before_tag;
         at = text.find_first_of("ITA", at + 1)) {
        const auto rest = text.substr(at);
        const bool tag =
            rest.starts_with("ID3") || rest.starts_with("TAG") || rest.starts_with("APETAGEX");
        if (!tag || at == 0) continue;
        sum = checksum(bytes.subspan(summed, at - summed), sum);
        summed = at;
        if (sum == 0) before_tag = at;
    }
    if (checksum(bytes.subspan(summed), sum) == 0) return bytes.size();
    return before_tag;
}

}  // namespace voicecore::codec
