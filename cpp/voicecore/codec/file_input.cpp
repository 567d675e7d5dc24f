#include "voicecore/codec/file_input.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "voicecore/codec/native_error.hpp"

namespace voicecore::codec {

Fd::~Fd() {
    if (fd_ >= 0) ::close(fd_);
}

Result<OpenedFile> open_file(const std::string& path) {
    // O_NONBLOCK: open(2) of a FIFO would otherwise wait for its writer.
    const int raw = path == "-"
                        ? ::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
                        : ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (raw < 0) return error_from_errno(errno, path);
    OpenedFile file;
    file.fd = Fd{raw};
    struct stat facts {};
    if (::fstat(raw, &facts) != 0) return error_from_errno(errno, path);
    if (S_ISDIR(facts.st_mode)) return error_from_errno(EISDIR, path);
    if (S_ISBLK(facts.st_mode)) {
        return Error{Errc::unsupported, 0, path + " is a block device; a media file was expected"};
    }
    file.regular = S_ISREG(facts.st_mode);
    constexpr std::int64_t kSecond = 1'000'000'000;
    file.identity = {.device = facts.st_dev,
                     .inode = facts.st_ino,
                     .size = facts.st_size,
                     .modified_ns = facts.st_mtim.tv_sec * kSecond + facts.st_mtim.tv_nsec};
    return file;
}

Result<std::size_t> RegularFile::read(std::span<std::uint8_t> into) {
    for (;;) {
        const auto got = ::pread(file_->fd.get(), into.data(), into.size(), offset_);
        if (got >= 0) {
            offset_ += got;
            return static_cast<std::size_t>(got);
        }
        if (errno != EINTR) return error_from_errno(errno, name_);
    }
}

Status RegularFile::seek(std::int64_t offset) {
    offset_ = offset;
    return Done{};
}

Result<std::size_t> PipeInput::read(std::span<std::uint8_t> into) {
    const TimePoint deadline = SteadyClock{}.now() + timeout_;
    interrupter_->touch();
    for (;;) {
        switch (interrupter_->wait(fd_.get(), POLLIN, deadline)) {
            case WaitResult::interrupted:
                return Error{Errc::cancelled, 0, name_ + ": reading was given up"};
            case WaitResult::timeout:
                return Error{
                    Errc::timeout, 0,
                    name_ + ": no byte came for " + std::to_string(timeout_.count()) + " ms"};
            case WaitResult::ready:
                break;
        }
        const auto got = ::read(fd_.get(), into.data(), into.size());
        if (got >= 0) {
            interrupter_->touch();
            return static_cast<std::size_t>(got);
        }
        if (errno != EINTR && errno != EAGAIN) return error_from_errno(errno, name_);
    }
}

Status PipeInput::seek(std::int64_t) {
    return Error{Errc::io, ESPIPE, name_ + ": a pipe cannot seek"};
}

}  // namespace voicecore::codec
