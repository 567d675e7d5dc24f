// Doorbell: a datagram that says "look into the queue", from any process to a worker.
#pragma once

#include <memory>
#include <string>

#include "voicecore/base/result.hpp"

namespace voicecore::command {

// The worker's side: a Unix datagram socket beside the queue file. What is in a datagram does not
// matter; that one may be lost does not either, since workers look at the file as well.
class Doorbell {
  public:
    // Binds `<queue file>-bell-<pid>-<number>`, readable and writable by whoever may use the
    // folder.
    static Result<std::unique_ptr<Doorbell>> hang(const std::string& queue_path);
    Doorbell(const Doorbell&) = delete;
    Doorbell& operator=(const Doorbell&) = delete;
    ~Doorbell();  // the socket file goes too

    [[nodiscard]] int fd() const noexcept { return fd_; }
    [[nodiscard]] const std::string& path() const noexcept { return path_; }
    // Takes every datagram that has come; true when there was one.
    bool answer() noexcept;

  private:
    Doorbell(int fd, std::string path) noexcept : fd_{fd}, path_{std::move(path)} {}
    int fd_;
    std::string path_;
};

// The sender's side. Never waits. False: nobody listens there (any more), or its queue is full.
bool ring(const std::string& bell) noexcept;

}  // namespace voicecore::command
