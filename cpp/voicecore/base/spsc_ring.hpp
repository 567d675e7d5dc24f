// A bounded single-producer single-consumer queue that keeps to as few slots as it can.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <memory>
#include <new>

namespace voicecore {

// One producer thread calls claim/publish/push, one consumer thread calls front/pop; both
// wait-free. A slot is made when no used one is free, and used again from then on, oldest first: a
// queue of which a third is in use at a time stays in a third of its memory, which matters when
// there are hundreds and none of them is left in a cache from its last turn. For the same reason
// the way from one element to the next leads through the element itself.
template <class T>
class SpscRing {
  public:
    // At least `capacity` elements fit; rounded up to a power of two.
    explicit SpscRing(std::size_t capacity)
        : capacity_{std::bit_ceil(capacity < 2 ? std::size_t{2} : capacity)},
          slots_{std::allocator<Slot>{}.allocate(slots_of(capacity_))} {
        // An element that was taken before the first one: where the consumer waits for it.
        last_ = oldest_ = consumed_ = make_slot();
    }
    SpscRing(const SpscRing&) = delete;
    SpscRing& operator=(const SpscRing&) = delete;
    ~SpscRing() {
        std::destroy_n(slots_, made_);
        std::allocator<Slot>{}.deallocate(slots_, slots_of(capacity_));
    }

    [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }

    // Producer: the slot to fill next, or null when the ring is full; the same one until publish()
    // hands it over. It holds whatever it held last.
    [[nodiscard]] T* claim() noexcept {
        if (claimed_ != nullptr) return &claimed_->value;
        const std::size_t head = head_.load(std::memory_order_relaxed);
        if (head - tail_seen_ >= capacity_ || reused_ >= tail_seen_) {
            tail_seen_ = tail_.load(std::memory_order_acquire);
            if (head - tail_seen_ >= capacity_) return nullptr;
        }
        // Of the elements taken, the last one is still where the consumer looks for the next.
        if (reused_ < tail_seen_) {
            claimed_ = oldest_;
            oldest_ = oldest_->next.load(std::memory_order_relaxed);
            claimed_->next.store(nullptr, std::memory_order_relaxed);
            ++reused_;
        } else {
            claimed_ = make_slot();
        }
        return &claimed_->value;
    }
    void publish() noexcept {
        last_->next.store(claimed_, std::memory_order_release);
        last_ = claimed_;
        claimed_ = nullptr;
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
        if (front_ == nullptr) front_ = consumed_->next.load(std::memory_order_acquire);
        return front_ == nullptr ? nullptr : &front_->value;
    }
    // After front() gave one.
    void pop() noexcept {
        consumed_ = front_;
        // Now, while it is at hand.
        front_ = consumed_->next.load(std::memory_order_acquire);
        tail_.store(tail_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
    }

    // Any thread; exact only for the producer or the consumer while the other rests.
    [[nodiscard]] std::size_t size() const noexcept {
        const std::size_t tail = tail_.load(std::memory_order_acquire);
        return head_.load(std::memory_order_acquire) - tail;
    }

  private:
    struct Slot {
        std::atomic<Slot*> next{nullptr};
        T value;
    };
    // One is always where the consumer waits.
    static constexpr std::size_t slots_of(std::size_t capacity) noexcept { return capacity + 1; }
    Slot* make_slot() noexcept { return ::new (static_cast<void*>(slots_ + made_++)) Slot; }

    static constexpr std::size_t kLine = 64;  // keeps the two sides off each other's cache line
    const std::size_t capacity_;
    Slot* const slots_;  // raw beyond made_
    alignas(kLine) std::atomic<std::size_t> head_{0};
    std::size_t made_ = 0;
    std::size_t reused_ = 0;
    std::size_t tail_seen_ = 0;
    Slot* oldest_ = nullptr;   // taken longest ago
    Slot* last_ = nullptr;     // published last
    Slot* claimed_ = nullptr;  // given to the producer, not published
    alignas(kLine) std::atomic<std::size_t> tail_{0};
    Slot* consumed_ = nullptr;  // popped last
    Slot* front_ = nullptr;
};

}  // namespace voicecore
