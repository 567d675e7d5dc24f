#include "voicecore/opus/error.hpp"

#include <opus.h>

#include <string>

#include "voicecore/opus/handles.hpp"

namespace voicecore::opus {
namespace {

Errc code_of(int native) noexcept {
    switch (native) {
        case OPUS_BAD_ARG:
            return Errc::invalid_argument;
        case OPUS_INVALID_PACKET:
            return Errc::corrupt;
        case OPUS_UNIMPLEMENTED:
            return Errc::unsupported;
        case OPUS_ALLOC_FAIL:
            return Errc::no_memory;
        default:
            return Errc::internal;
    }
}

}  // namespace

void EncoderDeleter::operator()(OpusEncoder* encoder) const noexcept {
    opus_encoder_destroy(encoder);
}
void DecoderDeleter::operator()(OpusDecoder* decoder) const noexcept {
    opus_decoder_destroy(decoder);
}
void RepacketizerDeleter::operator()(OpusRepacketizer* repacketizer) const noexcept {
    opus_repacketizer_destroy(repacketizer);
}

Error translate(int native, std::string_view doing) {
    std::string message{doing};
    message += ": libopus says \"";
    message += opus_strerror(native);
    message += "\"";
    return Error{.code = code_of(native), .native = native, .message = std::move(message)};
}

std::string_view library_version() noexcept {
    return opus_get_version_string();
}

}  // namespace voicecore::opus
