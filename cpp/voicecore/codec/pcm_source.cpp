#include "voicecore/codec/pcm_source.hpp"
#include "voicecore/codec/unexpected.hpp"

#include <algorithm>
#include <new>

namespace voicecore::codec {
namespace {
constexpr int kMostDamaged = 200;    // packets in front that may fail before the file is given up
constexpr std::int64_t kSlack = 20;  // 1/20 s: stamps that differ by less are rounding, not a gap
constexpr std::int64_t kLongestFill = 5;  // s: silence for lost data; beyond it the position jumps
constexpr std::int64_t kFillPart = 1152;  // samples at a time
}  // namespace

using audio::ReadStatus;

bool PcmSource::fail(Error error) {
    error_ = std::move(error);
    failed_ = true;
    return false;
}

Samples PcmSource::position_of(std::int64_t native) const noexcept {
    return base_ + Samples{av_rescale(native, kSampleRate, rate_)};
}

ReadStatus PcmSource::read(audio::MediaUnit& unit) noexcept {
    try {
        if (const ReadStatus status = prime(); status != ReadStatus::ok) return status;
    } catch (const std::exception& thrown) {
        fail(unexpected(thrown, "decoding"));
        return ReadStatus::failed;
    }
    unit = {};
    unit.pcm = std::span<const float>{out_}.subspan(out_begin_);
    unit.position = out_position_;
    unit.duration = Samples{static_cast<std::int64_t>(unit.pcm.size()) / kChannels};
    // The values stay where they are until the next call.
    out_begin_ = out_.size();
    return ReadStatus::ok;
}

ReadStatus PcmSource::prime() {
    while (!pending()) {
        if (failed_) return ReadStatus::failed;
        out_.clear();
        out_begin_ = 0;
        const ReadStatus status = produce();
        if (status != ReadStatus::ok && !pending()) return status;
    }
    return ReadStatus::ok;
}

// One step: a frame, a packet, or the end of a run.
ReadStatus PcmSource::produce() {
    if (gap_ > 0) return fill_gap() ? ReadStatus::ok : ReadStatus::failed;
    if (frame_waits_) {
        frame_waits_ = false;
        return consume_frame() ? ReadStatus::ok : ReadStatus::failed;
    }
    if (decoder_) {
        switch (decoder_->receive()) {
            case DecodeStatus::frame:
                return consume_frame() ? ReadStatus::ok : ReadStatus::failed;
            case DecodeStatus::damaged:
                return conceal() ? ReadStatus::ok : ReadStatus::failed;
            case DecodeStatus::end:
                draining_ = false;
                if (!finish_run()) return ReadStatus::failed;
                decoder_.reset();
                return ReadStatus::ok;
            case DecodeStatus::needs_packet:
                break;
        }
    }
    return take_packet();
}

ReadStatus PcmSource::take_packet() {
    if (ended_) return ReadStatus::end;
    if (!held_) {
        switch (feed_->next(packet_)) {
            case ReadStatus::ok:
                break;
            case ReadStatus::would_block:
                return ReadStatus::would_block;
            case ReadStatus::failed:
                fail(feed_->error());
                return ReadStatus::failed;
            case ReadStatus::end:
                ended_ = true;
                if (!decoder_) return finish_run() ? ReadStatus::ok : ReadStatus::failed;
                decoder_->send_end();
                draining_ = true;
                return ReadStatus::ok;
        }
    }
    if (packet_.segment != segment_ && decoder_) {
        // Everything of the segment before comes out first; the packet stays valid meanwhile.
        decoder_->send_end();
        held_ = draining_ = true;
        return ReadStatus::ok;
    }
    held_ = false;
    if (packet_.segment != segment_ || !decoder_) {
        if (!begin_segment(packet_.segment)) return ReadStatus::failed;
    }
    if (std::exchange(sought_, false)) base_ = packet_.segment->base.value_or(base_);
    if (decoder_->send(packet_)) return ReadStatus::ok;
    return conceal() ? ReadStatus::ok : ReadStatus::failed;
}

bool PcmSource::begin_segment(const SegmentPtr& segment) {
    if (auto checked = check_rate(segment->rate); !checked) return fail(std::move(checked).error());
    auto decoder = AudioDecoder::open(*segment);
    if (!decoder) return fail(std::move(decoder).error());
    decoder_ = std::move(decoder).value();
    warm_up_ = decoder_->warm_up();
    // In a chain the truth is where the link before ended, whatever its header promised. After a
    // seek that place is not known.
    if (segment_ && segment != segment_) base_ = run_out_;
    if (target_) base_ = segment->base.value_or(base_);
    if (segment_ && segment != segment_) shift_ = 0;
    segment_ = segment;
    rate_ = 0;
    expected_.reset();
    run_out_ = base_;
    return true;
}

bool PcmSource::consume_frame() {
    const AVFrame& frame = decoder_->frame();
    ever_decoded_ = true;
    if (rate_ != frame.sample_rate) {
        if (auto checked = check_rate(frame.sample_rate); !checked) {
            return fail(std::move(checked).error());
        }
        if (running_) {
            frame_waits_ = true;
            return finish_run();
        }
        if (expected_) expected_ = av_rescale(*expected_, frame.sample_rate, rate_);
        rate_ = frame.sample_rate;
    }
    std::int64_t start = decoder_->frame_start();
    if (start != kNoTick) start -= shift_;
    if (start == kNoTick) {
        const Samples from = target_.value_or(base_) - base_;
        start = expected_.value_or(av_rescale(from.count(), rate_, kSampleRate));
    } else if (expected_ && start - *expected_ < (damaged_ ? 1 : rate_ / kSlack)) {
        start = *expected_;
    } else if (expected_ && running_) {
        frame_waits_ = true;
        damaged_ = false;
        gap_ = start - *expected_;
        expected_ = start;
        if (gap_ <= rate_ * kLongestFill) return true;
        gap_ = 0;
        return finish_run();
    }
    damaged_ = false;
    if (!ever_given_ && !target_ && !running_ && start > shift_) {
        // Media whose first packet decodes to nothing (Vorbis) begins where its first sample is.
        shift_ = start;
        expected_ = start = 0;
    }
    std::int64_t low = std::max<std::int64_t>(start, 0);
    std::int64_t high = start + frame.nb_samples;
    expected_ = high;
    if (segment_->end) high = std::min(high, av_rescale(*segment_->end, rate_, segment_->rate));
    if (packet_.trim_end > 0 && !held_ && packet_.start != kNoTick) {
        const std::int64_t end = packet_.start + packet_.duration - packet_.trim_end;
        high = std::min(high, av_rescale(end, rate_, segment_->rate));
    }
    if (high <= low) return true;
    if (running_ && !resampler_.matches(frame)) {
        frame_waits_ = true;
        expected_ = start;
        return finish_run();
    }
    if (!running_ && !start_run(frame, low, high)) return !failed_;
    const std::size_t before = out_.size();
    if (auto pushed = resampler_.push(frame, static_cast<int>(low - start),
                                      static_cast<int>(high - low), out_);
        !pushed) {
        return fail(std::move(pushed).error());
    }
    run_end_ = high;
    came_out(before);
    return true;
}

// False: nothing of this frame is wanted, or failed_.
bool PcmSource::start_run(const AVFrame& frame, std::int64_t& low, std::int64_t high) {
    if (target_) {
        // A run that starts where input and output samples fall together is sampled at the same
        // instants as one from the beginning: after a seek every sample is the one that playing up
        // to it would have given.
        const std::int64_t period = Resampler::period(rate_);
        const std::int64_t inside = (*target_ - base_).count();
        const std::int64_t wanted =
            std::max<std::int64_t>(av_rescale_rnd(inside, rate_, kSampleRate, AV_ROUND_DOWN) -
                                       Resampler::memory(rate_),
                                   0) /
            period * period;
        low = low <= wanted ? wanted : (low + period - 1) / period * period;
        if (low >= high) return false;
    }
    if (auto configured = resampler_.configure(frame); !configured) {
        return fail(std::move(configured).error());
    }
    running_ = ever_given_ = true;
    run_out_ = position_of(low);
    return true;
}

bool PcmSource::finish_run() {
    if (!std::exchange(running_, false)) return true;
    const std::size_t before = out_.size();
    if (auto flushed = resampler_.flush(out_); !flushed) return fail(std::move(flushed).error());
    // Exactly as many samples as the input was long.
    const auto wanted = std::max<std::int64_t>((position_of(run_end_) - run_out_).count(), 0);
    out_.resize(before + static_cast<std::size_t>(wanted) * kChannels, 0.0F);
    came_out(before);
    resampler_.reset();
    return true;
}

// A packet that could not be decoded: the stamp of the next good frame tells how much is missing.
bool PcmSource::conceal() {
    const bool warming = target_ && !running_;
    if (!warming) errors_.fetch_add(1, std::memory_order_relaxed);
    if (!ever_decoded_) {
        if (++damaged_in_front_ < kMostDamaged) return true;
        return fail({Errc::corrupt, 0, "none of the first packets could be decoded"});
    }
    damaged_ = true;
    return true;
}

// Silence instead of what was lost, so that what follows keeps its place.
bool PcmSource::fill_gap() {
    const std::int64_t part = std::min(gap_, kFillPart);
    gap_ -= part;
    const std::size_t before = out_.size();
    if (auto pushed = resampler_.push_silence(static_cast<int>(part), out_); !pushed) {
        return fail(std::move(pushed).error());
    }
    run_end_ += part;
    came_out(before);
    return true;
}

// Places what was appended to out_ and drops what lies before the target.
void PcmSource::came_out(std::size_t before) {
    const auto count = Samples{static_cast<std::int64_t>(out_.size() - before) / kChannels};
    const Samples from = run_out_;
    run_out_ += count;
    if (count == Samples{0}) return;
    if (target_) {
        if (run_out_ <= *target_) {
            out_.resize(before);
            return;
        }
        const auto dropped = std::max((*target_ - from).count(), std::int64_t{0});
        out_begin_ = before + static_cast<std::size_t>(dropped) * kChannels;
        out_position_ = from + Samples{dropped};
        target_.reset();
        return;
    }
    if (before == 0 || out_begin_ >= before) {
        out_begin_ = before;
        out_position_ = from;
    }
}

void PcmSource::drop_until(Samples position) noexcept {
    const Samples have = pending() ? out_position_ : run_out_;
    if (position <= have) return;
    const auto held = static_cast<std::int64_t>(out_.size() - out_begin_) / kChannels;
    if (pending() && position < have + Samples{held}) {
        out_begin_ += static_cast<std::size_t>((position - have).count()) * kChannels;
        out_position_ = position;
        return;
    }
    out_begin_ = out_.size();
    target_ = position;
}

void PcmSource::seek(Samples position) noexcept {
    out_.clear();
    out_begin_ = 0;
    held_ = draining_ = ended_ = failed_ = frame_waits_ = running_ = false;
    resampler_.reset();
    expected_.reset();
    gap_ = 0;
    damaged_ = false;
    sought_ = true;
    target_ = position > Samples{0} ? std::optional{position} : std::nullopt;
    Samples margin{0};
    if (target_) {
        const int rate = rate_ > 0 ? rate_ : std::max(info_.sample_rate, 1);
        const auto resampling = Resampler::memory(rate) + Resampler::period(rate);
        margin = Samples{av_rescale(resampling, kSampleRate, rate) + kFrameSamples};
        margin += warm_up_;
    }
    const Samples from = std::max(position - margin, Samples{0});
    // Flushed decoders keep traces (AAC its window shape) that only audio in front washes out.
    if (decoder_ && from > Samples{0}) {
        decoder_->flush();
    } else {
        decoder_.reset();
        segment_.reset();
    }
    try {
        feed_->seek(from);
    } catch (const std::exception& thrown) {
        fail(unexpected(thrown, "seeking"));
    }
}

}  // namespace voicecore::codec
