// The codec layer's door: opens a path, a URL or a byte input as a media source.
#pragma once

#include <memory>
#include <string>

#include "voicecore/audio/media_source.hpp"

namespace voicecore::codec {

// An audio::OpenFunction. Thread-safe.
//
// A location that begins with http:// or https:// is a URL; any other "scheme://" is refused;
// everything else is a path, "-" the standard input. Regular files are read on the caller's thread;
// everything that can block gets a thread of its own, which the source never waits for.
[[nodiscard]] Result<std::unique_ptr<audio::MediaSource>> open_media(
    const audio::OpenRequest& request, std::shared_ptr<CancelToken> cancel);

// What is behind it, for reports. Thread-safe.
struct LibraryVersions {
    std::string avformat;
    std::string avcodec;
    std::string avutil;
    std::string swresample;
    std::string ffmpeg;         // the release, as its builder calls it
    std::string license;        // of the FFmpeg build
    std::string configuration;  // how it was built
    std::string tls;            // the TLS library
};
[[nodiscard]] LibraryVersions library_versions();

}  // namespace voicecore::codec
