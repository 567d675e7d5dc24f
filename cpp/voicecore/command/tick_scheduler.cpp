#include "voicecore/command/tick_scheduler.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <utility>

#include "voicecore/base/thread.hpp"
#include "voicecore/command/steering.hpp"

namespace voicecore::command {
namespace {

constexpr int kBatch = 32;                              // commands in one claim
constexpr int kBatchesATurn = 8;                        // then ticks and leases have their turn
constexpr auto kAsleep = std::chrono::milliseconds{5};  // after so long a loop has gone to sleep

constexpr std::int64_t kWorthMoving = 4 << 20;  // bytes, about what SQLite itself thinks

// A wall clock that is this much off its pace was set.
constexpr Millis kStep = 1'000;

Millis since_epoch(TimePoint at) noexcept {
    return std::chrono::duration_cast<std::chrono::milliseconds>(at.time_since_epoch()).count();
}

constexpr std::uint32_t bit(Verb verb) noexcept {
    return std::uint32_t{1} << static_cast<unsigned>(verb);
}

}  // namespace

std::string_view to_string(Rung rung) noexcept {
    switch (rung) {
        case Rung::doorbell:
            return "doorbell";
        case Rung::data_version:
            return "data_version";
        case Rung::tick:
            return "tick";
        case Rung::local:
            return "local";
    }
    return "local";
}

Result<std::unique_ptr<TickScheduler>> TickScheduler::create(std::unique_ptr<Store> store,
                                                             std::unique_ptr<Store> watched,
                                                             SchedulerListener& listener,
                                                             const SchedulerOptions& options,
                                                             WallClock wall, const Clock* manual) {
    std::unique_ptr<TickScheduler> scheduler{
        // NOLINT: the constructor is private
        new TickScheduler{std::move(store), std::move(watched), listener, options, std::move(wall),
                          manual}};
    scheduler->wake_fd_ = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (scheduler->wake_fd_ < 0) return Error{Errc::io, errno, "cannot create an eventfd"};
    if (options.rings && manual == nullptr) {
        auto bell = Doorbell::hang(scheduler->store_->options().path);
        if (!bell) return std::move(bell).error();
        scheduler->bell_ = std::move(bell).value();
    }
    std::optional<std::string> path;
    if (scheduler->bell_ != nullptr) path = scheduler->bell_->path();
    if (auto ok = scheduler->store_->announce(::getpid(), path, scheduler->wall_()); !ok) {
        return std::move(ok).error();
    }
    return scheduler;
}

TickScheduler::TickScheduler(std::unique_ptr<Store> store, std::unique_ptr<Store> watched,
                             SchedulerListener& listener, const SchedulerOptions& options,
                             WallClock wall, const Clock* manual)
    : store_{std::move(store)},
      watched_{std::move(watched)},
      verdict_{store_->leave_care()},
      listener_{listener},
      options_{options},
      wall_{std::move(wall)},
      manual_{manual},
      period_{options.period} {
    const TimePoint begin = now();
    ahead_ = wall_() - since_epoch(begin);
    next_tick_ = begin;
    next_poll_ = begin;
    next_renewal_ = begin + std::chrono::milliseconds{options.lease / 3};
    if (manual_ != nullptr) return;
    caretaker_.emplace(store_->options(), verdict_,
                       [this](Error error) { report_trouble(std::move(error)); });
}

TickScheduler::~TickScheduler() {
    stop();
}

TimePoint TickScheduler::now() const noexcept {
    return manual_ != nullptr ? manual_->now() : steady_.now();
}

Status TickScheduler::start() {
    if (manual_ != nullptr || thread_.joinable()) return Done{};
    if (auto ok = caretaker_->start(); !ok) return ok;
    auto thread = start_thread("for the scheduler", [this] { run(); });
    if (!thread) return std::move(thread).error();
    thread_ = std::move(thread).value();
    return Done{};
}

void TickScheduler::stop() noexcept {
    const std::lock_guard stopping{stop_mutex_};
    stopping_.store(true, std::memory_order_release);
    // Whoever holds the file's lock is not waited for, here and from here on.
    if (store_ != nullptr) store_->set_patience(kBriefPatience);
    nudge();
    if (thread_.joinable()) thread_.join();
    if (caretaker_) caretaker_->stop();
    if (store_ == nullptr) return;
    // No one rings here any more, and what the log holds moves into the file.
    if (auto ok = store_->retire_worker(); !ok) report_trouble(ok.error());
    if (auto ok = store_->checkpoint(true); !ok) report_trouble(ok.error());
    bell_.reset();
    watched_.reset();
    store_.reset();
    const std::lock_guard lock{mutex_};
    if (wake_fd_ >= 0) ::close(std::exchange(wake_fd_, -1));
}

void TickScheduler::nudge() noexcept {
    nudged_.store(true, std::memory_order_release);
    const std::lock_guard lock{mutex_};
    const std::uint64_t one = 1;
    if (wake_fd_ >= 0) {
        [[maybe_unused]] const auto written = ::write(wake_fd_, &one, sizeof one);
    }
}

std::vector<Command> TickScheduler::take() {
    const std::lock_guard lock{mutex_};
    return std::exchange(handed_, {});
}

void TickScheduler::forget(std::int64_t id) {
    {
        const std::lock_guard lock{mutex_};
        open_.erase(id);
    }
    // The key's next command may start, and there is room for it.
    if (options_.claims) nudge();
}

void TickScheduler::attach(const std::string& key, std::int64_t attempt,
                           std::shared_ptr<SessionControl> control) {
    const std::lock_guard lock{mutex_};
    sessions_[key] = Session{attempt, std::move(control), false};
}

void TickScheduler::detach(const std::string& key, std::int64_t attempt) {
    std::shared_ptr<SessionControl> last;  // dies outside of the lock
    const std::lock_guard lock{mutex_};
    const auto found = sessions_.find(key);
    if (found == sessions_.end() || found->second.attempt != attempt) return;
    last = std::move(found->second.control);
    sessions_.erase(found);
}

void TickScheduler::leave_to_owner(Verb verb) noexcept {
    owners_verbs_.fetch_or(bit(verb), std::memory_order_acq_rel);
}

void TickScheduler::set_period(Nanoseconds period) {
    {
        const std::lock_guard lock{mutex_};
        // From the last tick on. Of a shorter period, times that have passed were never due: the
        // latest of them is due now, and none of the others was missed.
        next_tick_ += period - period_;
        const TimePoint at = now();
        if (period < period_ && next_tick_ < at) next_tick_ += (at - next_tick_) / period * period;
        period_ = period;
    }
    nudge();
}

SchedulerReport TickScheduler::report() const {
    const std::lock_guard lock{mutex_};
    SchedulerReport out = report_;
    out.lateness = lateness_.snapshot();
    return out;
}

std::optional<Error> TickScheduler::trouble() {
    const std::lock_guard lock{mutex_};
    return std::exchange(trouble_, std::nullopt);
}

TimePoint TickScheduler::next_deadline() const {
    const std::lock_guard lock{mutex_};
    TimePoint next = std::min({next_tick_, next_poll_, next_renewal_});
    if (next_due_) {
        // Anybody can write a time that no clock reaches.
        constexpr Millis kLookAgain = 3'600'000;
        const Millis wait = std::clamp<Millis>(*next_due_ - wall_(), 0, kLookAgain);
        next = std::min(next, now() + std::chrono::milliseconds{wait});
    }
    return next;
}

void TickScheduler::run() noexcept {
    enter_native_thread("vc-sched");
    raise_thread_niceness();
    tighten_timer_slack();
    while (!stopping_.load(std::memory_order_acquire)) {
        const bool rang = bell_ != nullptr && bell_->answer();
        turn(rang);
        if (!more_) sleep_until_something();
    }
}

// Ticks are to be punctual, and so the last moment before one is waited out awake; everything else
// may come a little late.
void TickScheduler::sleep_until_something() noexcept {
    const TimePoint next = next_deadline();
    TimePoint tick;
    Nanoseconds margin;
    {
        const std::lock_guard lock{mutex_};
        tick = next_tick_;
        margin = margin_.before(period_);
    }
    const TimePoint alarm = std::min(next, tick - margin);
    const TimePoint asleep = now();
    if (wait_until(alarm)) return;
    const TimePoint woken = now();
    if (woken < alarm) return;  // by a signal
    if (asleep < alarm) margin_.woke(woken - alarm);
    while (alarm < next && now() < next) {
        if (wait_until({})) return;
    }
}

// False: nobody called until then.
bool TickScheduler::wait_until(TimePoint deadline) noexcept {
    const Nanoseconds wait = std::max(Nanoseconds{0}, deadline - now());
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(wait);
    const timespec limit{.tv_sec = static_cast<time_t>(seconds.count()),
                         .tv_nsec = static_cast<long>((wait - seconds).count())};
    std::array<pollfd, 2> watched{
        {{.fd = wake_fd_, .events = POLLIN, .revents = 0},
         {.fd = bell_ != nullptr ? bell_->fd() : -1, .events = POLLIN, .revents = 0}}};
    if (::ppoll(watched.data(), watched.size(), &limit, nullptr) <= 0) return false;
    if ((watched[0].revents & POLLIN) != 0) {
        std::uint64_t count = 0;
        [[maybe_unused]] const auto read = ::read(wake_fd_, &count, sizeof count);
    }
    return true;
}

void TickScheduler::turn() noexcept {
    const std::lock_guard one{stop_mutex_};
    if (store_ != nullptr) turn(false);
}

void TickScheduler::turn(bool rang) noexcept {
    const bool nudged = nudged_.exchange(false, std::memory_order_acq_rel);
    const TimePoint at = now();
    bool ticked = false;
    bool poll = false;
    bool renew = false;
    bool due = false;
    {
        const std::lock_guard lock{mutex_};
        ticked = at >= next_tick_;
        poll = at >= next_poll_;
        renew = at >= next_renewal_;
        due = next_due_ && *next_due_ <= wall_();
        if (poll) next_poll_ = at + options_.poll;
        if (renew) next_renewal_ = at + std::chrono::milliseconds{options_.lease / 3};
    }
    follow_wall();
    if (renew) renew_leases(wall_());
    const bool changed = poll && file_changed();
    if (ticked) tick(at);
    if (rang) {
        announce(at);
        look(Rung::doorbell);
    } else if (nudged || more_ || due) {
        look(Rung::local);
    } else if (changed) {
        look(Rung::data_version);
    } else if (ticked) {
        look(Rung::tick);
    }
    if (ticked) {
        // Behind the commands: those that somebody gave win over the schedule within one tick
        // (R10).
        std::uint64_t missed = 0;
        {
            const std::lock_guard lock{mutex_};
            missed = report_.missed;
        }
        listener_.on_tick(missed);
    }
}

// Waking a loop that sleeps, on an idle processor and with cold caches, can take as long as the
// claim: so they go on beside each other. It finds nothing when it is quicker, and is told again.
void TickScheduler::announce(TimePoint at) noexcept {
    if (!options_.claims || at - told_ < kAsleep) return;
    told_ = at;
    listener_.on_commands(Rung::doorbell);
}

// The grid of ticks stands still: one that comes late leaves out whole periods and counts them,
// rather than running several at once.
void TickScheduler::tick(TimePoint at) noexcept {
    {
        const std::lock_guard lock{mutex_};
        lateness_.record(at - next_tick_);
        const auto passed = static_cast<std::uint64_t>((at - next_tick_) / period_);
        next_tick_ += static_cast<std::int64_t>(passed + 1) * period_;
        report_.missed += passed;
        ++report_.ticks;
    }
    if (caretaker_) {
        caretaker_->request();
    } else if (auto ok = store_->audit(); !ok) {
        report_trouble(ok.error());
    } else if (auto done = store_->checkpoint(false); !done) {
        report_trouble(done.error());
    }
}

bool TickScheduler::file_changed() noexcept {
    auto version = watched_->data_version();
    if (!version) {
        report_trouble(version.error());
        return false;
    }
    return std::exchange(seen_version_, version.value()) != version.value();
}

void TickScheduler::look(Rung rung) noexcept {
    more_ = false;
    if (!admits_.load(std::memory_order_acquire)) return;
    if (options_.claims) {
        for (int batch = 0; batch < kBatchesATurn; ++batch) {
            if (!claim_batch(rung, batch)) break;
        }
    } else {
        auto something = store_->anything();
        if (!something) return report_trouble(something.error());
        if (something.value()) {
            count_wake(rung);
            listener_.on_commands(rung);
        }
    }
    // A burst between two ticks writes more than a small disk may hold. What has been moved is
    // written over, so that a log that does not grow needs no care.
    const std::int64_t log = store_->log_size();
    if (caretaker_ && log > moved_at_ + kWorthMoving) caretaker_->request();
    if (log > moved_at_ + kWorthMoving || log < moved_at_) moved_at_ = log;
    auto due = store_->next_due(wall_());
    if (!due) return;
    const std::lock_guard lock{mutex_};
    next_due_ = due.value();
}

void TickScheduler::count_wake(Rung rung) noexcept {
    const std::lock_guard lock{mutex_};
    ++report_.wakes[static_cast<std::size_t>(rung)];
}

// True when there may be more to claim.
bool TickScheduler::claim_batch(Rung rung, int batch) noexcept {
    more_ = false;
    // Whoever rings has sent something: that turn's first look is the claim itself.
    if (rung != Rung::doorbell || batch > 0) {
        auto something = store_->anything();
        if (!something) {
            report_trouble(something.error());
            return false;
        }
        if (!something.value()) return false;
    }
    std::size_t room = 0;
    {
        const std::lock_guard lock{mutex_};
        const auto budget = static_cast<std::size_t>(options_.budget);
        room = open_.size() < budget ? budget - open_.size() : 0;
    }
    if (room == 0) return false;  // forget() nudges
    const int limit = static_cast<int>(std::min<std::size_t>(room, kBatch));
    auto found = store_->claim({.now = wall_(),
                                .limit = limit,
                                .lease = options_.lease,
                                .started_at = options_.started_at});
    if (!found) {
        report_trouble(found.error());
        return false;
    }
    if (found->claimed.empty()) return false;
    if (batch == 0) count_wake(rung);
    const std::size_t claimed = found->claimed.size();
    const std::vector<Finished> done = hand_over(std::move(found->claimed), rung);
    if (!done.empty()) {
        if (auto ok = store_->ack_many(done, wall_()); !ok) report_trouble(ok.error());
        listener_.on_steered();
    }
    // A key's next command could not be claimed beside its last one: look again when one went.
    more_ = admits_.load(std::memory_order_acquire) &&
            (!done.empty() || claimed == static_cast<std::size_t>(limit));
    return more_;
}

// Steers what can be steered here, which is over then, and hands the rest to the owner.
std::vector<Finished> TickScheduler::hand_over(std::vector<Command> claimed, Rung rung) {
    std::vector<Finished> done;
    std::vector<Command> others;
    for (Command& command : claimed) {
        if (const auto result = steer(command)) {
            done.push_back({command.id, command.attempt, *result});
        } else {
            others.push_back(std::move(command));
        }
    }
    const bool handed_some = !others.empty();
    {
        const std::lock_guard lock{mutex_};
        report_.claimed += claimed.size();
        report_.steered += done.size();
        for (Command& command : others) {
            open_.emplace(command.id, command.attempt);
            handed_.push_back(std::move(command));
        }
    }
    // At once: what is left to do here does not concern whoever waits for them.
    if (handed_some) {
        told_ = now();
        listener_.on_commands(rung);
    }
    return done;
}

// The command's result when running sessions could be told right here; nothing when its owner has
// to be asked.
std::optional<std::string> TickScheduler::steer(const Command& command) noexcept {
    const auto order = parse_steering(command.command, command.args);
    if (!order || (owners_verbs_.load(std::memory_order_acquire) & bit(order->verb)) != 0) {
        return std::nullopt;
    }
    std::vector<std::shared_ptr<SessionControl>> controls;
    bool others = false;  // sessions that only their owner can steer
    {
        const std::lock_guard lock{mutex_};
        for (const auto& [key, session] : sessions_) {
            if (session.lost || (command.key != kEveryKey && command.key != key)) continue;
            if (session.control == nullptr) {
                others = true;
            } else {
                controls.push_back(session.control);
            }
        }
    }
    // Told twice, a session is still paused, going on or stopped; a seek by so much would not be.
    if (others && !repeatable(order->verb)) return std::nullopt;
    std::optional<std::string> result;
    for (const auto& control : controls) {
        std::string said = apply(*order, *control);
        if (said.empty()) return std::nullopt;
        if (!result || said == "done") result = std::move(said);
    }
    return others ? std::nullopt : result;
}

bool TickScheduler::holds(std::int64_t id, std::int64_t attempt) const {
    const std::lock_guard lock{mutex_};
    const auto found = open_.find(id);
    return found != open_.end() && found->second == attempt;
}

std::vector<std::string> TickScheduler::lost_sessions() const {
    const std::lock_guard lock{mutex_};
    std::vector<std::string> out;
    for (const auto& [key, session] : sessions_) {
        if (session.lost) out.push_back(key);
    }
    return out;
}

// What is reckoned by the wall clock goes along when that is set. Forward, our leases look as if
// they had run out, and we would claim again what we carry out; back, whatever is sent from now on
// seems older than this run.
void TickScheduler::follow_wall() noexcept {
    const Millis wall = wall_();
    const Millis ahead = wall - since_epoch(now());
    const Millis step = ahead - std::exchange(ahead_, ahead);
    if (step >= kStep) renew_leases(wall, step);
    if (step <= -kStep && options_.started_at) *options_.started_at += step;
}

void TickScheduler::renew_leases(Millis at, Millis step) noexcept {
    Leases leases;
    {
        const std::lock_guard lock{mutex_};
        for (const auto& [id, attempt] : open_) leases.commands.push_back({id, attempt});
        for (const auto& [key, session] : sessions_) {
            if (!session.lost) leases.sessions.push_back({key, session.attempt});
        }
    }
    if (leases.commands.empty() && leases.sessions.empty()) return;
    auto lost = store_->renew_all(leases, at, options_.lease, step);
    if (!lost) return report_trouble(lost.error());
    std::vector<std::shared_ptr<SessionControl>> to_stop;
    {
        const std::lock_guard lock{mutex_};
        report_.lost_claims += lost->commands.size() + lost->sessions.size();
        for (const auto& [id, attempt] : lost->commands) open_.erase(id);
        std::erase_if(handed_, [this](const Command& one) { return !open_.contains(one.id); });
        for (const auto& [key, attempt] : lost->sessions) {
            const auto found = sessions_.find(key);
            if (found == sessions_.end() || found->second.attempt != attempt) continue;
            found->second.lost = true;
            to_stop.push_back(found->second.control);
        }
    }
    // Somebody else has the key: two must not be heard.
    for (const auto& control : to_stop) {
        if (control != nullptr) control->stop();
    }
    if (!lost->sessions.empty()) listener_.on_steered();
}

void TickScheduler::report_trouble(Error error) noexcept {
    {
        const std::lock_guard lock{mutex_};
        ++report_.troubles;
        trouble_ = std::move(error);
    }
    listener_.on_trouble();
}

}  // namespace voicecore::command
