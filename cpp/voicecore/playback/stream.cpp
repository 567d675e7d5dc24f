#include "voicecore/playback/stream.hpp"

#include <algorithm>
#include <utility>

namespace voicecore::playback {

Stream::Stream(std::uint64_t id, std::size_t ring_capacity, audio::PacketSink& sink,
               EventListener& events, TimePoint created, std::uint64_t limit_ticks)
    : id_{id},
      created_{created},
      limit_ticks_{limit_ticks},
      sink_{sink},
      events_{events},
      ring_{ring_capacity},
      cuts_{ring_capacity} {
    cuts_seen_.reserve(cuts_.capacity());
}

namespace {

constexpr std::size_t kLine = 64;

void prefetch_lines(const void* from, const void* to) noexcept {
    const auto* end = static_cast<const std::byte*>(to);
    for (const auto* at = static_cast<const std::byte*>(from); at < end; at += kLine) {
        __builtin_prefetch(at);
    }
}

}  // namespace

void Stream::prefetch(Nanoseconds lateness) const noexcept {
    // All but the buckets of the histogram, of which a tick needs one.
    prefetch_lines(this, &counters_.lateness);
    counters_.lateness.prefetch(lateness);
    prefetch_lines(&intent_, this + 1);
}

void Stream::prefetch_packet() noexcept {
    constexpr std::size_t kUsualBytes = 6 * kLine;  // 128 kbit/s are 320 bytes, in a header of 40
    prefetch_lines(&sink_, reinterpret_cast<const std::byte*>(&sink_) + kUsualBytes);
    const QueuedPacket* queued = ring_.front();
    if (queued == nullptr) return;
    prefetch_lines(queued, reinterpret_cast<const std::byte*>(queued) + kUsualBytes);
}

void Stream::take_cuts() noexcept {
    while (cuts_seen_.size() < cuts_seen_.capacity()) {
        const Cut* cut = cuts_.front();
        if (cut == nullptr) return;
        cuts_seen_.push_back(*cut);
        cuts_.pop();
    }
}

// Several rewinds may have left their packets in the ring, one behind the other: each cut holds
// until what was before it is gone. A later one that begins at a later frame does not bring back
// what an earlier one has dropped.
bool Stream::superseded(const QueuedPacket& queued) noexcept {
    // Generations never fall from packet to packet: what a cut concerns lies before its own.
    std::size_t past = 0;
    while (past < cuts_seen_.size() && cuts_seen_[past].generation <= queued.generation) ++past;
    cuts_seen_.erase(cuts_seen_.begin(), cuts_seen_.begin() + static_cast<std::ptrdiff_t>(past));
    for (const Cut& cut : cuts_seen_) {
        if (queued.packet.index >= cut.index) return true;
    }
    return false;
}

// The packet that the next tick would send; what seeks and rewinds have made stale goes here.
QueuedPacket* Stream::front() noexcept {
    const std::uint32_t floor = floor_.load(std::memory_order_acquire);
    take_cuts();
    const std::uint64_t next = next_index_.load(std::memory_order_relaxed);
    QueuedPacket* queued = ring_.front();
    while (queued != nullptr) {
        const std::uint64_t index = queued->packet.index;
        const bool flushed = queued->generation < floor;
        // A new version that came too late: its frame has been sent in the old one.
        const bool repeated = index < next;
        if (!superseded(*queued) && !flushed && !repeated) break;
        ring_.pop();
        queued = ring_.front();
    }
    if (queued == nullptr) cuts_seen_.clear();  // each came with a packet, which is gone
    return queued;
}

bool Stream::ready() noexcept {
    return wanted() == Intent::play && front() != nullptr;
}

bool Stream::over_before_start() noexcept {
    if (wanted() == Intent::stop) return true;
    // The end is looked at before the ring: whatever was published before it is visible then.
    return feed_ended() && front() == nullptr;
}

void Stream::wait_idly(TimePoint now) noexcept {
    // What a stall has added does not come all at once.
    constexpr std::int64_t kMost = 100;
    const std::int64_t ticks = (now - waited_until_) / kFrameDuration;
    for (std::int64_t i = 0; i < std::min(ticks, kMost); ++i) sink_.idle(now);
    waited_until_ += ticks * kFrameDuration;
}

bool Stream::tick(const Tick& tick) noexcept {
    const std::uint64_t elapsed = tick.skipped + 1;
    StreamCounters::add(counters_.ticks, elapsed);
    counters_.send_cpu_ns.store(
        counters_.send_cpu_ns.load(std::memory_order_relaxed) + tick.cost.count(),
        std::memory_order_relaxed);
    if (tick.skipped != 0) StreamCounters::add(counters_.skipped, tick.skipped);
    ticks_since_packet_ += static_cast<std::uint32_t>(elapsed);

    if (limit_ticks_ != 0 && counters_.ticks.load(std::memory_order_relaxed) > limit_ticks_) {
        begin_break(Break::end, tick);
        return continue_break(tick);
    }
    switch (wanted()) {
        case Intent::stop:
            begin_break(Break::end, tick);
            return continue_break(tick);
        case Intent::pause:
            static_cast<void>(front());  // what was made stale meanwhile leaves room for the new
            begin_break(Break::pause, tick);
            return continue_break(tick);
        case Intent::play:
            break;
    }
    const bool ended = feed_ended();  // before the ring, see over_before_start()
    const std::uint32_t floor = floor_.load(std::memory_order_acquire);
    const bool seeking = floor != floor_seen_;
    if (const QueuedPacket* queued = front(); queued != nullptr) {
        floor_seen_ = floor;
        if (seeking) emit(EventKind::seeked);
        send_media(*queued, tick);
        ring_.pop();
        return !sink_gone_;
    }
    if (ended) {
        if (seeking) {  // past everything that there is
            floor_seen_ = floor;
            emit(EventKind::seeked);
        }
        begin_break(Break::end, tick);
    } else if (seeking) {
        StreamCounters::add(counters_.seek_ticks);
        begin_break(Break::seek, tick);
    } else {
        begin_break(Break::underrun, tick);
    }
    return continue_break(tick);
}

void Stream::send_media(const QueuedPacket& queued, const Tick& tick) noexcept {
    const auto& packet = queued.packet;
    const bool first = !started_.load(std::memory_order_relaxed);
    send(audio::OutgoingPacket{.opus = packet.opus.bytes(),
                               .ticks = ticks_since_packet_,
                               .media_samples = packet.media_samples,
                               .silence = false},
         tick);
    StreamCounters::add(counters_.frames_sent);
    if (packet.passthrough) StreamCounters::add(counters_.passthrough);
    position_.store(packet.position.count(), std::memory_order_relaxed);
    next_index_.store(packet.index + 1, std::memory_order_release);

    if (first) {
        counters_.first_frame_ns.store((tick.clock.now() - created_).count(),
                                       std::memory_order_relaxed);
        started_.store(true, std::memory_order_release);
        emit(EventKind::started);
    }
    const bool new_track = track_.load(std::memory_order_relaxed) != packet.track;
    if (first || new_track) {
        track_.store(packet.track, std::memory_order_relaxed);
        emit(EventKind::track_started, packet.track);
    }
    if (break_ == Break::pause) emit(EventKind::resumed);
    if (starved_.load(std::memory_order_relaxed)) {
        starved_.store(false, std::memory_order_release);
        emit(EventKind::recovered);
    }
    break_ = Break::none;
}

void Stream::send(const audio::OutgoingPacket& packet, const Tick& tick) noexcept {
    const Nanoseconds lateness = tick.clock.now() - tick.deadline;
    counters_.lateness.record(lateness);
    if (tick.lateness != nullptr) tick.lateness->record(lateness);
    if (lateness > kLate) StreamCounters::add(counters_.late);
    switch (sink_.send(packet)) {
        case audio::SendStatus::sent:
            break;
        case audio::SendStatus::overflow:
            StreamCounters::add(counters_.overflow);
            break;
        case audio::SendStatus::failed:
            sink_gone_ = true;
            [[fallthrough]];
        case audio::SendStatus::dropped:
            StreamCounters::add(counters_.dropped);
            break;
    }
    ticks_since_packet_ = 0;
}

void Stream::begin_break(Break cause, const Tick& tick) noexcept {
    // A break that goes on for another reason (paused, then stopped) does not start again; an empty
    // ring is no reason of its own while there is one already.
    const bool was_sending = break_ == Break::none;
    if (break_ == cause) return;
    if (!was_sending && (cause == Break::underrun || cause == Break::seek)) return;
    if (was_sending) {
        silence_left_ = audio::kSilenceFrames;
        if (cause != Break::end) {
            broken_at_.store(next_index_.load(std::memory_order_relaxed),
                             std::memory_order_release);
        }
    }
    if (cause == Break::pause) emit(EventKind::paused);
    if (cause == Break::underrun && was_sending) {
        const UnderrunCause why = underrun_cause(tick);
        StreamCounters::add(counters_.underruns[static_cast<std::size_t>(why)]);
        emit(EventKind::underrun, static_cast<std::int64_t>(why));
        starved_.store(true, std::memory_order_release);
    }
    break_ = cause;
}

bool Stream::continue_break(const Tick& tick) noexcept {
    if (silence_left_ > 0) {
        --silence_left_;
        StreamCounters::add(counters_.silence_frames);
        send(audio::OutgoingPacket{.opus = audio::kSilenceFrame,
                                   .ticks = ticks_since_packet_,
                                   .media_samples = kFrameSamples,
                                   .silence = true},
             tick);
    } else {
        sink_.idle(tick.clock.now());
    }
    return !sink_gone_ && (break_ != Break::end || silence_left_ > 0);
}

UnderrunCause Stream::underrun_cause(const Tick& tick) const noexcept {
    switch (feed_state()) {
        case FeedState::blocked:
            return UnderrunCause::source_slow;
        case FeedState::running:
            return UnderrunCause::decoder_slow;
        case FeedState::idle:
        case FeedState::queued:
            break;
    }
    return tick.workers_idle ? UnderrunCause::kernel_late : UnderrunCause::worker_late;
}

}  // namespace voicecore::playback
