#include "voicecore/codec/frame_demuxer.hpp"

#include <algorithm>
#include <cmath>

#include "voicecore/codec/comments.hpp"
#include "voicecore/codec/native_error.hpp"

namespace voicecore::codec {
namespace {
constexpr std::int64_t kMostTags = 1 << 20;  // bytes of an ID3 tag that are looked at
// Bytes of an input that blocks which a seek may read through; larger ones get estimates.
constexpr std::int64_t kReadThrough = 16 << 20;
constexpr int kFramesLookedAt = 48;  // to tell CBR from VBR
// Places further on that have to agree: music may begin with silence, whose frames are all alike.
constexpr int kPlacesInFile = 15;
constexpr int kPlacesFarAway = 3;  // each costs a request
constexpr int kFramesAtPlace = 8;
constexpr std::size_t kLooksIntoFrame = 256;  // enough for what describes a stream
constexpr int kMostBitrate = 320'000;         // of layer III
// How far the mean size of frames here and there may be from that of all; VBR files are within 0.1.
constexpr double kUnlike = 0.25;
constexpr int kTail = 10;  // s; what is played where an estimate leads behind the end
}  // namespace

Result<std::unique_ptr<FrameDemuxer>> FrameDemuxer::open(ByteReader reader) {
    auto demuxer = std::make_unique<FrameDemuxer>(Key{}, std::move(reader));
    if (auto read = demuxer->read_tags(); !read) return std::move(read).error();
    // What is looked at here is read again by playing, also where the input cannot seek. An input
    // that is walked through is not kept.
    const bool keeps = demuxer->reader_.input().can_block() || !demuxer->reader_.seekable();
    if (keeps) demuxer->reader_.pin();
    auto found = demuxer->first_frame();
    if (keeps) demuxer->reader_.unpin();
    if (!found) return std::move(found).error();
    return demuxer;
}

Status FrameDemuxer::read_tags() {
    for (;;) {
        auto seen = reader_.peek(10);
        if (!seen) return std::move(seen).error();
        const std::int64_t length = id3v2_length(seen.value());
        if (length == 0) break;
        auto tag = reader_.peek(static_cast<std::size_t>(std::min(length, kMostTags)));
        if (!tag) return std::move(tag).error();
        const auto size =
            std::min<std::size_t>(tag.value().size(), static_cast<std::size_t>(length));
        if (facts_.tags.empty()) facts_.tags = parse_id3v2(tag.value().first(size));
        if (auto moved = reader_.skip(length); !moved) return moved;
    }
    begin_offset_ = reader_.position();
    return Done{};
}

Status FrameDemuxer::first_frame() {
    auto first = scanner_.next();
    if (!first) return std::move(first).error();
    if (!first.value()) {
        return Error{Errc::unsupported, 0, "no MPEG audio or ADTS frames were found"};
    }
    const FoundFrame frame = *first.value();
    auto stretch = stretch_from(frame, std::nullopt);
    audio_offset_ = frame.offset + (frame.info ? frame.header.size : 0);
    begin_offset_ = frame.offset;
    if (auto begun = begin(*std::move(stretch), Samples{0}); !begun) return begun;
    facts_.container =
        frame.header.codec == AV_CODEC_ID_AAC ? "aac" : avcodec_get_name(frame.header.codec);
    facts_.seekable = reader_.seekable() && reader_.size().has_value();
    facts_.segments = {segment_};
    const auto* file = dynamic_cast<RegularFile*>(&reader_.input());
    if (file != nullptr) index_ = cached_index(file->identity());
    first_ = stretch_;
    if (auto estimated = estimate(frame); !estimated) return estimated;
    if (reader_.input().can_block() && facts_.seekable && *reader_.size() <= kReadThrough) {
        growing_.emplace(begin_offset_);
    }
    return seek(Samples{0});
}

// Duration and bitrate: from the index, from the describing frame, from a constant bitrate, or by
// walking. Where walking would block, frames of varying bitrate leave an estimate.
Status FrameDemuxer::estimate(const FoundFrame& first) {
    const auto size = reader_.size();
    std::optional<std::int64_t> frames;
    if (first.info && first.info->frames.value_or(0) > 0) frames = first.info->frames;
    if (frames && size && !index_) {
        auto believed = believes(first);
        if (!believed) return std::move(believed).error();
        if (!believed.value()) frames.reset();
    }
    const double mean = first.header.mean_size();
    if (frames && first.info->bytes) {
        const double told = static_cast<double>(*first.info->bytes);
        const bool fits = std::abs(told - static_cast<double>(*frames) * mean) <= 2 * mean;
        if (fits) uniform_ = Uniform::yes;
    }
    const bool joined = first.info && first.info->frames && !frames;
    std::int64_t counted = first.info ? 0 : 1;
    std::int64_t bytes = counted * first.header.size;
    bool constant = mean > 0;
    // A live stream must not wait for more than a frame.
    const std::int64_t looked_at = size ? kFramesLookedAt : 1;
    while (counted < looked_at && (!frames || !size)) {
        auto found = scanner_.next();
        if (!found) return std::move(found).error();
        if (!found.value() || found.value()->info) break;
        const FrameHeader& header = found.value()->header;
        if (counted == 0) first_.header = header;
        if (header.bitrate != first_.header.bitrate) constant = false;
        bytes += header.size;
        ++counted;
    }
    if (!size) {
        if (counted > 0) frame_bytes_ = static_cast<double>(bytes) / static_cast<double>(counted);
    } else {
        const std::int64_t audio_bytes = *size - audio_offset_;
        const auto* file = dynamic_cast<RegularFile*>(&reader_.input());
        if (!index_ && !frames && counted > 0) {
            const bool here = !reader_.input().can_block() && reader_.seekable();
            if (constant && !joined) uniform_ = Uniform::perhaps;
            bool walks = here;
            // A large file is walked only when it has to be.
            if (here && file != nullptr && *size > kIndexAtOnce) {
                if (auto looked = look_around(kPlacesInFile); !looked) return looked;
                walks = uniform_ != Uniform::yes;
            }
            if (walks) {
                if (auto indexed = index_here(); !indexed) return indexed;
            } else {
                const double each = uniform_ == Uniform::no
                                        ? static_cast<double>(bytes) / static_cast<double>(counted)
                                        : first_.header.mean_size();
                frames = std::llround(static_cast<double>(audio_bytes) / each);
            }
        }
        if (uniform_ != Uniform::no) {
            frame_bytes_ = first_.header.mean_size();
        } else if (frames && *frames > 0) {
            frame_bytes_ = static_cast<double>(audio_bytes) / static_cast<double>(*frames);
        }
        Stretch all = stretch_;
        all.frames = frames.value_or(0);
        if (joined) all.end.reset();
        facts_.duration = index_ ? index_->duration()
                                 : Samples{av_rescale(all.ticks(), kSampleRate, all.header.rate)};
        if (facts_.duration->count() > 0) {
            facts_.bitrate = av_rescale(audio_bytes * 8, kSampleRate, facts_.duration->count());
        }
    }
    if (facts_.bitrate == 0 && frame_bytes_ > 0) {
        facts_.bitrate =
            static_cast<std::int64_t>(frame_bytes_ * 8 * first.header.rate / first.header.samples);
    }
    return Done{};
}

// Does the input bear out how many frames its description counts? Files that were joined keep the
// first one's, and what was put in or cut out changes no count.
Result<bool> FrameDemuxer::believes(const FoundFrame& first) {
    if (!first.info->bytes) return true;
    constexpr std::int64_t kTags = 1024;  // behind the audio they are small
    if (*reader_.size() > first.offset + *first.info->bytes + kTags) return false;
    const double told =
        static_cast<double>(*first.info->bytes) / static_cast<double>(*first.info->frames);
    const double mean = first.header.mean_size();
    if (std::abs(told - mean) * static_cast<double>(*first.info->frames) <= 2 * mean) return true;
    const double largest = kMostBitrate / 8.0 * first.header.samples / first.header.rate + 1;
    if (told > largest) return false;
    if (reader_.input().can_block() || !reader_.seekable()) return true;
    // Of varying bitrate: as many bytes as frames all over the input have, about?
    const std::int64_t back = scanner_.position();
    const std::int64_t bytes = *reader_.size() - audio_offset_;
    std::int64_t seen = 0;
    std::int64_t seen_bytes = 0;
    for (int i = 0; i < kPlacesInFile; ++i) {
        if (auto moved = reader_.seek(audio_offset_ + bytes / kPlacesInFile * i); !moved) {
            return std::move(moved).error();
        }
        FrameScanner scanner{reader_};
        for (int k = 0; k < kFramesAtPlace; ++k) {
            auto found = scanner.next();
            if (!found) return std::move(found).error();
            if (!found.value()) break;
            ++seen;
            seen_bytes += found.value()->header.size;
        }
    }
    if (auto moved = reader_.seek(back); !moved) return std::move(moved).error();
    scanner_.restart(first.header);
    const double there =
        static_cast<double>(seen_bytes) / static_cast<double>(std::max<std::int64_t>(seen, 1));
    return std::abs(told - there) <= kUnlike * there;
}

// What began with one bitrate goes on with it if frames all over the input have it.
Status FrameDemuxer::look_around(int places) {
    if (uniform_ != Uniform::perhaps) return Done{};
    const std::int64_t bytes = *reader_.size() - audio_offset_;
    for (int i = 1; i <= places; ++i) {
        if (auto moved = reader_.seek(audio_offset_ + bytes / (places + 1) * i); !moved) {
            return moved;
        }
        FrameScanner scanner{reader_};
        for (int k = 0; k < kFramesAtPlace; ++k) {
            auto found = scanner.next();
            if (!found) return std::move(found).error();
            if (!found.value()) break;
            const FrameHeader& header = found.value()->header;
            if (header.bitrate != first_.header.bitrate || !header.same_stream(first_.header)) {
                uniform_ = Uniform::no;
                return Done{};
            }
        }
    }
    uniform_ = Uniform::yes;
    return Done{};
}

Status FrameDemuxer::index_here() {
    const std::atomic<bool> never{false};
    auto built = build_index(reader_, begin_offset_, never);
    if (!built) return std::move(built).error();
    index_ = std::move(built).value();
    if (const auto* file = dynamic_cast<RegularFile*>(&reader_.input())) {
        cache_index(file->identity(), index_);
    }
    return Done{};
}

Status FrameDemuxer::begin(Stretch stretch, std::optional<Samples> base) {
    auto segment = std::make_shared<Segment>();
    segment->parameters.reset(avcodec_parameters_alloc());
    if (!segment->parameters) return error_from_av(AVERROR(ENOMEM), "codec parameters");
    segment->parameters->codec_type = AVMEDIA_TYPE_AUDIO;
    segment->parameters->codec_id = stretch.header.codec;
    segment->parameters->sample_rate = stretch.header.rate;
    if (stretch.header.channels > 0 && stretch.header.channels < 7) {
        av_channel_layout_default(&segment->parameters->ch_layout, stretch.header.channels);
    }
    segment->rate = stretch.header.rate;
    segment->base = base;
    segment_ = std::move(segment);
    stretch_ = std::move(stretch);
    frame_ = 0;
    return Done{};
}

// The next frame. What is read in turn makes the index grow.
Result<std::optional<FoundFrame>> FrameDemuxer::scan() {
    const bool grows = growing_ && scanner_.position() == growing_->next();
    auto found = scanner_.next();
    if (grows && found) growing_->add(found.value());
    return found;
}

DemuxStatus FrameDemuxer::next(Packet& packet) {
    while (!at_end_) {
        const std::int64_t counted_end = scanner_.position();
        auto found = scan();
        if (!found) {
            error_ = std::move(found).error();
            return DemuxStatus::failed;
        }
        if (!found.value()) break;
        const FoundFrame& frame = *found.value();
        auto begun = stretch_from(frame, before_);
        if (!begun && ends_stretch(frame, counted_end)) begun = stretch_from(frame, std::nullopt);
        if (begun) {
            std::optional<Samples> base;
            if (in_stretch_ && ++*in_stretch_ < index_->stretches.size()) {
                base = index_->stretches[*in_stretch_].base;
            }
            if (auto ok = begin(*std::move(begun), base); !ok) {
                error_ = std::move(ok).error();
                return DemuxStatus::failed;
            }
        }
        before_ = frame.header;
        if (frame.info) continue;
        frame_ += lost_frames(frame);
        packet.data = frame.bytes;
        packet.segment = segment_;
        packet.start = frame_ * stretch_.header.samples - stretch_.skip;
        packet.duration = frame.header.samples;
        packet.trim_end = 0;
        if (stretch_.end && packet.start + packet.duration > *stretch_.end) {
            if (auto looked = look_behind_count(frame); !looked) {
                error_ = std::move(looked).error();
                return DemuxStatus::failed;
            }
        }
        if (stretch_.end && packet.start + packet.duration > *stretch_.end) {
            packet.trim_end =
                std::min(packet.start + packet.duration - *stretch_.end, packet.duration);
        }
        ++frame_;
        return DemuxStatus::packet;
    }
    at_end_ = true;
    return DemuxStatus::end;
}

// Padding begins in one of the last frames counted. Is there more behind them after all?
Status FrameDemuxer::look_behind_count(const FoundFrame& frame) {
    constexpr std::int64_t kMost = 6;  // LAME pads with less than four frames
    if (!stretch_.counted || *stretch_.counted - frame_ > kMost) return Done{};
    std::size_t at = static_cast<std::size_t>(frame.header.size);
    for (std::int64_t i = frame_ + 1; i <= *stretch_.counted; ++i) {
        auto seen = reader_.peek(at + kLooksIntoFrame);
        if (!seen) return std::move(seen).error();
        if (seen.value().size() < at + kFrameHeaderBytes) return Done{};
        const auto bytes = seen.value().subspan(at);
        const auto header = parse_frame_header(bytes);
        if (!header || !header->same_stream(frame.header)) return Done{};
        if (i < *stretch_.counted) {
            at += static_cast<std::size_t>(header->size);
        } else if (!parse_info_frame(bytes, *header) &&
                   !joined_there(stretch_, frame.offset + static_cast<std::int64_t>(at), bytes)) {
            stretch_.end.reset();
            stretch_.counted.reset();
        }
    }
    return Done{};
}

// As the index counts: a frame behind those that were counted, up to where they end.
bool FrameDemuxer::ends_stretch(const FoundFrame& frame, std::int64_t counted_end) {
    if (!stretch_.counted || frame_ < *stretch_.counted) return false;
    if (joined_there(stretch_, counted_end, frame.bytes)) return true;
    stretch_.end.reset();
    stretch_.counted.reset();
    return false;
}

void FrameDemuxer::take_index() {
    if (!index_ && indexing_) index_ = indexing_->result();
}

std::shared_ptr<Demuxer::Preparation> FrameDemuxer::prepare_seek(Samples position) {
    take_index();
    const auto* file = dynamic_cast<RegularFile*>(&reader_.input());
    if (index_ || file == nullptr || position <= Samples{0} || *file->size() <= kIndexAtOnce) {
        return nullptr;
    }
    auto duplicate = file->duplicate();
    indexing_ = std::make_shared<Indexing<FrameIndex>>(
        duplicate, [duplicate, begin = begin_offset_](ByteReader& reader, const auto& cancelled) {
            auto built = build_index(reader, begin, cancelled);
            if (built) cache_index(duplicate->identity(), built.value());
            return built;
        });
    return indexing_;
}

Status FrameDemuxer::seek(Samples position) {
    take_index();
    error_ = {};
    at_end_ = false;
    if (position <= Samples{0}) {
        if (auto moved = reader_.seek(begin_offset_); !moved) return moved;
        scanner_.restart(std::nullopt);
        before_.reset();
        in_stretch_.reset();
        // The first frame begins the stretch again, under the segment that facts() tells.
        auto first = scan();
        if (!first) return std::move(first).error();
        if (!first.value()) return Error{Errc::corrupt, 0, "the first frame is gone"};
        before_ = first.value()->header;
        segment_ = facts_.segments.front();
        stretch_ = *stretch_from(*first.value(), std::nullopt);
        frame_ = 0;
        if (index_) in_stretch_ = 0;
        if (!first.value()->info) {
            if (auto moved = reader_.seek(first.value()->offset); !moved) return moved;
            scanner_.restart(before_);
        }
        return Done{};
    }
    if (reader_.input().can_block()) return seek_far(position);
    if (!index_) {
        if (auto indexed = index_here(); !indexed) return indexed;
    }
    return seek_indexed(position);
}

Status FrameDemuxer::seek_indexed(Samples position) {
    const auto& all = index_->stretches;
    std::size_t at = 0;
    while (at + 1 < all.size() && all[at + 1].base <= position) ++at;
    const Stretch& stretch = all[at];
    const std::int64_t tick =
        av_rescale((position - stretch.base).count(), stretch.header.rate, kSampleRate);
    if (at + 1 == all.size() && tick >= stretch.ticks()) {
        at_end_ = true;
        return Done{};
    }
    const std::int64_t last = std::max<std::int64_t>(stretch.frames - 1, 0);
    const std::int64_t wanted =
        std::clamp<std::int64_t>((tick + stretch.skip) / stretch.header.samples, 0, last);
    if (stretch.marks.empty()) return seek(Samples{0});
    const auto mark = static_cast<std::size_t>(wanted / Stretch::kEvery);
    if (auto moved = reader_.seek(stretch.marks[mark]); !moved) return moved;
    if (at == 0) {
        segment_ = facts_.segments.front();
        stretch_.header = stretch.header;
        stretch_.skip = stretch.skip;
        stretch_.end = stretch.end;
        stretch_.counted = stretch.counted;
        stretch_.told_end = stretch.told_end;
    } else if (auto begun = begin({.header = stretch.header,
                                   .skip = stretch.skip,
                                   .end = stretch.end,
                                   .counted = stretch.counted,
                                   .told_end = stretch.told_end,
                                   .frames = stretch.frames,
                                   .base = stretch.base,
                                   .marks = {}},
                                  stretch.base);
               !begun) {
        return begun;
    }
    in_stretch_ = at;
    before_ = stretch.header;
    scanner_.restart(stretch.header);
    frame_ = static_cast<std::int64_t>(mark) * Stretch::kEvery;
    Packet passed;
    while (frame_ < wanted) {
        const DemuxStatus status = next(passed);
        if (status == DemuxStatus::failed) return error_;
        if (status == DemuxStatus::end) break;
    }
    return Done{};
}

// Nobody reads a whole input that blocks before it plays. A constant bitrate tells the place; else
// all up to there is read now, unless that is too much: then the mean frame length has to do.
Status FrameDemuxer::seek_far(Samples position) {
    if (auto looked = look_around(kPlacesFarAway); !looked) return looked;
    const std::int64_t tick = av_rescale(position.count(), first_.header.rate, kSampleRate);
    const std::int64_t wanted = (tick + first_.skip) / first_.header.samples;
    const bool inside = static_cast<double>(wanted) * frame_bytes_ <
                        static_cast<double>(reader_.size().value_or(0) - audio_offset_);
    if (!growing_ || (uniform_ == Uniform::yes && inside)) return seek_guessing(wanted);
    const std::atomic<bool> never{false};
    if (auto walked = growing_->walk(reader_, position, never); !walked) return walked;
    index_ = growing_->index();
    return seek_indexed(position);
}

Status FrameDemuxer::seek_guessing(std::int64_t wanted) {
    const auto size = reader_.size().value_or(0);
    auto offset =
        audio_offset_ + static_cast<std::int64_t>(static_cast<double>(wanted) * frame_bytes_);
    const bool behind = offset >= size;
    if (frame_bytes_ <= 0 || (behind && uniform_ == Uniform::yes)) {
        at_end_ = true;
        return Done{};
    }
    if (behind) {
        // The estimate was too short, or there is no such place; nobody knows before the end.
        const double frames = static_cast<double>(kTail) * first_.header.rate /
                              static_cast<double>(first_.header.samples);
        offset = size - static_cast<std::int64_t>(frames * frame_bytes_);
    }
    if (auto moved = reader_.seek(std::max(audio_offset_, offset - 4)); !moved) return moved;
    scanner_.restart(std::nullopt);
    auto found = scanner_.next();
    if (!found) return std::move(found).error();
    if (!found.value()) {
        at_end_ = true;
        return Done{};
    }
    before_ = found.value()->header;
    stretch_ = first_;
    frame_ = behind ? wanted
                    : std::llround(static_cast<double>(found.value()->offset - audio_offset_) /
                                   frame_bytes_);
    segment_ = facts_.segments.front();
    in_stretch_.reset();
    if (auto moved = reader_.seek(found.value()->offset); !moved) return moved;
    scanner_.restart(before_);
    return Done{};
}

}  // namespace voicecore::codec
