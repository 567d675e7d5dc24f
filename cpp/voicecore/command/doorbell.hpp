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
    // Binds `<queue file>-bell-<pid>-<number>`, of a long file name its start, readable and
    // writable by whoever may use the folder.
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

// The sender's side: one socket for every bell, kept, since making one is a third of what ringing
// takes. Never waits.
class Ringer {
  public:
    Ringer() = default;
    Ringer(const Ringer&) = delete;
    Ringer& operator=(const Ringer&) = delete;
    ~Ringer();

    // Makes the socket when there is none yet. Not beside another call.
    void prepare() noexcept;
    // Any thread, after prepare(). False: nobody listens there (any more), its queue is full, or
    // the process had no descriptor left.
    bool ring(const std::string& bell) const noexcept;

  private:
    int fd_ = -1;
};

}  // namespace voicecore::command
