#include "voicecore/engine/event_channel.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace voicecore::engine {

Result<std::shared_ptr<EventChannel>> EventChannel::create() {
    const int fd = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (fd < 0) {
        return Error{Errc::io, errno,
                     std::string{"cannot create an eventfd: "} + std::strerror(errno)};
    }
    return std::shared_ptr<EventChannel>{
        new EventChannel{fd}};  // NOLINT: the constructor is private
}

EventChannel::EventChannel(int fd) : fd_{fd}, cells_{std::make_unique<Cell[]>(kCapacity)} {
    for (std::size_t i = 0; i < kCapacity; ++i) cells_[i].turn.store(i, std::memory_order_relaxed);
}

EventChannel::~EventChannel() {
    ::close(fd_);
}

// A bounded queue in which each cell carries the turn it waits for: turn == position means free for
// that position's producer, position + 1 means filled.
void EventChannel::emit(const playback::Event& event) noexcept {
    std::size_t position = head_.load(std::memory_order_relaxed);
    while (true) {
        Cell& cell = cells_[position & (kCapacity - 1)];
        const std::size_t turn = cell.turn.load(std::memory_order_acquire);
        if (turn == position) {
            if (head_.compare_exchange_weak(position, position + 1, std::memory_order_relaxed)) {
                cell.event = event;
                cell.turn.store(position + 1, std::memory_order_release);
                break;
            }
        } else if (turn < position) {
            overflowed_.store(true, std::memory_order_release);
            break;
        } else {
            position = head_.load(std::memory_order_relaxed);
        }
    }
    if (!armed_.exchange(true, std::memory_order_seq_cst) &&
        !abandoned_.load(std::memory_order_acquire)) {
        wakes_.fetch_add(1, std::memory_order_relaxed);
        const std::uint64_t one = 1;
        [[maybe_unused]] const auto written = ::write(fd_, &one, sizeof one);
    }
}

bool EventChannel::pop(playback::Event& event) noexcept {
    Cell& cell = cells_[tail_ & (kCapacity - 1)];
    if (cell.turn.load(std::memory_order_acquire) != tail_ + 1) return false;
    event = cell.event;
    cell.turn.store(tail_ + kCapacity, std::memory_order_release);
    ++tail_;
    return true;
}

EventChannel::Drained EventChannel::drain() {
    Drained drained;
    if (abandoned_.load(std::memory_order_acquire)) return drained;
    std::uint64_t count = 0;
    [[maybe_unused]] const auto read = ::read(fd_, &count, sizeof count);
    // Before looking: an event that comes while we drain signals again rather than being forgotten.
    armed_.store(false, std::memory_order_seq_cst);
    playback::Event event;
    while (pop(event)) drained.events.push_back(event);
    drained.overflowed = overflowed_.exchange(false, std::memory_order_acq_rel);
    return drained;
}

}  // namespace voicecore::engine
