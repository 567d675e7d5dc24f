#include "voicecore/base/thread.hpp"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <initializer_list>

namespace voicecore {
namespace {

// The kernel's struct sched_attr, version 0: linux/sched/types.h has it, but cannot be included
// beside <sched.h> everywhere, and the C library tells of it only since glibc 2.41.
struct ThreadTurns {
    std::uint32_t size;
    std::uint32_t policy;
    std::uint64_t flags;
    std::int32_t nice;
    std::uint32_t priority;
    std::uint64_t slice_ns;  // "sched_runtime"
    std::uint64_t deadline;
    std::uint64_t period;
};
static_assert(sizeof(ThreadTurns) == 48);

// Whoever asks for little at a time is let in sooner, also past a thread that computes without end:
// the least that Linux takes instead of some 3 ms. Before 6.12 it changes nothing. No privilege.
void ask_for_short_turns(int nice) noexcept {
    ThreadTurns turns{};
    turns.size = sizeof turns;
    turns.policy = SCHED_OTHER;
    turns.nice = nice;
    turns.slice_ns = 100'000;
    [[maybe_unused]] const auto set = ::syscall(SYS_sched_setattr, 0, &turns, 0U);
}

}  // namespace

void enter_native_thread(const char* name) noexcept {
    ::pthread_setname_np(::pthread_self(), name);
    sigset_t blocked;
    ::sigfillset(&blocked);
    // The synchronous ones stay, for crash handlers.
    for (const int fatal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP}) {
        ::sigdelset(&blocked, fatal);
    }
    ::pthread_sigmask(SIG_SETMASK, &blocked, nullptr);
}

Priority raise_thread_niceness() noexcept {
    // On Linux the nice value belongs to the thread, whatever POSIX says.
    constexpr int kNice = -11;
    const auto tid = static_cast<id_t>(::syscall(SYS_gettid));
    const bool raised = ::setpriority(PRIO_PROCESS, tid, kNice) == 0;
    ask_for_short_turns(::getpriority(PRIO_PROCESS, tid));
    return raised ? Priority::nice : Priority::normal;
}

Priority raise_thread_priority() noexcept {
    const sched_param lowest{.sched_priority = ::sched_get_priority_min(SCHED_FIFO)};
    if (::pthread_setschedparam(::pthread_self(), SCHED_FIFO, &lowest) == 0)
        return Priority::realtime;
    return raise_thread_niceness();
}

void tighten_timer_slack() noexcept {
    ::prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
}

}  // namespace voicecore
