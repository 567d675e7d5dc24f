// What the outside of an Opus packet says (RFC 6716 section 3), without libopus.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

#include "voicecore/base/export.hpp"
#include "voicecore/base/units.hpp"

namespace voicecore::audio {

enum class OpusMode : std::uint8_t { silk, hybrid, celt };

inline constexpr int kMaxOpusFrames = 48;            // frames in one packet, RFC 6716 section 3.2.5
inline constexpr int kMaxOpusPacketSamples = 5'760;  // 120 ms
inline constexpr std::size_t kMaxOpusFrameBytes = 1'275;

// The header of a packet that obeys every rule [R1] to [R7] of RFC 6716 section 3.4.
struct OpusPacketInfo {
    std::uint8_t toc = 0;
    OpusMode mode = OpusMode::celt;
    bool stereo = false;
    int frame_samples = 0;  // per frame and channel at 48 kHz: 120 to 2,880
    int frame_count = 0;    // 1 to 48
    [[nodiscard]] int samples() const noexcept { return frame_samples * frame_count; }
};

// Null when the bytes are not a valid packet.
[[nodiscard]] VOICECORE_EXPORT std::optional<OpusPacketInfo> parse_opus_packet(
    std::span<const std::uint8_t> bytes) noexcept;

// Room for one 20 ms packet on its way to a sink. Larger ones (several frames beyond 510 kbit/s)
// are encoded again rather than passed through: a datagram must stay below 1,460 bytes.
inline constexpr std::size_t kMaxPacketBytes = 1'400;

// 20 ms of Opus, stored inline. Copying copies the used bytes only.
class OpusPacket {
  public:
    OpusPacket() noexcept = default;
    OpusPacket(const OpusPacket& other) noexcept { assign(other.bytes()); }
    OpusPacket& operator=(const OpusPacket& other) noexcept {
        if (this != &other) assign(other.bytes());
        return *this;
    }

    // False (and unchanged) when the bytes do not fit.
    bool assign(std::span<const std::uint8_t> bytes) noexcept {
        if (bytes.size() > kMaxPacketBytes) return false;
        if (!bytes.empty()) std::memcpy(data_.data(), bytes.data(), bytes.size());
        size_ = static_cast<std::uint16_t>(bytes.size());
        return true;
    }
    // For encoders: write into storage(), then set the size.
    [[nodiscard]] std::span<std::uint8_t, kMaxPacketBytes> storage() noexcept { return data_; }
    void set_size(std::size_t size) noexcept { size_ = static_cast<std::uint16_t>(size); }

    [[nodiscard]] std::span<const std::uint8_t> bytes() const noexcept {
        return {data_.data(), size_};
    }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }

  private:
    std::uint16_t size_ = 0;
    std::array<std::uint8_t, kMaxPacketBytes> data_;  // only the first size_ bytes mean anything
};

// A stereo CELT frame of digital silence: what a sender transmits when a break starts.
inline constexpr std::array<std::uint8_t, 3> kSilenceFrame{0xF8, 0xFF, 0xFE};
inline constexpr int kSilenceFrames = 5;  // one per tick

}  // namespace voicecore::audio
