// The codecs that we take from Ogg: their header packets and the length of their packets.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "voicecore/base/result.hpp"
#include "voicecore/codec/comments.hpp"
#include "voicecore/codec/demuxer.hpp"

struct AVVorbisParseContext;

namespace voicecore::codec {

struct VorbisParserDeleter {
    void operator()(AVVorbisParseContext* parser) const noexcept;
};

// One logical stream of Opus (RFC 7845), Vorbis I or FLAC (Ogg mapping 1.0). Not thread-safe.
class OggCodec {
    struct Key {};  // only recognise() makes one

  public:
    OggCodec(Key, AVCodecID id, int rate, int channels, int headers_left) noexcept
        : id_{id}, rate_{rate}, channels_{channels}, headers_left_{headers_left} {}
    // Null when the first packet of the stream belongs to none of them.
    [[nodiscard]] static std::unique_ptr<OggCodec> recognise(std::span<const std::uint8_t> first);

    // The header packets after the first, in order.
    [[nodiscard]] Status add_header(std::span<const std::uint8_t> packet);
    [[nodiscard]] bool complete() const noexcept { return headers_left_ == 0; }

    // Of a data packet, in ticks. The packet after reset() gives a Vorbis decoder nothing to
    // overlap with: it is 0 long.
    [[nodiscard]] std::int64_t duration(std::span<const std::uint8_t> packet) noexcept;
    void reset() noexcept { fresh_ = true; }

    [[nodiscard]] int rate() const noexcept { return rate_; }
    [[nodiscard]] const std::optional<OpusHead>& opus() const noexcept { return opus_; }
    [[nodiscard]] const Tags& tags() const noexcept { return tags_; }
    [[nodiscard]] Result<CodecParametersPtr> parameters() const;

  private:
    [[nodiscard]] Status finish_vorbis();

    AVCodecID id_;
    int rate_;
    int channels_;
    int headers_left_;  // -1: until a FLAC metadata block says that it is the last
    std::optional<OpusHead> opus_;
    std::vector<std::vector<std::uint8_t>> headers_;
    std::vector<std::uint8_t> extradata_;
    std::unique_ptr<AVVorbisParseContext, VorbisParserDeleter> vorbis_;
    Tags tags_;
    bool fresh_ = true;
};

}  // namespace voicecore::codec
