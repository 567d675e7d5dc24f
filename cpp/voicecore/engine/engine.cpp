#include "voicecore/engine/engine.hpp"

#include <algorithm>
#include <utility>

namespace voicecore::engine {
namespace {

std::unique_ptr<Clock> make_clock(bool manual) {
    if (manual) return std::make_unique<ManualClock>();
    return std::make_unique<SteadyClock>();
}

int feeder_count(int wanted) {
    if (wanted > 0) return wanted;
    constexpr int kMost = 8;
    return std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, kMost);
}

}  // namespace

Result<std::shared_ptr<Engine>> Engine::create(const EngineOptions& options,
                                               std::shared_ptr<playback::EventListener> events) {
    std::shared_ptr<Engine> engine{new Engine{options, std::move(events)}};  // NOLINT: private
    if (auto ok = engine->feeders_.start(feeder_count(options.feeders)); !ok) {
        return std::move(ok).error();
    }
    if (engine->manual_) return engine;
    auto clock = start_thread("for the clock", [self = engine.get()] { self->run_clock(); });
    if (!clock) return std::move(clock).error();
    engine->clock_thread_ = std::move(clock).value();
    return engine;
}

Engine::Engine(const EngineOptions& options, std::shared_ptr<playback::EventListener> events)
    : manual_{options.manual_clock},
      raise_priority_{options.raise_priority},
      events_{std::move(events)},
      clock_{make_clock(manual_)},
      frame_clock_{*clock_, clock_->now(), feed_queue_},
      feeders_{feed_queue_} {}

Engine::~Engine() {
    close();
}

void Engine::run_clock() noexcept {
    enter_native_thread("vc-clock");
    tighten_timer_slack();
    if (raise_priority_) priority_.store(raise_thread_priority(), std::memory_order_relaxed);
    while (!clock_stop_.load(std::memory_order_acquire)) {
        frame_clock_.run_due();
        turns_.fetch_add(1, std::memory_order_relaxed);
        const TimePoint next = frame_clock_.next_deadline();
        if (next == TimePoint::max()) {
            clock_cpu_ns_.store(thread_cpu_time().count(), std::memory_order_relaxed);
            frame_clock_.wake().wait();
        } else {
            frame_clock_.wake().wait_until(next);
        }
    }
    clock_cpu_ns_.store(thread_cpu_time().count(), std::memory_order_relaxed);
}

Result<std::shared_ptr<playback::Player>> Engine::play(std::unique_ptr<audio::PacketSource> source,
                                                       std::shared_ptr<audio::PacketSink> sink,
                                                       const playback::Player::Options& options) {
    const std::lock_guard lock{mutex_};
    if (closed()) return Error{Errc::closed, 0, "the engine is closed"};
    auto player = std::make_shared<playback::Player>(playback::next_id(), std::move(source),
                                                     std::move(sink), *events_, feeders_,
                                                     frame_clock_, clock_->now(), options);
    if (auto started = player->start(player); !started) return std::move(started).error();
    std::erase_if(players_, [](const auto& weak) { return weak.expired(); });
    players_.push_back(player);
    return player;
}

bool Engine::settled() {
    const std::lock_guard lock{mutex_};
    return std::all_of(players_.begin(), players_.end(), [](const auto& weak) {
        const auto player = weak.lock();
        return player == nullptr || player->settled();
    });
}

TimePoint Engine::advance(Nanoseconds by, const CancelToken* cancel) {
    const std::lock_guard turn{turn_mutex_};
    auto& clock = static_cast<ManualClock&>(*clock_);
    const TimePoint target = clock.now() + by;
    const auto given_up = [&] { return closed() || (cancel != nullptr && cancel->cancelled()); };
    const auto settle = [&] { feeders_.wait_until([&] { return settled() || given_up(); }); };
    while (true) {
        // Everything that a tick at this instant needs is there before it runs; and before the
        // caller does anything else, so that his next order meets the same state every time.
        settle();
        if (given_up()) break;
        frame_clock_.run_due();
        settle();
        const TimePoint next = frame_clock_.next_deadline();
        if (next > target) {
            clock.set(target);
            break;
        }
        clock.set(next);
    }
    return clock.now();
}

void Engine::drain_players(Nanoseconds patience) {
    std::vector<std::shared_ptr<playback::Player>> alive;
    {
        const std::lock_guard lock{mutex_};
        for (const auto& weak : players_) {
            if (auto player = weak.lock()) alive.push_back(std::move(player));
        }
    }
    for (const auto& player : alive) player->stop();
    const auto finished = [&] {
        return std::all_of(alive.begin(), alive.end(), [](const auto& player) {
            return player->state() == playback::PlayerState::finished;
        });
    };
    if (manual_) {
        // Nobody turns the clock any more: the last ticks run here, as fast as they can.
        auto& clock = static_cast<ManualClock&>(*clock_);
        while (frame_clock_.streams() > 0) {
            frame_clock_.run_due();
            const TimePoint next = frame_clock_.next_deadline();
            if (next != TimePoint::max() && next > clock.now()) clock.set(next);
        }
    }
    const SteadyClock steady;
    const TimePoint deadline = steady.now() + patience;
    feeders_.wait_until([&] { return finished() || steady.now() >= deadline; });
}

// Players drain → clock → feeders.
void Engine::close(Nanoseconds patience) {
    const bool first = !closing_.exchange(true, std::memory_order_acq_rel);
    const std::lock_guard turn{turn_mutex_};
    if (!first) return;
    drain_players(patience);
    clock_stop_.store(true, std::memory_order_release);
    frame_clock_.nudge();
    if (clock_thread_.joinable()) clock_thread_.join();
    frame_clock_.retire_all();  // whoever was out of patience
    feeders_.stop();
}

EngineReport Engine::report() const {
    return {.priority = priority_.load(std::memory_order_relaxed),
            .feeders = feeders_.threads(),
            .streams = frame_clock_.streams(),
            .turns = turns_.load(std::memory_order_relaxed),
            .clock_cpu = Nanoseconds{clock_cpu_ns_.load(std::memory_order_relaxed)},
            .lateness = frame_clock_.lateness().snapshot()};
}

}  // namespace voicecore::engine
