#include "voicecore/audio/opus_packet.hpp"

namespace voicecore::audio {
namespace {

// Frame size by the five configuration bits, RFC 6716 table 2, in samples at 48 kHz.
int frame_samples_of(unsigned config) noexcept {
    constexpr std::array kSilk{480, 960, 1920, 2880};
    constexpr std::array kHybrid{480, 960};
    constexpr std::array kCelt{120, 240, 480, 960};
    if (config < 12) return kSilk[config & 3U];
    if (config < 16) return kHybrid[config & 1U];
    return kCelt[config & 3U];
}

OpusMode mode_of(unsigned config) noexcept {
    if (config < 12) return OpusMode::silk;
    return config < 16 ? OpusMode::hybrid : OpusMode::celt;
}

// Reads a frame length (section 3.2.1) and moves past it; -1 when the bytes run out.
int read_length(std::span<const std::uint8_t>& rest) noexcept {
    if (rest.empty()) return -1;
    const int first = rest[0];
    if (first < 252) {
        rest = rest.subspan(1);
        return first;
    }
    if (rest.size() < 2) return -1;
    const int length = 4 * rest[1] + first;
    rest = rest.subspan(2);
    return length;
}

bool fits_frame(std::size_t bytes) noexcept {
    return bytes <= kMaxOpusFrameBytes;
}

// Code 3: an arbitrary number of frames, VBR or CBR, with optional padding (section 3.2.5).
bool valid_code_3(std::span<const std::uint8_t> rest, OpusPacketInfo& info) noexcept {
    if (rest.empty()) return false;
    const std::uint8_t header = rest[0];
    rest = rest.subspan(1);
    info.frame_count = header & 0x3F;
    if (info.frame_count == 0 || info.samples() > kMaxOpusPacketSamples) return false;
    if ((header & 0x40) != 0) {
        std::size_t padding = 0;
        std::uint8_t step = 255;
        while (step == 255) {
            if (rest.empty()) return false;
            step = rest[0];
            rest = rest.subspan(1);
            padding += step == 255 ? 254U : step;
        }
        if (padding > rest.size()) return false;
        rest = rest.first(rest.size() - padding);
    }
    const auto count = static_cast<std::size_t>(info.frame_count);
    if ((header & 0x80) == 0) {
        return rest.size() % count == 0 && fits_frame(rest.size() / count);
    }
    std::size_t listed = 0;
    for (std::size_t i = 0; i + 1 < count; ++i) {
        const int length = read_length(rest);
        if (length < 0 || !fits_frame(static_cast<std::size_t>(length))) return false;
        listed += static_cast<std::size_t>(length);
    }
    return listed <= rest.size() && fits_frame(rest.size() - listed);
}

}  // namespace

std::optional<OpusPacketInfo> parse_opus_packet(std::span<const std::uint8_t> bytes) noexcept {
    if (bytes.empty()) return std::nullopt;
    const unsigned config = bytes[0] >> 3U;
    OpusPacketInfo info{.toc = bytes[0],
                        .mode = mode_of(config),
                        .stereo = (bytes[0] & 0x04U) != 0,
                        .frame_samples = frame_samples_of(config),
                        .frame_count = 1};
    auto rest = bytes.subspan(1);
    bool valid = false;
    switch (bytes[0] & 0x03U) {
        case 0:
            valid = fits_frame(rest.size());
            break;
        case 1:
            info.frame_count = 2;
            valid = rest.size() % 2 == 0 && fits_frame(rest.size() / 2);
            break;
        case 2: {
            info.frame_count = 2;
            const int first = read_length(rest);
            valid = first >= 0 && static_cast<std::size_t>(first) <= rest.size() &&
                    fits_frame(static_cast<std::size_t>(first)) &&
                    fits_frame(rest.size() - static_cast<std::size_t>(first));
            break;
        }
        default:
            valid = valid_code_3(rest, info);
    }
    if (!valid) return std::nullopt;
    return info;
}

}  // namespace voicecore::audio
