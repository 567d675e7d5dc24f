// From a format to the first packet.
#include "voicecore/codec/container_demuxer.hpp"

#include <algorithm>

#include "voicecore/codec/allow_list.hpp"
#include "voicecore/codec/native_error.hpp"
#include "voicecore/codec/packet_lengths.hpp"

namespace voicecore::codec {
namespace {

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
    if (allowed("mov", format.name) && reader.seekable()) {
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
    } catch (const std::exception&) {
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
    first_skip_ = trims_of(*packet_).front;
    if (segment_->opus && (coarse_ || first_skip_ == 0)) {
        // Matroska rounds the delay to milliseconds; the codec's header has it exactly. The edit
        // list of an mp4 that was cut begins later than that.
        first_skip_ = segment_->opus->pre_skip;
    }
    return Done{};
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

}  // namespace voicecore::codec
