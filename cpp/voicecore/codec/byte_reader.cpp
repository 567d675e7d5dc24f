#include "voicecore/codec/byte_reader.hpp"

#include <cstring>

namespace voicecore::codec {
namespace {
constexpr std::size_t kChunk = 16 * 1024;      // one read of the input
constexpr std::int64_t kReadOver = 64 * 1024;  // a seek forward by less is read and dropped
}  // namespace

Result<std::span<const std::uint8_t>> ByteReader::peek(std::size_t wanted) {
    if (available() < wanted) {
        if (pins_ == 0 && head_ > 0) {
            std::memmove(buffer_.data(), buffer_.data() + head_, available());
            base_ += static_cast<std::int64_t>(head_);
            fill_ -= head_;
            head_ = 0;
        }
        const std::size_t room = head_ + std::max(wanted, kChunk);
        if (buffer_.size() < room) buffer_.resize(room);
        while (available() < wanted) {
            auto got = input_->read(std::span{buffer_}.subspan(fill_));
            if (!got) return std::move(got).error();
            if (got.value() == 0) break;
            fill_ += got.value();
        }
    }
    return std::span<const std::uint8_t>{buffer_}.subspan(head_, available());
}

Result<std::size_t> ByteReader::read_some(std::span<std::uint8_t> into) {
    if (available() > 0) {
        const std::size_t count = std::min(into.size(), available());
        std::memcpy(into.data(), buffer_.data() + head_, count);
        head_ += count;
        return count;
    }
    if (pins_ > 0) {
        auto seen = peek(1);
        if (!seen) return std::move(seen).error();
        if (seen.value().empty()) return std::size_t{0};
        return read_some(into);
    }
    auto got = input_->read(into);
    if (got) {
        base_ += static_cast<std::int64_t>(fill_ + got.value());
        head_ = fill_ = 0;
    }
    return got;
}

Status ByteReader::skip(std::int64_t count) {
    return seek(position() + count);
}

Status ByteReader::seek(std::int64_t offset) {
    if (offset >= base_ && offset <= base_ + static_cast<std::int64_t>(fill_)) {
        head_ = static_cast<std::size_t>(offset - base_);
        return Done{};
    }
    const bool near = offset > position() && offset - position() < kReadOver;
    if (input_->seekable() && !(near && input_->can_block())) {
        if (auto moved = input_->seek(offset); !moved) return moved;
        base_ = offset;
        head_ = fill_ = 0;
        return Done{};
    }
    if (offset < position()) {
        return Error{Errc::io, 0,
                     "byte " + std::to_string(offset) +
                         " is needed again; a pipe or a server without ranges cannot go back"};
    }
    while (position() < offset) {
        const auto missing = static_cast<std::size_t>(
            std::min<std::int64_t>(offset - position(), static_cast<std::int64_t>(kChunk)));
        auto seen = peek(missing);
        if (!seen) return std::move(seen).error();
        if (seen.value().empty()) break;
        head_ += std::min(missing, seen.value().size());
    }
    return Done{};
}

}  // namespace voicecore::codec
