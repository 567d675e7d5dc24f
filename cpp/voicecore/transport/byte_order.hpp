// Integers to and from network byte order and Ogg's little-endian order.
#pragma once

#include <cstdint>

namespace voicecore::transport {

inline void put_u16_be(std::uint8_t* out, std::uint16_t value) noexcept {
    out[0] = static_cast<std::uint8_t>(value >> 8U);
    out[1] = static_cast<std::uint8_t>(value);
}
inline void put_u32_be(std::uint8_t* out, std::uint32_t value) noexcept {
    put_u16_be(out, static_cast<std::uint16_t>(value >> 16U));
    put_u16_be(out + 2, static_cast<std::uint16_t>(value));
}
inline void put_u64_be(std::uint8_t* out, std::uint64_t value) noexcept {
    put_u32_be(out, static_cast<std::uint32_t>(value >> 32U));
    put_u32_be(out + 4, static_cast<std::uint32_t>(value));
}
[[nodiscard]] inline std::uint16_t get_u16_be(const std::uint8_t* in) noexcept {
    return static_cast<std::uint16_t>((in[0] << 8U) | in[1]);
}
[[nodiscard]] inline std::uint32_t get_u32_be(const std::uint8_t* in) noexcept {
    return (std::uint32_t{get_u16_be(in)} << 16U) | get_u16_be(in + 2);
}

}  // namespace voicecore::transport
