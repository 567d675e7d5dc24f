// Result<T>: a value or an Error, for everything that happens off the frame path.
#pragma once

#include <cassert>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace voicecore {

// What went wrong, in the caller's terms. bindings/ maps each value to exactly one Python
// exception.
enum class Errc {
    invalid_argument,  // the caller gave a value out of its range
    not_found,         // no such file, 404
    permission,        // the system refused access
    is_directory,      // a directory where a file was expected
    io,                // any other operating-system failure; `native` is errno
    timeout,           // the peer said nothing for longer than allowed
    unsupported,       // not audio, or a format that is not on the allow-list
    no_audio,          // a media file without an audio stream, or with no samples in it
    corrupt,           // recognised, but not decodable
    refused,           // an address, protocol or playlist that the caller did not allow
    http,              // an HTTP status other than success; `native` is the status
    tls,               // certificate or handshake failure
    address_in_use,    // the port belongs to somebody else
    cancelled,         // the caller gave up
    closed,            // the object was closed before
    already_playing,   // a source that already belongs to a player
    database,          // SQLite failed; `native` is its extended result code
    stale,             // a claim or lease that is no longer the live one; `native` says why
    no_memory,
    unavailable,  // this machine cannot do it (AES without AES-NI, ...)
    internal,     // a bug of ours
};

[[nodiscard]] constexpr std::string_view to_string(Errc code) noexcept {
    switch (code) {
        case Errc::invalid_argument:
            return "invalid_argument";
        case Errc::not_found:
            return "not_found";
        case Errc::permission:
            return "permission";
        case Errc::is_directory:
            return "is_directory";
        case Errc::io:
            return "io";
        case Errc::timeout:
            return "timeout";
        case Errc::unsupported:
            return "unsupported";
        case Errc::no_audio:
            return "no_audio";
        case Errc::corrupt:
            return "corrupt";
        case Errc::refused:
            return "refused";
        case Errc::http:
            return "http";
        case Errc::tls:
            return "tls";
        case Errc::address_in_use:
            return "address_in_use";
        case Errc::cancelled:
            return "cancelled";
        case Errc::closed:
            return "closed";
        case Errc::already_playing:
            return "already_playing";
        case Errc::database:
            return "database";
        case Errc::stale:
            return "stale";
        case Errc::no_memory:
            return "no_memory";
        case Errc::unavailable:
            return "unavailable";
        case Errc::internal:
            return "internal";
    }
    return "internal";
}

struct Error {
    Errc code = Errc::internal;
    int native = 0;       // errno, AVERROR, Opus error or HTTP status; 0 when there is none
    std::string message;  // one sentence: what was given, what was expected
};

template <class T>
class [[nodiscard]] Result {
  public:
    Result(T value) : state_{std::in_place_index<0>, std::move(value)} {}      // NOLINT: implicit
    Result(Error error) : state_{std::in_place_index<1>, std::move(error)} {}  // NOLINT: implicit

    [[nodiscard]] bool ok() const noexcept { return state_.index() == 0; }
    explicit operator bool() const noexcept { return ok(); }

    [[nodiscard]] T& value() & noexcept { return *checked<0>(state_); }
    [[nodiscard]] const T& value() const& noexcept { return *checked<0>(state_); }
    [[nodiscard]] T&& value() && noexcept { return std::move(*checked<0>(state_)); }
    [[nodiscard]] const Error& error() const& noexcept { return *checked<1>(state_); }
    [[nodiscard]] Error&& error() && noexcept { return std::move(*checked<1>(state_)); }

    T* operator->() noexcept { return checked<0>(state_); }
    T& operator*() & noexcept { return value(); }

  private:
    template <std::size_t I, class V>
    static auto* checked(V& state) noexcept {
        auto* held = std::get_if<I>(&state);
        assert(held != nullptr);
        return held;
    }
    std::variant<T, Error> state_;
};

// Success without a value.
struct Done {};
using Status = Result<Done>;

}  // namespace voicecore
