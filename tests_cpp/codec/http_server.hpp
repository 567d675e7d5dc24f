// A web server on 127.0.0.1 whose answers a test writes itself, faults included.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace http_test {

struct Deleter {
    void operator()(SSL_CTX* p) const { SSL_CTX_free(p); }
    void operator()(SSL* p) const { SSL_free(p); }
    void operator()(EVP_PKEY* p) const { EVP_PKEY_free(p); }
    void operator()(X509* p) const { X509_free(p); }
};
using ContextPtr = std::unique_ptr<SSL_CTX, Deleter>;

// Certificate and key for 127.0.0.1 and localhost, signed by itself.
inline ContextPtr self_signed(const std::string& certificate_file) {
    const std::unique_ptr<EVP_PKEY, Deleter> key{EVP_EC_gen("P-256")};
    const std::unique_ptr<X509, Deleter> cert{X509_new()};
    X509_set_version(cert.get(), 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert.get()), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert.get()), -3600);
    X509_gmtime_adj(X509_getm_notAfter(cert.get()), 86'400);
    X509_set_pubkey(cert.get(), key.get());
    X509_NAME* name = X509_get_subject_name(cert.get());
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>("voicecore test"), -1, -1, 0);
    X509_set_issuer_name(cert.get(), name);
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, cert.get(), cert.get(), nullptr, nullptr, 0);
    for (const auto& [nid, value] : {std::pair{NID_subject_alt_name, "IP:127.0.0.1,DNS:localhost"},
                                     std::pair{NID_basic_constraints, "critical,CA:TRUE"}}) {
        X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value);
        X509_add_ext(cert.get(), extension, -1);
        X509_EXTENSION_free(extension);
    }
    X509_sign(cert.get(), key.get(), EVP_sha256());
    FILE* file = std::fopen(certificate_file.c_str(), "w");
    PEM_write_X509(file, cert.get());
    std::fclose(file);
    ContextPtr out{SSL_CTX_new(TLS_server_method())};
    SSL_CTX_use_certificate(out.get(), cert.get());
    SSL_CTX_use_PrivateKey(out.get(), key.get());
    return out;
}

struct Request {
    std::string target;
    std::string head;        // all of it
    std::int64_t range = 0;  // first byte asked for
    int number = 0;          // of the request, from 0
};

// One connection, as the test's handler sees it.
class Peer {
  public:
    Peer(int fd, SSL* ssl, const std::atomic<bool>& stop) : fd_{fd}, ssl_{ssl}, stop_{&stop} {}
    // False when the client is gone.
    bool send(const std::string& bytes) {
        if (ssl_ != nullptr) {
            return bytes.empty() ||
                   SSL_write(ssl_, bytes.data(), static_cast<int>(bytes.size())) > 0;
        }
        std::size_t at = 0;
        while (at < bytes.size()) {
            const auto sent = ::send(fd_, bytes.data() + at, bytes.size() - at, MSG_NOSIGNAL);
            if (sent <= 0) return false;
            at += static_cast<std::size_t>(sent);
        }
        return true;
    }
    // Says nothing until the client leaves or the server ends.
    void stall() {
        while (!*stop_) {
            pollfd entry{fd_, POLLIN | POLLRDHUP, 0};
            if (::poll(&entry, 1, 10) > 0 && (entry.revents & (POLLRDHUP | POLLHUP)) != 0) return;
        }
    }

  private:
    int fd_;
    SSL* ssl_;
    const std::atomic<bool>* stop_;
};

using Handler = std::function<void(const Request&, Peer&)>;

class Server {
  public:
    explicit Server(Handler handler, ContextPtr tls = nullptr)
        : handler_{std::move(handler)}, tls_{std::move(tls)} {
        listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof address;
        if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
            ::listen(listener_, 64) != 0 ||
            ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
            throw std::runtime_error{"no port on 127.0.0.1"};
        }
        port_ = ntohs(address.sin_port);
        thread_ = std::thread{[this] { accept(); }};
    }
    ~Server() {
        stop_ = true;
        ::shutdown(listener_, SHUT_RDWR);
        thread_.join();
        ::close(listener_);
        for (auto& thread : connections_) thread.join();
    }
    Server(const Server&) = delete;

    [[nodiscard]] std::string url(const std::string& target) const {
        return (tls_ ? "https://127.0.0.1:" : "http://127.0.0.1:") + std::to_string(port_) + target;
    }
    [[nodiscard]] int port() const { return port_; }
    [[nodiscard]] int requests() const { return requests_; }

  private:
    void accept() {
        for (;;) {
            const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
            if (fd < 0) return;
            connections_.emplace_back([this, fd] { serve(fd); });
        }
    }
    void serve(int fd) {
        // A handler that only writes must not hang on a client that does not read.
        const timeval limit{2, 0};
        ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
        ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        std::unique_ptr<SSL, Deleter> ssl;
        bool usable = true;
        if (tls_) {
            ssl.reset(SSL_new(tls_.get()));
            SSL_set_fd(ssl.get(), fd);
            usable = SSL_accept(ssl.get()) == 1;
        }
        Request request;
        while (usable && request.head.find("\r\n\r\n") == std::string::npos) {
            char buffer[2048];
            const auto got = ssl ? SSL_read(ssl.get(), buffer, sizeof buffer)
                                 : static_cast<int>(::recv(fd, buffer, sizeof buffer, 0));
            usable = got > 0;
            if (usable) request.head.append(buffer, static_cast<std::size_t>(got));
        }
        if (usable) {
            const auto space = request.head.find(' ');
            request.target =
                request.head.substr(space + 1, request.head.find(' ', space + 1) - space - 1);
            if (const auto at = request.head.find("bytes="); at != std::string::npos) {
                request.range = std::stoll(request.head.substr(at + 6));
            }
            request.number = requests_++;
            Peer peer{fd, ssl.get(), stop_};
            handler_(request, peer);
            if (ssl) SSL_shutdown(ssl.get());
        }
        ::close(fd);
    }

    Handler handler_;
    ContextPtr tls_;
    int listener_ = -1;
    int port_ = 0;
    std::atomic<bool> stop_{false};
    std::atomic<int> requests_{0};
    std::vector<std::thread> connections_;
    std::thread thread_;
};

inline std::string file_bytes(const std::string& path) {
    std::ifstream file{path, std::ios::binary};
    return {std::istreambuf_iterator<char>{file}, {}};
}

// A proper answer with ranges; `limit` bytes of the body at most.
inline void answer(const Request& request, Peer& peer, const std::string& body,
                   std::size_t limit = std::string::npos) {
    const auto from = static_cast<std::size_t>(request.range);
    if (from >= body.size()) {
        peer.send("HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\n\r\n");
        return;
    }
    peer.send(
        "HTTP/1.1 206 Partial Content\r\nContent-Length: " + std::to_string(body.size() - from) +
        "\r\nContent-Range: bytes " + std::to_string(from) + "-" + std::to_string(body.size() - 1) +
        "/" + std::to_string(body.size()) + "\r\nETag: \"1\"\r\n\r\n");
    peer.send(body.substr(from, limit));
}

}  // namespace http_test
