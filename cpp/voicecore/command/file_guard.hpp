// FileGuard: is the file that we have open still the one in its place, with our locks on it?
#pragma once

#include <sys/types.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "voicecore/base/result.hpp"

namespace voicecore::command {

// Refuses file systems on which WAL cannot work: it needs memory shared between the processes.
[[nodiscard]] Status check_file_system(const std::string& path);

// Refuses a file that has two names: each would have a log and locks of its own beside it.
[[nodiscard]] Status check_one_name(const std::string& path);

// Refuses a file that was open here when this process was forked. SQLite keeps for a process which
// locks it holds on a file; a child begins with the list, but without the locks.
[[nodiscard]] Status check_not_inherited(const std::string& path);

// SQLite's failure to open a file, with the system's own reason for it where there is one: a
// directory, no permission, no database. Does not open the file either.
[[nodiscard]] Error explain_open_failure(const std::string& path, Error failure);

// Why a file must not be used any more, once that is so. Thread-safe: who finds out need not be who
// uses the file. One for all of a process that have the file open: what damages it by one
// connection does so by any, and only when all are closed does SQLite begin anew.
class Verdict {
  public:
    [[nodiscard]] static std::shared_ptr<Verdict> of(std::uint64_t device, std::uint64_t inode);
    // Of a file that this process has open; nothing when it has not.
    [[nodiscard]] static std::shared_ptr<Verdict> known_of(const std::string& path);
    // Whether it was opened by the process that this one is a fork of.
    [[nodiscard]] bool inherited() const noexcept { return process_ != ::getpid(); }
    void condemn(const Error& error) {
        const std::lock_guard lock{mutex_};
        if (!error_) error_ = error;
        condemned_.store(true, std::memory_order_release);
    }
    [[nodiscard]] bool condemned() const noexcept {
        return condemned_.load(std::memory_order_acquire);
    }
    [[nodiscard]] Status status() const {
        if (!condemned()) return Done{};
        const std::lock_guard lock{mutex_};
        return *error_;
    }

  private:
    std::atomic<bool> condemned_{false};
    mutable std::mutex mutex_;
    std::optional<Error> error_;
    const pid_t process_ = ::getpid();
};

// Never opens the file, its -wal or its -shm: closing any descriptor of a file drops every POSIX
// lock of the process on it. Not thread-safe.
class FileGuard {
  public:
    // Right after a connection was opened and has read something.
    [[nodiscard]] static Result<FileGuard> watch(const std::string& path);

    // Errc::database, and why: another file lies there now, the locks are gone (a second copy of
    // SQLite in this process has touched the file), or the WAL was deleted.
    [[nodiscard]] Status check() const;
    // The part of it that costs three system calls: the file and those beside it are still the ones
    // that we have open.
    [[nodiscard]] Status in_place() const;
    // False: the system does not show our locks, so that only the other two are checked.
    [[nodiscard]] bool sees_locks() const noexcept { return sees_locks_; }
    [[nodiscard]] const std::string& path() const noexcept { return path_; }
    [[nodiscard]] const std::shared_ptr<Verdict>& verdict() const noexcept { return verdict_; }

  private:
    FileGuard() = default;
    std::string path_;  // absolute
    std::uint64_t device_ = 0;
    std::uint64_t inode_ = 0;
    // As long as anybody has the file open, these stay the same.
    struct Beside {
        const char* ending;
        const char* name;
        std::string path = {};
        std::optional<std::uint64_t> inode = {};  // nothing: there was none to be seen
    };
    std::array<Beside, 2> beside_{
        {{.ending = "-wal", .name = "write-ahead log"},
         {.ending = "-shm", .name = "shared memory (the -shm file beside it)"}}};
    bool sees_locks_ = false;
    std::shared_ptr<Verdict> verdict_;
};

}  // namespace voicecore::command
