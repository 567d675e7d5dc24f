#include "voicecore/command/doorbell.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <system_error>

namespace voicecore::command {
namespace {

// An open folder: sun_path holds 107 characters, so that a longer path is named through the
// folder's descriptor.
class Folder {
  public:
    explicit Folder(const std::string& path) noexcept
        : fd_{::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)} {}
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    ~Folder() {
        if (fd_ >= 0) ::close(fd_);
    }
    [[nodiscard]] int fd() const noexcept { return fd_; }

  private:
    int fd_;
};

bool fill(sockaddr_un& address, const std::string& path) noexcept {
    address = {};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) return false;
    std::memcpy(static_cast<char*>(address.sun_path), path.data(), path.size());
    return true;
}

// Calls use(socket, address) with an address that fits, whatever the length of the path.
template <class Use>
bool with_address(const std::string& path, Use&& use) noexcept {
    sockaddr_un address{};
    if (fill(address, path)) return use(address);
    const auto slash = path.rfind('/');
    if (slash == std::string::npos) return false;
    try {
        const Folder folder{path.substr(0, slash)};
        if (folder.fd() < 0) return false;
        const std::string by_folder =
            "/proc/self/fd/" + std::to_string(folder.fd()) + path.substr(slash);
        return fill(address, by_folder) && use(address);
    } catch (const std::bad_alloc&) {
        return false;
    }
}

// How the bells of a queue file begin: beside it, with its name, or the start of a long one, so
// that it fits into an address that names the folder by its descriptor. Files that share a start
// share no bell: each has a number of its own.
std::string bell_start(std::string_view queue_path) {
    constexpr std::size_t kMost = 60;
    const auto name = queue_path.rfind('/') + 1;
    return std::string{queue_path.substr(0, name + kMost)} + "-bell-";
}

int make_socket() noexcept {
    return ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

// A socket that is bound to `path`; -1 with errno.
int listen_at(const std::string& path) noexcept {
    const int fd = make_socket();
    if (fd < 0) return -1;
    const bool bound = with_address(path, [fd](const sockaddr_un& address) {
        return ::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    });
    if (bound) return fd;
    const int why = errno;
    ::close(fd);
    errno = why;
    return -1;
}

// Those of workers that were killed: nobody answers there any more.
void take_down_silent_bells(const std::string& start) noexcept {
    try {
        namespace fs = std::filesystem;
        std::error_code failed;
        fs::directory_iterator entry{fs::path{start}.parent_path(), failed};
        for (; !failed && entry != fs::directory_iterator{}; entry.increment(failed)) {
            const std::string path = entry->path().string();
            std::error_code gone;
            if (!path.starts_with(start) || !entry->is_socket(gone)) continue;
            const int fd = make_socket();
            if (fd < 0) return;
            const bool silent = with_address(path, [&](const sockaddr_un& address) {
                return ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) !=
                           0 &&
                       errno == ECONNREFUSED;
            });
            ::close(fd);
            if (silent) ::unlink(path.c_str());
        }
    } catch (const std::exception&) {
        // Left where they are: they are in nobody's way.
    }
}

}  // namespace

Result<std::unique_ptr<Doorbell>> Doorbell::hang(const std::string& queue_path) {
    static std::atomic<unsigned> count{0};
    std::array<char, PATH_MAX> absolute{};
    if (::realpath(queue_path.c_str(), absolute.data()) == nullptr) {
        return Error{Errc::io, errno, queue_path + ": " + std::strerror(errno)};
    }
    const std::string start = bell_start(absolute.data());
    take_down_silent_bells(start);
    std::string path;
    int fd = -1;
    do {
        path = start + std::to_string(::getpid()) + "-" + std::to_string(count.fetch_add(1) + 1);
        fd = listen_at(path);
        // In another container a process may have our number, and listen by this name.
    } while (fd < 0 && errno == EADDRINUSE);
    if (fd < 0) {
        return Error{Errc::io, errno,
                     "cannot listen for commands at " + path + ": " + std::strerror(errno)};
    }
    // Whoever may write the queue file may ring: the folder's own permissions say who that is.
    ::chmod(path.c_str(), 0666);
    return std::unique_ptr<Doorbell>{new Doorbell{fd, std::move(path)}};  // NOLINT: private
}

Doorbell::~Doorbell() {
    ::close(fd_);
    ::unlink(path_.c_str());
}

bool Doorbell::answer() noexcept {
    std::array<char, 16> nothing{};
    bool rang = false;
    while (::recv(fd_, nothing.data(), nothing.size(), MSG_DONTWAIT) >= 0) rang = true;
    return rang;
}

Ringer::~Ringer() {
    if (fd_ >= 0) ::close(fd_);
}

void Ringer::prepare() noexcept {
    if (fd_ < 0) fd_ = make_socket();
}

bool Ringer::ring(const std::string& bell) const noexcept {
    if (fd_ < 0) return false;
    return with_address(bell, [&](const sockaddr_un& address) {
        return ::sendto(fd_, "!", 1, MSG_DONTWAIT | MSG_NOSIGNAL,
                        reinterpret_cast<const sockaddr*>(&address), sizeof address) == 1;
    });
}

}  // namespace voicecore::command
