#include "voicecore/transport/stream_meter.hpp"

#include <algorithm>

#include "voicecore/audio/opus_packet.hpp"

namespace voicecore::transport {
namespace {

constexpr std::int64_t kBurstNs = 1'000'000;

std::int64_t samples_to_ns(std::int64_t samples) noexcept {
    // 10^9 / 48,000 = 62,500 / 3
    return samples * 62'500 / 3;
}

// Indices may be negative when the first packet came before an earlier one.
std::size_t slot(std::int64_t index) noexcept {
    return static_cast<std::size_t>(index) % StreamMeter::kHistory;
}

}  // namespace

StreamMeter::Recorded StreamMeter::record(const Arrival& arrival) {
    const auto before = stray_;
    stray_.reset();
    const Recorded recorded = place(arrival, before);
    if (counts_.first_ns == 0) counts_.first_ns = arrival.time_ns;
    burst_ = burst_ != 0 && arrival.time_ns - counts_.last_ns < kBurstNs ? burst_ + 1 : 1;
    counts_.longest_burst = std::max(counts_.longest_burst, burst_);
    counts_.last_ns = arrival.time_ns;
    const bool duplicate = recorded.verdict == Verdict::duplicate || (stray_ && stray_->duplicate);
    if (duplicate) {
        ++counts_.duplicates;
        return recorded;
    }
    ++counts_.packets;
    if (arrival.silence) ++counts_.silence_frames;
    if (recorded.verdict == Verdict::reordered || recorded.verdict == Verdict::stray) {
        ++counts_.reordered;
        return recorded;
    }
    if (recorded.verdict == Verdict::restart) {
        in_order_.reset();
        end_transmission();
        measure(before->arrival, recorded.index - 1);
    }
    measure(arrival, recorded.index);
    return recorded;
}

void StreamMeter::measure(const Arrival& arrival, std::int64_t index) {
    measure_gap(arrival, index);
    measure_lateness(arrival);
    in_order_ = Previous{arrival, index};
}

void StreamMeter::begin_numbering(std::uint16_t sequence) noexcept {
    lowest_ = highest_ = sequence;
    unique_ = 1;
    seen_.reset();
    seen_.set(slot(highest_));
}

StreamMeter::Recorded StreamMeter::place(const Arrival& arrival,
                                         const std::optional<Stray>& before) {
    if (!begun_) {
        begun_ = true;
        begin_numbering(arrival.sequence);
        return {Verdict::fresh, highest_};
    }
    // The shortest way around the 16-bit circle.
    const auto step = static_cast<std::int16_t>(
        static_cast<std::uint16_t>(arrival.sequence - static_cast<std::uint16_t>(highest_)));
    if (step > 0 && step <= kMaxDropout) {
        for (int i = 1; i < step; ++i) seen_.reset(slot(highest_ + i));
        highest_ += step;
        seen_.set(slot(highest_));
        ++unique_;
        return {Verdict::fresh, highest_};
    }
    const std::int64_t index = highest_ + step;
    const bool missed = step <= 0 && !seen_.test(slot(index));
    if (step <= 0 && step > -kMaxMisorder) {
        if (!missed) return {Verdict::duplicate, index};
        seen_.set(slot(index));
        lowest_ = std::min(lowest_, index);
        ++unique_;
        return {Verdict::reordered, index};
    }
    if (before && arrival.sequence == static_cast<std::uint16_t>(before->arrival.sequence + 1)) {
        return restart(*before);
    }
    // Before the first packet nothing counts as lost: there is no place to take.
    const bool was_lost = missed && index > lowest_;
    if (was_lost) {
        seen_.set(slot(index));
        ++unique_;
    }
    stray_ = Stray{.arrival = arrival, .duplicate = step < 0 && !missed, .was_lost = was_lost};
    return {Verdict::stray, index};
}

// Two in a row: what was taken for a stray packet was the first of another numbering.
StreamMeter::Recorded StreamMeter::restart(const Stray& first) {
    if (first.duplicate) {
        --counts_.duplicates;
        ++counts_.packets;
        if (first.arrival.silence) ++counts_.silence_frames;
    } else {
        --counts_.reordered;
    }
    if (first.was_lost) --unique_;
    ++counts_.restarts;
    lost_before_ += highest_ - lowest_ + 1 - unique_;
    begin_numbering(first.arrival.sequence);
    ++highest_;
    ++unique_;
    seen_.set(slot(highest_));
    return {Verdict::restart, highest_};
}

void StreamMeter::measure_gap(const Arrival& arrival, std::int64_t index) {
    if (!in_order_ || index != in_order_->index + 1) return;
    const Arrival& before = in_order_->arrival;
    const auto step = static_cast<std::int32_t>(arrival.timestamp - before.timestamp);
    if (step > before.samples && !before.silence) ++counts_.timestamp_gaps;
    if (step != before.samples || before.silence || arrival.silence) return;
    gaps_.record(std::chrono::nanoseconds{arrival.time_ns - before.time_ns});
}

void StreamMeter::measure_lateness(const Arrival& arrival) {
    if (arrival.silence) {
        // Some senders let all five go at once: they tell nothing about time.
        if (++silence_run_ >= audio::kSilenceFrames) end_transmission();
        return;
    }
    silence_run_ = 0;
    if (!anchor_) {
        anchor_ = Anchor{.time_ns = arrival.time_ns, .timestamp = arrival.timestamp, .samples = 0};
        earliest_ = 0;
        ++counts_.transmissions;
    }
    // From packet to packet: against a fixed timestamp the difference would wrap after 12.4 h.
    anchor_->samples += static_cast<std::int32_t>(arrival.timestamp - anchor_->timestamp);
    anchor_->timestamp = arrival.timestamp;
    const std::int64_t value = arrival.time_ns - anchor_->time_ns - samples_to_ns(anchor_->samples);
    earliest_ = std::min(earliest_, value);
    if (pending_.size() < kMaxPending) {
        pending_.push_back(value);
    } else {
        lateness_.record(std::chrono::nanoseconds{value - earliest_});
    }
}

void StreamMeter::end_transmission() {
    for (const std::int64_t value : pending_) {
        lateness_.record(std::chrono::nanoseconds{value - earliest_});
    }
    pending_.clear();
    anchor_.reset();
}

StreamFigures StreamMeter::figures() const {
    StreamFigures out = counts_;
    const std::int64_t lost = lost_before_ + (begun_ ? highest_ - lowest_ + 1 - unique_ : 0);
    out.lost = static_cast<std::uint64_t>(lost);
    out.gaps = gaps_.snapshot();
    out.lateness = lateness_.snapshot();
    for (const std::int64_t value : pending_) {
        const std::chrono::nanoseconds late{value - earliest_};
        ++out.lateness
              .counts[FineHistogram::index_of(static_cast<std::uint64_t>(late.count()) / 1000)];
        ++out.lateness.total;
        out.lateness.max = std::max(out.lateness.max, late);
    }
    return out;
}

}  // namespace voicecore::transport
