// What FLAC streams tell about themselves (RFC 9639): where one begins, and the headers of frames.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace voicecore::codec {

// STREAMINFO, section 8.2.
struct FlacInfo {
    int largest_block = 0;  // samples
    int largest_frame = 0;  // bytes; 0: not told
    int rate = 0;           // Hz
    int channels = 0;
    int bits = 0;              // per sample
    std::int64_t samples = 0;  // per channel; 0: not told
    // What frames of so many samples can be long: encoders store what they cannot make smaller.
    [[nodiscard]] double most_bytes(std::int64_t count) const noexcept {
        constexpr double kHeaders = 1.1;
        return kHeaders * static_cast<double>(count) * channels * bits / 8;
    }
};

// "fLaC" and the block that must follow.
inline constexpr std::size_t kFlacBeginBytes = 42;
[[nodiscard]] std::optional<FlacInfo> parse_flac_begin(
    std::span<const std::uint8_t> bytes) noexcept;

// Of a frame, section 9.1.
struct FlacFrame {
    std::int64_t start = 0;  // sample
    int samples = 0;
    [[nodiscard]] std::int64_t end() const noexcept { return start + samples; }
};
inline constexpr std::size_t kFlacHeaderBytes = 16;  // at most
// The header that the bytes begin with, if it is whole and fits the stream.
[[nodiscard]] std::optional<FlacFrame> parse_flac_frame(std::span<const std::uint8_t> bytes,
                                                        const FlacInfo& info) noexcept;

// Frames do not tell how long they are. The size of the one that the bytes hold, with tags behind
// it or nothing; null where no checksum agrees.
[[nodiscard]] std::optional<std::size_t> flac_frame_size(
    std::span<const std::uint8_t> bytes) noexcept;

}  // namespace voicecore::codec
