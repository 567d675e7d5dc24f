#include "voicecore/base/thread.hpp"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <initializer_list>

namespace voicecore {

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
    return ::setpriority(PRIO_PROCESS, tid, kNice) == 0 ? Priority::nice : Priority::normal;
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
