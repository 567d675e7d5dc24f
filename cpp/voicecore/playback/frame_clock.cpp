#include "voicecore/playback/frame_clock.hpp"

#include <utility>

namespace voicecore::playback {

template <std::size_t... I>
std::array<FrameClock::Group, FrameClock::kGroups> FrameClock::make_groups(
    TimePoint epoch, std::index_sequence<I...>) noexcept {
    return {Group{
        .grid = DeadlineGrid{epoch + static_cast<std::int64_t>(I) * kPhase, kFrameDuration}}...};
}

FrameClock::FrameClock(const Clock& clock, TimePoint epoch, FeedQueue& feed) noexcept
    : clock_{clock},
      feed_{feed},
      groups_{make_groups(epoch, std::make_index_sequence<kGroups>{})} {}

void FrameClock::attach(Stream& stream) noexcept {
    streams_.fetch_add(1, std::memory_order_acq_rel);
    arriving_.push(stream);
    nudge();
}

TimePoint FrameClock::next_deadline() const noexcept {
    TimePoint next = next_idle_;
    for (const Group& group : groups_) {
        if (group.first != nullptr && group.grid.next() < next) next = group.grid.next();
    }
    return next;
}

void FrameClock::run_due() noexcept {
    // After a stall the debt is settled first: whoever joins now has no part in it.
    const TimePoint now = clock_.now();
    for (Group& group : groups_) {
        if (group.first != nullptr && group.grid.next() + kFrameDuration <= now) {
            run_group(group, now);
        }
    }
    admit(clock_.now());
    for (Group& group : groups_) {
        if (group.first != nullptr) run_group(group, clock_.now());
    }
    wake_feeders();
}

void FrameClock::admit(TimePoint now) noexcept {
    arriving_.take_all([this](Stream& stream) {
        stream.clock_link = primed_;
        primed_ = &stream;
        stream.begin_to_wait(clock_.now());
    });
    Stream** link = &primed_;
    while (*link != nullptr) {
        Stream& stream = **link;
        // Readiness first: a stream that is both (its only packet is in) has something to send.
        const bool ready = stream.ready();
        const bool over = !ready && stream.over_before_start();
        if (!ready && !over) {
            link = &stream.clock_link;
            continue;
        }
        *link = stream.clock_link;
        if (ready) {
            join_group(stream, now);
        } else {
            retire(stream);
        }
    }
    idle_primed(now);
}

// Who waits for a first frame, or was started paused, has no ticks in which its sink could keep the
// way to its peer open. Once a second is often enough for that, and no wake-up to speak of.
void FrameClock::idle_primed(TimePoint now) noexcept {
    if (primed_ == nullptr) {
        next_idle_ = TimePoint::max();
        return;
    }
    if (now >= next_idle_) {
        for (Stream* stream = primed_; stream != nullptr; stream = stream->clock_link) {
            stream->wait_idly(now);
        }
    } else if (next_idle_ != TimePoint::max()) {
        return;
    }
    next_idle_ = now + kIdlePeriod;
}

void FrameClock::join_group(Stream& stream, TimePoint now) noexcept {
    Group* best = &emptiest(now, 2);
    if (best->size >= kCrowd) best = &emptiest(now, 1);
    stream.clock_link = best->first;
    best->first = &stream;
    ++best->size;
}

// Of every step-th grid that is due soon.
FrameClock::Group& FrameClock::emptiest(TimePoint now, int step) noexcept {
    Group* best = nullptr;
    for (int i = 0; i < kGroups; i += step) {
        Group& group = groups_[static_cast<std::size_t>(i)];
        // Nobody waited on an empty grid: what passed on it is neither late nor skipped.
        if (group.first == nullptr) group.grid.fast_forward(now);
        const bool soon = group.grid.next() < now + kAdmission;
        const bool better = best == nullptr || group.size < best->size ||
                            (group.size == best->size && group.grid.next() < best->grid.next());
        if (soon && better) best = &group;
    }
    return best != nullptr ? *best : groups_.front();  // some grid is always due within one phase
}

void FrameClock::run_group(Group& group, TimePoint now) noexcept {
    const DeadlineGrid::Turn turn = group.grid.take_due(now);
    if (turn.ticks == 0) return;
    // A thread's own time costs a system call.
    const bool measured = turns_++ % kTurnsToMeasure == 0;
    const Nanoseconds before = measured ? thread_cpu_time() : Nanoseconds{0};
    const bool workers_idle = feed_.idle_workers.load(std::memory_order_relaxed) > 0;
    int ticked = 0;
    for (int i = 0; i < turn.ticks && group.first != nullptr; ++i) {
        // After a stall the first tick answers for the whole wait, given-up ticks included.
        const TimePoint deadline = i == 0 ? turn.oldest : turn.first + i * kFrameDuration;
        ticked += run_tick(group, Stream::Tick{.clock = clock_,
                                               .deadline = deadline,
                                               .skipped = i == 0 ? turn.skipped : 0,
                                               .workers_idle = workers_idle,
                                               .lateness = &lateness_,
                                               .cost = cost_});
    }
    // What this turn has cost is charged with the next ones: a second walk would fetch all of it
    // again.
    if (measured && ticked != 0) cost_ = (thread_cpu_time() - before) / ticked;
}

int FrameClock::run_tick(Group& group, const Stream::Tick& tick) noexcept {
    int ticked = 0;
    const Nanoseconds late = clock_.now() - tick.deadline;
    // Walks ahead of the ticks, one step of prefetching to a stream.
    const auto fetch_behind = [&](const Stream& stream) {
        Stream* next = stream.clock_link;
        if (next == nullptr) return;
        next->prefetch_sink();
        if ((next = next->clock_link) == nullptr) return;
        next->prefetch_packet();
        if ((next = next->clock_link) == nullptr) return;
        next->prefetch(late + (ticked + 3) * cost_);
    };
    Stream** link = &group.first;
    while (*link != nullptr) {
        Stream& stream = **link;
        ++ticked;
        fetch_behind(stream);
        if (stream.tick(tick)) {
            ask_for_more(stream);
            link = &stream.clock_link;
        } else {
            *link = stream.clock_link;
            --group.size;
            retire(stream);
        }
    }
    return ticked;
}

void FrameClock::retire_all() noexcept {
    arriving_.take_all([this](Stream& stream) { retire(stream); });
    const auto retire_list = [this](Stream*& first) {
        while (first != nullptr) {
            Stream& stream = *first;
            first = stream.clock_link;
            retire(stream);
        }
    };
    retire_list(primed_);
    next_idle_ = TimePoint::max();
    for (Group& group : groups_) {
        retire_list(group.first);
        group.size = 0;
    }
    feed_.wake.signal();
}

void FrameClock::retire(Stream& stream) noexcept {
    streams_.fetch_sub(1, std::memory_order_acq_rel);
    // From the push on the stream belongs to the feeders and may be gone.
    feed_.over.push(stream);
    feeders_needed_ = true;
}

void FrameClock::ask_for_more(Stream& stream) noexcept {
    if (!stream.wants_fill(low_water_)) return;
    if (stream.feed_state() == FeedState::idle) stream.set_feed_state(FeedState::queued);
    feed_.wanting.push(stream);
    if (stream.ahead() >= kMayWait && stream.break_answered()) {
        refills_wait_ = true;
    } else {
        feeders_needed_ = true;
    }
}

// A wake-up costs more than the refill of a stream that is copied. Whoever has plenty in its ring
// waits for the others: one wake-up in a period, and one more frame gone from those rings.
void FrameClock::wake_feeders() noexcept {
    if (!feeders_needed_) {
        if (!refills_wait_ || clock_.now() < next_refill_) return;
    }
    feeders_needed_ = false;
    refills_wait_ = false;
    next_refill_ = clock_.now() + kFrameDuration;
    feed_.wake.signal();
}

}  // namespace voicecore::playback
