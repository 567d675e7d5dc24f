// One HTTP/1.1 GET and its answer.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "voicecore/codec/connection.hpp"

namespace voicecore::codec {

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

// One thread at a time.
class HttpExchange {
    struct Key {};  // only get() makes one

  public:
    // Sends the request and reads the answer's head, whatever its status. No redirects.
    static Result<std::unique_ptr<HttpExchange>> get(std::unique_ptr<Connection> connection,
                                                     const Url& url, const HttpHeaders& headers,
                                                     std::int64_t offset);
    HttpExchange(Key, std::unique_ptr<Connection> connection, std::string name)
        : connection_{std::move(connection)}, name_{std::move(name)} {}

    [[nodiscard]] int status() const noexcept { return status_; }
    [[nodiscard]] const std::string& reason() const noexcept { return reason_; }
    // By its name in lower case; null when it is missing.
    [[nodiscard]] const std::string* header(std::string_view name) const noexcept;
    // Bytes of the body, when the head tells.
    [[nodiscard]] std::optional<std::int64_t> length() const noexcept { return length_; }
    // A radio says so in its head (SHOUTcast's protocol, which Icecast speaks too).
    [[nodiscard]] bool live() const noexcept { return live_; }
    // Titles stand between the bytes, which are then not those of a file; read() leaves them out.
    [[nodiscard]] bool has_titles() const noexcept { return title_interval_ > 0; }

    // Body bytes; 0 at its end. A body that stops before the end it promised is an error.
    [[nodiscard]] Result<std::size_t> read(std::span<std::uint8_t> into);

  private:
    [[nodiscard]] Status read_head();
    [[nodiscard]] Status parse_head(std::string_view head);
    [[nodiscard]] Result<std::size_t> read_raw(std::span<std::uint8_t> into);
    [[nodiscard]] Result<std::size_t> read_body(std::span<std::uint8_t> into);
    [[nodiscard]] Result<bool> skip_title();
    [[nodiscard]] Result<std::string> read_line();
    [[nodiscard]] Status next_chunk();

    std::unique_ptr<Connection> connection_;
    std::string name_;
    int status_ = 0;
    std::string reason_;
    HttpHeaders headers_;
    std::optional<std::int64_t> length_;
    std::vector<std::uint8_t> ahead_;  // read with the head
    std::size_t ahead_at_ = 0;
    bool chunked_ = false;
    bool finished_ = false;
    bool first_chunk_ = true;
    std::int64_t left_ = 0;  // of the body, or of the chunk
    bool live_ = false;
    std::int64_t title_interval_ = 0;  // audio bytes from one title to the next; 0: none are sent
    std::int64_t until_title_ = 0;
};

}  // namespace voicecore::codec
