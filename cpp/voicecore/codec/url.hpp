// Addresses on the web: http and https, nothing else.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "voicecore/base/result.hpp"

namespace voicecore::codec {

struct Url {
    bool tls = false;
    std::string host;  // without brackets
    std::uint16_t port = 0;
    std::string target;       // path and query, as sent
    std::string credentials;  // "user:password", decoded; empty when there are none

    // host[:port], as the Host header wants it.
    [[nodiscard]] std::string authority() const;
    // For messages and for resolving: without credentials.
    [[nodiscard]] std::string text() const;
    [[nodiscard]] bool same_origin(const Url& other) const noexcept {
        return tls == other.tls && host == other.host && port == other.port;
    }
};

[[nodiscard]] Result<Url> parse_url(std::string_view text);

// RFC 3986 section 5.2, for the forms that redirects and playlists use.
[[nodiscard]] Result<Url> resolve_url(const Url& base, std::string_view reference);

// "scheme" of "scheme://…"; empty when there is none.
[[nodiscard]] std::string_view url_scheme(std::string_view location) noexcept;

}  // namespace voicecore::codec
