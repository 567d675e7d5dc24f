#include "voicecore/command/file_guard.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <string_view>
#include <utility>

#include "voicecore/base/process_mutex.hpp"

namespace voicecore::command {
namespace {

struct Remote {
    long magic;
    const char* name;
};
constexpr std::array<Remote, 9> kRemote{{{0x6969, "NFS"},
                                         {0x517B, "SMB"},
                                         {static_cast<long>(0xFF534D42), "CIFS"},
                                         {static_cast<long>(0xFE534D42), "SMB2"},
                                         {0x5346414F, "AFS"},
                                         {0x01021997, "9p"},
                                         {0x00C36400, "Ceph"},
                                         {0x0BD00BD0, "Lustre"},
                                         {0x73757245, "Coda"}}};

std::string folder_of(const std::string& path) {
    const auto slash = path.rfind('/');
    if (slash == std::string::npos) return ".";
    return slash == 0 ? "/" : path.substr(0, slash);
}

// What the system tells of a descriptor has a line for each lock that was taken through it:
// "lock:\t1: POSIX  ADVISORY  READ  1234 fe:00:131093 1073741826 1073742335". The list of all locks
// (/proc/locks) knows as much, but takes a grace period of the kernel (10 ms and more), and has
// some mounts under another number than stat() gives.
bool has_lock(const std::string& descriptor) {
    std::ifstream facts{"/proc/thread-self/fdinfo/" + descriptor};
    for (std::string line; std::getline(facts, line);) {
        if (line.starts_with("lock:") && line.find(" POSIX ") != std::string::npos) return true;
    }
    return false;
}

struct Descriptors {
    bool locked = false;       // one of this file, with a lock of ours
    bool deleted_log = false;  // one of a log that was deleted from beside it
};

// Other threads may open and close theirs meanwhile.
Descriptors own_descriptors(const std::string& path, std::uint64_t device, std::uint64_t inode) {
    struct Close {
        void operator()(DIR* folder) const noexcept { ::closedir(folder); }
    };
    Descriptors out;
    const std::unique_ptr<DIR, Close> folder{::opendir("/proc/thread-self/fd")};
    if (folder == nullptr) return out;
    const std::string gone = path + "-wal (deleted)";
    std::array<char, PATH_MAX> target{};
    while (const dirent* entry = ::readdir(folder.get())) {
        const auto* name = static_cast<const char*>(entry->d_name);
        struct stat facts {};
        if (::fstatat(::dirfd(folder.get()), name, &facts, 0) != 0) continue;
        if (facts.st_dev == device && facts.st_ino == inode) {
            out.locked = out.locked || has_lock(name);
        } else if (facts.st_nlink == 0) {
            const auto size = ::readlinkat(::dirfd(folder.get()), name, target.data(), PATH_MAX);
            out.deleted_log =
                out.deleted_log ||
                (size > 0 &&
                 gone == std::string_view{target.data(), static_cast<std::size_t>(size)});
        }
    }
    return out;
}

Error system_error(int error, const std::string& what, const char* expected) {
    const Errc code = error == ENOENT || error == ENOTDIR ? Errc::not_found
                      : error == EACCES || error == EPERM ? Errc::permission
                                                          : Errc::io;
    return Error{code, error, what + ": " + std::strerror(error) + "; expected " + expected};
}

Error folder_error(int error, const std::string& folder, const char* expected) {
    return system_error(error, "the folder of the queue file, " + folder, expected);
}

// With the rights that open() would have.
bool may(const std::string& path, int access) {
    return ::faccessat(AT_FDCWD, path.c_str(), access, AT_EACCESS) == 0;
}

Error lost(const std::string& path, const std::string& why) {
    return Error{Errc::database, 0,
                 "the queue file " + path + " is no longer safe to use: " + why +
                     ". This process writes nothing more to it; close everything that has it open "
                     "here and open it again"};
}

}  // namespace

std::shared_ptr<Verdict> Verdict::of(std::uint64_t device, std::uint64_t inode) {
    static ProcessMutex mutex;
    static std::map<std::pair<std::uint64_t, std::uint64_t>, std::weak_ptr<Verdict>> all;
    const std::lock_guard lock{mutex};
    std::erase_if(all, [](const auto& one) { return one.second.expired(); });
    std::weak_ptr<Verdict>& known = all[{device, inode}];
    std::shared_ptr<Verdict> verdict = known.lock();
    if (verdict == nullptr) {
        verdict = std::make_shared<Verdict>();
        known = verdict;
    }
    return verdict;
}

Status check_file_system(const std::string& path) {
    struct statfs facts {};
    const std::string folder = folder_of(path);
    if (::statfs(folder.c_str(), &facts) != 0) return folder_error(errno, folder, "a folder");
    for (const Remote& remote : kRemote) {
        if (facts.f_type == remote.magic) {
            return Error{Errc::unsupported, 0,
                         path + " lies on a network file system (" + remote.name +
                             "): SQLite's WAL needs memory shared between processes. Expected a "
                             "local file system"};
        }
    }
    return Done{};
}

Error explain_open_failure(const std::string& path, Error failure) {
    if (failure.code != Errc::database) return failure;
    const int kind = failure.native & 0xFF;  // without SQLite's extension
    if (kind == SQLITE_NOTADB) {
        failure.message = path + " is not a database; expected a queue file, or a free name";
        return failure;
    }
    const std::string folder = folder_of(path);
    struct stat facts {};
    const bool there = ::stat(path.c_str(), &facts) == 0;
    if (!there && errno == ENOTDIR) return folder_error(ENOTDIR, folder, "a folder");
    if (!there && errno != ENOENT) return system_error(errno, path, "a queue file");
    if (there && S_ISDIR(facts.st_mode)) {
        return Error{Errc::is_directory, EISDIR, path + " is a directory; expected a queue file"};
    }
    if (there && !S_ISREG(facts.st_mode)) {
        return Error{Errc::io, EINVAL, path + " is not a regular file; expected a queue file"};
    }
    if (kind != SQLITE_CANTOPEN && kind != SQLITE_READONLY && kind != SQLITE_PERM) return failure;
    if (there && !may(path, R_OK | W_OK)) {
        return system_error(errno, path, "a file that this process may read and write");
    }
    if (!may(folder, W_OK | X_OK)) {
        return folder_error(errno, folder,
                            "one that this process may write to (the log lies beside the file)");
    }
    return failure;
}

Result<FileGuard> FileGuard::watch(const std::string& path) {
    std::array<char, PATH_MAX> absolute{};
    struct stat facts {};
    if (::realpath(path.c_str(), absolute.data()) == nullptr ||
        ::stat(absolute.data(), &facts) != 0) {
        return Error{Errc::io, errno, path + ": " + std::strerror(errno)};
    }
    FileGuard guard;
    guard.path_ = absolute.data();
    guard.log_ = guard.path_ + "-wal";
    guard.device_ = facts.st_dev;
    guard.inode_ = facts.st_ino;
    guard.verdict_ = Verdict::of(facts.st_dev, facts.st_ino);
    guard.sees_locks_ = own_descriptors(guard.path_, guard.device_, guard.inode_).locked;
    // As long as anybody has the file open, its log stays the same.
    if (::stat(guard.log_.c_str(), &facts) == 0) guard.log_inode_ = facts.st_ino;
    return guard;
}

Status FileGuard::in_place() const {
    struct stat facts {};
    if (::stat(path_.c_str(), &facts) != 0) {
        return lost(path_, errno == ENOENT ? "it was deleted" : std::strerror(errno));
    }
    if (facts.st_dev != device_ || facts.st_ino != inode_) {
        return lost(path_,
                    "another file has been put in its place (a -wal and -shm beside it that are "
                    "the old file's must go before anybody opens the new one)");
    }
    if (log_inode_ && (::stat(log_.c_str(), &facts) != 0 || facts.st_ino != *log_inode_)) {
        return lost(path_, "its write-ahead log was deleted or replaced");
    }
    return Done{};
}

Status FileGuard::check() const {
    if (auto ok = in_place(); !ok) return ok;
    const auto own = own_descriptors(path_, device_, inode_);
    if (own.deleted_log) return lost(path_, "its write-ahead log was deleted");
    if (sees_locks_ && !own.locked) {
        return lost(path_,
                    "this process no longer holds its locks on it (a second copy of SQLite, or a "
                    "plain open() and close() of the file in this process, drops them)");
    }
    return Done{};
}

}  // namespace voicecore::command
