// What a thread that waits for a descriptor listens to besides it.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>

#include "voicecore/base/clock.hpp"
#include "voicecore/base/result.hpp"

namespace voicecore::codec {

enum class WaitResult { ready, timeout, interrupted };

// Thread-safe. One thread waits; any thread closes or pokes.
class Interrupter {
    struct Key {};  // only create() makes one

  public:
    static Result<std::shared_ptr<Interrupter>> create();
    Interrupter(Key, int event_fd) noexcept : event_fd_{event_fd} { touch(); }
    ~Interrupter();
    Interrupter(const Interrupter&) = delete;
    Interrupter& operator=(const Interrupter&) = delete;

    void close() noexcept;   // for good
    void poke() noexcept;    // until resume()
    void resume() noexcept;  // the waiting thread, once it has noticed
    [[nodiscard]] bool closed() const noexcept { return closed_.load(std::memory_order_acquire); }
    [[nodiscard]] bool interrupted() const noexcept {
        return closed() || poked_.load(std::memory_order_acquire);
    }

    // Waits for poll events on `fd` (-1: only for the interruption).
    [[nodiscard]] WaitResult wait(int fd, short events, TimePoint deadline) noexcept;

    // Besides their own deadlines, all waits end there.
    void set_limit(TimePoint limit) noexcept {
        limit_.store(limit.time_since_epoch().count(), std::memory_order_relaxed);
    }
    void clear_limit() noexcept { set_limit(TimePoint::max()); }

    // Signs of life: how long ago was the last one?
    void touch() noexcept;
    [[nodiscard]] std::chrono::nanoseconds idle() const noexcept;

  private:
    const int event_fd_;
    std::atomic<bool> closed_{false};
    std::atomic<bool> poked_{false};
    std::atomic<std::int64_t> touched_{0};
    std::atomic<std::int64_t> limit_{TimePoint::max().time_since_epoch().count()};
};

}  // namespace voicecore::codec
