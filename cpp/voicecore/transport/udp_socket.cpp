#include "voicecore/transport/udp_socket.hpp"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <memory>
#include <optional>
#include <utility>

namespace voicecore::transport {
namespace {

struct FreeAddresses {
    void operator()(addrinfo* list) const noexcept { ::freeaddrinfo(list); }
};
using Addresses = std::unique_ptr<addrinfo, FreeAddresses>;

std::string join(const std::string& host, int port) {
    const bool literal6 = host.find(':') != std::string::npos;
    return (literal6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

Errc code_of(int error) noexcept {
    switch (error) {
        case EADDRINUSE:
            return Errc::address_in_use;
        case EACCES:
        case EPERM:
            return Errc::permission;
        case EADDRNOTAVAIL:
            return Errc::not_found;
        default:
            return Errc::io;
    }
}

Error socket_error(const std::string& what, int error) {
    return {code_of(error), error, what + ": " + system_message(error)};
}

Error lookup_error(const std::string& host, int result) {
    if (result == EAI_SYSTEM) return socket_error("looking up '" + host + "'", errno);
    const auto code = result == EAI_AGAIN ? Errc::timeout : Errc::not_found;
    return {code, 0, "looking up '" + host + "': " + ::gai_strerror(result)};
}

Result<Addresses> look_up(const std::string& host, int port, int flags) {
    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_DGRAM;
    hints.ai_flags = AI_NUMERICSERV | flags;
    addrinfo* list = nullptr;
    const int result = ::getaddrinfo(host.empty() ? nullptr : host.c_str(),
                                     std::to_string(port).c_str(), &hints, &list);
    if (result != 0) return lookup_error(host, result);
    return Addresses{list};
}

struct Endpoint {
    std::string host;
    std::uint16_t port = 0;
};

using GetName = int (*)(int, sockaddr*, socklen_t*);

std::optional<Endpoint> name_of(int fd, GetName get) {
    sockaddr_storage storage{};
    socklen_t size = sizeof(storage);
    auto* address = reinterpret_cast<sockaddr*>(&storage);
    if (get(fd, address, &size) != 0) return std::nullopt;
    std::array<char, NI_MAXHOST> host{};
    std::array<char, NI_MAXSERV> port{};
    if (::getnameinfo(address, size, host.data(), host.size(), port.data(), port.size(),
                      NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
        return std::nullopt;
    }
    return Endpoint{host.data(), static_cast<std::uint16_t>(std::stoi(port.data()))};
}

void mark(int fd, int family, int dscp) noexcept {
    if (dscp == 0) return;
    const int value = dscp << 2;  // the two low bits of the octet belong to ECN
    if (family == AF_INET6) {
        ::setsockopt(fd, IPPROTO_IPV6, IPV6_TCLASS, &value, sizeof(value));
    } else {
        ::setsockopt(fd, IPPROTO_IP, IP_TOS, &value, sizeof(value));
    }
}

UdpSocket describe(Fd fd) {
    UdpSocket out;
    if (const auto local = name_of(fd.get(), ::getsockname)) {
        out.local_host = local->host;
        out.local_port = local->port;
    }
    if (const auto peer = name_of(fd.get(), ::getpeername)) out.peer = join(peer->host, peer->port);
    out.fd = std::move(fd);
    return out;
}

using Attach = int (*)(int, const sockaddr*, socklen_t);

// The first address of the list that can be attached to (connect or bind).
Result<UdpSocket> first_that_works(const addrinfo* list, Attach attach, int dscp,
                                   const std::string& what) {
    int error = EADDRNOTAVAIL;
    for (const addrinfo* at = list; at != nullptr; at = at->ai_next) {
        Fd fd{::socket(at->ai_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
        if (!fd) {
            error = errno;
            continue;
        }
        mark(fd.get(), at->ai_family, dscp);
        if (attach(fd.get(), at->ai_addr, at->ai_addrlen) == 0) return describe(std::move(fd));
        error = errno;
    }
    return socket_error(what, error);
}

}  // namespace

Result<UdpSocket> connect_udp(const std::string& host, int port, int dscp) {
    if (host.empty())
        return Error{Errc::invalid_argument, 0, "no host: expected a name or address"};
    if (port < 1 || port > 65'535) {
        return Error{Errc::invalid_argument, 0,
                     "port " + std::to_string(port) + ": expected 1 to 65535"};
    }
    auto addresses = look_up(host, port, 0);
    if (!addresses) return std::move(addresses).error();
    return first_that_works(addresses.value().get(), ::connect, dscp,
                            "connecting to " + join(host, port));
}

Result<UdpSocket> adopt_udp(int fd, int dscp) {
    const std::string what = "file descriptor " + std::to_string(fd);
    const auto invalid = [&what](int error, const std::string& why) {
        return Error{Errc::invalid_argument, error, what + ": " + why};
    };
    int type = 0;
    int family = 0;
    for (const auto& [option, value] : {std::pair{SO_TYPE, &type}, std::pair{SO_DOMAIN, &family}}) {
        socklen_t size = sizeof(*value);
        if (::getsockopt(fd, SOL_SOCKET, option, value, &size) != 0) {
            const int error = errno;
            return invalid(error, system_message(error));
        }
    }
    if (type != SOCK_DGRAM || (family != AF_INET && family != AF_INET6)) {
        return invalid(0, "expected a UDP socket");
    }
    if (!name_of(fd, ::getpeername)) return invalid(ENOTCONN, "expected a connected socket");
    Fd copy{::fcntl(fd, F_DUPFD_CLOEXEC, 0)};
    if (!copy) return socket_error("duplicating " + what, errno);
    mark(copy.get(), family, dscp);
    return describe(std::move(copy));
}

Result<UdpSocket> bind_udp(const std::string& host, int port) {
    if (port < 0 || port > 65'535) {
        return Error{Errc::invalid_argument, 0,
                     "port " + std::to_string(port) + ": expected 0 to 65535"};
    }
    auto addresses = look_up(host, port, AI_PASSIVE);
    if (!addresses) return std::move(addresses).error();
    // No SO_REUSEADDR: with it, two UDP sockets would share the port and each miss what the other
    // got.
    return first_that_works(addresses.value().get(), ::bind, 0, "binding " + join(host, port));
}

}  // namespace voicecore::transport
