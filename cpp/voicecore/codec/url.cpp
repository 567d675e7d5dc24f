#include "voicecore/codec/url.hpp"

#include <algorithm>
#include <charconv>
#include <vector>

namespace voicecore::codec {
namespace {

constexpr std::uint16_t kHttpPort = 80;
constexpr std::uint16_t kHttpsPort = 443;

std::string lower(std::string_view text) {
    std::string out{text};
    for (char& c : out) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    return out;
}

int hex(char c) noexcept {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

std::string percent_decoded(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '%' && i + 2 < text.size() && hex(text[i + 1]) >= 0 &&
            hex(text[i + 2]) >= 0) {
            out.push_back(static_cast<char>(hex(text[i + 1]) * 16 + hex(text[i + 2])));
            i += 2;
        } else {
            out.push_back(text[i]);
        }
    }
    return out;
}

// Spaces, controls and bytes beyond ASCII cannot stand in a request line.
std::string sendable(std::string_view text) {
    constexpr std::string_view kDigits = "0123456789ABCDEF";
    std::string out;
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte > 0x20 && byte < 0x7F) {
            out.push_back(c);
        } else {
            out += {'%', kDigits[byte >> 4U], kDigits[byte & 15U]};
        }
    }
    return out;
}

// Section 5.2.4.
std::string without_dots(std::string_view path) {
    std::vector<std::string_view> parts;
    bool directory = false;
    while (!path.empty()) {
        path.remove_prefix(1);  // the slash
        const auto end = std::min(path.find('/'), path.size());
        const std::string_view part = path.substr(0, end);
        path.remove_prefix(end);
        directory = part == "." || part == "..";
        if (part == ".." && !parts.empty()) parts.pop_back();
        if (!directory) parts.push_back(part);
    }
    std::string out;
    for (const std::string_view part : parts) {
        out += '/';
        out += part;
    }
    if (directory || out.empty()) out += '/';
    return out;
}

Error bad_url(std::string_view text) {
    return {
        Errc::invalid_argument, 0,
        "\"" + std::string{text} + "\" is not an address of the form http(s)://host[:port]/path"};
}

}  // namespace

std::string_view url_scheme(std::string_view location) noexcept {
    const auto end = location.find("://");
    if (end == std::string_view::npos || end == 0) return {};
    const std::string_view scheme = location.substr(0, end);
    const bool valid = std::all_of(scheme.begin(), scheme.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '+' || c == '-' || c == '.';
    });
    return valid ? scheme : std::string_view{};
}

std::string Url::authority() const {
    const bool bracket = host.find(':') != std::string::npos;
    std::string out = bracket ? "[" + host + "]" : host;
    if (port != (tls ? kHttpsPort : kHttpPort)) out += ":" + std::to_string(port);
    return out;
}

std::string Url::text() const {
    return (tls ? "https://" : "http://") + authority() + target;
}

Result<Url> parse_url(std::string_view text) {
    const std::string scheme = lower(url_scheme(text));
    if (scheme != "http" && scheme != "https") {
        return Error{
            Errc::refused, 0,
            "\"" + std::string{text} + "\": only http:// and https:// addresses are opened"};
    }
    Url url;
    url.tls = scheme == "https";
    std::string_view rest = text.substr(scheme.size() + 3);
    rest = rest.substr(0, rest.find('#'));
    const auto end = std::min(rest.find_first_of("/?"), rest.size());
    std::string_view authority = rest.substr(0, end);
    const std::string_view target = rest.substr(end);
    if (const auto at = authority.rfind('@'); at != std::string_view::npos) {
        url.credentials = percent_decoded(authority.substr(0, at));
        authority.remove_prefix(at + 1);
    }
    std::string_view port;
    if (authority.starts_with('[')) {
        const auto close = authority.find(']');
        if (close == std::string_view::npos) return bad_url(text);
        url.host = lower(authority.substr(1, close - 1));
        port = authority.substr(close + 1);
    } else {
        const auto colon = std::min(authority.find(':'), authority.size());
        url.host = lower(authority.substr(0, colon));
        port = authority.substr(colon);
    }
    const bool odd = std::any_of(url.host.begin(), url.host.end(), [](char c) {
        return static_cast<unsigned char>(c) <= 0x20 || c == '\\' || c == '@';
    });
    if (url.host.empty() || odd) return bad_url(text);
    url.port = url.tls ? kHttpsPort : kHttpPort;
    if (port.size() > 1) {
        port.remove_prefix(1);
        const auto [stop, code] = std::from_chars(port.data(), port.data() + port.size(), url.port);
        if (code != std::errc{} || stop != port.data() + port.size() || url.port == 0) {
            return bad_url(text);
        }
    }
    url.target = sendable(target);
    if (!url.target.starts_with('/')) url.target.insert(0, "/");
    return url;
}

Result<Url> resolve_url(const Url& base, std::string_view reference) {
    while (!reference.empty() && static_cast<unsigned char>(reference.front()) <= 0x20) {
        reference.remove_prefix(1);
    }
    while (!reference.empty() && static_cast<unsigned char>(reference.back()) <= 0x20) {
        reference.remove_suffix(1);
    }
    if (!url_scheme(reference).empty()) return parse_url(reference);
    if (reference.starts_with("//")) {
        return parse_url(std::string{base.tls ? "https:" : "http:"} + std::string{reference});
    }
    Url url = base;
    reference = reference.substr(0, reference.find('#'));
    if (reference.empty()) return url;
    const std::string_view base_path =
        std::string_view{base.target}.substr(0, base.target.find('?'));
    if (reference.starts_with('?')) {
        url.target = std::string{base_path} + sendable(reference);
        return url;
    }
    const auto query = std::min(reference.find('?'), reference.size());
    std::string path{reference.substr(0, query)};
    if (!path.starts_with('/')) path.insert(0, base_path.substr(0, base_path.rfind('/') + 1));
    url.target = sendable(without_dots(path)) + sendable(reference.substr(query));
    return url;
}

}  // namespace voicecore::codec
