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

}  // namespace

StreamMeter::Recorded StreamMeter::record(const Arrival& arrival) {
    const Recorded recorded = place(arrival.sequence);
    if (counts_.first_ns == 0) counts_.first_ns = arrival.time_ns;
    burst_ = burst_ != 0 && arrival.time_ns - counts_.last_ns < kBurstNs ? burst_ + 1 : 1;
    counts_.longest_burst = std::max(counts_.longest_burst, burst_);
    counts_.last_ns = arrival.time_ns;
    if (recorded.verdict == Verdict::duplicate) {
        ++counts_.duplicates;
        return recorded;
    }
    ++counts_.packets;
    if (arrival.silence) ++counts_.silence_frames;
    if (recorded.verdict == Verdict::reordered) {
        ++counts_.reordered;
        return recorded;
    }
    if (recorded.verdict == Verdict::restart) {
        in_order_.reset();
        end_transmission();
    }
    measure_gap(arrival, recorded.index);
    measure_lateness(arrival);
    in_order_ = Previous{arrival, recorded.index};
    return recorded;
}

void StreamMeter::begin_numbering(std::uint16_t sequence) noexcept {
    lowest_ = highest_ = sequence;
    unique_ = 1;
    seen_.fill(false);
    seen_[static_cast<std::size_t>(highest_) % kMaxMisorder] = true;
}

StreamMeter::Recorded StreamMeter::place(std::uint16_t sequence) {
    if (!begun_) {
        begun_ = true;
        begin_numbering(sequence);
        return {Verdict::fresh, highest_};
    }
    const auto slot = [](std::int64_t index) {
        // The index may be negative when the first packet came before an earlier one.
        return static_cast<std::size_t>(index & (kMaxMisorder - 1));
    };
    static_assert((kMaxMisorder & (kMaxMisorder - 1)) == 0);
    // The shortest way around the 16-bit circle.
    const auto step = static_cast<std::int16_t>(
        static_cast<std::uint16_t>(sequence - static_cast<std::uint16_t>(highest_)));
    if (step > 0 && step <= kMaxDropout) {
        for (int i = 1; i <= std::min<int>(step, kMaxMisorder); ++i) {
            seen_[slot(highest_ + step - i + 1)] = i == 1;
        }
        highest_ += step;
        ++unique_;
        return {Verdict::fresh, highest_};
    }
    if (step <= 0 && step > -kMaxMisorder) {
        const std::int64_t index = highest_ + step;
        bool& seen = seen_[slot(index)];
        if (seen) return {Verdict::duplicate, index};
        seen = true;
        lowest_ = std::min(lowest_, index);
        ++unique_;
        return {Verdict::reordered, index};
    }
    ++counts_.restarts;
    lost_before_ += highest_ - lowest_ + 1 - unique_;
    begin_numbering(sequence);
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
