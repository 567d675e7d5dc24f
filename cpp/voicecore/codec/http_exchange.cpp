#include "voicecore/codec/http_exchange.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>

extern "C" {
#include <libavutil/base64.h>
}

#ifndef VOICECORE_VERSION
#define VOICECORE_VERSION "0"
#endif

namespace voicecore::codec {
namespace {

constexpr std::size_t kMostHeadBytes = 64 * 1024;

std::string lower(std::string_view text) {
    std::string out{text};
    for (char& c : out) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    return out;
}

std::string_view trimmed(std::string_view text) noexcept {
    constexpr std::string_view kBlank = " \t\r\n";
    const auto first = text.find_first_not_of(kBlank);
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

std::optional<std::int64_t> number(std::string_view text, int base = 10) noexcept {
    std::int64_t value = 0;
    const auto [stop, code] = std::from_chars(text.data(), text.data() + text.size(), value, base);
    if (code != std::errc{} || stop == text.data() || value < 0) return std::nullopt;
    return value;
}

std::string base64(const std::string& text) {
    std::string out(AV_BASE64_SIZE(text.size()), '\0');
    av_base64_encode(out.data(), static_cast<int>(out.size()),
                     reinterpret_cast<const std::uint8_t*>(text.data()),
                     static_cast<int>(text.size()));
    out.resize(std::strlen(out.c_str()));
    return out;
}

std::string request_for(const Url& url, const HttpHeaders& headers, std::int64_t offset) {
    std::string out = "GET " + url.target + " HTTP/1.1\r\nHost: " + url.authority() + "\r\n";
    const auto given = [&headers](std::string_view name) {
        return std::any_of(headers.begin(), headers.end(),
                           [name](const auto& header) { return lower(header.first) == name; });
    };
    if (!given("user-agent")) out += "User-Agent: voicecore/" VOICECORE_VERSION "\r\n";
    if (!given("accept")) out += "Accept: */*\r\n";
    if (!url.credentials.empty() && !given("authorization")) {
        out += "Authorization: Basic " + base64(url.credentials) + "\r\n";
    }
    for (const auto& [name, value] : headers) {
        out.append(name).append(": ").append(value).append("\r\n");
    }
    out += "Accept-Encoding: identity\r\nConnection: close\r\nRange: bytes=";
    out += std::to_string(offset) + "-\r\n\r\n";
    return out;
}

}  // namespace

Result<std::unique_ptr<HttpExchange>> HttpExchange::get(std::unique_ptr<Connection> connection,
                                                        const Url& url, const HttpHeaders& headers,
                                                        std::int64_t offset) {
    if (auto sent = connection->write(request_for(url, headers, offset)); !sent) {
        return std::move(sent).error();
    }
    auto exchange = std::make_unique<HttpExchange>(Key{}, std::move(connection), url.authority());
    if (auto read = exchange->read_head(); !read) return std::move(read).error();
    return exchange;
}

const std::string* HttpExchange::header(std::string_view name) const noexcept {
    for (const auto& [key, value] : headers_) {
        if (key == name) return &value;
    }
    return nullptr;
}

Status HttpExchange::read_head() {
    for (;;) {
        const std::string_view seen{reinterpret_cast<const char*>(ahead_.data()), ahead_.size()};
        const auto end = seen.find("\r\n\r\n");
        const auto bare = seen.find("\n\n");
        if (end != std::string_view::npos || bare != std::string_view::npos) {
            const bool proper = end < bare;
            if (auto parsed = parse_head(seen.substr(0, proper ? end : bare)); !parsed)
                return parsed;
            ahead_at_ = proper ? end + 4 : bare + 2;
            if (status_ >= 200) return Done{};
            ahead_.erase(ahead_.begin(), ahead_.begin() + static_cast<std::ptrdiff_t>(ahead_at_));
            headers_.clear();  // 1xx: the real answer follows
            continue;
        }
        if (ahead_.size() > kMostHeadBytes) {
            return Error{Errc::io, EPROTO, name_ + " answered with a head of more than 64 KiB"};
        }
        const std::size_t before = ahead_.size();
        ahead_.resize(before + 4096);
        auto got = connection_->read(std::span{ahead_}.subspan(before));
        if (!got) return std::move(got).error();
        ahead_.resize(before + got.value());
        if (got.value() == 0) {
            return Error{Errc::io, ECONNRESET, name_ + " closed the connection without an answer"};
        }
    }
}

Status HttpExchange::parse_head(std::string_view head) {
    const auto first = head.substr(0, head.find('\n'));
    const bool http = first.starts_with("HTTP/1.") || first.starts_with("ICY ");
    const auto space = first.find(' ');
    const auto status = http && space != std::string_view::npos
                            ? number(first.substr(space + 1).substr(0, 3))
                            : std::nullopt;
    if (!status || *status < 100 || *status > 999) {
        return Error{Errc::io, EPROTO, name_ + " does not answer in HTTP"};
    }
    status_ = static_cast<int>(*status);
    reason_ = trimmed(first.substr(std::min(space + 4, first.size())));
    while (head.find('\n') != std::string_view::npos) {
        head.remove_prefix(head.find('\n') + 1);
        const auto line = head.substr(0, head.find('\n'));
        const auto colon = line.find(':');
        if (colon == std::string_view::npos) continue;
        headers_.emplace_back(lower(trimmed(line.substr(0, colon))),
                              trimmed(line.substr(colon + 1)));
    }
    const auto* coding = header("transfer-encoding");
    chunked_ = coding != nullptr && lower(*coding).find("chunked") != std::string::npos;
    if (const auto* told = header("content-length"); told != nullptr && !chunked_) {
        length_ = number(*told);
        left_ = length_.value_or(0);
    }
    live_ = first.starts_with("ICY ") ||
            std::any_of(headers_.begin(), headers_.end(),
                        [](const auto& told) { return told.first.starts_with("icy-"); });
    if (const auto* told = header("icy-metaint"); told != nullptr) {
        until_title_ = title_interval_ = number(*told).value_or(0);
    }
    return Done{};
}

// What came with the head first, then from the connection.
Result<std::size_t> HttpExchange::read_raw(std::span<std::uint8_t> into) {
    if (ahead_at_ < ahead_.size()) {
        const std::size_t count = std::min(into.size(), ahead_.size() - ahead_at_);
        std::memcpy(into.data(), ahead_.data() + ahead_at_, count);
        ahead_at_ += count;
        return count;
    }
    if (!ahead_.empty()) {
        std::vector<std::uint8_t>{}.swap(ahead_);
        ahead_at_ = 0;
    }
    return connection_->read(into);
}

Result<std::string> HttpExchange::read_line() {
    constexpr std::size_t kLongest = 1024;
    std::string line;
    while (line.size() < kLongest) {
        std::array<std::uint8_t, 1> byte{};
        auto got = read_raw(byte);
        if (!got) return std::move(got).error();
        if (got.value() == 0) break;
        if (byte[0] == '\n') return std::string{trimmed(line)};
        line.push_back(static_cast<char>(byte[0]));
    }
    return Error{Errc::io, ECONNRESET, name_ + " broke off in the middle of a chunk"};
}

// RFC 9112 section 7.1.
Status HttpExchange::next_chunk() {
    // A connection hands out single bytes at the price of a system call; the chunk's head comes
    // with the bytes behind it.
    if (ahead_at_ == ahead_.size()) {
        ahead_.resize(4096);
        auto got = connection_->read(ahead_);
        if (!got) {
            ahead_.clear();
            ahead_at_ = 0;
            return std::move(got).error();
        }
        ahead_.resize(got.value());
        ahead_at_ = 0;
    }
    if (!std::exchange(first_chunk_, false)) {
        if (auto blank = read_line(); !blank) return std::move(blank).error();
    }
    auto line = read_line();
    if (!line) return std::move(line).error();
    const auto size = number(line.value(), 16);
    if (!size) return Error{Errc::io, EPROTO, name_ + " sent a chunk without a length"};
    left_ = *size;
    finished_ = left_ == 0;  // trailers do not matter: the connection is not used again
    return Done{};
}

// One byte tells the title's length in units of 16 bytes. False: the body ends here.
Result<bool> HttpExchange::skip_title() {
    std::array<std::uint8_t, 255 * 16> title{};
    auto got = read_body(std::span{title}.first(1));
    if (!got) return std::move(got).error();
    if (got.value() == 0) return false;
    std::size_t left = std::size_t{title[0]} * 16;
    while (left > 0) {
        got = read_body(std::span{title}.first(left));
        if (!got) return std::move(got).error();
        if (got.value() == 0) return false;
        left -= got.value();
    }
    until_title_ = title_interval_;
    return true;
}

Result<std::size_t> HttpExchange::read(std::span<std::uint8_t> into) {
    if (!has_titles()) return read_body(into);
    if (until_title_ == 0) {
        auto more = skip_title();
        if (!more) return std::move(more).error();
        if (!more.value()) return std::size_t{0};
    }
    auto got = read_body(into.first(static_cast<std::size_t>(
        std::min<std::int64_t>(until_title_, static_cast<std::int64_t>(into.size())))));
    if (got) until_title_ -= static_cast<std::int64_t>(got.value());
    return got;
}

Result<std::size_t> HttpExchange::read_body(std::span<std::uint8_t> into) {
    if (chunked_ && left_ == 0 && !finished_) {
        if (auto next = next_chunk(); !next) return std::move(next).error();
    }
    if (finished_ || (length_ && left_ == 0)) return std::size_t{0};
    const bool counted = chunked_ || length_;
    if (counted) {
        into = into.first(static_cast<std::size_t>(
            std::min<std::int64_t>(left_, static_cast<std::int64_t>(into.size()))));
    }
    auto got = read_raw(into);
    if (!got) return got;
    if (got.value() == 0 && counted) {
        return Error{Errc::io, ECONNRESET,
                     name_ + " closed the connection " + std::to_string(left_) + " bytes early"};
    }
    if (got.value() == 0) finished_ = true;
    left_ -= counted ? static_cast<std::int64_t>(got.value()) : 0;
    return got;
}

}  // namespace voicecore::codec
