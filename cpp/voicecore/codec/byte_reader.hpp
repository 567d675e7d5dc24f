// A buffered window on a ByteInput that can be looked at before it is consumed.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "voicecore/audio/media_source.hpp"
#include "voicecore/base/result.hpp"

namespace voicecore::codec {

// One thread at a time. What was buffered can be sought back to even when the input cannot seek.
class ByteReader {
  public:
    explicit ByteReader(std::shared_ptr<audio::ByteInput> input) : input_{std::move(input)} {}

    // The next bytes without consuming them: `wanted` of them, fewer only at the end of the input.
    // More may be given. Valid until the next call.
    Result<std::span<const std::uint8_t>> peek(std::size_t wanted);

    // Consumes; beyond what is buffered it seeks, or reads and drops.
    Status skip(std::int64_t count);

    // Copies out what is buffered, or reads straight from the input; 0 at the end.
    Result<std::size_t> read_some(std::span<std::uint8_t> into);

    Status seek(std::int64_t offset);
    [[nodiscard]] std::int64_t position() const noexcept {
        return base_ + static_cast<std::int64_t>(head_);
    }
    [[nodiscard]] bool seekable() const noexcept { return input_->seekable(); }
    [[nodiscard]] std::optional<std::int64_t> size() const noexcept { return input_->size(); }
    [[nodiscard]] audio::ByteInput& input() noexcept { return *input_; }
    [[nodiscard]] const std::shared_ptr<audio::ByteInput>& shared_input() const noexcept {
        return input_;
    }

    // Between pin and unpin, which nest, nothing that was read from here on is forgotten (a seek
    // outside of it forgets).
    void pin() noexcept { ++pins_; }
    void unpin() noexcept { --pins_; }

  private:
    [[nodiscard]] std::size_t available() const noexcept { return fill_ - head_; }

    // The input is owned jointly with whoever interrupts it from another thread.
    std::shared_ptr<audio::ByteInput> input_;
    std::vector<std::uint8_t> buffer_;
    std::int64_t base_ = 0;  // offset of buffer_[0] in the input
    std::size_t head_ = 0;   // consumed
    std::size_t fill_ = 0;   // valid; the input stands at base_ + fill_
    int pins_ = 0;
};

}  // namespace voicecore::codec
