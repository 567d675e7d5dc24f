// FeederPool: a few threads that keep every player's ring full.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <queue>
#include <thread>
#include <vector>

#include "voicecore/playback/frame_clock.hpp"
#include "voicecore/playback/player.hpp"

namespace voicecore::playback {

// The player whose ring runs dry first is served first, a few packets at a time. Nothing that a
// feeder does can block: inputs that can have threads of their own. Thread-safe.
class FeederPool {
  public:
    explicit FeederPool(FeedQueue& queue) noexcept : queue_{queue} {}
    ~FeederPool();

    // Once. When it fails, those that have started end with stop().
    [[nodiscard]] Status start(int threads);

    // Serves the player soon. Any thread but the clock's, which uses FeedQueue.
    void request(Player& player) noexcept;
    // The player is finished: let go of it from a feeder, since this call may come from inside it.
    void forget(Player& player) noexcept;

    // Sleeps until `done` holds; looks after each piece of work.
    void wait_until(const std::function<bool()>& done);

    // Every thread has left when this returns. Idempotent.
    void stop() noexcept;
    [[nodiscard]] int threads() const noexcept { return static_cast<int>(threads_.size()); }

  private:
    // Packets in a row for one player while others wait. Of one that has nothing to send, few: the
    // next may have nothing either. Of one with some in stock, a whole refill: finding its memory
    // again costs more than a packet that is only copied.
    static constexpr int kUrgentBatch = 2;
    static constexpr int kBatch = 8;

    struct Job {
        std::uint64_t urgency;  // frames left in the ring; smaller is sooner
        std::uint64_t ticket;   // first come, first served
        Player* player;
        bool operator<(const Job& other) const noexcept {
            return urgency != other.urgency ? urgency > other.urgency : ticket > other.ticket;
        }
    };
    void run(int number) noexcept;
    void note_progress() noexcept;          // under mutex_
    void take_from_clock() noexcept;        // under mutex_
    void enqueue(Player& player) noexcept;  // under mutex_
    bool work_one(std::unique_lock<std::mutex>& lock) noexcept;
    void work_on(Player& player, std::unique_lock<std::mutex>& lock) noexcept;
    void retire(Player& player, std::unique_lock<std::mutex>& lock) noexcept;
    void bury(std::unique_lock<std::mutex>& lock) noexcept;

    FeedQueue& queue_;
    std::mutex mutex_;
    std::condition_variable progress_;
    int watchers_ = 0;
    std::uint64_t steps_ = 0;  // pieces of work done
    std::priority_queue<Job> jobs_;
    std::vector<Player*> retiring_;
    std::vector<std::shared_ptr<Player>> finished_;
    std::uint64_t next_ticket_ = 0;
    bool stopping_ = false;
    std::vector<std::thread> threads_;
};

}  // namespace voicecore::playback
