#include "voicecore/playback/player.hpp"

#include <algorithm>
#include <utility>

#include "voicecore/playback/feeder_pool.hpp"
#include "voicecore/playback/frame_clock.hpp"

namespace voicecore::playback {
namespace {

// Old and new versions of a whole buffer, twice over, and some to spare.
std::size_t ring_capacity(std::uint64_t depth) {
    return static_cast<std::size_t>(depth) * 2 + 8;
}

template <class... F>
struct Overloaded : F... {
    using F::operator()...;
};
template <class... F>
Overloaded(F...) -> Overloaded<F...>;

}  // namespace

Player::Player(std::uint64_t id, std::unique_ptr<audio::PacketSource> source,
               std::shared_ptr<audio::PacketSink> sink, EventListener& events, FeederPool& feeders,
               FrameClock& clock, TimePoint now, const Options& options)
    : stream_{id, ring_capacity(options.depth), *sink, events, now, options.limit_ticks},
      source_{std::move(source)},
      sink_{std::move(sink)},
      events_{events},
      feeders_{feeders},
      clock_{clock},
      depth_{options.depth},
      gain_{options.gain} {
    stream_.owner = this;
    if (options.start_paused) stream_.want(Stream::Intent::pause);
}

Player::~Player() = default;

Status Player::start(std::shared_ptr<Player> self) {
    if (auto status = sink_->start(*this); !status) return status;
    self_ = std::move(self);
    source_->set_ready_hook([weak = std::weak_ptr<Player>{self_}] {
        if (const auto player = weak.lock()) player->feeders_.request(*player);
    });
    feeders_.request(*this);
    clock_.attach(stream_);
    return Done{};
}

void Player::pause() noexcept {
    if (stream_.wanted() != Stream::Intent::stop) stream_.want(Stream::Intent::pause);
}

void Player::resume() noexcept {
    if (stream_.wanted() != Stream::Intent::stop) stream_.want(Stream::Intent::play);
    clock_.nudge();
}

void Player::stop() noexcept {
    stream_.want(Stream::Intent::stop);
    clock_.nudge();
}

void Player::set_gain(Gain gain) {
    // Asked here and not by the feeder: a pause that follows would sometimes come before it.
    const bool leaving = stream_.started() && stream_.wanted() == Stream::Intent::play;
    give(SetGain{gain, leaving}, false);
}
void Player::seek(Samples position) {
    // Asked here, as in set_gain(): what was appended before this call may be heard at any moment.
    give(SeekTo{.position = position, .waits = waits()}, true);
    stream_.announce_position(position);
}
void Player::skip_track() {
    give(SkipTrack{.waits = waits()}, true);
}
void Player::post(Change change) {
    give(std::move(change), false);
}

// The old audio is silenced here and now; the feeder brings the new.
void Player::give(Order order, bool flush) {
    {
        const std::lock_guard lock{mutex_};
        if (flush) {
            const std::uint32_t generation = ++next_generation_;
            std::visit(Overloaded{[&](SeekTo& seek) { seek.generation = generation; },
                                  [&](SkipTrack& skip) { skip.generation = generation; },
                                  [](SetGain&) {}, [](Change&) {}},
                       order);
            stream_.drop_before(generation);
        }
        open_orders_.fetch_add(1, std::memory_order_acq_rel);
        orders_.push_back(std::move(order));
    }
    feeders_.request(*this);
}

void Player::carry_out_orders() noexcept {
    taken_.clear();
    {
        const std::lock_guard lock{mutex_};
        taken_.swap(orders_);
    }
    for (std::size_t i = 0; i < taken_.size(); ++i) {
        // A seek that follows makes a rewind for this gain pointless.
        bool flush_follows = false;
        for (std::size_t j = i + 1; j < taken_.size(); ++j) flush_follows |= flushes(taken_[j]);
        std::visit(Overloaded{[&](SetGain& order) { apply(order, flush_follows); },
                              [&](SeekTo& order) { apply(order); },
                              [&](SkipTrack& order) { apply(order); },
                              [&](Change& change) {
                                  change(*source_);
                                  go_on();
                              }},
                   taken_[i]);
    }
}

bool Player::flushes(const Order& order) noexcept {
    return std::holds_alternative<SeekTo>(order) || std::holds_alternative<SkipTrack>(order);
}

// Has `redo(i)` change what the source gives from frame i on: `from`, and what is in the ring of
// that will be made again, or where nothing is to be made again the first that was not made yet.
template <class Redo>
void Player::rewind(std::uint64_t from, bool flush_follows, Redo&& redo) noexcept {
    std::uint32_t generation = 0;
    {
        // Under the lock that gives out the generations of seeks: a rewind never outranks a seek
        // that was given after it.
        const std::lock_guard lock{mutex_};
        flush_follows |= std::ranges::any_of(orders_, flushes);
        if (!flush_follows && from < produced_) generation = ++next_generation_;
    }
    if (generation == 0) {
        redo(produced_);
        return;
    }
    produced_ = redo(from);
    generation_ = generation;
    supersede_from_ = produced_;
    go_on();
}

void Player::apply(SetGain order, bool flush_follows) noexcept {
    gain_ = order.gain;
    // One frame of margin: the next one may leave while we work, unless none leaves.
    rewind(stream_.next_index() + (order.leaving ? 1 : 0), flush_follows,
           [&](std::uint64_t index) { return source_->set_gain(order.gain, index); });
}

// In a break the receiver's decoder forgets what came before: a packet that leans on that would be
// heard at a fraction of its loudness, and so for 100 ms.
void Player::start_afresh(std::uint64_t broken_at) noexcept {
    // Otherwise too late: the frame has left as it was.
    if (stream_.next_index() != broken_at) return;
    rewind(broken_at, false, [&](std::uint64_t index) {
        // A seek that is still to come starts afresh by itself.
        return index == broken_at ? source_->start_afresh(index) : index;
    });
}

// The source may have more to give, whatever it said last.
void Player::go_on() noexcept {
    ended_ = false;
    stream_.set_feed_end(0);
    if (source_failed_.exchange(false, std::memory_order_acq_rel)) {
        const std::lock_guard lock{mutex_};
        error_.reset();
    }
}

// After a flush: nothing that was produced counts any more.
void Player::begin_generation(std::uint32_t generation) noexcept {
    generation_ = generation;
    supersede_from_.reset();
    flushed_ = true;
    stream_.set_base(~std::uint64_t{0});
    go_on();
}

void Player::apply(const SeekTo& order) noexcept {
    begin_generation(order.generation);
    // A track that cannot seek goes on where the listener was: its packets are in the history.
    if (!source_->seek(order.position, {.next = stream_.next_index(), .waits = order.waits})) {
        source_->set_gain(gain_, stream_.next_index());
    }
}

void Player::apply(SkipTrack order) noexcept {
    begin_generation(order.generation);
    source_->skip_track({.next = stream_.next_index(), .waits = order.waits});
}

Player::FeedResult Player::feed(int limit) noexcept {
    if (stream_.over()) return FeedResult::ended;
    const int orders = open_orders_.load(std::memory_order_acquire);
    const std::uint64_t broken_at = stream_.broken_at();
    const bool answers = !stream_.break_answered();
    if (orders != 0) carry_out_orders();
    if (answers) start_afresh(broken_at);
    FeedResult result = FeedResult::more;
    for (int made = 0;; ++made) {
        // Before the limit: a ring that has just been filled needs no second visit to tell.
        if (ended_) {
            result = FeedResult::ended;
            break;
        }
        if (stream_.ahead() >= depth_ && !supersede_from_) {
            result = FeedResult::full;
            break;
        }
        if (made == limit || !produce_one(result)) break;
    }
    note_source_statistics();
    if (answers) stream_.answer_break(broken_at);
    if (orders != 0) open_orders_.fetch_sub(orders, std::memory_order_acq_rel);
    return result;
}

bool Player::produce_one(FeedResult& result) noexcept {
    QueuedPacket* slot = stream_.claim();
    if (slot == nullptr) {
        // Full of superseded packets: the next tick drops them.
        result = FeedResult::full;
        return false;
    }
    switch (source_->next(slot->packet)) {
        case audio::ReadStatus::ok: {
            slot->generation = generation_;
            produced_ = slot->packet.index + 1;
            if (std::exchange(flushed_, false)) stream_.set_base(slot->packet.index);
            stream_.publish(produced_);
            if (supersede_from_)
                stream_.supersede(generation_, *std::exchange(supersede_from_, {}));
            if (!stream_.started()) clock_.nudge();
            return true;
        }
        case audio::ReadStatus::would_block:
            caller_paced_.store(source_->caller_paced(), std::memory_order_release);
            result = FeedResult::blocked;
            return false;
        case audio::ReadStatus::failed: {
            const std::lock_guard lock{mutex_};
            error_ = source_->error();
            source_failed_.store(true, std::memory_order_release);
            break;
        }
        case audio::ReadStatus::end:
            break;
    }
    ended_ = true;
    stream_.set_feed_end(generation_);
    clock_.nudge();
    result = FeedResult::ended;
    return false;
}

void Player::note_source_statistics() noexcept {
    for (audio::TrackError& failure : source_->take_track_errors()) {
        const std::int64_t track = failure.track;
        {
            const std::lock_guard lock{mutex_};
            track_errors_.push_back(std::move(failure));
        }
        events_.emit({.subject = id(), .value = track, .kind = EventKind::track_failed});
    }
    decode_errors_.store(source_->decode_errors(), std::memory_order_relaxed);
    const audio::StageTimes times = source_->stage_times();
    decode_ns_.store(times.decode.count(), std::memory_order_relaxed);
    encode_ns_.store(times.encode.count(), std::memory_order_relaxed);
}

void Player::retire() noexcept {
    source_.reset();
    sink_->finish();
    // The sink had failed before; it tells its listener once.
    if (sink_failed_.load(std::memory_order_seq_cst)) finish(FinishReason::sink_failed);
}

void Player::on_sink_finished(std::optional<Error> error) noexcept {
    if (error) {
        {
            const std::lock_guard lock{mutex_};
            if (!error_) error_ = std::move(error);
        }
        sink_failed_.store(true, std::memory_order_seq_cst);
        if (!stream_.over()) {
            // Early: the clock must let go of the stream first; retire() tells of the end.
            stop();
            return;
        }
    }
    if (sink_failed_.load(std::memory_order_acquire)) {
        finish(FinishReason::sink_failed);
    } else if (source_failed_.load(std::memory_order_acquire)) {
        finish(FinishReason::source_failed);
    } else if (stream_.wanted() == Stream::Intent::stop) {
        finish(FinishReason::stopped);
    } else {
        finish(FinishReason::ended);
    }
}

void Player::finish(FinishReason reason) noexcept {
    int before = kNotOver;
    if (!finish_reason_.compare_exchange_strong(before, static_cast<int>(reason),
                                                std::memory_order_acq_rel)) {
        return;
    }
    events_.emit(Event{
        .subject = id(), .value = static_cast<std::int64_t>(reason), .kind = EventKind::finished});
    feeders_.forget(*this);
}

PlayerState Player::state() const noexcept {
    if (finish_reason()) return PlayerState::finished;
    if (stream_.wanted() == Stream::Intent::pause) return PlayerState::paused;
    return stream_.started() ? PlayerState::playing : PlayerState::priming;
}

audio::StageTimes Player::stage_times() const noexcept {
    return {.decode = Nanoseconds{decode_ns_.load(std::memory_order_relaxed)},
            .encode = Nanoseconds{encode_ns_.load(std::memory_order_relaxed)}};
}

std::vector<audio::TrackError> Player::take_track_errors() {
    const std::lock_guard lock{mutex_};
    return std::exchange(track_errors_, {});
}

std::optional<Error> Player::error() const {
    const std::lock_guard lock{mutex_};
    return error_;
}

bool Player::settled() const noexcept {
    if (stream_.over()) return true;
    if (open_orders_.load(std::memory_order_acquire) != 0 || !stream_.break_answered())
        return false;
    if (stream_.ahead() > 0 || stream_.feed_ended()) return sink_->ready();
    // A request first: what the caller has just brought was not looked at yet.
    return !stream_.fill_requested() && stream_.feed_state() == FeedState::blocked &&
           caller_paced_.load(std::memory_order_acquire);
}

}  // namespace voicecore::playback
