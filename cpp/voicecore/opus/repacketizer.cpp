#include "voicecore/opus/repacketizer.hpp"

#include <opus.h>

namespace voicecore::opus {

Result<Repacketizer> Repacketizer::create() {
    RepacketizerHandle handle{opus_repacketizer_create()};
    if (!handle) {
        return Error{
            .code = Errc::no_memory, .native = 0, .message = "no memory for a repacketizer"};
    }
    return Repacketizer{std::move(handle)};
}

void Repacketizer::clear() noexcept {
    opus_repacketizer_init(handle_.get());
}

bool Repacketizer::add(std::span<const std::uint8_t> packet) noexcept {
    return opus_repacketizer_cat(handle_.get(), packet.data(),
                                 static_cast<opus_int32>(packet.size())) == OPUS_OK;
}

std::size_t Repacketizer::join(std::span<std::uint8_t> into) noexcept {
    const auto bytes =
        opus_repacketizer_out(handle_.get(), into.data(), static_cast<opus_int32>(into.size()));
    return bytes > 0 ? static_cast<std::size_t>(bytes) : 0;
}

}  // namespace voicecore::opus
