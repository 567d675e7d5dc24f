#include "voicecore/codec/container_demuxer.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "voicecore/codec/allow_list.hpp"
#include "voicecore/codec/native_error.hpp"
#include "voicecore/codec/packet_lengths.hpp"

namespace voicecore::codec {
namespace {

// ns, of a Matroska track's tag: "00:00:10.017000000".
std::optional<std::int64_t> told_duration(const AVStream& stream) {
    const auto* entry = av_dict_get(stream.metadata, "DURATION", nullptr, 0);
    int hours = 0;
    int minutes = 0;
    double seconds = 0;
    if (entry == nullptr ||
        std::sscanf(entry->value, "%6d:%2d:%lf", &hours, &minutes, &seconds) != 3 || hours < 0 ||
        minutes < 0 || !(seconds >= 0 && seconds < 60)) {
        return std::nullopt;
    }
    const std::int64_t whole = (std::int64_t{hours} * 60 + minutes) * 60'000'000'000;
    return whole + std::llround(seconds * 1e9);
}

}  // namespace

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
        // That of the longest track; Matroska's muxers tell each track's own beside it.
        if (const auto own = told_duration(*stream_); own && context_->nb_streams > 1) {
            ticks = std::min(ticks, av_rescale(*own, segment_->rate, 1'000'000'000));
        }
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
        if (packet_->stream_index != stream_->index || packet_->size <= 0) continue;
        // What leads up to an edit of an mp4 is not heard. Before the first edit it lies before 0
        // and the decoder may have it; behind that it would be heard in the middle.
        if ((packet_->flags & AV_PKT_FLAG_DISCARD) == 0) {
            in_edit_ = true;
        } else if (in_edit_ || packet_->pts >= 0) {
            continue;
        }
        // With several edits the stamps of an mp4's index do not rise: the search may end behind
        // the place.
        if (packet_->pts > std::exchange(sought_, kAnyStamp)) {
            in_edit_ = false;
            if (av_seek_frame(context_.get(), stream_->index, first_stamp_, AVSEEK_FLAG_BACKWARD) >=
                0) {
                continue;
            }
        }
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
    packet.trim_end = trims_of(*packet_).back;
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

Status ContainerDemuxer::seek(Samples position) {
    error_ = {};
    if (nested_) nested_->forget_failure();
    bridge_->forget_failure();
    at_end_ = false;
    held_ = false;
    in_edit_ = false;
    sought_ = kAnyStamp;
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
    if (allowed("mov", context_->iformat->name)) sought_ = stamp;
    // Some demuxers find nothing before the first key frame; the beginning always exists.
    if (code < 0) code = av_seek_frame(context_.get(), stream_->index, first_stamp_, 0);
    if (code < 0) return describe(code);
    return Done{};
}

}  // namespace voicecore::codec
