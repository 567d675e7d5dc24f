#include "voicecore/transport/rtp.hpp"

#include "voicecore/transport/byte_order.hpp"

namespace voicecore::transport {

RtpHeader RtpPacketizer::next(std::uint32_t ticks) noexcept {
    if (begun_) {
        sequence_ = static_cast<std::uint16_t>(sequence_ + 1U);
        timestamp_ += static_cast<std::uint32_t>(kFrameSamples) * ticks;
    }
    begun_ = true;
    RtpHeader header;
    header[0] = kRtpVersionByte;
    header[1] = kRtpPayloadType;
    put_u16_be(&header[2], sequence_);
    put_u32_be(&header[4], timestamp_);
    put_u32_be(&header[8], ssrc_);
    return header;
}

std::optional<RtpPacket> parse_rtp(std::span<const std::uint8_t> datagram) noexcept {
    if (datagram.size() < kRtpHeaderBytes || (datagram[0] >> 6U) != 2) return std::nullopt;
    const std::size_t csrc_bytes = std::size_t{4} * (datagram[0] & 0x0FU);
    RtpPacket packet{.ssrc = get_u32_be(&datagram[8]),
                     .timestamp = get_u32_be(&datagram[4]),
                     .sequence = get_u16_be(&datagram[2]),
                     .payload_type = static_cast<std::uint8_t>(datagram[1] & 0x7FU),
                     .marker = (datagram[1] & 0x80U) != 0,
                     .padded = (datagram[0] & 0x20U) != 0,
                     .clear_bytes = kRtpHeaderBytes + csrc_bytes,
                     .extension_bytes = 0};
    if ((datagram[0] & 0x10U) != 0) {
        const std::size_t preamble = packet.clear_bytes;
        packet.clear_bytes += 4;
        if (packet.clear_bytes > datagram.size()) return std::nullopt;
        // The preamble counts its body in words of 32 bits (section 5.3.1).
        packet.extension_bytes = std::size_t{4} * get_u16_be(&datagram[preamble + 2]);
    }
    if (packet.clear_bytes > datagram.size()) return std::nullopt;
    return packet;
}

bool is_rtcp(std::span<const std::uint8_t> datagram) noexcept {
    return datagram.size() >= 8 && (datagram[0] >> 6U) == 2 && datagram[1] >= kRtcpFirst &&
           datagram[1] <= kRtcpLast;
}

}  // namespace voicecore::transport
