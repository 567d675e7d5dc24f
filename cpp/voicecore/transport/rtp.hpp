// RTP (RFC 3550 section 5.1) as far as voice needs it: a fixed header out, any header in.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "voicecore/base/units.hpp"

namespace voicecore::transport {

inline constexpr std::size_t kRtpHeaderBytes = 12;
inline constexpr std::uint8_t kRtpVersionByte = 0x80;  // version 2, no padding, extension or CSRC
inline constexpr std::uint8_t kRtpPayloadType = 0x78;  // 120: Opus, marker bit clear
inline constexpr std::uint8_t kRtcpFirst = 200;        // second byte of an RTCP packet, RFC 5761
inline constexpr std::uint8_t kRtcpLast = 206;

using RtpHeader = std::array<std::uint8_t, kRtpHeaderBytes>;

// Writes the header of each datagram. The first one carries the initial sequence and timestamp;
// every later one the sequence before + 1 and the timestamp before + 960 for each tick, both modulo
// their size. Not thread-safe.
class RtpPacketizer {
  public:
    explicit RtpPacketizer(std::uint32_t ssrc, std::uint16_t sequence = 0,
                           std::uint32_t timestamp = 0) noexcept
        : ssrc_{ssrc}, timestamp_{timestamp}, sequence_{sequence} {}

    // `ticks`: since the packet before; without meaning for the first one.
    [[nodiscard]] RtpHeader next(std::uint32_t ticks) noexcept;

    // Of the last header written; the initial values before.
    [[nodiscard]] std::uint16_t sequence() const noexcept { return sequence_; }
    [[nodiscard]] std::uint32_t timestamp() const noexcept { return timestamp_; }
    [[nodiscard]] std::uint32_t ssrc() const noexcept { return ssrc_; }

  private:
    std::uint32_t ssrc_;
    std::uint32_t timestamp_;
    std::uint16_t sequence_;
    bool begun_ = false;
};

// What the front of a received packet says.
struct RtpPacket {
    std::uint32_t ssrc = 0;
    std::uint32_t timestamp = 0;
    std::uint16_t sequence = 0;
    std::uint8_t payload_type = 0;
    bool marker = false;
    bool padded = false;
    std::size_t clear_bytes = 0;  // fixed header + CSRC list + 4 bytes of extension preamble if any
    std::size_t extension_bytes = 0;  // of the extension's body, which follows the clear part
};

// Null when it is not RTP version 2 or ends inside its own header. The extension's body is not
// looked for: in the rtpsize modes it is encrypted.
[[nodiscard]] std::optional<RtpPacket> parse_rtp(std::span<const std::uint8_t> datagram) noexcept;

[[nodiscard]] bool is_rtcp(std::span<const std::uint8_t> datagram) noexcept;

}  // namespace voicecore::transport
