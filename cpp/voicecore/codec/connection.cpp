#include "voicecore/codec/connection.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "voicecore/codec/native_error.hpp"

namespace voicecore::codec {
namespace {

// A socket connected to one address, or why not.
Result<Fd> connect_to(const PeerAddress& peer, const std::string& name, Interrupter& interrupter,
                      TimePoint deadline) {
    Fd fd{::socket(peer.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    const std::string what = name + " (" + peer.text() + ")";
    if (fd.get() < 0) return error_from_errno(errno, what);
    const int on = 1;
    ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&peer.storage), peer.length) != 0) {
        if (errno != EINPROGRESS) return error_from_errno(errno, what);
        switch (interrupter.wait(fd.get(), POLLOUT, deadline)) {
            case WaitResult::interrupted:
                return Error{Errc::cancelled, 0, what + ": connecting was given up"};
            case WaitResult::timeout:
                return error_from_errno(ETIMEDOUT, what);
            case WaitResult::ready:
                break;
        }
        int code = 0;
        socklen_t size = sizeof code;
        ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &code, &size);
        if (code != 0) return error_from_errno(code, what);
    }
    interrupter.touch();
    return fd;
}

std::string tls_words() {
    std::array<char, 256> text{};
    const unsigned long code = ::ERR_get_error();
    if (code == 0) return "the connection broke off";
    const char* reason = ::ERR_reason_error_string(code);
    if (reason != nullptr) return reason;
    ::ERR_error_string_n(code, text.data(), text.size());
    return text.data();
}

bool readable(const char* path) noexcept {
    return path != nullptr && ::access(path, R_OK) == 0;
}

bool is_numeric(const std::string& host) noexcept {
    return host.find(':') != std::string::npos || std::all_of(host.begin(), host.end(), [](char c) {
               return (c >= '0' && c <= '9') || c == '.';
           });
}

}  // namespace

Result<SslContextPtr> make_tls_context(const std::string& ca_file) {
    SslContextPtr context{::SSL_CTX_new(::TLS_client_method())};
    if (!context) return Error{Errc::tls, 0, "TLS cannot start: " + tls_words()};
    ::SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
    ::SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
    ::SSL_CTX_set_mode(context.get(), SSL_MODE_ENABLE_PARTIAL_WRITE);
    if (!ca_file.empty()) {
        if (::SSL_CTX_load_verify_locations(context.get(), ca_file.c_str(), nullptr) != 1) {
            ::ERR_clear_error();
            return Error{Errc::tls, 0,
                         "\"" + ca_file + "\" is not a readable file of PEM certificates"};
        }
        return context;
    }
    // The library's own places first: a hashed directory is looked into only for what is needed.
    if (readable(::X509_get_default_cert_file()) || readable(::X509_get_default_cert_dir())) {
        ::SSL_CTX_set_default_verify_paths(context.get());
        return context;
    }
    for (const char* bundle :
         {"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
          "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/etc/ssl/ca-bundle.pem",
          "/etc/ssl/cert.pem"}) {
        if (readable(bundle) &&
            ::SSL_CTX_load_verify_locations(context.get(), bundle, nullptr) == 1) {
            return context;
        }
    }
    return Error{Errc::tls, 0, "this system has no certificate authorities; name a file of them"};
}

Result<std::unique_ptr<Connection>> Connection::open(const Url& url, const ConnectOptions& options,
                                                     SSL_CTX* tls) {
    auto& interrupter = *options.interrupter;
    interrupter.touch();
    auto found = look_up(url.host, url.port);
    if (interrupter.interrupted()) return Error{Errc::cancelled, 0, "connecting was given up"};
    if (!found) return std::move(found).error();
    interrupter.touch();
    auto& peers = found.value();
    if (!options.allow_private) {
        const std::string first = peers.front().text();
        std::erase_if(peers, [](const PeerAddress& peer) { return !is_public(peer); });
        if (peers.empty()) {
            return Error{Errc::refused, 0,
                         url.authority() + " is at " + first +
                             ", which is not a public address, and only those are allowed"};
        }
    }
    const SteadyClock clock;
    const TimePoint last = clock.now() + options.timeout;
    Result<Fd> connected = Error{Errc::io, 0, url.authority() + ": no address"};
    for (std::size_t i = 0; i < peers.size(); ++i) {
        const auto share = (last - clock.now()) / static_cast<std::int64_t>(peers.size() - i);
        connected = connect_to(peers[i], url.authority(), interrupter, clock.now() + share);
        if (connected || connected.error().code == Errc::cancelled) break;
    }
    if (!connected) return std::move(connected).error();
    auto connection =
        std::make_unique<Connection>(Key{}, std::move(connected).value(), url, options);
    if (url.tls) {
        if (auto started = connection->start_tls(url, *tls); !started)
            return std::move(started).error();
    }
    return connection;
}

TimePoint Connection::deadline() const noexcept {
    return SteadyClock{}.now() + options_.timeout;
}

Status Connection::wait(short events, TimePoint until) {
    switch (options_.interrupter->wait(fd_.get(), events, until)) {
        case WaitResult::ready:
            return Done{};
        case WaitResult::interrupted:
            return Error{Errc::cancelled, 0, name_ + ": the transfer was given up"};
        case WaitResult::timeout:
            break;
    }
    return Error{Errc::timeout, ETIMEDOUT,
                 name_ + " said nothing for " + std::to_string(options_.timeout.count()) + " ms"};
}

Status Connection::start_tls(const Url& url, SSL_CTX& tls) {
    ::ERR_clear_error();
    ssl_.reset(::SSL_new(&tls));
    if (!ssl_ || ::SSL_set_fd(ssl_.get(), fd_.get()) != 1) {
        return Error{Errc::tls, 0, name_ + ": TLS cannot start: " + tls_words()};
    }
    if (is_numeric(url.host)) {
        ::X509_VERIFY_PARAM_set1_ip_asc(::SSL_get0_param(ssl_.get()), url.host.c_str());
    } else {
        ::SSL_set_hostflags(ssl_.get(), X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
        ::SSL_set1_host(ssl_.get(), url.host.c_str());
        ::SSL_set_tlsext_host_name(ssl_.get(), url.host.c_str());
    }
    constexpr std::array<unsigned char, 9> kHttp11{8, 'h', 't', 't', 'p', '/', '1', '.', '1'};
    ::SSL_set_alpn_protos(ssl_.get(), kHttp11.data(), kHttp11.size());
    const TimePoint until = deadline();
    for (;;) {
        ::ERR_clear_error();
        const int result = ::SSL_connect(ssl_.get());
        if (result == 1) return Done{};
        const long verdict = ::SSL_get_verify_result(ssl_.get());
        if (verdict != X509_V_OK) {
            return Error{Errc::tls, static_cast<int>(verdict),
                         name_ + ": the certificate is not trusted: " +
                             ::X509_verify_cert_error_string(verdict)};
        }
        if (auto settled = settle(result, until); !settled) {
            const bool ours =
                settled.error().code == Errc::cancelled || settled.error().code == Errc::timeout;
            if (ours) return settled;
            return Error{Errc::tls, settled.error().native,
                         name_ + ": the TLS handshake failed: " + settled.error().message};
        }
    }
}

Status Connection::settle(int result, TimePoint until) {
    const int system = errno;
    switch (::SSL_get_error(ssl_.get(), result)) {
        case SSL_ERROR_WANT_READ:
            return wait(POLLIN, until);
        case SSL_ERROR_WANT_WRITE:
            return wait(POLLOUT, until);
        case SSL_ERROR_ZERO_RETURN:
            closed_ = true;
            return Done{};
        case SSL_ERROR_SYSCALL:
            if (system != 0) return error_from_errno(system, name_);
            return Error{Errc::io, ECONNRESET, name_ + " broke off the connection"};
        default:
            return Error{Errc::io, EPROTO, name_ + ": " + tls_words()};
    }
}

Result<std::size_t> Connection::read(std::span<std::uint8_t> into) {
    const TimePoint until = deadline();
    options_.interrupter->touch();
    while (!closed_) {
        if (ssl_) {
            ::ERR_clear_error();
            errno = 0;
            std::size_t count = 0;
            const int result = ::SSL_read_ex(ssl_.get(), into.data(), into.size(), &count);
            if (result == 1) return count;
            if (auto settled = settle(result, until); !settled) return std::move(settled).error();
            continue;
        }
        const auto got = ::recv(fd_.get(), into.data(), into.size(), 0);
        if (got > 0) return static_cast<std::size_t>(got);
        if (got == 0) {
            closed_ = true;
        } else if (errno == EAGAIN) {
            if (auto waited = wait(POLLIN, until); !waited) return std::move(waited).error();
        } else if (errno != EINTR) {
            return error_from_errno(errno, name_);
        }
    }
    return std::size_t{0};
}

Status Connection::write(std::string_view bytes) {
    const TimePoint until = deadline();
    while (!bytes.empty()) {
        std::size_t sent = 0;
        if (ssl_) {
            ::ERR_clear_error();
            errno = 0;
            const int result = ::SSL_write_ex(ssl_.get(), bytes.data(), bytes.size(), &sent);
            if (result != 1) {
                if (auto settled = settle(result, until); !settled) return settled;
                if (closed_) return error_from_errno(EPIPE, name_);
            }
        } else {
            const auto got = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (got > 0) {
                sent = static_cast<std::size_t>(got);
            } else if (errno == EAGAIN) {
                if (auto waited = wait(POLLOUT, until); !waited) return waited;
            } else if (errno != EINTR) {
                return error_from_errno(errno, name_);
            }
        }
        bytes.remove_prefix(sent);
    }
    return Done{};
}

}  // namespace voicecore::codec
