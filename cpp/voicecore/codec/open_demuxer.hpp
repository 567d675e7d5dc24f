// From bytes to a demuxer: probing, and the rules on what may be opened.
#pragma once

#include <memory>
#include <string>

#include "voicecore/codec/byte_reader.hpp"
#include "voicecore/codec/container_demuxer.hpp"
#include "voicecore/codec/demuxer.hpp"

namespace voicecore::codec {

struct DemuxRules {
    std::string name;  // for messages
    std::string base;  // address that a playlist's entries are relative to
    NestedRules playlists;
    bool asked = false;  // the caller allowed playlists, but this one has no address
};

[[nodiscard]] Result<std::unique_ptr<Demuxer>> open_demuxer(ByteReader reader,
                                                            const DemuxRules& rules);

}  // namespace voicecore::codec
