// Peers: looking names up, and telling public addresses from private ones.
#pragma once

#include <sys/socket.h>

#include <string>
#include <vector>

#include "voicecore/base/result.hpp"

namespace voicecore::codec {

struct PeerAddress {
    sockaddr_storage storage{};
    socklen_t length = 0;
    [[nodiscard]] int family() const noexcept { return storage.ss_family; }
    [[nodiscard]] std::string text() const;  // numeric, without the port
};

// Blocks for as long as the system's resolver likes; nothing can interrupt it.
[[nodiscard]] Result<std::vector<PeerAddress>> look_up(const std::string& host, std::uint16_t port);

// True only for addresses of the public Internet: not loopback, private, link-local, unique-local,
// shared (RFC 6598), documentation, benchmark, multicast or reserved ones, nor IPv6 forms that
// embed one of those.
[[nodiscard]] bool is_public(const PeerAddress& address) noexcept;

}  // namespace voicecore::codec
