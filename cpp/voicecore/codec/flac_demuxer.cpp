#include "voicecore/codec/flac_demuxer.hpp"

#include <algorithm>

#include "voicecore/codec/native_error.hpp"

namespace voicecore::codec {
namespace {
constexpr std::int64_t kReadAtOnce = 128 * 1024;  // bytes; looking at places would read as much
constexpr int kPlaces = 3;
constexpr int kPlacesFarAway = 1;  // each costs a request
}  // namespace

Result<std::unique_ptr<FlacDemuxer>> FlacDemuxer::open(ByteReader reader,
                                                       const AVInputFormat& format,
                                                       std::string name) {
    auto demuxer = std::make_unique<FlacDemuxer>(Key{}, std::move(reader), format, std::move(name));
    FlacDemuxer& self = *demuxer;
    self.first_begin_ = self.reader_.position();
    if (auto opened = self.open_part(self.first_begin_, std::nullopt); !opened) {
        return std::move(opened).error();
    }
    self.facts_ = self.inner_->facts();
    self.segment_ = self.facts_.segments.front();
    const auto size = self.reader_.size();
    if (self.reader_.seekable() && size && !self.reader_.input().can_block()) {
        const std::int64_t here = self.reader_.position();
        if (auto judged = self.judge(); !judged) return std::move(judged).error();
        if (*self.look_ != FlacLook::single && *size <= kIndexAtOnce) {
            if (auto indexed = self.index_here(); !indexed) return std::move(indexed).error();
        }
        if (self.index_) {
            self.facts_.duration = self.index_->duration();
            const std::int64_t length = std::max<std::int64_t>(self.facts_.duration->count(), 1);
            self.facts_.bitrate = av_rescale((*size - self.first_begin_) * 8, kSampleRate, length);
        }
        if (auto moved = self.reader_.seek(here); !moved) return std::move(moved).error();
    } else if (const auto& info = self.part_->info(); info && size && info->samples > 0) {
        // More bytes than the first part can have: nobody reads them all to know how long they are.
        constexpr double kTags = 1 << 20;
        const auto bytes = static_cast<double>(*size - self.part_->audio().value_or(0));
        if (bytes > info->most_bytes(info->samples) + kTags) self.look_ = FlacLook::joined;
    }
    if (self.look_ == FlacLook::joined && !self.index_) {
        self.facts_.duration.reset();
        self.facts_.bitrate = 0;
    }
    return demuxer;
}

Status FlacDemuxer::open_part(std::int64_t begin, std::optional<std::int64_t> end) {
    inner_.reset();
    if (auto moved = reader_.seek(begin); !moved) return moved;
    part_ = std::make_shared<FlacPartInput>(reader_, begin, end);
    auto opened = ContainerDemuxer::open(ByteReader{part_}, *format_, name_, {});
    if (!opened) return std::move(opened).error();
    inner_ = std::move(opened).value();
    return begin_segment();
}

// The place of a part is known once there is an index.
Status FlacDemuxer::begin_segment() {
    if (part_->begin() == first_begin_) {
        if (!facts_.segments.empty()) segment_ = facts_.segments.front();
        return Done{};
    }
    const Segment& found = *inner_->facts().segments.front();
    auto segment = std::make_shared<Segment>();
    segment->parameters.reset(avcodec_parameters_alloc());
    if (!segment->parameters ||
        avcodec_parameters_copy(segment->parameters.get(), found.parameters.get()) < 0) {
        return error_from_av(AVERROR(ENOMEM), name_);
    }
    segment->rate = found.rate;
    segment->end = found.end;
    if (index_) {
        const auto known =
            std::find_if(index_->parts.begin(), index_->parts.end(),
                         [this](const FlacPart& part) { return part.begin == part_->begin(); });
        if (known != index_->parts.end()) segment->base = known->base;
    }
    segment_ = std::move(segment);
    return Done{};
}

// The part behind this one. Those that hold nothing, or nothing that can be opened, are passed.
Status FlacDemuxer::open_next() {
    auto begin = part_->end();
    for (int passed = 0; begin && passed <= kMostEmptyParts; ++passed) {
        look_ = FlacLook::joined;
        auto opened = open_part(*begin, std::nullopt);
        if (opened || part_->failed()) return opened;
        ++damage_;
        if (auto moved = part_->seek(0); !moved) return moved;
        for (;;) {
            auto there = part_->ahead();
            if (!there) return std::move(there).error();
            if (there.value() == 0) break;
            if (auto moved = reader_.skip(static_cast<std::int64_t>(there.value())); !moved) {
                return moved;
            }
        }
        begin = part_->end();
    }
    at_end_ = true;
    return Done{};
}

DemuxStatus FlacDemuxer::next(Packet& packet) {
    while (!at_end_) {
        if (!inner_) return DemuxStatus::failed;  // as error_ says
        switch (inner_->next(packet)) {
            case DemuxStatus::failed:
                error_ = inner_->error();
                return DemuxStatus::failed;
            case DemuxStatus::packet:
                packet.segment = segment_;
                if (part_->exhausted()) {
                    // libavformat gives what lies behind the last frame as a part of it.
                    packet.data = packet.data.first(
                        flac_frame_size(packet.data).value_or(packet.data.size()));
                }
                return DemuxStatus::packet;
            case DemuxStatus::end:
                break;
        }
        if (auto opened = open_next(); !opened) {
            error_ = std::move(opened).error();
            return DemuxStatus::failed;
        }
    }
    return DemuxStatus::end;
}

Status FlacDemuxer::judge() {
    const std::int64_t size = reader_.size().value_or(0);
    if (!reader_.input().can_block() && size - part_->audio().value_or(0) <= kReadAtOnce) {
        look_ = FlacLook::unclear;  // so that it is read
        return Done{};
    }
    auto look =
        look_for_joins(reader_, *part_, reader_.input().can_block() ? kPlacesFarAway : kPlaces);
    if (!look) return std::move(look).error();
    look_ = look.value();
    return Done{};
}

void FlacDemuxer::use(FlacIndexPtr index) {
    if (index->parts.size() == 1) {
        look_ = FlacLook::single;
        return;
    }
    look_ = FlacLook::joined;
    index_ = std::move(index);
}

Status FlacDemuxer::index_here() {
    const std::atomic<bool> never{false};
    auto built = build_flac_index(reader_, first_begin_, never);
    if (!built) return std::move(built).error();
    use(std::move(built).value());
    return Done{};
}

// Before a seek: is it one file? If it seems to be several, where are they?
Status FlacDemuxer::look_closer() {
    if (!look_) {
        if (auto judged = judge(); !judged) return judged;
    }
    // What was cut short on a server is not read to its end to find nothing there.
    const bool reads =
        look_ == FlacLook::joined || (look_ == FlacLook::unclear && !reader_.input().can_block());
    return reads ? index_here() : Done{};
}

void FlacDemuxer::take_index() {
    if (index_ || !indexing_) return;
    if (auto built = indexing_->result()) use(std::move(built));
    indexing_.reset();
}

std::shared_ptr<Demuxer::Preparation> FlacDemuxer::prepare_seek(Samples position) {
    take_index();
    const auto* file = dynamic_cast<RegularFile*>(&reader_.input());
    if (index_ || look_ == FlacLook::single || file == nullptr || position <= Samples{0} ||
        *file->size() <= kIndexAtOnce) {
        return nullptr;
    }
    indexing_ = std::make_shared<Indexing<FlacIndex>>(
        file->duplicate(), [begin = first_begin_](ByteReader& reader, const auto& cancelled) {
            return build_flac_index(reader, begin, cancelled);
        });
    return indexing_;
}

Status FlacDemuxer::seek(Samples position) {
    take_index();
    error_ = {};
    at_end_ = false;
    if (position > Samples{0} && !index_ && look_ != FlacLook::single) {
        // libavformat is not told that its input was elsewhere.
        const std::int64_t here = reader_.position();
        auto known = look_closer();
        if (known) known = reader_.seek(here);
        if (!known) {
            inner_.reset();
            return known;
        }
    }
    if (index_ && position > Samples{0}) return seek_indexed(position);
    if (!inner_ || part_->begin() != first_begin_) {
        if (auto opened = open_part(first_begin_, std::nullopt); !opened) return opened;
    }
    return inner_->seek(position);
}

Status FlacDemuxer::seek_indexed(Samples position) {
    const auto& parts = index_->parts;
    if (position >= index_->duration()) {
        at_end_ = true;
        return Done{};
    }
    std::size_t at = 0;
    while (at + 1 < parts.size() && parts[at + 1].base <= position) ++at;
    const FlacPart& part = parts[at];
    const bool last = at + 1 == parts.size();
    if (!inner_ || part_->begin() != part.begin) {
        const auto end = last ? std::nullopt : std::optional{part.end};
        if (auto opened = open_part(part.begin, end); !opened) return opened;
    } else {
        if (!last) part_->set_end(part.end);
        if (!segment_->base) {
            if (auto begun = begin_segment(); !begun) return begun;
        }
    }
    return inner_->seek(position - part.base);
}

}  // namespace voicecore::codec
