#include "voicecore/sources/byte_inputs.hpp"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

namespace voicecore::sources {
namespace {

Error cancelled() {
    return Error{.code = Errc::cancelled, .native = 0, .message = "reading was cancelled"};
}

Error bad_offset(std::int64_t offset) {
    return Error{.code = Errc::invalid_argument,
                 .native = 0,
                 .message = "offset " + std::to_string(offset) + ": expected 0 or more"};
}

}  // namespace

MemoryInput::MemoryInput(std::vector<std::uint8_t> bytes)
    : owned_{std::move(bytes)}, bytes_{owned_} {}

MemoryInput::MemoryInput(std::span<const std::uint8_t> bytes,
                         std::shared_ptr<const void> owner) noexcept
    : owner_{std::move(owner)}, bytes_{bytes} {}

Result<std::size_t> MemoryInput::read(std::span<std::uint8_t> into) {
    if (interrupted_.load(std::memory_order_relaxed)) return cancelled();
    const std::size_t count = std::min(into.size(), bytes_.size() - at_);
    if (count > 0) std::memcpy(into.data(), bytes_.data() + at_, count);
    at_ += count;
    return count;
}

Status MemoryInput::seek(std::int64_t offset) {
    if (offset < 0) return bad_offset(offset);
    // As in a file: beyond the end is allowed, and reads nothing.
    at_ = std::min(static_cast<std::size_t>(offset), bytes_.size());
    return Done{};
}

template <class Answer>
Result<Answer> PumpedInput::ask(std::unique_lock<std::mutex>& lock, Answer PumpedInput::*answer) {
    stage_ = Stage::asked;
    pump_.notify_one();
    reader_.wait(lock, [this] { return stage_ == Stage::answered || interrupted_; });
    into_ = {};
    if (interrupted_) return cancelled();
    stage_ = Stage::idle;
    if (error_) return *std::exchange(error_, std::nullopt);
    return this->*answer;
}

Result<std::size_t> PumpedInput::read(std::span<std::uint8_t> into) {
    std::unique_lock lock{mutex_};
    if (interrupted_) return cancelled();
    if (into.empty()) return std::size_t{0};
    into_ = into;
    request_ = {.kind = Request::Kind::read, .size = into.size(), .offset = 0};
    return ask(lock, &PumpedInput::bytes_read_);
}

Status PumpedInput::seek(std::int64_t offset) {
    if (offset < 0) return bad_offset(offset);
    std::unique_lock lock{mutex_};
    if (interrupted_) return cancelled();
    if (!seekable_) {
        return Error{.code = Errc::unsupported, .native = 0, .message = "this input cannot seek"};
    }
    request_ = {.kind = Request::Kind::seek, .size = 0, .offset = offset};
    auto position = ask(lock, &PumpedInput::position_);
    if (!position) return std::move(position).error();
    if (*position != offset) {
        return Error{.code = Errc::io,
                     .native = 0,
                     .message = "seeking to byte " + std::to_string(offset) + " led to byte " +
                                std::to_string(*position)};
    }
    return Done{};
}

void PumpedInput::interrupt() noexcept {
    {
        const std::lock_guard lock{mutex_};
        interrupted_ = true;
    }
    reader_.notify_all();
    pump_.notify_all();
}

PumpedInput::Request PumpedInput::wait_request() {
    std::unique_lock lock{mutex_};
    pump_.wait(lock, [this] { return stage_ == Stage::asked || interrupted_; });
    if (interrupted_) return Request{};
    stage_ = Stage::working;
    return request_;
}

void PumpedInput::answer_with(std::unique_lock<std::mutex>& lock) {
    stage_ = Stage::answered;
    lock.unlock();
    reader_.notify_one();
}

void PumpedInput::complete_read(std::span<const std::uint8_t> bytes) {
    std::unique_lock lock{mutex_};
    // The reader may have left, and its buffer with it.
    if (stage_ != Stage::working || interrupted_) return;
    if (bytes.size() > into_.size()) {
        error_ = Error{.code = Errc::io,
                       .native = 0,
                       .message = "read(" + std::to_string(into_.size()) + ") gave " +
                                  std::to_string(bytes.size()) + " bytes"};
    } else {
        if (!bytes.empty()) std::memcpy(into_.data(), bytes.data(), bytes.size());
        bytes_read_ = bytes.size();
    }
    answer_with(lock);
}

void PumpedInput::complete_seek(std::int64_t position) {
    std::unique_lock lock{mutex_};
    if (stage_ != Stage::working || interrupted_) return;
    position_ = position;
    answer_with(lock);
}

void PumpedInput::fail(Error error) {
    std::unique_lock lock{mutex_};
    if (stage_ != Stage::working || interrupted_) return;
    error_ = std::move(error);
    answer_with(lock);
}

}  // namespace voicecore::sources
