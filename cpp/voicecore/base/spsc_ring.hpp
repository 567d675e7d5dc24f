// A bounded single-producer single-consumer ring with inline storage decided at construction.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <memory>
#include <new>

namespace voicecore {

// One producer thread calls claim/publish/push, one consumer thread calls front/pop; both
// wait-free. T is default-constructed once per slot; slots are reused, never destroyed while the
// ring lives.
template <class T>
class SpscRing {
  public:
    // At least `capacity` elements fit; rounded up to a power of two.
    explicit SpscRing(std::size_t capacity)
        : mask_{std::bit_ceil(capacity < 2 ? std::size_t{2} : capacity) - 1},
          slots_{std::make_unique<T[]>(mask_ + 1)} {}

    [[nodiscard]] std::size_t capacity() const noexcept { return mask_ + 1; }

    // Producer: the slot to fill next, or null when the ring is full. publish() hands it over.
    [[nodiscard]] T* claim() noexcept {
        const std::size_t head = head_.load(std::memory_order_relaxed);
        if (head - tail_seen_ > mask_) {
            tail_seen_ = tail_.load(std::memory_order_acquire);
            if (head - tail_seen_ > mask_) return nullptr;
        }
        return &slots_[head & mask_];
    }
    void publish() noexcept {
        head_.store(head_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
    }
    bool push(const T& value) noexcept {
        T* slot = claim();
        if (slot == nullptr) return false;
        *slot = value;
        publish();
        return true;
    }

    // Consumer: the oldest element, or null when empty. It stays valid until pop().
    [[nodiscard]] T* front() noexcept {
        const std::size_t tail = tail_.load(std::memory_order_relaxed);
        if (tail == head_seen_) {
            head_seen_ = head_.load(std::memory_order_acquire);
            if (tail == head_seen_) return nullptr;
        }
        return &slots_[tail & mask_];
    }
    void pop() noexcept {
        tail_.store(tail_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
    }

    // Any thread; exact only for the producer or the consumer while the other rests.
    [[nodiscard]] std::size_t size() const noexcept {
        const std::size_t tail = tail_.load(std::memory_order_acquire);
        return head_.load(std::memory_order_acquire) - tail;
    }

  private:
    static constexpr std::size_t kLine = 64;  // keeps the two sides off each other's cache line
    const std::size_t mask_;
    const std::unique_ptr<T[]> slots_;
    alignas(kLine) std::atomic<std::size_t> head_{0};
    std::size_t tail_seen_ = 0;
    alignas(kLine) std::atomic<std::size_t> tail_{0};
    std::size_t head_seen_ = 0;
};

}  // namespace voicecore
