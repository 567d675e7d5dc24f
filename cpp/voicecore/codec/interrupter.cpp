#include "voicecore/codec/interrupter.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "voicecore/codec/native_error.hpp"

namespace voicecore::codec {
namespace {

void raise(int event_fd) noexcept {
    const std::uint64_t one = 1;
    // Fails only when the counter is full, and then it is raised already.
    [[maybe_unused]] const auto written = ::write(event_fd, &one, sizeof one);
}

}  // namespace

Result<std::shared_ptr<Interrupter>> Interrupter::create() {
    const int fd = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0) return error_from_errno(errno, "cannot make an event descriptor");
    // Shared by the source and its thread, whichever lives longer.
    return std::make_shared<Interrupter>(Key{}, fd);
}

Interrupter::~Interrupter() {
    ::close(event_fd_);
}

void Interrupter::close() noexcept {
    closed_.store(true, std::memory_order_release);
    raise(event_fd_);
}

void Interrupter::poke() noexcept {
    poked_.store(true, std::memory_order_release);
    raise(event_fd_);
}

void Interrupter::resume() noexcept {
    poked_.store(false, std::memory_order_release);
    std::uint64_t count = 0;
    [[maybe_unused]] const auto drained = ::read(event_fd_, &count, sizeof count);
    // A close() between the two lines above must still be heard.
    if (closed()) raise(event_fd_);
}

WaitResult Interrupter::wait(int fd, short events, TimePoint deadline) noexcept {
    const SteadyClock clock;
    deadline =
        std::min(deadline, TimePoint{TimePoint::duration{limit_.load(std::memory_order_relaxed)}});
    for (;;) {
        if (interrupted()) return WaitResult::interrupted;
        const auto left = deadline - clock.now();
        if (left <= std::chrono::nanoseconds::zero()) return WaitResult::timeout;
        std::array<pollfd, 2> set{{{event_fd_, POLLIN, 0}, {fd, events, 0}}};
        const auto ms = std::chrono::ceil<std::chrono::milliseconds>(left).count();
        const int count = ::poll(set.data(), fd < 0 ? 1 : 2,
                                 static_cast<int>(std::min<std::int64_t>(ms, 60'000)));
        if (count < 0 && errno != EINTR)
            return WaitResult::ready;  // the next call says what is wrong
        if (count > 0 && set[1].revents != 0 && !interrupted()) return WaitResult::ready;
    }
}

void Interrupter::touch() noexcept {
    touched_.store(SteadyClock{}.now().time_since_epoch().count(), std::memory_order_relaxed);
}

std::chrono::nanoseconds Interrupter::idle() const noexcept {
    return SteadyClock{}.now().time_since_epoch() -
           std::chrono::nanoseconds{touched_.load(std::memory_order_relaxed)};
}

}  // namespace voicecore::codec
