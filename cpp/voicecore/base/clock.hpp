// Clock: who says what time it is and who sleeps. The one seam between shipped code and virtual
// time.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

#include "voicecore/base/export.hpp"

namespace voicecore {

// Nanoseconds on CLOCK_MONOTONIC (or on the manual clock, which starts at 0).
using TimePoint = std::chrono::time_point<std::chrono::steady_clock, std::chrono::nanoseconds>;

// Something a sleeping thread can be woken by. Any thread may signal; one thread waits.
// signal() is lock-free and is one system call at most, none when nobody sleeps.
class VOICECORE_EXPORT WakeSignal {
  public:
    void signal() noexcept;
    // Sleeps until signalled or until the absolute deadline, whichever is first. Returns at once
    // when a signal came since the last return. False means that the deadline passed.
    bool wait_until(TimePoint deadline) noexcept;
    void wait() noexcept;
    // Without sleeping: true when a signal came since the last return.
    bool poll() noexcept { return pending_.load(std::memory_order_relaxed) != 0 && consume(); }

  private:
    bool consume() noexcept;
    std::atomic<std::uint32_t> pending_{0};
    std::atomic<std::uint32_t> sleepers_{0};
};

class VOICECORE_EXPORT Clock {
  public:
    Clock() = default;
    Clock(const Clock&) = delete;
    Clock& operator=(const Clock&) = delete;
    virtual ~Clock();
    [[nodiscard]] virtual TimePoint now() const noexcept = 0;
};

// CLOCK_MONOTONIC. Thread-safe.
class VOICECORE_EXPORT SteadyClock final : public Clock {
  public:
    [[nodiscard]] TimePoint now() const noexcept override;
};

// Time that moves only when told to. Thread-safe: one thread sets, any thread reads.
class VOICECORE_EXPORT ManualClock final : public Clock {
  public:
    [[nodiscard]] TimePoint now() const noexcept override {
        return TimePoint{std::chrono::nanoseconds{now_.load(std::memory_order_acquire)}};
    }
    void set(TimePoint time) noexcept {
        now_.store(time.time_since_epoch().count(), std::memory_order_release);
    }

  private:
    std::atomic<std::int64_t> now_{0};
};

// Sleeps on CLOCK_MONOTONIC until an absolute time (clock_nanosleep, restarted after signals).
VOICECORE_EXPORT void sleep_until(TimePoint deadline) noexcept;

// CPU time that the calling thread has used.
[[nodiscard]] VOICECORE_EXPORT std::chrono::nanoseconds thread_cpu_time() noexcept;

}  // namespace voicecore
