#include "voicecore/pipeline/timeline.hpp"

#include <algorithm>
#include <array>

#include "voicecore/audio/opus_packet.hpp"

namespace voicecore::pipeline {
namespace {

constexpr Place ceil_to_frame(Place place) noexcept {
    const Place up = place >= 0 ? place + kFrameSamples - 1 : place;
    return up / kFrameSamples * kFrameSamples;
}
static_assert(ceil_to_frame(-312) == 0 && ceil_to_frame(-960) == -960 && ceil_to_frame(1) == 960);

}  // namespace

Timeline::Timeline(Playlist& playlist, const TimelineOptions& options)
    : playlist_{playlist}, options_{options} {
    // Beyond the reach: what the decoder needs to warm up, and what is read ahead.
    frames_.resize(options.reach + kDecoderPreroll + 5);
}

void Timeline::start(std::uint32_t play, Samples position, bool resume, bool clean) {
    opened_ = 0;
    placed_ = 0;
    content_end_ = 0;
    over_ = false;
    clean_ = clean;
    packets_seen_ = false;
    play_ = play;
    source_ = nullptr;
    resume_at_ = resume ? std::optional{position} : std::nullopt;
    gap_left_ = 0;
    silent_plays_ = 0;
    last_error_.reset();
    unit_ = {};
    decoder_frame_ = -1;
}

std::int64_t Timeline::oldest() const noexcept {
    return std::max<std::int64_t>(0, opened_ - static_cast<std::int64_t>(frames_.size()));
}

std::optional<std::int64_t> Timeline::length() const noexcept {
    if (!over_) return std::nullopt;
    return ceil_to_frame(content_end_) / kFrameSamples;
}

audio::ReadStatus Timeline::place_until(Place end) {
    while (placed_ < end && !over_) {
        if (step(end) == Step::blocked) return audio::ReadStatus::would_block;
    }
    return placed_ >= end ? audio::ReadStatus::ok : audio::ReadStatus::end;
}

Timeline::Step Timeline::step(Place end) {
    if (source_ == nullptr) return open_track();
    if (gap_left_ > 0) {
        const Place samples = std::min(gap_left_, end - placed_);
        place_silence(samples);
        content_end_ = placed_;
        gap_left_ -= samples;
        return Step::progress;
    }
    if (!unit_.pcm.empty()) {
        place_pcm(end - placed_);
        return Step::progress;
    }
    if (stream_.started) {
        if (OpusPiece piece; segmenter_.take(piece)) {
            place_piece(piece);
            return Step::progress;
        }
        if (stream_.ending) {
            end_track(std::nullopt);
            return Step::progress;
        }
        if (stream_.relink) {
            const Samples heard = stream_.position - Samples{stream_.at - placed_};
            const Samples lead = std::max(Samples{0}, heard - unit_.position);
            const float scale = stream_.scale;
            stream_ = Stream{};
            stream_.lead = lead;
            stream_.scale = scale;
            segmenter_.clear();
            take_packet();
            return Step::progress;
        }
    }
    return read_unit();
}

Timeline::Step Timeline::open_track() {
    const std::size_t tracks = playlist_.tracks();
    if (silent_plays_ > 0 && play_ >= tracks && silent_plays_ >= tracks) {
        over_ = true;  // going round for ever without a sample
        return Step::progress;
    }
    Playlist::Opened opened = playlist_.open(play_, !resume_at_);
    if (opened.turn == Playlist::Turn::empty) {
        if (placed_ == 0) return Step::blocked;
        over_ = true;  // what is there must not wait for a track that may never come
        return Step::progress;
    }
    if (opened.turn == Playlist::Turn::over) {
        over_ = true;
        return Step::progress;
    }
    if (opened.error) {
        end_track(std::move(opened.error));
        return Step::progress;
    }
    source_ = opened.source;
    if (!resume_at_ && opened.start > Samples{0}) resume_at_ = opened.start;
    play_had_media_ = false;
    unit_ = {};
    stream_ = Stream{};
    segmenter_.clear();
    if (placed_ > 0) gap_left_ = options_.gap.count();
    if (source_->info().kind == audio::MediaKind::opus) {
        stream_.scale = source_->info().header_gain;
        packets_seen_ = true;
    } else {
        clean_ = false;
        if (placed_ == 0 && !packets_seen_) place_silence(options_.lookahead.count());
    }
    return Step::progress;
}

Timeline::Step Timeline::read_unit() {
    switch (source_->read(unit_)) {
        case audio::ReadStatus::ok:
            break;
        case audio::ReadStatus::would_block:
            unit_ = {};
            return Step::blocked;
        case audio::ReadStatus::end:
            unit_ = {};
            if (stream_.started) {
                segmenter_.flush();
                stream_.ending = true;
            } else {
                end_track(std::nullopt);
            }
            return Step::progress;
        case audio::ReadStatus::failed:
            unit_ = {};
            end_track(source_->error());
            return Step::progress;
    }
    if (unit_.packet.empty()) return Step::progress;
    if (!audio::parse_opus_packet(unit_.packet)) {
        ++decode_errors_;
        return Step::progress;
    }
    if (!stream_.started) {
        stream_.lead = std::max(Samples{0}, -unit_.position);
    } else if (stream_.stop || unit_.begins) {
        stream_.relink = true;
        segmenter_.flush();
        return Step::progress;
    }
    take_packet();
    return Step::progress;
}

void Timeline::take_packet() {
    if (!stream_.started) {
        stream_.started = true;
        stream_.position = unit_.position;
        if (clean_ && stream_.lead > source_->info().pre_skip) {
            // More in front than its header tells: nobody would cut that.
            clean_ = false;
            resume_at_ = Samples{0};
        }
        stream_.exact = !options_.passthrough || !may_copy_ || stream_.scale != 1.0F ||
                        !source_->info().no_passthrough.empty();
    }
    segmenter_.add(unit_.packet);
    if (unit_.trim_end > Samples{0}) {
        stream_.stop = stream_.position + Samples{segmenter_.held()} - unit_.trim_end;
    }
}

void Timeline::end_track(std::optional<Error> error) {
    silent_plays_ = play_had_media_ ? 0 : silent_plays_ + 1;
    play_had_media_ = false;
    if (error) playlist_.report(play_, *error);
    last_error_ = std::move(error);
    source_ = nullptr;
    unit_ = {};
    stream_ = Stream{};
    resume_at_.reset();
    gap_left_ = 0;
    ++play_;
}

TimelineFrame& Timeline::open_frame(std::int64_t index) {
    for (; opened_ <= index; ++opened_) {
        const auto position = opened_ > 0 ? slot(opened_ - 1).position : Samples{0};
        TimelineFrame& fresh = slot(opened_);
        fresh.bytes.clear();
        fresh.pieces.clear();
        fresh.decoded = 0;
        fresh.reach_back = 0;
        fresh.copyable = false;
        // A gap belongs to the track before it: the next one begins when it is heard.
        fresh.track = gap_left_ > 0 && opened_ > 0 ? slot(opened_ - 1).track : play_;
        fresh.position = position;
        fresh.media_samples = 0;
    }
    return slot(index);
}

void Timeline::place_silence(Place samples) {
    if (samples <= 0) return;
    need_pcm();
    for (Place left = samples; left > 0;) {
        const Place in_frame = std::min(left, kFrameSamples - placed_ % kFrameSamples);
        open_frame(placed_ / kFrameSamples).copyable = false;
        pcm_.write_silence(placed_, in_frame);
        placed_ += in_frame;
        left -= in_frame;
    }
}

void Timeline::place_pcm(Place most) {
    need_pcm();
    const Place there = static_cast<Place>(unit_.pcm.size() / kChannels);
    const Place in_frame = kFrameSamples - placed_ % kFrameSamples;
    const Place samples = std::min({there, in_frame, most});
    open_frame(placed_ / kFrameSamples).copyable = false;
    pcm_.write(placed_, unit_.pcm.first(static_cast<std::size_t>(samples * kChannels)));
    unit_.pcm = unit_.pcm.subspan(static_cast<std::size_t>(samples * kChannels));
    unit_.position += Samples{samples};
    account(placed_, placed_ + samples, unit_.position);
    placed_ += samples;
    content_end_ = placed_;
    play_had_media_ = true;
}

// The first piece that is heard is next; decides where on the timeline the stream lies.
void Timeline::start_stream() {
    stream_.placed = true;
    if (clean_) {
        clean_ = false;
        stream_.at = 0;
        stream_.hear_from = 0;
        stream_.media_from = stream_.lead.count();
        return;
    }
    stream_.joins = true;
    const bool starts_run = placed_ == 0;
    if (stream_.exact) {
        if (starts_run) place_silence(options_.lookahead.count());
        stream_.at = placed_ - stream_.lead.count();
        stream_.hear_from = placed_;
        stream_.media_from = placed_;
        return;
    }
    // As early as the grid allows without cutting into what is there; the pre-skip may lie under
    // it.
    stream_.at = ceil_to_frame(placed_ - stream_.lead.count());
    stream_.hear_from = stream_.at + stream_.lead.count();
    stream_.media_from = stream_.hear_from;
    if (starts_run) stream_.media_from = std::max(stream_.hear_from, options_.lookahead.count());
    place_echo(stream_.hear_from - placed_);
}

// What the grid leaves between two tracks, less than a frame: the end of the first one backwards,
// which goes on without a step and as loud, faded out at its end. Silence would be heard as a hole.
void Timeline::place_echo(Place samples) {
    constexpr Place kFade = 120;
    if (samples <= 0) return;
    const Place from = placed_;
    place_silence(samples);
    if (from == 0) return;
    std::array<float, kFrameValues> echo{};
    const auto size = static_cast<std::size_t>(samples * kChannels);
    const std::span<float> values = std::span{echo}.first(std::min(size, echo.size()));
    read(from - samples, values);
    std::reverse(values.begin(), values.end());
    for (std::size_t i = 0; i + 1 < values.size(); i += kChannels) {
        std::swap(values[i], values[i + 1]);  // the channels stay where they were
        const auto left = static_cast<float>(samples - static_cast<Place>(i / kChannels));
        const float gain = std::min(1.0F, left / kFade);
        values[i] *= gain;
        values[i + 1] *= gain;
    }
    pcm_.write(from, values);
}

// Is the place where the track starts behind the next piece, of so many samples?
bool Timeline::before_start(Samples samples) const noexcept {
    if (!resume_at_) return false;
    if (stream_.exact || placed_ > 0) return stream_.position + samples <= *resume_at_;
    // The packet that brings the place as near to where PCM would have it as the grid allows.
    return stream_.position + options_.lookahead + Samples{kFrameSamples / 2} < *resume_at_;
}

TimelinePiece& Timeline::append(TimelineFrame& frame, const OpusPiece& piece) {
    frame.pieces.push_back({.offset = static_cast<std::uint32_t>(frame.bytes.size()),
                            .size = static_cast<std::uint32_t>(piece.bytes.size()),
                            .samples = piece.samples,
                            .skip = piece.samples,
                            .keep = 0,
                            .at = 0,
                            .scale = stream_.scale,
                            .reset = stream_.reset});
    stream_.reset = false;
    frame.bytes.insert(frame.bytes.end(), piece.bytes.begin(), piece.bytes.end());
    return frame.pieces.back();
}

void Timeline::add_preroll(std::int64_t index, const OpusPiece& piece) {
    TimelineFrame& frame = open_frame(index);
    append(frame, piece);
    frame.copyable = false;
}

// A source may start long before the place asked for; the decoder needs only the end of that.
void Timeline::limit_preroll(TimelineFrame& frame) const {
    constexpr std::size_t kMost = 48;
    if (stream_.preroll <= kMost) return;
    // Pieces of the track before may be in front.
    const std::size_t oldest = frame.pieces.size() - kMost - 1;
    if (frame.decoded > oldest) return;
    const std::uint32_t from = frame.pieces[oldest].offset;
    const std::uint32_t gone = frame.pieces[oldest].size;
    frame.bytes.erase(frame.bytes.begin() + from, frame.bytes.begin() + from + gone);
    frame.pieces.erase(frame.pieces.begin() + static_cast<std::ptrdiff_t>(oldest));
    for (std::size_t i = oldest; i < frame.pieces.size(); ++i) frame.pieces[i].offset -= gone;
    frame.pieces[oldest].reset = true;
}

void Timeline::place_piece(const OpusPiece& piece) {
    const Samples samples{piece.samples};
    if (!stream_.placed) {
        if (before_start(samples)) {
            // The frame in which the track will start.
            const Place there = stream_.exact ? placed_ : ceil_to_frame(placed_);
            const std::int64_t index = there / kFrameSamples;
            add_preroll(index, piece);
            ++stream_.preroll;
            limit_preroll(slot(index));
            stream_.position += samples;
            stream_.lead = std::max(Samples{0}, -stream_.position);
            return;
        }
        if (resume_at_ && (stream_.exact || placed_ > 0)) {
            stream_.lead = std::max(stream_.lead, *resume_at_ - stream_.position);
        }
        start_stream();
    }
    const Place at = stream_.at;
    const Place from = std::max(at, stream_.hear_from);
    Place to = at + samples.count();
    if (stream_.stop) to = std::min(to, at + (*stream_.stop - stream_.position).count());
    stream_.at += samples.count();
    stream_.position += samples;
    if (to <= from) {
        if (at < stream_.hear_from) add_preroll(stream_.hear_from / kFrameSamples, piece);
        return;
    }
    const std::int64_t index = from / kFrameSamples;
    const bool alone = placed_ <= index * kFrameSamples;
    TimelineFrame& frame = open_frame(index);
    const bool copyable = options_.passthrough && piece.copyable && alone && frame.pieces.empty() &&
                          from == at && at % kFrameSamples == 0 && !stream_.joins &&
                          stream_.scale == 1.0F;
    TimelinePiece& placed = append(frame, piece);
    placed.skip = static_cast<int>(from - at);
    placed.keep = static_cast<int>(to - from);
    placed.at = at;
    frame.copyable = copyable;
    stream_.joins = false;
    for (std::int64_t i = index + 1; i <= (to - 1) / kFrameSamples; ++i) {
        open_frame(i).reach_back = static_cast<std::uint8_t>(i - index);
    }
    const Samples end_position = stream_.position - Samples{at + samples.count() - to};
    account(std::max(from, stream_.media_from), to, end_position);
    placed_ = to;
    content_end_ = to;
    play_had_media_ = true;
}

void Timeline::account(Place from, Place to, Samples end_position) {
    const Place offset = packets_seen_ ? 0 : options_.lookahead.count();
    for (Place at = from; at < to;) {
        const Place index = (at - offset) / kFrameSamples;
        const Place end = std::min(to, (index + 1) * kFrameSamples + offset);
        TimelineFrame& frame = slot(index);
        frame.media_samples = static_cast<std::uint16_t>(frame.media_samples + (end - at));
        frame.track = play_;
        frame.position = end_position - Samples{to - end};
        at = end;
    }
    // A frame that was begun before its predecessor was full knows no more of the track than that.
    for (std::int64_t i = (to - 1 - offset) / kFrameSamples + 1; i < opened_; ++i) {
        if (slot(i).media_samples == 0) slot(i).position = slot(i - 1).position;
    }
}

}  // namespace voicecore::pipeline
