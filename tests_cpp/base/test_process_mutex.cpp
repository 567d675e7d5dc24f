// A fork beside a thread that holds a lock of the process.
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <future>
#include <thread>

#include "catch.hpp"
#include "voicecore/base/process_mutex.hpp"

using namespace voicecore;
using namespace std::chrono_literals;

namespace {

// 0 when the child could take the lock; it is killed when it waits for it.
int fork_and_lock(ProcessMutex& mutex) {
    const pid_t child = ::fork();
    if (child == 0) {
        std::signal(SIGALRM, SIG_DFL);
        ::alarm(5);
        mutex.lock();
        ::syscall(SYS_exit_group, 0);  // a sanitizer's _exit() asks for the parent's threads
    }
    int status = -1;
    ::waitpid(child, &status, 0);
    return status;
}

}  // namespace

TEST_CASE("a child can lock what another thread held when it was made") {
    ProcessMutex other;  // goes on working beside it
    ProcessMutex mutex;
    std::promise<void> held;
    std::thread holder{[&] {
        const std::lock_guard lock{mutex};
        held.set_value();
        std::this_thread::sleep_for(50ms);  // the fork has to wait for us
    }};
    held.get_future().wait();
    const int status = fork_and_lock(mutex);
    holder.join();
    REQUIRE(status == 0);
    const std::lock_guard here{mutex};  // and so can we
    const std::lock_guard there{other};
}

TEST_CASE("a lock that is gone does not concern a fork") {
    ProcessMutex mutex;
    { const ProcessMutex passing; }
    REQUIRE(fork_and_lock(mutex) == 0);
}
