#include "voicecore/playback/feeder_pool.hpp"

#include <chrono>
#include <string>
#include <utility>

#include "voicecore/base/thread.hpp"

namespace voicecore::playback {

FeederPool::~FeederPool() {
    stop();
}

Status FeederPool::start(int threads) {
    threads_.reserve(static_cast<std::size_t>(threads));
    for (int i = 0; i < threads; ++i) {
        auto started = start_thread("to feed players", [this, i] { run(i); });
        if (!started) return std::move(started).error();
        threads_.push_back(std::move(started).value());
    }
    return Done{};
}

void FeederPool::stop() noexcept {
    {
        const std::lock_guard lock{mutex_};
        stopping_ = true;
    }
    queue_.wake.signal();
    for (std::thread& thread : threads_) {
        if (thread.joinable()) thread.join();
    }
}

void FeederPool::request(Player& player) noexcept {
    if (!player.stream().take_fill_request()) return;
    {
        const std::lock_guard lock{mutex_};
        enqueue(player);
    }
    queue_.wake.signal();
}

void FeederPool::forget(Player& player) noexcept {
    {
        const std::lock_guard lock{mutex_};
        finished_.push_back(player.take_self());
    }
    queue_.wake.signal();
}

void FeederPool::wait_until(const std::function<bool()>& done) {
    std::unique_lock lock{mutex_};
    ++watchers_;
    while (!stopping_) {
        const std::uint64_t seen = steps_;
        // Outside of the lock: what it looks at has locks of its own, which others hold when they
        // call us.
        lock.unlock();
        const bool enough = done();
        lock.lock();
        if (enough) break;
        // A sink's own thread makes progress that no feeder announces, hence the bound.
        progress_.wait_for(lock, std::chrono::microseconds{200},
                           [&] { return steps_ != seen || stopping_; });
    }
    --watchers_;
}

void FeederPool::note_progress() noexcept {
    ++steps_;
    if (watchers_ != 0) progress_.notify_all();
}

void FeederPool::enqueue(Player& player) noexcept {
    if (player.stream().feed_state() != FeedState::blocked) {
        player.stream().set_feed_state(FeedState::queued);
    }
    jobs_.push(Job{player.urgency(), next_ticket_++, &player});
}

void FeederPool::take_from_clock() noexcept {
    // What is over first: the requests that a stream made before its end are then visible as well.
    queue_.over.take_all([this](Stream& stream) { retiring_.push_back(stream.owner); });
    queue_.wanting.take_all([this](Stream& stream) { enqueue(*stream.owner); });
}

void FeederPool::run(int number) noexcept {
    enter_native_thread(("vc-feed-" + std::to_string(number)).c_str());
    std::unique_lock lock{mutex_};
    while (true) {
        take_from_clock();
        if (work_one(lock)) continue;
        if (stopping_) break;
        lock.unlock();
        queue_.idle_workers.fetch_add(1, std::memory_order_relaxed);
        queue_.wake.wait();
        queue_.idle_workers.fetch_sub(1, std::memory_order_relaxed);
        lock.lock();
    }
    lock.unlock();
    queue_.wake.signal();  // for the next sleeper
}

bool FeederPool::work_one(std::unique_lock<std::mutex>& lock) noexcept {
    bury(lock);
    if (!retiring_.empty()) {
        Player& player = *retiring_.back();
        retiring_.pop_back();
        retire(player, lock);
        return true;
    }
    if (jobs_.empty()) return false;
    Player& player = *jobs_.top().player;
    jobs_.pop();
    if (!jobs_.empty()) queue_.wake.signal();  // one wake-up may stand for several requests
    if (player.pool_slot.running) {
        player.pool_slot.again = true;
    } else {
        work_on(player, lock);
    }
    return true;
}

void FeederPool::work_on(Player& player, std::unique_lock<std::mutex>& lock) noexcept {
    player.pool_slot.running = true;
    player.stream().set_feed_state(FeedState::running);
    // From here on a new request queues the player again.
    player.stream().clear_fill_request();
    lock.unlock();
    const Player::FeedResult result = player.feed(player.has_nothing() ? kUrgentBatch : kBatch);
    lock.lock();
    player.stream().set_feed_state(result == Player::FeedResult::blocked ? FeedState::blocked
                                                                         : FeedState::idle);
    player.pool_slot.running = false;
    if (player.pool_slot.retiring) {
        // A request that found us at work stays noted: bury() asks whether it was looked at.
        retiring_.push_back(&player);
    } else if (std::exchange(player.pool_slot.again, false)) {
        // The request that found us at work left its flag taken.
        enqueue(player);
    } else if (result == Player::FeedResult::more && player.stream().take_fill_request()) {
        enqueue(player);
    }
    note_progress();
}

void FeederPool::retire(Player& player, std::unique_lock<std::mutex>& lock) noexcept {
    player.pool_slot.retiring = true;
    if (player.pool_slot.running) return;  // the feeder at work hands it back
    player.pool_slot.running = true;       // nobody else may feed it any more
    player.stream().mark_over();
    lock.unlock();
    player.retire();
    lock.lock();
    note_progress();
}

void FeederPool::bury(std::unique_lock<std::mutex>& lock) noexcept {
    if (finished_.empty()) return;
    std::vector<std::shared_ptr<Player>> dead;
    for (auto& player : finished_) {
        // A queued request still points at the player: wait until it was looked at.
        if (player == nullptr || player->bury()) dead.push_back(std::move(player));
    }
    std::erase(finished_, nullptr);
    if (dead.empty()) return;
    lock.unlock();
    dead.clear();
    lock.lock();
}

}  // namespace voicecore::playback
