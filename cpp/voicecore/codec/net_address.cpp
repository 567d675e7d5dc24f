#include "voicecore/codec/net_address.hpp"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <span>

#include "voicecore/codec/native_error.hpp"

namespace voicecore::codec {
namespace {

struct AddrinfoDeleter {
    void operator()(addrinfo* list) const noexcept { ::freeaddrinfo(list); }
};

struct Block4 {
    std::uint32_t network;
    int bits;
};

// The IANA registry of special-purpose addresses, IPv4 part.
constexpr std::array kSpecial4{
    Block4{0x00000000, 8},   // this network
    Block4{0x0A000000, 8},   // private
    Block4{0x64400000, 10},  // shared between carriers, RFC 6598
    Block4{0x7F000000, 8},   // loopback
    Block4{0xA9FE0000, 16},  // link-local, with the metadata services of clouds
    Block4{0xAC100000, 12},  // private
    Block4{0xC0000000, 24},  // protocol assignments
    Block4{0xC0000200, 24},  // documentation
    Block4{0xC0586300, 24},  // former 6to4 relays
    Block4{0xC0A80000, 16},  // private
    Block4{0xC6120000, 15},  // benchmarks
    Block4{0xC6336400, 24},  // documentation
    Block4{0xCB007100, 24},  // documentation
    Block4{0xE0000000, 4},   // multicast
    Block4{0xF0000000, 4},   // reserved, and broadcast
};

bool public_v4(std::uint32_t address) noexcept {
    return std::none_of(kSpecial4.begin(), kSpecial4.end(), [address](const Block4& block) {
        return (address ^ block.network) >> (32 - block.bits) == 0;
    });
}

std::uint32_t v4_at(std::span<const std::uint8_t> b) noexcept {
    return std::uint32_t{b[0]} << 24U | std::uint32_t{b[1]} << 16U | std::uint32_t{b[2]} << 8U |
           b[3];
}

bool public_v6(std::span<const std::uint8_t, 16> b) noexcept {
    const auto begins = [b](std::initializer_list<std::uint8_t> prefix) {
        return std::equal(prefix.begin(), prefix.end(), b.begin());
    };
    // NAT64 with the well-known prefix leads to the IPv4 address inside; with the local one
    // anywhere.
    if (begins({0x00, 0x64, 0xFF, 0x9B, 0, 0, 0, 0, 0, 0, 0, 0}))
        return public_v4(v4_at(b.last(4)));
    if (begins({0x20, 0x02})) return public_v4(v4_at(b.subspan(2, 4)));  // 6to4
    // Global unicast is 2000::/3; everything else (loopback, mapped, unique-local, link-local,
    // multicast) is not.
    if ((b[0] & 0xE0U) != 0x20) return false;
    if (begins({0x20, 0x01, 0x0D, 0xB8})) return false;  // documentation
    if (begins({0x20, 0x01}) && b[2] < 2) return false;  // protocol assignments, Teredo
    return !begins({0x3F, 0xFF});                        // documentation, RFC 9637
}

}  // namespace

std::string PeerAddress::text() const {
    std::array<char, INET6_ADDRSTRLEN> out{};
    const void* from =
        family() == AF_INET
            ? static_cast<const void*>(&reinterpret_cast<const sockaddr_in*>(&storage)->sin_addr)
            : &reinterpret_cast<const sockaddr_in6*>(&storage)->sin6_addr;
    const char* text = ::inet_ntop(family(), from, out.data(), out.size());
    return text != nullptr ? text : "an address of an unknown family";
}

Result<std::vector<PeerAddress>> look_up(const std::string& host, std::uint16_t port) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_ADDRCONFIG | AI_NUMERICSERV;
    addrinfo* raw = nullptr;
    const std::string service = std::to_string(port);
    int code = ::getaddrinfo(host.c_str(), service.c_str(), &hints, &raw);
    if (code != 0) {
        // Without any configured address of the family, AI_ADDRCONFIG hides even loopback.
        hints.ai_flags = AI_NUMERICSERV;
        code = ::getaddrinfo(host.c_str(), service.c_str(), &hints, &raw);
    }
    if (code != 0) {
        const int native = code == EAI_SYSTEM ? errno : code;
        return Error{Errc::io, native,
                     "the host \"" + host + "\" was not found: " + ::gai_strerror(code)};
    }
    const std::unique_ptr<addrinfo, AddrinfoDeleter> list{raw};
    std::vector<PeerAddress> out;
    for (const addrinfo* entry = list.get(); entry != nullptr; entry = entry->ai_next) {
        if (entry->ai_family != AF_INET && entry->ai_family != AF_INET6) continue;
        PeerAddress address;
        std::memcpy(&address.storage, entry->ai_addr, entry->ai_addrlen);
        address.length = entry->ai_addrlen;
        out.push_back(address);
    }
    if (out.empty()) return Error{Errc::io, 0, "the host \"" + host + "\" has no address"};
    return out;
}

bool is_public(const PeerAddress& address) noexcept {
    if (address.family() == AF_INET) {
        return public_v4(
            ::ntohl(reinterpret_cast<const sockaddr_in*>(&address.storage)->sin_addr.s_addr));
    }
    if (address.family() != AF_INET6) return false;
    const auto& bytes = reinterpret_cast<const sockaddr_in6*>(&address.storage)->sin6_addr.s6_addr;
    return public_v6(std::span<const std::uint8_t, 16>{bytes, 16});
}

}  // namespace voicecore::codec
