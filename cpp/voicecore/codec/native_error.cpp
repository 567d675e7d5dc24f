#include "voicecore/codec/native_error.hpp"

#include <array>
#include <cerrno>
#include <system_error>

#include "voicecore/codec/handles.hpp"

namespace voicecore::codec {
namespace {

std::string av_words(int code) {
    std::array<char, AV_ERROR_MAX_STRING_SIZE> text{};
    if (av_strerror(code, text.data(), text.size()) < 0)
        return "FFmpeg error " + std::to_string(code);
    return text.data();
}

}  // namespace

Error error_from_errno(int code, const std::string& what) {
    const std::string words = what + ": " + std::generic_category().message(code);
    switch (code) {
        case ENOENT:
        case ENOTDIR:
            return {Errc::not_found, code, words};
        case EACCES:
        case EPERM:
            return {Errc::permission, code, words};
        case EISDIR:
            return {Errc::is_directory, code, what + " is a directory; a media file was expected"};
        case ETIMEDOUT:
            return {Errc::timeout, code, words};
        case ENOMEM:
            return {Errc::no_memory, code, words};
        default:
            return {Errc::io, code, words};
    }
}

Error error_from_av(int code, const std::string& what) {
    switch (code) {
        case AVERROR_EXIT:
            return {Errc::cancelled, code, what + ": cancelled"};
        case AVERROR_INVALIDDATA:
        case AVERROR_EOF:
        case AVERROR_PATCHWELCOME:
            return {Errc::corrupt, code, what + ": damaged or cut short: " + av_words(code)};
        case AVERROR_DECODER_NOT_FOUND:
        case AVERROR_DEMUXER_NOT_FOUND:
        case AVERROR_PROTOCOL_NOT_FOUND:
        case AVERROR_STREAM_NOT_FOUND:
            return {Errc::unsupported, code, what + ": " + av_words(code)};
        case AVERROR_BUG:
        case AVERROR_BUG2:
            return {Errc::internal, code, what + ": " + av_words(code)};
        default:
            break;
    }
    // Small negative numbers are errno; the tags above are far below.
    if (code < 0 && code > -4096) return error_from_errno(AVUNERROR(code), what);
    return {Errc::corrupt, code, what + ": " + av_words(code)};
}

}  // namespace voicecore::codec
