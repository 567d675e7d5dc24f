// A TCP connection, under TLS or not, whose every wait has an end and can be interrupted.
#pragma once

#include <openssl/ssl.h>

#include <chrono>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "voicecore/codec/file_input.hpp"
#include "voicecore/codec/interrupter.hpp"
#include "voicecore/codec/net_address.hpp"
#include "voicecore/codec/url.hpp"

namespace voicecore::codec {

struct SslContextDeleter {
    void operator()(SSL_CTX* context) const noexcept { SSL_CTX_free(context); }
};
struct SslDeleter {
    void operator()(SSL* ssl) const noexcept { SSL_free(ssl); }
};
using SslContextPtr = std::unique_ptr<SSL_CTX, SslContextDeleter>;
using SslPtr = std::unique_ptr<SSL, SslDeleter>;

// Verifies peers against `ca_file`, or against the system's authorities when that is empty.
[[nodiscard]] Result<SslContextPtr> make_tls_context(const std::string& ca_file);

struct ConnectOptions {
    std::shared_ptr<Interrupter> interrupter;  // shared with whoever closes the source
    std::chrono::milliseconds timeout{10'000};
    bool allow_private = true;
};

// One thread at a time. libavformat's TLS is not used: it sends no server name when it is given a
// numeric address, and only a numeric address can be judged before it is connected to.
class Connection {
    struct Key {};  // only open() makes one

  public:
    // The name is looked up once and what is judged is what is connected to. `tls` is used for
    // https.
    static Result<std::unique_ptr<Connection>> open(const Url& url, const ConnectOptions& options,
                                                    SSL_CTX* tls);
    Connection(Key, Fd fd, const Url& url, ConnectOptions options)
        : fd_{std::move(fd)}, name_{url.authority()}, options_{std::move(options)} {}

    // 0: the peer closed.
    [[nodiscard]] Result<std::size_t> read(std::span<std::uint8_t> into);
    [[nodiscard]] Status write(std::string_view bytes);

  private:
    [[nodiscard]] Status start_tls(const Url& url, SSL_CTX& tls);
    [[nodiscard]] Status wait(short events, TimePoint deadline);
    // After an SSL call that did not succeed: waits for what it wants, or says why it failed.
    [[nodiscard]] Status settle(int result, TimePoint deadline);
    [[nodiscard]] TimePoint deadline() const noexcept;

    Fd fd_;
    std::string name_;
    ConnectOptions options_;
    SslPtr ssl_;
    bool closed_ = false;  // by the peer, in order
};

}  // namespace voicecore::codec
