#include <openssl/crypto.h>

#include "voicecore/codec/handles.hpp"
#include "voicecore/codec/open.hpp"

namespace voicecore::codec {
namespace {

std::string dotted(unsigned version) {
    return std::to_string(version >> 16U) + "." + std::to_string(version >> 8U & 0xFFU) + "." +
           std::to_string(version & 0xFFU);
}

}  // namespace

LibraryVersions library_versions() {
    return {.avformat = dotted(avformat_version()),
            .avcodec = dotted(avcodec_version()),
            .avutil = dotted(avutil_version()),
            .swresample = dotted(swresample_version()),
            .ffmpeg = av_version_info(),
            .license = avformat_license(),
            .configuration = avformat_configuration(),
            .tls = OpenSSL_version(OPENSSL_VERSION)};
}

}  // namespace voicecore::codec
