// TickScheduler: wakes up for commands and for ticks, and steers running sessions itself.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "voicecore/base/clock.hpp"
#include "voicecore/base/histogram.hpp"
#include "voicecore/base/units.hpp"
#include "voicecore/base/wake_margin.hpp"
#include "voicecore/command/caretaker.hpp"
#include "voicecore/command/doorbell.hpp"
#include "voicecore/command/intents.hpp"
#include "voicecore/command/steering.hpp"
#include "voicecore/command/store.hpp"

namespace voicecore::command {

// How the work was noticed. Counted: a doorbell that never rings shows here.
enum class Rung : std::uint8_t { doorbell, data_version, tick, local };
inline constexpr std::size_t kRungs = 4;
[[nodiscard]] std::string_view to_string(Rung rung) noexcept;

// Where the scheduler tells what happens. From its own thread; must neither wait nor throw.
class SchedulerListener {
  public:
    SchedulerListener() = default;
    SchedulerListener(const SchedulerListener&) = delete;
    SchedulerListener& operator=(const SchedulerListener&) = delete;
    virtual ~SchedulerListener() = default;
    virtual void on_tick(std::uint64_t missed) noexcept = 0;
    virtual void on_commands(Rung rung) noexcept = 0;  // take() has some, or may have some soon
    virtual void on_steered() noexcept = 0;            // a session was steered natively
    virtual void on_trouble() noexcept = 0;            // trouble() says what
};

struct SchedulerOptions {
    Nanoseconds period = std::chrono::seconds{2};
    Nanoseconds poll = std::chrono::milliseconds{250};  // how often data_version is looked at
    Millis lease = 30'000;
    int budget = 64;     // commands handed over and not yet taken back by ack or nack
    bool claims = true;  // false: only wakes; somebody else claims
    bool rings = true;   // hang a doorbell
    std::optional<Millis> started_at;
};

struct SchedulerReport {
    std::uint64_t ticks = 0;
    std::uint64_t missed = 0;
    std::uint64_t claimed = 0;
    std::uint64_t steered = 0;
    std::uint64_t troubles = 0;
    std::uint64_t lost_claims = 0;              // leases that ran out although we live
    std::array<std::uint64_t, kRungs> wakes{};  // that found work
    Histogram::Snapshot lateness;               // of ticks
};

using WallClock = std::function<Millis()>;

// One thread, vc-sched, with a connection of its own and one that is only watched; a second one for
// what waits for the disk. Every public call is thread-safe.
class TickScheduler {
  public:
    // The store is the scheduler's from now on. With a manual clock no thread runs: see turn().
    static Result<std::unique_ptr<TickScheduler>> create(std::unique_ptr<Store> store,
                                                         std::unique_ptr<Store> watched,
                                                         SchedulerListener& listener,
                                                         const SchedulerOptions& options,
                                                         WallClock wall, const Clock* manual);
    ~TickScheduler();

    [[nodiscard]] Status start();
    // The thread has left and the file is closed when this returns. Idempotent.
    void stop() noexcept;

    // No more claims from now on; what is claimed keeps its lease, and ticks go on. One claim may
    // be under way: take() again after stop().
    void close_admission() noexcept { admits_.store(false, std::memory_order_release); }

    // Look now: for a sender in the same process.
    void nudge() noexcept;
    // Claimed commands that this process has to carry out. Their leases are renewed here until
    // forget() is told of them.
    [[nodiscard]] std::vector<Command> take();
    void forget(std::int64_t id);

    // Commands for the key go to `control` from now on, without anybody's event loop. Nothing: no
    // longer. `attempt` is the session's lease, renewed here as well.
    void attach(const std::string& key, std::int64_t attempt,
                std::shared_ptr<SessionControl> control);
    void detach(const std::string& key, std::int64_t attempt);
    // Commands of this verb are the owner's from now on, whoever could steer.
    void leave_to_owner(Verb verb) noexcept;

    // Whether the claim is still ours, as far as was seen: false once a renewal came too late.
    [[nodiscard]] bool holds(std::int64_t id, std::int64_t attempt) const;
    // The file is not ours any more: nothing is claimed, nor will be.
    [[nodiscard]] bool condemned() const noexcept { return verdict_->condemned(); }

    // Keys whose lease somebody else has: their sessions were stopped, or are to be by their owner.
    [[nodiscard]] std::vector<std::string> lost_sessions() const;

    void set_period(Nanoseconds period);
    [[nodiscard]] SchedulerReport report() const;
    // The last failure of the file, once.
    [[nodiscard]] std::optional<Error> trouble();

    // One turn at the manual clock's time: everything that is due.
    void turn() noexcept;
    [[nodiscard]] TimePoint next_deadline() const;

  private:
    struct Session {
        std::int64_t attempt;
        std::shared_ptr<SessionControl> control;
        bool lost = false;
    };
    TickScheduler(std::unique_ptr<Store> store, std::unique_ptr<Store> watched,
                  SchedulerListener& listener, const SchedulerOptions& options, WallClock wall,
                  const Clock* manual);
    void run() noexcept;
    void sleep_until_something() noexcept;
    [[nodiscard]] bool wait_until(TimePoint deadline) noexcept;
    void turn(bool rang) noexcept;
    void tick(TimePoint now) noexcept;
    [[nodiscard]] bool file_changed() noexcept;
    void announce(TimePoint at) noexcept;
    void look(Rung rung) noexcept;
    void count_wake(Rung rung) noexcept;
    [[nodiscard]] bool claim_batch(Rung rung, int batch) noexcept;
    [[nodiscard]] std::vector<Finished> hand_over(std::vector<Command> claimed, Rung rung);
    [[nodiscard]] std::optional<std::string> steer(const Command& command) noexcept;
    void follow_wall() noexcept;
    void renew_leases(Millis now, Millis step = 0) noexcept;
    void report_trouble(Error error) noexcept;
    [[nodiscard]] TimePoint now() const noexcept;

    std::unique_ptr<Store> store_;
    std::unique_ptr<Store> watched_;
    const std::shared_ptr<Verdict> verdict_;
    SchedulerListener& listener_;
    SchedulerOptions options_;
    const WallClock wall_;
    const Clock* manual_;
    SteadyClock steady_;
    std::unique_ptr<Doorbell> bell_;
    std::atomic<bool> stopping_{false};
    std::atomic<bool> nudged_{false};
    std::atomic<bool> admits_{true};
    std::atomic<std::uint32_t> owners_verbs_{0};  // a bit for each

    std::mutex stop_mutex_;     // one stop() or turn() at a time; before mutex_
    mutable std::mutex mutex_;  // everything below
    int wake_fd_ = -1;
    std::vector<Command> handed_;                // claimed, not taken yet
    std::map<std::int64_t, std::int64_t> open_;  // id → attempt: claimed, not forgotten yet
    std::map<std::string, Session> sessions_;
    SchedulerReport report_;
    std::optional<Error> trouble_;
    Nanoseconds period_;
    TimePoint next_tick_{};
    TimePoint next_poll_{};
    TimePoint next_renewal_{};
    std::optional<Millis> next_due_;

    Histogram lateness_;         // the thread's own
    WakeMargin margin_;          // before ticks
    Millis ahead_ = 0;           // the wall clock's time beyond now()'s
    std::int64_t moved_at_ = 0;  // the log's size when it was last worth moving
    TimePoint told_{};           // when the listener last heard of commands
    std::int64_t seen_version_ = -1;
    bool more_ = false;  // the budget or the batch ended the last look
    std::thread thread_;
    std::optional<Caretaker> caretaker_;  // none with a manual clock
};

}  // namespace voicecore::command
