#include "voicecore/codec/http_input.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>

namespace voicecore::codec {
namespace {

constexpr int kMostRedirects = 8;
constexpr int kNothingThere = 416;
constexpr std::chrono::milliseconds kFirstPause{100};
constexpr std::chrono::milliseconds kLongestPause{4'000};

std::string lower(std::string_view text) {
    std::string out{text};
    for (char& c : out) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    return out;
}

struct ContentRange {
    std::int64_t first = 0;
    std::optional<std::int64_t> size;
};

// "bytes 100-199/200" or "bytes 100-199/*".
std::optional<ContentRange> parse_content_range(std::string_view text) noexcept {
    if (!text.starts_with("bytes ")) return std::nullopt;
    text.remove_prefix(6);
    ContentRange range;
    const auto [stop, code] = std::from_chars(text.data(), text.data() + text.size(), range.first);
    if (code != std::errc{} || range.first < 0) return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(stop - text.data()));
    const auto slash = text.find('/');
    if (slash == std::string_view::npos) return std::nullopt;
    std::int64_t size = 0;
    text.remove_prefix(slash + 1);
    if (std::from_chars(text.data(), text.data() + text.size(), size).ec == std::errc{}) {
        range.size = size;
    }
    return range;
}

Error status_error(const Url& url, const HttpExchange& exchange) {
    const int status = exchange.status();
    std::string words = url.text() + ": the server answers " + std::to_string(status);
    if (!exchange.reason().empty()) words += " " + exchange.reason();
    switch (status) {
        case 404:
        case 410:
            return {Errc::not_found, status, std::move(words)};
        case 401:
        case 403:
        case 407:
            return {Errc::permission, status, std::move(words)};
        default:
            return {Errc::http, status, std::move(words)};
    }
}

}  // namespace

bool worth_another_attempt(const Error& error) noexcept {
    switch (error.code) {
        case Errc::io:
            return error.native != ESPIPE;
        case Errc::timeout:
            return true;
        case Errc::http:
            return error.native >= 500 || error.native == 429 || error.native == 408;
        default:
            return false;
    }
}

Status check_headers(const HttpHeaders& headers) {
    constexpr std::array<std::string_view, 7> kOurs{
        "host",   "range", "connection", "accept-encoding", "content-length", "transfer-encoding",
        "upgrade"};
    for (const auto& [name, value] : headers) {
        const bool plain = !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
            return c > 0x20 && c < 0x7F && c != ':';
        });
        const bool broken = std::any_of(value.begin(), value.end(),
                                        [](char c) { return c == '\r' || c == '\n' || c == '\0'; });
        if (!plain || broken) {
            return Error{
                Errc::invalid_argument, 0,
                "the header \"" + name + "\" has a name or value that HTTP does not allow"};
        }
        if (std::find(kOurs.begin(), kOurs.end(), lower(name)) != kOurs.end()) {
            return Error{Errc::invalid_argument, 0,
                         "the header \"" + name + "\" is set by the player itself"};
        }
    }
    return Done{};
}

Result<std::shared_ptr<HttpInput>> HttpInput::open(const Url& url, HttpOptions options) {
    if (auto checked = check_headers(options.headers); !checked) return std::move(checked).error();
    auto input = std::make_shared<HttpInput>(Key{}, url, std::move(options));
    auto stream = input->connect(0);
    while (!stream && input->options_.patient && worth_another_attempt(stream.error()) &&
           input->failures_ < input->options_.max_reconnects) {
        ++input->failures_;
        if (auto paused = input->pause_before_retry(); !paused) return std::move(paused).error();
        stream = input->connect(0);
    }
    if (!stream) return std::move(stream).error();
    input->active_ = std::move(stream).value();
    input->opened_ = true;
    return input;
}

// Connects and follows redirects; every hop's address is judged anew.
Result<std::unique_ptr<HttpExchange>> HttpInput::follow(std::int64_t offset) {
    Url url = url_;
    for (int hop = 0; hop <= kMostRedirects; ++hop) {
        HttpHeaders headers = options_.headers;
        if (!url.same_origin(url_)) {
            // What identifies the user to one server is not for another one.
            std::erase_if(headers, [](const auto& header) {
                const std::string name = lower(header.first);
                return name == "authorization" || name == "cookie";
            });
            url.credentials.clear();
        }
        if (url.tls && !tls_) {
            auto context = make_tls_context(options_.ca_file);
            if (!context) return std::move(context).error();
            tls_ = std::move(context).value();
        }
        auto connection = Connection::open(url, options_.connect, tls_.get());
        if (!connection) return std::move(connection).error();
        auto exchange = HttpExchange::get(std::move(connection).value(), url, headers, offset);
        if (!exchange) return std::move(exchange).error();
        const int status = exchange.value()->status();
        const bool redirect =
            status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
        const std::string* location = exchange.value()->header("location");
        if (!redirect || location == nullptr) {
            final_ = url;
            return exchange;
        }
        auto next = resolve_url(url, *location);
        if (!next) return std::move(next).error();
        if (url.tls && !next.value().tls) {
            return Error{Errc::refused, status,
                         url.text() + " leads from https to http (" + next.value().text() +
                             "), which is not followed"};
        }
        url = std::move(next).value();
    }
    return Error{Errc::http, 310,
                 url_.text() + ": more than " + std::to_string(kMostRedirects) + " redirects"};
}

Result<HttpInput::Stream> HttpInput::connect(std::int64_t offset) {
    auto exchange = follow(live_ ? 0 : offset);  // a live stream simply goes on
    if (!exchange) return std::move(exchange).error();
    return accept(std::move(exchange).value(), offset);
}

// Makes a stream that stands at `offset` exactly, or refuses. Without a connection: nothing is left
// there.
Result<HttpInput::Stream> HttpInput::accept(std::unique_ptr<HttpExchange> exchange,
                                            std::int64_t offset) {
    const int status = exchange->status();
    if (status == kNothingThere && offset > 0 && !size_) return Stream{};
    if (status != 200 && status != 206) return status_error(final_, *exchange);
    if (const auto* coding = exchange->header("content-encoding");
        coding != nullptr && lower(*coding) != "identity") {
        return Error{
            Errc::unsupported, 0,
            final_.text() + ": the body is coded as " + *coding + ", which was not asked for"};
    }
    const auto* entity = exchange->header("etag");
    const auto* told = exchange->header("content-range");
    const auto range = status == 206 && told != nullptr ? parse_content_range(*told) : std::nullopt;
    std::optional<std::int64_t> size = range ? range->size : std::nullopt;
    if (status == 200) size = exchange->length();
    // Its bytes are not ours to count.
    if (exchange->has_titles()) size.reset();
    const Error changed{Errc::io, ESTALE,
                        final_.text() + ": the resource changed while it was read"};
    if (!opened_) {
        const auto* accepts = exchange->header("accept-ranges");
        ranges_ = status == 206 || (accepts != nullptr && lower(*accepts) == "bytes");
        size_ = size;
        live_ = exchange->live() && !size;
        if (entity != nullptr) entity_ = *entity;
    } else if (size_ && ((size && *size != *size_) ||
                         (entity != nullptr && !entity_.empty() && *entity != entity_))) {
        return changed;
    }
    if (live_ && offset > 0) {
        return Stream{.exchange = std::move(exchange), .at = offset, .anew = SteadyClock{}.now()};
    }
    Stream stream{.exchange = std::move(exchange),
                  .at = status == 206 ? offset : 0,
                  .part = status == 206 && !size_ && !live_};
    if (status == 206) {
        if (!range || range->first != offset) {
            return Error{Errc::http, status,
                         final_.text() + ": the server sent another part than byte " +
                             std::to_string(offset)};
        }
        return stream;
    }
    // The server ignores ranges. A resource of known length is the same from its beginning, so what
    // we had is dropped. Without a length it may be another one, or be played twice.
    if (!size_ && offset > 0) {
        return Error{Errc::io, ESPIPE,
                     final_.text() + " broke off at byte " + std::to_string(offset) +
                         ", and the server does not continue it from there"};
    }
    if (auto dropped = drop(stream, offset); !dropped) return std::move(dropped).error();
    return stream;
}

Status HttpInput::drop(Stream& stream, std::int64_t count) {
    std::array<std::uint8_t, 16 * 1024> scratch{};
    while (count > 0) {
        const auto part = static_cast<std::size_t>(
            std::min<std::int64_t>(count, static_cast<std::int64_t>(scratch.size())));
        auto got = stream.exchange->read(std::span{scratch}.first(part));
        if (!got) return std::move(got).error();
        if (got.value() == 0) return Error{Errc::io, ECONNRESET, final_.text() + " ended early"};
        stream.at += static_cast<std::int64_t>(got.value());
        count -= static_cast<std::int64_t>(got.value());
    }
    return Done{};
}

Result<std::size_t> HttpInput::try_read(std::span<std::uint8_t> into) {
    if (active_.exchange && active_.at != position_) {
        // Away from here: the connection is kept for the way back.
        std::swap(active_, parked_);
        if (active_.exchange && active_.at != position_) active_ = {};
    }
    if (!active_.exchange) {
        auto stream = connect(position_);
        if (!stream) return std::move(stream).error();
        active_ = std::move(stream).value();
        if (!active_.exchange) return std::size_t{0};
    }
    auto got = active_.exchange->read(into);
    if (got && got.value() == 0 && size_ && position_ < *size_) {
        return Error{Errc::io, ECONNRESET, final_.text() + " ended early"};
    }
    return got;
}

Result<std::size_t> HttpInput::read(std::span<std::uint8_t> into) {
    if (size_ && position_ >= *size_) return std::size_t{0};
    while (!ended_) {
        auto got = try_read(into);
        if (got) {
            if (got.value() > 0) {
                note_progress(got.value());
                return got;
            }
            // The next part, until the server has none.
            if (!std::exchange(unfinished_, false)) break;
            active_ = {};
            continue;
        }
        active_ = {};
        if (!worth_another_attempt(got.error()) || failures_ >= options_.max_reconnects) return got;
        ++failures_;
        if (auto paused = pause_before_retry(); !paused) return std::move(paused).error();
    }
    ended_ = true;
    return std::size_t{0};
}

void HttpInput::note_progress(std::size_t count) noexcept {
    active_.at += static_cast<std::int64_t>(count);
    position_ = active_.at;
    unfinished_ = active_.part;
    // Bytes of a live stream that began again say nothing: a server that always breaks off has them
    // too. It has to last.
    if (!active_.anew || SteadyClock{}.now() - *active_.anew > options_.connect.timeout) {
        failures_ = 0;
    }
}

// Immediately the first time, then longer and longer.
Status HttpInput::pause_before_retry() {
    auto& interrupter = *options_.connect.interrupter;
    interrupter.touch();
    if (failures_ == 1) return Done{};
    const auto pause = std::min(kFirstPause * (1 << std::min(failures_ - 2, 10)), kLongestPause);
    if (interrupter.wait(-1, 0, SteadyClock{}.now() + pause) == WaitResult::interrupted) {
        return Error{Errc::cancelled, 0, final_.text() + ": the transfer was given up"};
    }
    return Done{};
}

Status HttpInput::seek(std::int64_t offset) {
    if (!seekable()) return Error{Errc::io, ESPIPE, final_.text() + ": the server has no ranges"};
    position_ = offset;
    failures_ = 0;
    ended_ = false;
    return Done{};
}

}  // namespace voicecore::codec
