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
#include <sstream>
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

constexpr long kFuse = 0x65735546;
// Of those that a program serves (FUSE), the ones whose files lie on another machine.
constexpr std::array kRemotePrograms{"sshfs",    "glusterfs", "rclone",    "s3fs",     "ceph-fuse",
                                     "davfs",    "davfs2",    "curlftpfs", "goofys",   "gcsfuse",
                                     "smbnetfs", "mount-s3",  "juicefs",   "seaweedfs"};

// The type of the mount that holds this folder, "fuse.sshfs" for example; empty: not found.
std::string mount_type(const std::string& folder) {
    struct statx facts {};
    if (::statx(AT_FDCWD, folder.c_str(), 0, STATX_BASIC_STATS, &facts) != 0) return {};
    const std::string device =
        std::to_string(facts.stx_dev_major) + ":" + std::to_string(facts.stx_dev_minor);
    std::ifstream mounts{"/proc/self/mountinfo"};
    // "36 35 0:50 / /mnt rw,noatime master:1 - fuse.sshfs host:/home rw"
    for (std::string line; std::getline(mounts, line);) {
        std::istringstream words{line};
        std::string number;
        std::string parent;
        std::string where;
        words >> number >> parent >> where;
        const auto dash = line.find(" - ");
        if (where != device || dash == std::string::npos) continue;
        std::istringstream rest{line.substr(dash + 3)};
        std::string type;
        rest >> type;
        return type;
    }
    return {};
}

std::string folder_of(const std::string& path) {
    const auto slash = path.rfind('/');
    if (slash == std::string::npos) return ".";
    return slash == 0 ? "/" : path.substr(0, slash);
}

// What the system tells of a descriptor has a line for each lock that was taken through it:
// "lock:\t1: POSIX  ADVISORY  READ  1234 fe:00:131093 1073741826 1073742335". The list of all locks
// (/proc/locks) knows as much, but takes a grace period of the kernel (10 ms and more), and has
// some mounts under another number than stat() gives.
// Nothing: it cannot be looked at now, for want of a descriptor of our own for example.
std::optional<bool> has_lock(const std::string& descriptor) {
    std::ifstream facts{"/proc/thread-self/fdinfo/" + descriptor};
    if (!facts) return std::nullopt;
    for (std::string line; std::getline(facts, line);) {
        if (line.starts_with("lock:") && line.find(" POSIX ") != std::string::npos) return true;
    }
    return false;
}

// Whether a descriptor of this file has a lock of ours; nothing: that cannot be seen now. Other
// threads may open and close theirs meanwhile.
std::optional<bool> holds_lock(std::uint64_t device, std::uint64_t inode) {
    struct Close {
        void operator()(DIR* folder) const noexcept { ::closedir(folder); }
    };
    const std::unique_ptr<DIR, Close> folder{::opendir("/proc/thread-self/fd")};
    if (folder == nullptr) return std::nullopt;
    bool unsure = false;
    while (const dirent* entry = ::readdir(folder.get())) {
        const auto* name = static_cast<const char*>(entry->d_name);
        struct stat facts {};
        if (::fstatat(::dirfd(folder.get()), name, &facts, 0) != 0) continue;
        if (facts.st_dev != device || facts.st_ino != inode) continue;
        const std::optional<bool> locked = has_lock(name);
        if (locked.value_or(false)) return true;
        unsure = unsure || !locked;
    }
    return unsure ? std::nullopt : std::optional{false};
}

// Nothing: it is not there, or cannot be seen.
std::optional<std::uint64_t> inode_of(const std::string& path) {
    struct stat facts {};
    if (::stat(path.c_str(), &facts) != 0) return std::nullopt;
    return facts.st_ino;
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

struct Verdicts {
    ProcessMutex mutex;
    std::map<std::pair<std::uint64_t, std::uint64_t>, std::weak_ptr<Verdict>> of;
};
Verdicts& verdicts() {
    static Verdicts all;
    return all;
}

Error lost(const std::string& path, const std::string& why) {
    return Error{Errc::database, 0,
                 "the queue file " + path + " is no longer safe to use: " + why +
                     ". This process writes nothing more to it; close everything that has it open "
                     "here and open it again"};
}

}  // namespace

std::shared_ptr<Verdict> Verdict::of(std::uint64_t device, std::uint64_t inode) {
    Verdicts& known = verdicts();
    const std::lock_guard lock{known.mutex};
    std::erase_if(known.of, [](const auto& one) { return one.second.expired(); });
    std::weak_ptr<Verdict>& found = known.of[{device, inode}];
    std::shared_ptr<Verdict> verdict = found.lock();
    if (verdict == nullptr) {
        verdict = std::make_shared<Verdict>();
        found = verdict;
    }
    return verdict;
}

std::shared_ptr<Verdict> Verdict::known_of(const std::string& path) {
    struct stat facts {};
    if (::stat(path.c_str(), &facts) != 0) return nullptr;
    Verdicts& known = verdicts();
    const std::lock_guard lock{known.mutex};
    const auto found = known.of.find({facts.st_dev, facts.st_ino});
    return found == known.of.end() ? nullptr : found->second.lock();
}

// What a process has open when it forks stays so in the child, which closes none of it.
Status check_not_inherited(const std::string& path) {
    const std::shared_ptr<Verdict> verdict = Verdict::known_of(path);
    if (verdict == nullptr || !verdict->inherited()) return Done{};
    return Error{Errc::closed, 0,
                 "the queue file " + path +
                     " was open in this process before fork(), which its locks do not survive: "
                     "expected a process started by \"spawn\" or \"forkserver\", or the file "
                     "closed before the fork"};
}

Status check_file_system(const std::string& path) {
    struct statfs facts {};
    const std::string folder = folder_of(path);
    if (::statfs(folder.c_str(), &facts) != 0) return folder_error(errno, folder, "a folder");
    const auto refuse = [&](const std::string& name) {
        return Error{Errc::unsupported, 0,
                     path + " lies on a network file system (" + name +
                         "): SQLite's WAL needs memory shared between processes. Expected a local "
                         "file system"};
    };
    for (const Remote& remote : kRemote) {
        if (facts.f_type == remote.magic) return refuse(remote.name);
    }
    if (facts.f_type == kFuse) {
        const std::string type = mount_type(folder);
        for (const char* program : kRemotePrograms) {
            if (type == std::string{"fuse."} + program) return refuse(program);
        }
    }
    return Done{};
}

Status check_one_name(const std::string& path) {
    struct statx facts {};
    if (::statx(AT_FDCWD, path.c_str(), 0, STATX_BASIC_STATS, &facts) != 0) return Done{};  // new
    if (!S_ISREG(facts.stx_mode)) return Done{};
    if (facts.stx_nlink > 1) {
        return Error{Errc::unsupported, 0,
                     path + " has " + std::to_string(facts.stx_nlink) +
                         " names (hard links); a queue's log and locks lie beside its name, and "
                         "those of another name are not seen. Expected one name: copy the file "
                         "instead of linking it, or make it a symbolic link"};
    }
    if ((facts.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0) {
        return Error{Errc::unsupported, 0,
                     path +
                         " is mounted by itself (as \"docker run -v FILE:FILE\" does): its log "
                         "would lie beside this name, and be neither seen nor kept where the "
                         "file comes from. Expected its folder to be mounted"};
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
    guard.device_ = facts.st_dev;
    guard.inode_ = facts.st_ino;
    guard.verdict_ = Verdict::of(facts.st_dev, facts.st_ino);
    guard.sees_locks_ = holds_lock(guard.device_, guard.inode_).value_or(false);
    for (Beside& one : guard.beside_) {
        one.path = guard.path_ + one.ending;
        one.inode = inode_of(one.path);
    }
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
    for (const Beside& one : beside_) {
        if (one.inode && inode_of(one.path) != one.inode) {
            return lost(path_, std::string{"its "} + one.name + " was deleted or replaced");
        }
    }
    return Done{};
}

Status FileGuard::check() const {
    if (auto ok = in_place(); !ok) return ok;
    if (sees_locks_ && !holds_lock(device_, inode_).value_or(true)) {
        return lost(path_,
                    "this process no longer holds its locks on it (a second copy of SQLite, or a "
                    "plain open() and close() of the file in this process, drops them)");
    }
    return Done{};
}

}  // namespace voicecore::command
