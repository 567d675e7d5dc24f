// A resource on the web as a byte input: redirects, ranges, reconnecting.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "voicecore/audio/media_source.hpp"
#include "voicecore/codec/http_exchange.hpp"

namespace voicecore::codec {

struct HttpOptions {
    ConnectOptions connect;
    HttpHeaders headers;
    int max_reconnects = 5;  // in a row without a byte
    std::string ca_file;
    bool patient = false;  // the first attempt, too, may be made again
};

// Might it go better the next time? What the server or the caller decided stays decided.
[[nodiscard]] bool worth_another_attempt(const Error& error) noexcept;

// Says what is wrong with headers that a caller wants sent.
[[nodiscard]] Status check_headers(const HttpHeaders& headers);

// One thread at a time; interrupt() from any.
class HttpInput final : public audio::ByteInput {
    struct Key {};  // only open() makes one

  public:
    // Blocks until the answer's head is there.
    static Result<std::shared_ptr<HttpInput>> open(const Url& url, HttpOptions options);
    HttpInput(Key, Url url, HttpOptions options)
        : url_{std::move(url)}, options_{std::move(options)} {}

    [[nodiscard]] Result<std::size_t> read(std::span<std::uint8_t> into) override;
    [[nodiscard]] Status seek(std::int64_t offset) override;
    [[nodiscard]] bool seekable() const noexcept override { return ranges_ && size_.has_value(); }
    [[nodiscard]] std::optional<std::int64_t> size() const noexcept override { return size_; }
    [[nodiscard]] bool can_block() const noexcept override { return true; }
    void interrupt() noexcept override { options_.connect.interrupter->close(); }

    // Where the redirects led.
    [[nodiscard]] const Url& final_url() const noexcept { return final_; }

  private:
    // A connection and the offset of the byte that it gives next.
    struct Stream {
        std::unique_ptr<HttpExchange> exchange;
        std::int64_t at = 0;
        bool part = false;                   // of a resource whose length the server keeps back
        std::optional<TimePoint> anew = {};  // when a live stream began again, elsewhere
    };
    [[nodiscard]] Result<Stream> connect(std::int64_t offset);
    [[nodiscard]] Result<std::unique_ptr<HttpExchange>> follow(std::int64_t offset);
    [[nodiscard]] Result<Stream> accept(std::unique_ptr<HttpExchange> exchange,
                                        std::int64_t offset);
    [[nodiscard]] Status drop(Stream& stream, std::int64_t count);
    void note_progress(std::size_t count) noexcept;
    [[nodiscard]] Result<std::size_t> try_read(std::span<std::uint8_t> into);
    [[nodiscard]] Status pause_before_retry();

    Url url_;
    Url final_;
    HttpOptions options_;
    SslContextPtr tls_;
    bool opened_ = false;
    bool ranges_ = false;
    bool live_ = false;
    bool ended_ = false;  // a body of unknown length has come to its end
    std::optional<std::int64_t> size_;
    std::string entity_;  // the ETag, to notice that the resource changed
    std::int64_t position_ = 0;
    bool unfinished_ = false;  // bytes came of a part that another one may follow
    Stream active_;
    Stream parked_;     // left for a look at another place, usually the end
    int failures_ = 0;  // in a row, without a byte
};

}  // namespace voicecore::codec
