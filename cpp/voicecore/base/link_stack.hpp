// A lock-free hand-over of objects between threads, linked through the objects themselves.
#pragma once

#include <atomic>

namespace voicecore {

// Any thread pushes; one thread at a time takes everything at once. No allocation, no capacity. An
// object may be on a stack once per link. (Taking all at once is what keeps ABA away.)
template <class T, T* T::*Link>
class LinkStack {
  public:
    void push(T& object) noexcept {
        T* head = head_.load(std::memory_order_relaxed);
        do {
            object.*Link = head;
        } while (!head_.compare_exchange_weak(head, &object, std::memory_order_release,
                                              std::memory_order_relaxed));
    }
    [[nodiscard]] bool empty() const noexcept {
        return head_.load(std::memory_order_relaxed) == nullptr;
    }
    // Calls visit(object) for each object, oldest first; visit may push the object somewhere else.
    template <class Visit>
    void take_all(Visit&& visit) noexcept {
        if (empty()) return;
        T* newest = head_.exchange(nullptr, std::memory_order_acquire);
        T* oldest = nullptr;
        while (newest != nullptr) {
            T* after = newest->*Link;
            newest->*Link = oldest;
            oldest = newest;
            newest = after;
        }
        while (oldest != nullptr) {
            T* after = oldest->*Link;
            visit(*oldest);
            oldest = after;
        }
    }

  private:
    std::atomic<T*> head_{nullptr};
};

}  // namespace voicecore
