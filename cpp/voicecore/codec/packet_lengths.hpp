// What packets tell about their length, by themselves and by their codec.
#pragma once

#include <cstdint>

#include "voicecore/codec/handles.hpp"

namespace voicecore::codec {

// Samples to drop from either end of a packet.
struct Trims {
    std::int64_t front = 0;
    std::int64_t back = 0;
};
// As AV_PKT_DATA_SKIP_SAMPLES says.
[[nodiscard]] Trims trims_of(const AVPacket& packet) noexcept;

// Samples per packet of codecs where that is a constant, or what every packet is a multiple of; 0
// where neither is known.
[[nodiscard]] std::int64_t packet_samples(const AVCodecParameters& parameters) noexcept;

// Samples per block of formats in which libavformat finds places by the header's byte rate, which
// is rounded and may be anything: seconds off. 0: it does better.
[[nodiscard]] std::int64_t block_samples(const AVInputFormat& format,
                                         const AVCodecParameters& parameters);

}  // namespace voicecore::codec
