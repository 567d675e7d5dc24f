#include "voicecore/codec/ogg_codec.hpp"

#include <array>
#include <cstring>
#include <string_view>

#include "voicecore/audio/opus_packet.hpp"
#include "voicecore/codec/native_error.hpp"

extern "C" {
#include <libavcodec/vorbis_parser.h>
}

namespace voicecore::codec {
namespace {

using Bytes = std::span<const std::uint8_t>;

bool starts_with(Bytes bytes, std::string_view magic) noexcept {
    return bytes.size() >= magic.size() &&
           std::memcmp(bytes.data(), magic.data(), magic.size()) == 0;
}

std::uint32_t little32(Bytes b) noexcept {
    return std::uint32_t{b[0]} | std::uint32_t{b[1]} << 8U | std::uint32_t{b[2]} << 16U |
           std::uint32_t{b[3]} << 24U;
}

// The block size that a FLAC frame header (RFC 9639 section 9.1) announces; 0 when it is not one.
std::int64_t flac_block_size(Bytes b) noexcept {
    if (b.size() < 6 || b[0] != 0xFF || (b[1] & 0xFCU) != 0xF8) return 0;
    const unsigned code = b[2] >> 4U;
    if (code == 1) return 192;
    if (code >= 2 && code <= 5) return 576L << (code - 2);
    if (code >= 8) return 256L << (code - 8);
    if (code == 0) return 0;
    // The size follows the coded number, whose length its first byte tells as in UTF-8.
    std::size_t at = 4;
    std::size_t length = 1;
    for (unsigned bits = b[4]; (bits & 0x80U) != 0 && length < 8; bits <<= 1U) ++length;
    at += length > 1 ? length - 1 : 1;
    if (b.size() < at + 2) return 0;
    return code == 6 ? b[at] + 1L : (b[at] << 8L | b[at + 1]) + 1L;
}

// "Xiph lacing" of the three Vorbis headers, as the decoder wants them.
std::vector<std::uint8_t> lace(const std::vector<std::vector<std::uint8_t>>& headers) {
    std::vector<std::uint8_t> out{static_cast<std::uint8_t>(headers.size() - 1)};
    for (std::size_t i = 0; i + 1 < headers.size(); ++i) {
        std::size_t size = headers[i].size();
        for (; size >= 255; size -= 255) out.push_back(255);
        out.push_back(static_cast<std::uint8_t>(size));
    }
    for (const auto& header : headers) out.insert(out.end(), header.begin(), header.end());
    return out;
}

}  // namespace

void VorbisParserDeleter::operator()(AVVorbisParseContext* parser) const noexcept {
    av_vorbis_parse_free(&parser);
}

std::optional<OpusHead> parse_opus_head(Bytes b) noexcept {
    // Versions 1 to 15 are compatible.
    if (!starts_with(b, "OpusHead") || b.size() < 19 || b[8] == 0 || b[8] > 15 || b[9] == 0) {
        return std::nullopt;
    }
    return OpusHead{.channels = b[9],
                    .pre_skip = b[10] | b[11] << 8,
                    .gain_q8 = static_cast<std::int16_t>(b[16] | b[17] << 8),
                    .mapping_family = b[18]};
}

int opus_packet_samples(Bytes packet) noexcept {
    if (packet.empty()) return 0;
    // A packet of one empty frame with the same configuration is always valid.
    const std::array<std::uint8_t, 1> one{static_cast<std::uint8_t>(packet[0] & 0xFCU)};
    const auto frame = audio::parse_opus_packet(one);
    const unsigned code = packet[0] & 3U;
    const int count = code == 0 ? 1 : code < 3 ? 2 : packet.size() > 1 ? packet[1] & 0x3F : 0;
    return frame ? frame->frame_samples * count : 0;
}

std::unique_ptr<OggCodec> OggCodec::recognise(Bytes first) {
    std::unique_ptr<OggCodec> codec;
    if (const auto head = parse_opus_head(first)) {
        codec = std::make_unique<OggCodec>(Key{}, AV_CODEC_ID_OPUS, kSampleRate, head->channels, 1);
        codec->opus_ = head;
        codec->extradata_.assign(first.begin(), first.end());
    } else if (starts_with(first, "\x01vorbis") && first.size() >= 30) {
        const auto rate = static_cast<int>(little32(first.subspan(12)));
        if (rate < 1 || rate > 768'000 || first[11] == 0) return nullptr;
        codec = std::make_unique<OggCodec>(Key{}, AV_CODEC_ID_VORBIS, rate, first[11], 2);
    } else if (starts_with(first,
                           "\x7F"
                           "FLAC") &&
               first.size() >= 51) {
        const Bytes info = first.subspan(17, 34);
        const int rate = info[10] << 12 | info[11] << 4 | info[12] >> 4;
        if (rate == 0) return nullptr;
        codec =
            std::make_unique<OggCodec>(Key{}, AV_CODEC_ID_FLAC, rate, (info[12] >> 1 & 7) + 1, -1);
        codec->extradata_.assign(info.begin(), info.end());
        // Byte 13 is the header of STREAMINFO; its top bit says that no other block follows.
        if ((first[13] & 0x80U) != 0) codec->headers_left_ = 0;
    }
    if (codec) codec->headers_.emplace_back(first.begin(), first.end());
    return codec;
}

Status OggCodec::add_header(Bytes packet) {
    if (complete()) return Done{};
    if (id_ == AV_CODEC_ID_OPUS) {
        if (!starts_with(packet, "OpusTags")) {
            return Error{Errc::corrupt, 0, "the Opus comment header is missing"};
        }
        tags_ = parse_vorbis_comments(packet.subspan(8));
        headers_left_ = 0;
        return Done{};
    }
    if (id_ == AV_CODEC_ID_FLAC) {
        if (packet.empty() || packet[0] == 0xFF) {
            return Error{Errc::corrupt, 0, "the FLAC headers have no end"};
        }
        if ((packet[0] & 0x7FU) == 4 && packet.size() > 4) {
            tags_ = parse_vorbis_comments(packet.subspan(4));
        }
        if ((packet[0] & 0x80U) != 0) headers_left_ = 0;
        return Done{};
    }
    if (!starts_with(packet, headers_.size() == 1 ? "\x03vorbis" : "\x05vorbis")) {
        return Error{Errc::corrupt, 0, "a Vorbis header is missing"};
    }
    if (headers_.size() == 1) tags_ = parse_vorbis_comments(packet.subspan(7));
    headers_.emplace_back(packet.begin(), packet.end());
    --headers_left_;
    return headers_left_ == 0 ? finish_vorbis() : Status{Done{}};
}

Status OggCodec::finish_vorbis() {
    extradata_ = lace(headers_);
    headers_.clear();
    vorbis_.reset(av_vorbis_parse_init(extradata_.data(), static_cast<int>(extradata_.size())));
    if (!vorbis_) return Error{Errc::corrupt, 0, "the Vorbis headers are damaged"};
    return Done{};
}

std::int64_t OggCodec::duration(Bytes packet) noexcept {
    if (packet.empty()) return 0;
    switch (id_) {
        case AV_CODEC_ID_OPUS:
            return opus_packet_samples(packet);
        case AV_CODEC_ID_FLAC:
            return flac_block_size(packet);
        default:
            break;
    }
    if (fresh_) av_vorbis_parse_reset(vorbis_.get());
    int flags = 0;
    const int samples = av_vorbis_parse_frame_flags(vorbis_.get(), packet.data(),
                                                    static_cast<int>(packet.size()), &flags);
    if (samples < 0 || flags != 0) return 0;  // damaged, or a header in the middle
    return std::exchange(fresh_, false) ? 0 : samples;
}

Result<CodecParametersPtr> OggCodec::parameters() const {
    CodecParametersPtr out{avcodec_parameters_alloc()};
    if (!out) return error_from_av(AVERROR(ENOMEM), "codec parameters");
    out->codec_type = AVMEDIA_TYPE_AUDIO;
    out->codec_id = id_;
    out->sample_rate = rate_;
    av_channel_layout_default(&out->ch_layout, channels_);
    out->extradata =
        static_cast<std::uint8_t*>(av_mallocz(extradata_.size() + AV_INPUT_BUFFER_PADDING_SIZE));
    if (out->extradata == nullptr) return error_from_av(AVERROR(ENOMEM), "codec parameters");
    std::memcpy(out->extradata, extradata_.data(), extradata_.size());
    out->extradata_size = static_cast<int>(extradata_.size());
    return out;
}

}  // namespace voicecore::codec
