// Headers of streams that are nothing but frames: MPEG audio (mp3, mp2, mp1) and AAC in ADTS.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "voicecore/codec/handles.hpp"

namespace voicecore::codec {

struct FrameHeader {
    AVCodecID codec = AV_CODEC_ID_NONE;
    int size = 0;      // bytes, header included
    int samples = 0;   // per channel
    int rate = 0;      // Hz
    int bitrate = 0;   // bit/s; 0: not told (AAC)
    int channels = 0;  // 0: told inside (AAC)
    int info_at = 0;   // mp3: where an Xing header would lie
    // Bytes of a frame, on average, where all have this bitrate: padding makes up for the rest.
    [[nodiscard]] double mean_size() const noexcept { return samples / 8.0 * bitrate / rate; }
    // Frames that belong together share these.
    [[nodiscard]] bool same_stream(const FrameHeader& other) const noexcept {
        return codec == other.codec && rate == other.rate &&
               (samples == other.samples || codec == AV_CODEC_ID_AAC);
    }
};
inline constexpr std::size_t kFrameHeaderBytes = 7;  // enough to parse any

[[nodiscard]] std::optional<FrameHeader> parse_frame_header(
    std::span<const std::uint8_t> bytes) noexcept;

// The frame that encoders put first to describe the rest: Xing, Info or VBRI; with a LAME-style
// extension it also tells what to trim.
struct InfoFrame {
    std::optional<std::int64_t> frames;  // that follow it
    std::optional<std::int64_t> bytes;   // of the stream, this frame included
    bool trims = false;
    int delay = 0;    // samples that the encoder put in front
    int padding = 0;  // and behind
};
[[nodiscard]] std::optional<InfoFrame> parse_info_frame(std::span<const std::uint8_t> frame,
                                                        const FrameHeader& header) noexcept;

// Layer III: does the frame lean on nothing before it (ISO 11172-3, 2.4.1.7: main_data_begin is 0)?
// The first one of every encoder does not.
[[nodiscard]] bool stands_alone(std::span<const std::uint8_t> frame) noexcept;

// What an MPEG layer III decoder adds to the encoder's delay.
inline constexpr int kMp3DecoderDelay = 529;

}  // namespace voicecore::codec
