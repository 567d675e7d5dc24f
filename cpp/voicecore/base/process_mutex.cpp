#include "voicecore/base/process_mutex.hpp"

#include <pthread.h>

namespace voicecore {
namespace {

// Neither is ever destroyed: the system calls the handlers as long as the process lives.
constinit std::mutex registering;  // before any of the list
constinit ProcessMutex* first = nullptr;

}  // namespace

struct ForkHandlers {
    static void before() {
        registering.lock();
        for (ProcessMutex* one = first; one != nullptr; one = one->next_) one->lock();
    }
    static void after() {
        for (ProcessMutex* one = first; one != nullptr; one = one->next_) one->unlock();
        registering.unlock();
    }
    static void install() {
        static const int installed = ::pthread_atfork(&before, &after, &after);
        static_cast<void>(installed);
    }
    static void add(ProcessMutex& one) {
        install();
        const std::lock_guard lock{registering};
        one.next_ = first;
        first = &one;
    }
    static void remove(ProcessMutex& one) {
        const std::lock_guard lock{registering};
        ProcessMutex** at = &first;
        while (*at != &one) at = &(*at)->next_;
        *at = one.next_;
    }
};

ProcessMutex::ProcessMutex() {
    ForkHandlers::add(*this);
}

ProcessMutex::~ProcessMutex() {
    ForkHandlers::remove(*this);
}

}  // namespace voicecore
