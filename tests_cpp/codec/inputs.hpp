// What the codec tests read from: bytes of their own, in memory or in a file.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "voicecore/codec/open.hpp"

namespace media {

using namespace voicecore;

// A file that is gone at the end of the test.
class Temporary {
  public:
    explicit Temporary(const std::string& bytes) {
        static std::atomic<int> number{0};
        path_ = std::filesystem::temp_directory_path() /
                ("voicecore-test-" + std::to_string(::getpid()) + "-" +
                 std::to_string(number.fetch_add(1)));
        std::ofstream{path_, std::ios::binary} << bytes;
    }
    Temporary(const Temporary&) = delete;
    Temporary& operator=(const Temporary&) = delete;
    ~Temporary() { std::filesystem::remove(path_); }
    [[nodiscard]] std::string path() const { return path_.string(); }

  private:
    std::filesystem::path path_;
};

// Bytes from memory, as a file or as a file-like object, which may keep its reader waiting.
class BytesInput final : public audio::ByteInput {
  public:
    BytesInput(std::string bytes, bool seekable, bool blocks)
        : bytes_{std::move(bytes)}, seekable_{seekable}, blocks_{blocks} {}
    Result<std::size_t> read(std::span<std::uint8_t> into) override {
        const std::size_t count = std::min(into.size(), bytes_.size() - at_);
        std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(at_), count, into.begin());
        at_ += count;
        read_ += count;
        return count;
    }
    Status seek(std::int64_t offset) override {
        at_ = std::min(bytes_.size(), static_cast<std::size_t>(offset));
        return Done{};
    }
    bool seekable() const noexcept override { return seekable_; }
    std::optional<std::int64_t> size() const noexcept override {
        if (!seekable_) return std::nullopt;
        return static_cast<std::int64_t>(bytes_.size());
    }
    bool can_block() const noexcept override { return blocks_; }
    void interrupt() noexcept override {}
    [[nodiscard]] std::size_t bytes_read() const { return read_; }

  private:
    std::string bytes_;
    bool seekable_;
    bool blocks_;
    std::size_t at_ = 0;
    std::atomic<std::size_t> read_{0};
};

inline audio::OpenRequest input(const std::string& bytes, bool seekable, bool blocks) {
    audio::OpenRequest out;
    out.input = std::make_shared<BytesInput>(bytes, seekable, blocks);
    return out;
}

}  // namespace media
