#include "voicecore/base/clock.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>

namespace voicecore {
namespace {

timespec to_timespec(TimePoint time) noexcept {
    const auto ns = time.time_since_epoch().count();
    constexpr std::int64_t kSecond = 1'000'000'000;
    return timespec{.tv_sec = static_cast<time_t>(ns / kSecond),
                    .tv_nsec = static_cast<long>(ns % kSecond)};
}

std::chrono::nanoseconds read_clock(clockid_t id) noexcept {
    timespec ts{};
    ::clock_gettime(id, &ts);
    return std::chrono::seconds{ts.tv_sec} + std::chrono::nanoseconds{ts.tv_nsec};
}

// FUTEX_WAIT_BITSET takes an absolute CLOCK_MONOTONIC time; plain FUTEX_WAIT a relative one.
void futex_wait(std::atomic<std::uint32_t>& word, std::uint32_t expected,
                const timespec* deadline) noexcept {
    ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word), FUTEX_WAIT_BITSET_PRIVATE,
              expected, deadline, nullptr, FUTEX_BITSET_MATCH_ANY);
}

}  // namespace

Clock::~Clock() = default;

TimePoint SteadyClock::now() const noexcept {
    return TimePoint{read_clock(CLOCK_MONOTONIC)};
}

void WakeSignal::signal() noexcept {
    pending_.store(1, std::memory_order_seq_cst);
    // seq_cst pairs with the sleeper's announce-then-look, so that either it sees the store or we
    // see it.
    if (sleepers_.load(std::memory_order_seq_cst) != 0) {
        ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&pending_), FUTEX_WAKE_PRIVATE, 1,
                  nullptr, nullptr, 0);
    }
}

bool WakeSignal::consume() noexcept {
    return pending_.exchange(0, std::memory_order_seq_cst) != 0;
}

bool WakeSignal::wait_until(TimePoint deadline) noexcept {
    if (consume()) return true;
    const timespec ts = to_timespec(deadline);
    const SteadyClock clock;
    bool woken = false;
    sleepers_.fetch_add(1, std::memory_order_seq_cst);
    while (!(woken = consume()) && clock.now() < deadline) futex_wait(pending_, 0, &ts);
    sleepers_.fetch_sub(1, std::memory_order_seq_cst);
    return woken;
}

void WakeSignal::wait() noexcept {
    sleepers_.fetch_add(1, std::memory_order_seq_cst);
    while (!consume()) futex_wait(pending_, 0, nullptr);
    sleepers_.fetch_sub(1, std::memory_order_seq_cst);
}

void sleep_until(TimePoint deadline) noexcept {
    const timespec ts = to_timespec(deadline);
    while (::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, nullptr) == EINTR) {
    }
}

std::chrono::nanoseconds thread_cpu_time() noexcept {
    return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

}  // namespace voicecore
