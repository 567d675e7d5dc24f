#include "voicecore/codec/container_demuxer.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "voicecore/codec/allow_list.hpp"
#include "voicecore/codec/native_error.hpp"

namespace voicecore::codec {
namespace {

std::uint32_t little32(const std::uint8_t* b) noexcept {
    return std::uint32_t{b[0]} | std::uint32_t{b[1]} << 8U | std::uint32_t{b[2]} << 16U |
           std::uint32_t{b[3]} << 24U;
}

struct Trim {
    std::int64_t front = 0;
    std::int64_t back = 0;
};

// AV_PKT_DATA_SKIP_SAMPLES: what to drop from either end of the packet.
Trim trim_of(const AVPacket& packet) noexcept {
    std::size_t size = 0;
    const auto* data = av_packet_get_side_data(&packet, AV_PKT_DATA_SKIP_SAMPLES, &size);
    if (data == nullptr || size < 8) return {};
    return {little32(data), little32(data + 4)};
}

// A quarter of the short block: every length is a multiple of it. 0 when that is finer than
// milliseconds can tell, or the header is not there.
std::int64_t vorbis_grid(const AVCodecParameters& parameters) noexcept {
    constexpr std::string_view kMagic = "\x01vorbis";
    constexpr std::size_t kBlockSizes = 28;
    const std::string_view headers{reinterpret_cast<const char*>(parameters.extradata),
                                   static_cast<std::size_t>(parameters.extradata_size)};
    const auto at = headers.find(kMagic);
    if (at == std::string_view::npos || headers.size() < at + kBlockSizes + 1) return 0;
    const std::int64_t grid = (1LL << (headers[at + kBlockSizes] & 15)) / 4;
    return grid * 1'000 > parameters.sample_rate ? grid : 0;
}

// Samples per packet of codecs where that is a constant.
std::int64_t packet_samples(const AVCodecParameters& parameters) noexcept {
    switch (parameters.codec_id) {
        case AV_CODEC_ID_OPUS:
            return 120;  // 2.5 ms, of which every packet is a multiple
        case AV_CODEC_ID_AAC:
            return parameters.frame_size > 0 ? parameters.frame_size : 1024;
        case AV_CODEC_ID_MP3:
            return parameters.sample_rate >= 32'000 ? 1152 : 576;
        case AV_CODEC_ID_AC3:
        case AV_CODEC_ID_EAC3:
            return 1536;
        case AV_CODEC_ID_VORBIS:
            return vorbis_grid(parameters);
        default:
            return parameters.frame_size;
    }
}

// libavformat finds places in these by the header's byte rate, which is rounded and may be
// anything: seconds off. 0: it does better.
std::int64_t block_samples(const AVInputFormat& format, const AVCodecParameters& parameters) {
    const bool coded = parameters.codec_id == AV_CODEC_ID_ADPCM_MS ||
                       parameters.codec_id == AV_CODEC_ID_ADPCM_IMA_WAV ||
                       parameters.codec_id == AV_CODEC_ID_ADPCM_IMA_QT;
    if (!coded || parameters.block_align <= 0 || !allowed(format.name, "wav,w64,aiff")) return 0;
    AVCodecParameters copy = parameters;  // not const for libavcodec
    return std::max(av_get_audio_frame_duration2(&copy, parameters.block_align), 0);
}

struct DictionaryDeleter {
    void operator()(AVDictionary** options) const noexcept { av_dict_free(options); }
};

}  // namespace

ContainerDemuxer::~ContainerDemuxer() = default;

Result<std::unique_ptr<ContainerDemuxer>> ContainerDemuxer::open(ByteReader reader,
                                                                 const AVInputFormat& format,
                                                                 std::string name,
                                                                 const NestedRules& nested) {
    auto demuxer = std::make_unique<ContainerDemuxer>(Key{});
    demuxer->name_ = std::move(name);
    if (nested.open) {
        demuxer->nested_ = std::make_unique<NestedInputs>(nested);
        auto list = demuxer->nested_->begin(demuxer->name_, std::move(reader));
        if (!list) return std::move(list).error();
        reader = std::move(list).value();
    }
    if (allowed("mov", format.name) && reader.seekable() && !reader.input().can_block()) {
        auto length = mp4_length(reader);
        if (!length) return std::move(length).error();
        demuxer->mp4_ = length.value();
    }
    auto bridge = AvioBridge::create(std::move(reader));
    if (!bridge) return std::move(bridge).error();
    demuxer->bridge_ = std::move(bridge).value();
    demuxer->format_ = &format;
    if (auto begun = demuxer->begin(); !begun) {
        // Nothing came because something could not be opened.
        if (demuxer->nested_ && demuxer->nested_->failure()) return *demuxer->nested_->failure();
        return std::move(begun).error();
    }
    demuxer->fill_facts();
    demuxer->whole_ = {.stamp = demuxer->first_stamp_,
                       .base = demuxer->stream_->time_base,
                       .skip = demuxer->first_skip_,
                       .segment = demuxer->segment_};
    if (demuxer->nested_) demuxer->nested_->opened();
    return demuxer;
}

int ContainerDemuxer::on_open(AVFormatContext* context, AVIOContext** io, const char* url, int,
                              AVDictionary** options) noexcept {
    auto& self = *static_cast<ContainerDemuxer*>(context->opaque);
    if (!self.nested_) return AVERROR(EPERM);
    try {
        // A segment may be a part of a file; libavformat counts its bytes itself.
        const auto* from =
            options == nullptr ? nullptr : av_dict_get(*options, "offset", nullptr, 0);
        *io = self.nested_->open(url, from == nullptr ? 0 : std::atoll(from->value));
    } catch (const std::bad_alloc&) {
        return AVERROR(ENOMEM);
    }
    return *io == nullptr ? AVERROR(EIO) : 0;
}

int ContainerDemuxer::on_close(AVFormatContext* context, AVIOContext* io) noexcept {
    auto& self = *static_cast<ContainerDemuxer*>(context->opaque);
    if (self.nested_) self.nested_->close(io);
    return 0;
}

// The input's own failure tells more than what libavformat made of it.
Status ContainerDemuxer::describe(int code) const {
    if (bridge_->failure()) return *bridge_->failure();
    if (nested_ && nested_->failure()) return *nested_->failure();
    return error_from_av(code, name_);
}

// Up to the first packet.
Status ContainerDemuxer::begin() {
    stream_ = nullptr;
    auto begun = open_container();
    if (begun) begun = pick_stream();
    if (begun) begun = read_origin();
    return begun;
}

Status ContainerDemuxer::open_container() {
    const AVInputFormat& format = *format_;
    AVFormatContext* raw = avformat_alloc_context();
    if (raw == nullptr) return error_from_av(AVERROR(ENOMEM), name_);
    raw->pb = bridge_->io();
    raw->flags |= AVFMT_FLAG_CUSTOM_IO;
    raw->opaque = this;
    raw->io_open = &on_open;
    raw->io_close2 = &on_close;
    raw->max_streams = 64;
    // Packets of WAV files that libavformat would look at for DTS in disguise, at 10 ms an opening.
    if (allowed(format.name, "wav,w64")) raw->max_probe_packets = 1;
    raw->probesize = 1 << 20;
    raw->max_analyze_duration = AV_TIME_BASE;
    AVDictionary* options = nullptr;
    const std::unique_ptr<AVDictionary*, DictionaryDeleter> owned{&options};
    av_dict_set(&options, "format_whitelist", nested_ ? kDemuxersWithHls : kDemuxers, 0);
    av_dict_set(&options, "codec_whitelist", kDecoders, 0);
    av_dict_set(&options, "protocol_whitelist", kProtocols, 0);
    if (nested_) {
        raw->interrupt_callback = {.callback = &NestedInputs::interrupted, .opaque = nested_.get()};
        // Failures are counted here; newer versions give up after three.
        av_dict_set(&options, "max_reload", "1000", 0);
        // Connections of libavformat's own would bypass our input.
        av_dict_set(&options, "http_persistent", "0", 0);
        av_dict_set(&options, "http_multiple", "0", 0);
    }
    // The const went with FFmpeg 5; what is behind it never changes.
    const int code = avformat_open_input(&raw, nested_ ? name_.c_str() : "", &format, &options);
    // A failure has freed the context already.
    if (code < 0) return describe(code);
    context_.reset(raw);
    packet_.reset(av_packet_alloc());
    if (!packet_) return error_from_av(AVERROR(ENOMEM), name_);
    return Done{};
}

Status ContainerDemuxer::pick_stream() {
    const std::span streams{context_->streams, context_->nb_streams};
    const auto incomplete = [](const AVStream* stream) {
        const AVCodecParameters& p = *stream->codecpar;
        return p.codec_type == AVMEDIA_TYPE_UNKNOWN ||
               (p.codec_type == AVMEDIA_TYPE_AUDIO &&
                (p.sample_rate <= 0 || p.ch_layout.nb_channels <= 0));
    };
    // Reading ahead costs time and memory, so only where the header does not tell.
    if (streams.empty() || std::any_of(streams.begin(), streams.end(), incomplete)) {
        if (const int code = avformat_find_stream_info(context_.get(), nullptr); code < 0) {
            return describe(code);
        }
    }
    const AVStream* seen = nullptr;
    const std::span all{context_->streams, context_->nb_streams};
    for (AVStream* stream : all) {
        if (stream->codecpar->codec_type != AVMEDIA_TYPE_AUDIO) continue;
        if (seen == nullptr) seen = stream;
        if (allowed_decoder(stream->codecpar->codec_id) == nullptr ||
            stream->codecpar->sample_rate <= 0) {
            continue;
        }
        const bool preferred = (stream->disposition & AV_DISPOSITION_DEFAULT) != 0;
        if (stream_ == nullptr ||
            (preferred && (stream_->disposition & AV_DISPOSITION_DEFAULT) == 0)) {
            stream_ = stream;
        }
    }
    if (seen == nullptr) {
        return Error{Errc::no_audio, 0,
                     name_ + ": it has no audio stream, only " + std::to_string(all.size()) +
                         " other stream(s)"};
    }
    if (stream_ == nullptr) {
        return Error{Errc::unsupported, 0,
                     name_ + ": its audio codec, " + avcodec_get_name(seen->codecpar->codec_id) +
                         ", is not one that is decoded here"};
    }
    for (AVStream* stream : all) {
        if (stream != stream_) stream->discard = AVDISCARD_ALL;
    }
    return Done{};
}

// Reads the first packet: its time stamp, with what is to be skipped, is position 0.
Status ContainerDemuxer::read_origin() {
    const AVCodecParameters& parameters = *stream_->codecpar;
    coarse_ = av_cmp_q(stream_->time_base, AVRational{1, parameters.sample_rate}) > 0;
    grid_ = packet_samples(parameters);
    switch (read_packet()) {
        case DemuxStatus::failed:
            return error_;
        case DemuxStatus::end:
            return Error{Errc::no_audio, 0, name_ + ": there is no audio in it, only a header"};
        case DemuxStatus::packet:
            break;
    }
    held_ = true;
    if (packet_->pts != AV_NOPTS_VALUE) first_stamp_ = packet_->pts;
    auto segment = make_segment({});
    if (!segment) return std::move(segment).error();
    segment_ = std::move(segment).value();
    block_samples_ = block_samples(*context_->iformat, parameters);
    first_byte_ = packet_->pos;
    if (first_byte_ < 0) block_samples_ = 0;
    first_skip_ = trim_of(*packet_).front;
    if (segment_->opus) {
        // Matroska rounds the delay to milliseconds; the codec's header has it exactly.
        first_skip_ = segment_->opus->pre_skip;
    }
    return Done{};
}

Result<SegmentPtr> ContainerDemuxer::make_segment(std::span<const std::uint8_t> extradata) const {
    auto segment = std::make_shared<Segment>();
    segment->parameters.reset(avcodec_parameters_alloc());
    AVCodecParameters* copy = segment->parameters.get();
    if (copy == nullptr || avcodec_parameters_copy(copy, stream_->codecpar) < 0) {
        return error_from_av(AVERROR(ENOMEM), name_);
    }
    if (!extradata.empty()) {
        auto* bytes =
            static_cast<std::uint8_t*>(av_mallocz(extradata.size() + AV_INPUT_BUFFER_PADDING_SIZE));
        if (bytes == nullptr) return error_from_av(AVERROR(ENOMEM), name_);
        std::memcpy(bytes, extradata.data(), extradata.size());
        av_freep(&copy->extradata);
        copy->extradata = bytes;
        copy->extradata_size = static_cast<int>(extradata.size());
    }
    segment->rate = copy->sample_rate;
    segment->base = Samples{0};
    if (copy->codec_id == AV_CODEC_ID_OPUS) {
        segment->rate = kSampleRate;
        copy->sample_rate = kSampleRate;
        if (copy->extradata_size > 0) {
            segment->opus =
                parse_opus_head({copy->extradata, static_cast<std::size_t>(copy->extradata_size)});
        }
    }
    segment->end = exact_end();
    // iTunes writes delay, padding and true length as hexadecimal words.
    if (const auto* entry = av_dict_get(context_->metadata, "iTunSMPB", nullptr, 0)) {
        unsigned delay = 0;
        unsigned padding = 0;
        unsigned long long length = 0;
        if (std::sscanf(entry->value, "%*x %x %x %llx", &delay, &padding, &length) == 3 &&
            length > 0 && length < (1ULL << 48U)) {
            segment->end = static_cast<std::int64_t>(length);
        }
    }
    return SegmentPtr{std::move(segment)};
}

// The track's own length, unless libavformat's differs by more than the rounding of an edit list:
// then there are edits that only it understands.
std::optional<std::int64_t> ContainerDemuxer::exact_end() const noexcept {
    if (!mp4_ || stream_->duration <= 0) return std::nullopt;
    constexpr std::int64_t kRounding = 500;  // 1/500 s
    const AVRational ticks{1, static_cast<int>(mp4_->timescale)};
    const int rate = stream_->codecpar->sample_rate;
    const std::int64_t exact = av_rescale_q(mp4_->ticks, ticks, {1, rate});
    const std::int64_t told = av_rescale_q(stream_->duration, stream_->time_base, {1, rate});
    if (std::abs(exact - told) > rate / kRounding) return std::nullopt;
    return exact;
}

void ContainerDemuxer::fill_facts() {
    facts_.container = context_->iformat->name;
    for (const AVDictionary* tags : {context_->metadata, stream_->metadata}) {
        const AVDictionaryEntry* entry = nullptr;
        while ((entry = av_dict_get(tags, "", entry, AV_DICT_IGNORE_SUFFIX)) != nullptr) {
            std::string key{entry->key};
            std::transform(key.begin(), key.end(), key.begin(), [](char c) {
                return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
            });
            const bool known = std::any_of(facts_.tags.begin(), facts_.tags.end(),
                                           [&](const auto& tag) { return tag.first == key; });
            if (!known && std::strlen(entry->value) <= 4'096) {
                facts_.tags.emplace_back(std::move(key), entry->value);
            }
        }
    }
    std::int64_t ticks = -1;
    estimated_ =
        !segment_->end && context_->duration_estimation_method == AVFMT_DURATION_FROM_BITRATE;
    if (segment_->end) {
        ticks = *segment_->end;
    } else if (stream_->duration > 0) {
        // The stream's own count includes what is skipped in front when its stamps begin at 0.
        ticks = av_rescale_q(stream_->duration, stream_->time_base, {1, segment_->rate});
        const bool counted = first_stamp_ >= 0;
        if (counted) ticks -= first_skip_;
    } else if (context_->duration > 0) {
        ticks = av_rescale_q(context_->duration, {1, AV_TIME_BASE}, {1, segment_->rate});
    }
    const auto bytes = bridge_->reader().size();
    if (ticks < 0 && bytes && !nested_ && stream_->codecpar->bit_rate > 0) {
        ticks = av_rescale(*bytes * 8, segment_->rate, stream_->codecpar->bit_rate);
        estimated_ = true;
    }
    if (ticks >= 0) facts_.duration = Samples{av_rescale(ticks, kSampleRate, segment_->rate)};
    facts_.bitrate = stream_->codecpar->bit_rate;
    if (facts_.bitrate <= 0 && bytes && facts_.duration && facts_.duration->count() > 0 &&
        context_->nb_streams == 1) {
        facts_.bitrate = av_rescale(*bytes * 8, kSampleRate, facts_.duration->count());
    }
    const bool can_seek = (context_->ctx_flags & AVFMTCTX_UNSEEKABLE) == 0;
    facts_.seekable =
        can_seek && (nested_ ? facts_.duration.has_value() : bridge_->reader().seekable());
    facts_.segments = {segment_};
}

DemuxStatus ContainerDemuxer::read_packet() {
    if (!context_) return DemuxStatus::failed;  // a seek in a playlist failed
    for (;;) {
        av_packet_unref(packet_.get());
        const int code = av_read_frame(context_.get(), packet_.get());
        // Where the newest segment is missing, the end of what came is not the end.
        if (bridge_->failure() || (code < 0 && nested_ && nested_->failure())) {
            error_ = describe(code).error();
            return DemuxStatus::failed;
        }
        if (code == AVERROR(EAGAIN)) continue;
        // Anything else that stops libavformat is damage where the data end for it.
        if (code < 0) return DemuxStatus::end;
        if (packet_->stream_index == stream_->index && packet_->size > 0)
            return DemuxStatus::packet;
    }
}

std::int64_t ContainerDemuxer::blocks_in(std::int64_t bytes) const noexcept {
    return bytes / stream_->codecpar->block_align;
}

std::int64_t ContainerDemuxer::to_ticks(std::int64_t stamp) const noexcept {
    const std::int64_t ticks =
        begins_ + av_rescale_q(stamp - first_stamp_, stream_->time_base, {1, segment_->rate});
    if (!coarse_ || grid_ <= 0) return ticks - first_skip_;
    return (ticks + grid_ / 2) / grid_ * grid_ - first_skip_;
}

DemuxStatus ContainerDemuxer::next(Packet& packet) {
    if (at_end_) return DemuxStatus::end;
    if (!std::exchange(held_, false)) {
        if (const DemuxStatus status = read_packet(); status != DemuxStatus::packet) return status;
    }
    std::size_t size = 0;
    const auto* extradata =
        av_packet_get_side_data(packet_.get(), AV_PKT_DATA_NEW_EXTRADATA, &size);
    if (extradata != nullptr && size > 0) {
        auto segment = make_segment({extradata, size});
        if (!segment) {
            error_ = std::move(segment).error();
            return DemuxStatus::failed;
        }
        segment_ = std::move(segment).value();
    }
    packet.data = {packet_->data, static_cast<std::size_t>(packet_->size)};
    packet.segment = segment_;
    packet.start = packet_->pts == AV_NOPTS_VALUE ? kNoTick : to_ticks(packet_->pts);
    packet.duration = packet_->duration <= 0 ? 0
                                             : av_rescale_q(packet_->duration, stream_->time_base,
                                                            {1, segment_->rate});
    if (block_samples_ > 0 && packet_->pos >= first_byte_) {
        packet.start = blocks_in(packet_->pos - first_byte_) * block_samples_;
        packet.duration = blocks_in(packet_->size) * block_samples_;
    }
    packet.trim_end = trim_of(*packet_).back;
    if (segment_->opus) {
        const std::int64_t whole = opus_packet_samples(packet.data);
        // mp4 shortens the last packet's duration instead of telling what to trim.
        if (!coarse_ && packet.duration > 0 && packet.duration < whole && packet.trim_end == 0) {
            packet.trim_end = whole - packet.duration;
        }
        packet.duration = whole;
        if (segment_->end && packet.start != kNoTick && packet.start + whole > *segment_->end) {
            packet.trim_end = packet.start + whole - std::max(*segment_->end, packet.start);
        }
    } else if (!coarse_ && stream_->codecpar->codec_id == AV_CODEC_ID_AAC && packet.duration > 0 &&
               packet.duration < grid_ && packet.trim_end == 0) {
        packet.trim_end = grid_ - packet.duration;
        packet.duration = grid_;
    }
    return DemuxStatus::packet;
}

// libavformat looks for the place by stamps: segments of plain AAC or mp3 have none, those of
// MPEG-TS only on some packets, and fragments of mp4 are given up. So the playlist is opened anew
// without the segments before, and the decoder drops what is left.
Status ContainerDemuxer::open_again_at(Samples position) {
    context_.reset();
    auto bridge = AvioBridge::create(nested_->begin_at(position));
    if (!bridge) return std::move(bridge).error();
    bridge_ = std::move(bridge).value();
    auto begun = begin();
    nested_->opened();
    if (!begun) return begun;
    const AVCodecParameters& now = *segment_->parameters;
    const AVCodecParameters& then = *whole_.segment->parameters;
    if (now.codec_id == then.codec_id && segment_->rate == whole_.segment->rate &&
        now.ch_layout.nb_channels == then.ch_layout.nb_channels) {
        segment_ = whole_.segment;  // for the decoder nothing begins
    }
    first_skip_ = whole_.skip;
    // By its stamp, where segments have stamps of one time line; else by the lengths in the list.
    const AVRational base = stream_->time_base;
    const Samples stamped{av_rescale_q(first_stamp_ - av_rescale_q(whole_.stamp, whole_.base, base),
                                       base, {1, kSampleRate})};
    const Samples listed = nested_->nearest_begin(stamped);
    const Samples place = std::abs((stamped - listed).count()) < kSampleRate / 2 ? stamped : listed;
    begins_ = av_rescale(place.count(), segment_->rate, kSampleRate);
    return Done{};
}

Status ContainerDemuxer::seek(Samples position) {
    error_ = {};
    if (nested_) nested_->forget_failure();
    bridge_->forget_failure();
    at_end_ = false;
    held_ = false;
    if (facts_.duration && !estimated_ && position >= *facts_.duration) {
        at_end_ = true;
        return Done{};
    }
    if (nested_) return open_again_at(std::max(position, Samples{0}));
    // The beginning includes what is skipped there: decoders start up in it.
    const std::int64_t ticks =
        position <= Samples{0}
            ? 0
            : av_rescale(position.count(), segment_->rate, kSampleRate) + first_skip_;
    if (block_samples_ > 0) {
        const std::int64_t byte =
            first_byte_ + ticks / block_samples_ * stream_->codecpar->block_align;
        const int code = av_seek_frame(context_.get(), stream_->index, byte, AVSEEK_FLAG_BYTE);
        if (code < 0) return describe(code);
        return Done{};
    }
    const std::int64_t stamp = first_stamp_ + av_rescale_q_rnd(ticks, {1, segment_->rate},
                                                               stream_->time_base, AV_ROUND_DOWN);
    int code = av_seek_frame(context_.get(), stream_->index, stamp, AVSEEK_FLAG_BACKWARD);
    // Some demuxers find nothing before the first key frame; the beginning always exists.
    if (code < 0) code = av_seek_frame(context_.get(), stream_->index, first_stamp_, 0);
    if (code < 0) return describe(code);
    return Done{};
}

}  // namespace voicecore::codec
