// Fd: a file descriptor that closes itself.
#pragma once

#include <unistd.h>

#include <system_error>
#include <utility>

namespace voicecore::transport {

// Not thread-safe. Empty (-1) after a move.
class Fd {
  public:
    Fd() noexcept = default;
    explicit Fd(int fd) noexcept : fd_{fd} {}
    Fd(Fd&& other) noexcept : fd_{std::exchange(other.fd_, -1)} {}
    Fd& operator=(Fd&& other) noexcept {
        if (this != &other) {
            reset();
            fd_ = std::exchange(other.fd_, -1);
        }
        return *this;
    }
    ~Fd() { reset(); }

    [[nodiscard]] int get() const noexcept { return fd_; }
    explicit operator bool() const noexcept { return fd_ >= 0; }
    // Closes; 0 or what close() said in errno (a network file system tells of a full disk only
    // here).
    int reset() noexcept {
        if (fd_ < 0) return 0;
        return ::close(std::exchange(fd_, -1));
    }

  private:
    int fd_ = -1;
};

// "Connection refused": strerror without its shared buffer.
[[nodiscard]] inline std::string system_message(int error) {
    return std::error_code{error, std::generic_category()}.message();
}

}  // namespace voicecore::transport
