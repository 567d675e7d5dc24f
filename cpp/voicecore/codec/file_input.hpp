// Files and what looks like files: regular ones, and pipes, FIFOs, terminals, character devices.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "voicecore/audio/media_source.hpp"
#include "voicecore/codec/interrupter.hpp"

namespace voicecore::codec {

// A file descriptor that closes itself.
class Fd {
  public:
    explicit Fd(int fd = -1) noexcept : fd_{fd} {}
    Fd(Fd&& other) noexcept : fd_{std::exchange(other.fd_, -1)} {}
    Fd& operator=(Fd&& other) noexcept {
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~Fd();
    [[nodiscard]] int get() const noexcept { return fd_; }

  private:
    int fd_;
};

// Which file this is and which state of it; equal keys mean equal bytes.
struct FileIdentity {
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
    std::int64_t size = 0;
    std::int64_t modified_ns = 0;
    auto operator<=>(const FileIdentity&) const = default;
};

struct OpenedFile {
    Fd fd;
    bool regular = false;
    FileIdentity identity;
};

// Never blocks, whatever lies at the path. "-" is the standard input.
Result<OpenedFile> open_file(const std::string& path);

// Reads with pread: duplicates share nothing but the descriptor. One thread at a time each.
class RegularFile final : public audio::ByteInput {
  public:
    RegularFile(std::shared_ptr<const OpenedFile> file, std::string name)
        : file_{std::move(file)}, name_{std::move(name)} {}
    [[nodiscard]] Result<std::size_t> read(std::span<std::uint8_t> into) override;
    [[nodiscard]] Status seek(std::int64_t offset) override;
    [[nodiscard]] bool seekable() const noexcept override { return true; }
    [[nodiscard]] std::optional<std::int64_t> size() const noexcept override {
        return file_->identity.size;
    }
    [[nodiscard]] bool can_block() const noexcept override { return false; }
    void interrupt() noexcept override {}
    [[nodiscard]] const FileIdentity& identity() const noexcept { return file_->identity; }
    // A second reader of the same open file, for another thread.
    [[nodiscard]] std::shared_ptr<RegularFile> duplicate() const {
        return std::make_shared<RegularFile>(file_, name_);
    }

  private:
    std::shared_ptr<const OpenedFile> file_;  // shared with duplicates on other threads
    std::string name_;
    std::int64_t offset_ = 0;
};

// A descriptor that delivers when it likes: waits for it with a timeout, interruptibly.
class PipeInput final : public audio::ByteInput {
  public:
    PipeInput(Fd fd, std::string name, std::shared_ptr<Interrupter> interrupter,
              std::chrono::milliseconds timeout)
        : fd_{std::move(fd)},
          name_{std::move(name)},
          interrupter_{std::move(interrupter)},
          timeout_{timeout} {}
    [[nodiscard]] Result<std::size_t> read(std::span<std::uint8_t> into) override;
    [[nodiscard]] Status seek(std::int64_t offset) override;
    [[nodiscard]] bool seekable() const noexcept override { return false; }
    [[nodiscard]] std::optional<std::int64_t> size() const noexcept override { return {}; }
    [[nodiscard]] bool can_block() const noexcept override { return true; }
    void interrupt() noexcept override { interrupter_->close(); }

  private:
    Fd fd_;
    std::string name_;
    std::shared_ptr<Interrupter> interrupter_;  // shared with whoever closes the source
    std::chrono::milliseconds timeout_;
};

}  // namespace voicecore::codec
