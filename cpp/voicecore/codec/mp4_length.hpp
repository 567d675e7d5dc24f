// How long the audio of an mp4 file is, to the sample.
#pragma once

#include <cstdint>
#include <optional>

#include "voicecore/codec/byte_reader.hpp"

namespace voicecore::codec {

struct Mp4Length {
    std::int64_t ticks = 0;
    std::int64_t timescale = 0;  // ticks per second
};

// Of the first audio track, when it has no edits or one that only cuts the encoder's delay. The
// edit list tells the length in the movie's time scale, usually milliseconds, and libavformat takes
// it from there; the track's own header has it exactly. Leaves the reader where it was.
[[nodiscard]] Result<std::optional<Mp4Length>> mp4_length(ByteReader& reader);

}  // namespace voicecore::codec
