// What do the first bytes look like? Judged by content alone: names lie.
#pragma once

#include <string>

#include "voicecore/codec/byte_reader.hpp"
#include "voicecore/codec/handles.hpp"

namespace voicecore::codec {

enum class Looks {
    ogg,        // for OggDemuxer
    frames,     // mp3, mp2, mp1 or ADTS, for FrameDemuxer
    container,  // for ContainerDemuxer with `format`
    playlist,   // names other files or addresses
    empty,
    foreign,  // something that is not on the allow-list
    unknown,
};

struct ProbeResult {
    Looks looks = Looks::unknown;
    const AVInputFormat* format =
        nullptr;        // container, or a playlist that libavformat could follow
    std::string words;  // playlist, foreign, unknown: what it seems to be
};

// Leaves the reader where it was.
Result<ProbeResult> probe(ByteReader& reader);

}  // namespace voicecore::codec
