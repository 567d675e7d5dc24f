// What libavformat and libavcodec may use for us. Nothing else can be reached, whatever a file
// says.
#pragma once

#include <string_view>

#include "voicecore/codec/handles.hpp"

namespace voicecore::codec {

// Demuxers, as libavformat names them. Ogg, mp3 and ADTS have demuxers of our own; the names appear
// here because probing and HLS segments use them.
inline constexpr const char* kDemuxers =
    "wav,w64,aiff,au,caf,flac,mov,matroska,ac3,eac3,wv,aac,mp3,ogg,mpegts";
inline constexpr const char* kDemuxersWithHls = "hls,wav,flac,mov,ac3,eac3,aac,mp3,mpegts";

inline constexpr const char* kDecoders =
    "mp3float,mp3,mp2float,mp2,mp1float,mp1,aac,aac_latm,libopus,opus,vorbis,flac,alac,wavpack,ac3,"
    "eac3,pcm_u8,pcm_s8,pcm_s8_planar,pcm_s16le,pcm_s16be,pcm_s16le_planar,pcm_s16be_planar,pcm_"
    "u16le,"
    "pcm_u16be,pcm_s24le,pcm_s24be,pcm_s24le_planar,pcm_u24le,pcm_u24be,pcm_s32le,pcm_s32be,"
    "pcm_s32le_planar,pcm_u32le,pcm_u32be,pcm_s64le,pcm_s64be,pcm_f32le,pcm_f32be,pcm_f64le,"
    "pcm_f64be,pcm_f16le,pcm_f24le,pcm_alaw,pcm_mulaw,adpcm_ima_wav,adpcm_ms,adpcm_ima_qt";

// libavformat opens nothing by itself: every byte comes through our own input.
inline constexpr const char* kProtocols = "none";

// The first decoder of the list that decodes `id`; null when there is none.
[[nodiscard]] const AVCodec* allowed_decoder(AVCodecID id) noexcept;

// Is a demuxer, whose name may be a list of aliases, in the list?
[[nodiscard]] bool allowed(std::string_view name, std::string_view list) noexcept;

}  // namespace voicecore::codec
