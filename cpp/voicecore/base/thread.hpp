// What we ask of the operating system for a thread: that it starts, a name and a priority.
#pragma once

#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "voicecore/base/export.hpp"
#include "voicecore/base/result.hpp"

namespace voicecore {

// Runs `work` on a thread of its own. The system may refuse one: a user and a container have a
// limit of threads. `purpose` goes on from "a thread".
template <class Work>
[[nodiscard]] Result<std::thread> start_thread(const char* purpose, Work&& work) {
    try {
        return std::thread{std::forward<Work>(work)};
    } catch (const std::system_error& refused) {
        return Error{
            Errc::io, refused.code().value(),
            std::string{"cannot start a thread "} + purpose + ": " + refused.code().message()};
    }
}

// Names the calling thread (15 characters at most are shown by the system) and blocks every signal
// in it, so that the host's handlers run on the host's threads.
VOICECORE_EXPORT void enter_native_thread(const char* name) noexcept;

enum class Priority {
    normal,    // the system refused anything higher
    nice,      // nice -11, short turns
    realtime,  // SCHED_FIFO, lowest level
};

// Asks for SCHED_FIFO, then for nice -11 and short turns; says what it got. Only for the calling
// thread.
VOICECORE_EXPORT Priority raise_thread_priority() noexcept;

// Asks for nice -11 and short turns alone: for a thread that is to be punctual and also waits for
// disks. It gets the short turns whatever it gives back.
VOICECORE_EXPORT Priority raise_thread_niceness() noexcept;

// The calling thread's timer slack, 50 µs by default, becomes 1 ns: sleeps end when asked.
VOICECORE_EXPORT void tighten_timer_slack() noexcept;

}  // namespace voicecore
