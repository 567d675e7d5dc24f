#include "voicecore/codec/avio_bridge.hpp"

#include <cstdio>

#include "voicecore/codec/native_error.hpp"

namespace voicecore::codec {
namespace {
constexpr int kBufferBytes = 16 * 1024;
}

Result<std::unique_ptr<AvioBridge>> AvioBridge::create(ByteReader reader) {
    auto bridge = std::make_unique<AvioBridge>(Key{}, std::move(reader));
    auto* buffer = static_cast<std::uint8_t*>(av_malloc(kBufferBytes));
    if (buffer == nullptr) return error_from_av(AVERROR(ENOMEM), "read buffer");
    bridge->io_.reset(
        avio_alloc_context(buffer, kBufferBytes, 0, bridge.get(), &on_read, nullptr, &on_seek));
    if (!bridge->io_) {
        av_free(buffer);
        return error_from_av(AVERROR(ENOMEM), "read buffer");
    }
    bridge->io_->seekable = bridge->reader_.seekable() ? AVIO_SEEKABLE_NORMAL : 0;
    return bridge;
}

int AvioBridge::on_read(void* self, std::uint8_t* into, int size) noexcept {
    auto& bridge = *static_cast<AvioBridge*>(self);
    try {
        auto got = bridge.reader_.read_some({into, static_cast<std::size_t>(size)});
        if (got) return got.value() == 0 ? AVERROR_EOF : static_cast<int>(got.value());
        bridge.failure_ = std::move(got).error();
    } catch (const std::exception&) {
        return AVERROR(ENOMEM);
    }
    return AVERROR_EXIT;
}

std::int64_t AvioBridge::on_seek(void* self, std::int64_t offset, int whence) noexcept {
    auto& bridge = *static_cast<AvioBridge*>(self);
    const auto size = bridge.reader_.size();
    if ((whence & AVSEEK_SIZE) != 0) return size.value_or(AVERROR(ENOSYS));
    switch (whence & ~AVSEEK_FORCE) {
        case SEEK_SET:
            break;
        case SEEK_CUR:
            offset += bridge.reader_.position();
            break;
        case SEEK_END:
            if (!size) return AVERROR(ENOSYS);
            offset += *size;
            break;
        default:
            return AVERROR(EINVAL);
    }
    if (offset < 0) return AVERROR(EINVAL);
    try {
        auto moved = bridge.reader_.seek(offset);
        if (moved) return offset;
        bridge.failure_ = std::move(moved).error();
    } catch (const std::exception&) {
        return AVERROR(ENOMEM);
    }
    return AVERROR(EIO);
}

void AvioBridge::forget_failure() noexcept {
    failure_.reset();
    io_->error = 0;
    io_->eof_reached = 0;
}

}  // namespace voicecore::codec
