// EventChannel: from any native thread to one event loop, through one file descriptor.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "voicecore/base/result.hpp"
#include "voicecore/playback/event.hpp"

namespace voicecore::engine {

// emit() is for any thread, lock-free, and is a system call only when the reader sleeps. One thread
// at a time drains. The descriptor lives as long as the channel: its owner must have left the
// loop's selector before, since a reused number would silently get no wake-ups.
class EventChannel final : public playback::EventListener {
  public:
    static Result<std::shared_ptr<EventChannel>> create();
    ~EventChannel() override;

    void emit(const playback::Event& event) noexcept override;

    struct Drained {
        std::vector<playback::Event> events;  // oldest first for each emitting thread
        bool overflowed = false;              // some were lost: look at every player's state
    };
    [[nodiscard]] Drained drain();

    // Readable when there is something to drain.
    [[nodiscard]] int fd() const noexcept { return fd_; }
    [[nodiscard]] std::uint64_t wakes() const noexcept {
        return wakes_.load(std::memory_order_relaxed);
    }
    // In a child after fork(): the descriptor is shared with the parent and must be left alone.
    void abandon() noexcept { abandoned_.store(true, std::memory_order_release); }

  private:
    explicit EventChannel(int fd);
    bool pop(playback::Event& event) noexcept;

    static constexpr std::size_t kCapacity = 16'384;  // a power of two
    struct Cell {
        std::atomic<std::size_t> turn;
        playback::Event event;
    };
    const int fd_;
    const std::unique_ptr<Cell[]> cells_;
    alignas(64) std::atomic<std::size_t> head_{0};
    alignas(64) std::size_t tail_ = 0;  // the draining thread's
    alignas(64) std::atomic<bool> armed_{false};
    std::atomic<bool> overflowed_{false};
    std::atomic<bool> abandoned_{false};
    std::atomic<std::uint64_t> wakes_{0};
};

}  // namespace voicecore::engine
