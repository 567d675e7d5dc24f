// Engine: builds and owns the threads, and knows in which order they stop.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "voicecore/base/thread.hpp"
#include "voicecore/playback/feeder_pool.hpp"
#include "voicecore/playback/frame_clock.hpp"
#include "voicecore/playback/player.hpp"

namespace voicecore::engine {

struct EngineOptions {
    int feeders = 0;             // threads; 0: one for each core, 8 at most
    bool raise_priority = true;  // ask for real-time priority for the clock thread
    bool manual_clock = false;   // time moves by advance() only, and nothing runs late
};

struct EngineReport {
    Priority priority = Priority::normal;  // what the system granted to the clock thread
    int feeders = 0;
    int streams = 0;          // attached now
    std::uint64_t turns = 0;  // wake-ups of the clock thread
    Nanoseconds clock_cpu{0};
    Histogram::Snapshot lateness;  // every packet of every stream
};

// Thread-safe.
class Engine : public std::enable_shared_from_this<Engine> {
  public:
    // Fails with `io` when the system has no thread left for it.
    [[nodiscard]] static Result<std::shared_ptr<Engine>> create(
        const EngineOptions& options, std::shared_ptr<playback::EventListener> events);
    ~Engine();

    // Fails with `closed` after close(), or as the sink's start() does. The source is consumed in
    // any case.
    [[nodiscard]] Result<std::shared_ptr<playback::Player>> play(
        std::unique_ptr<audio::PacketSource> source, std::shared_ptr<audio::PacketSink> sink,
        const playback::Player::Options& options);

    // Manual clock only: time passes, every tick on the way runs once its packets are there. Stops
    // early when `cancel` says so. Returns the time reached.
    TimePoint advance(Nanoseconds by, const CancelToken* cancel = nullptr);
    [[nodiscard]] TimePoint now() const noexcept { return clock_->now(); }
    [[nodiscard]] int streams() const noexcept { return frame_clock_.streams(); }

    // Stops every player (five silence frames each), finishes every sink, ends every thread. Waits
    // at most `patience` for the players, then cuts them off. Idempotent; from several threads, all
    // wait.
    void close(Nanoseconds patience = std::chrono::milliseconds{1'000});
    [[nodiscard]] bool closed() const noexcept { return closing_.load(std::memory_order_acquire); }

    [[nodiscard]] EngineReport report() const;

  private:
    Engine(const EngineOptions& options, std::shared_ptr<playback::EventListener> events);
    void run_clock() noexcept;
    bool settled();
    void drain_players(Nanoseconds patience);

    const bool manual_;
    const bool raise_priority_;
    const std::shared_ptr<playback::EventListener>
        events_;  // outlives the players that emit into it
    std::unique_ptr<Clock> clock_;
    playback::FeedQueue feed_queue_;
    playback::FrameClock frame_clock_;
    playback::FeederPool feeders_;

    std::mutex mutex_;  // players_, and one advance() or close() at a time
    std::mutex turn_mutex_;
    std::vector<std::weak_ptr<playback::Player>> players_;
    std::atomic<bool> closing_{false};
    std::atomic<bool> clock_stop_{false};
    std::atomic<Priority> priority_{Priority::normal};
    std::atomic<std::uint64_t> turns_{0};
    std::atomic<std::int64_t> clock_cpu_ns_{0};
    std::thread clock_thread_;
};

}  // namespace voicecore::engine
