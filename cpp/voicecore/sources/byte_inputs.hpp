// Bytes that are in memory, and bytes that another thread fetches.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "voicecore/audio/media_source.hpp"

namespace voicecore::sources {

// Reads from one thread at a time; interrupt() from any.
class MemoryInput final : public audio::ByteInput {
  public:
    explicit MemoryInput(std::vector<std::uint8_t> bytes);
    // Bytes that belong to somebody else, who is kept alive; he must not change them.
    MemoryInput(std::span<const std::uint8_t> bytes, std::shared_ptr<const void> owner) noexcept;

    [[nodiscard]] Result<std::size_t> read(std::span<std::uint8_t> into) override;
    [[nodiscard]] Status seek(std::int64_t offset) override;
    [[nodiscard]] bool seekable() const noexcept override { return true; }
    [[nodiscard]] std::optional<std::int64_t> size() const noexcept override {
        return static_cast<std::int64_t>(bytes_.size());
    }
    [[nodiscard]] bool can_block() const noexcept override { return false; }
    void interrupt() noexcept override { interrupted_.store(true, std::memory_order_relaxed); }

  private:
    std::vector<std::uint8_t> owned_;
    std::shared_ptr<const void> owner_;
    std::span<const std::uint8_t> bytes_;
    std::size_t at_ = 0;
    std::atomic<bool> interrupted_{false};
};

// The reader waits while a pump thread of the caller's serves its requests: wait_request(), do what
// it says, answer with one of complete_read(), complete_seek(), fail(). One reader thread at a
// time, one pump thread; interrupt() from any, it lets both go.
class PumpedInput final : public audio::ByteInput {
  public:
    PumpedInput(bool seekable, std::optional<std::int64_t> size) noexcept
        : seekable_{seekable}, size_{size} {}

    [[nodiscard]] Result<std::size_t> read(std::span<std::uint8_t> into) override;
    [[nodiscard]] Status seek(std::int64_t offset) override;
    [[nodiscard]] bool seekable() const noexcept override { return seekable_; }
    [[nodiscard]] std::optional<std::int64_t> size() const noexcept override { return size_; }
    [[nodiscard]] bool can_block() const noexcept override { return true; }
    void interrupt() noexcept override;

    struct Request {
        enum class Kind : std::uint8_t { read, seek, closed } kind = Kind::closed;
        std::size_t size = 0;     // read: at most so many bytes
        std::int64_t offset = 0;  // seek: to there, from the start
    };
    // Blocks until there is a request. `closed`: there will never be one again.
    [[nodiscard]] Request wait_request();
    // No bytes mean the end. More than asked for fails the read.
    void complete_read(std::span<const std::uint8_t> bytes);
    void complete_seek(std::int64_t position);
    void fail(Error error);

  private:
    enum class Stage : std::uint8_t { idle, asked, working, answered };
    template <class Answer>
    Result<Answer> ask(std::unique_lock<std::mutex>& lock, Answer PumpedInput::*answer);
    void answer_with(std::unique_lock<std::mutex>& lock);

    const bool seekable_;
    const std::optional<std::int64_t> size_;

    std::mutex mutex_;
    std::condition_variable reader_;
    std::condition_variable pump_;
    Stage stage_ = Stage::idle;
    bool interrupted_ = false;
    Request request_;
    std::span<std::uint8_t> into_;  // the reader's; valid while it waits
    std::size_t bytes_read_ = 0;
    std::int64_t position_ = 0;
    std::optional<Error> error_;
};

}  // namespace voicecore::sources
