// ProcessMutex: a mutex of the whole process, usable in the child of a fork.
#pragma once

#include <mutex>

#include "voicecore/base/export.hpp"

namespace voicecore {

// fork() copies a mutex as it is; one that another thread holds at that moment stays held in the
// child for ever. A fork waits until it has all of these, and gives them back on both sides, so
// that what they guard is whole there. For what a child uses as well, and for short sections that
// take no other lock: the order in which a fork takes them is nobody else's.
class VOICECORE_EXPORT ProcessMutex {
  public:
    ProcessMutex();
    ProcessMutex(const ProcessMutex&) = delete;
    ProcessMutex& operator=(const ProcessMutex&) = delete;
    ~ProcessMutex();

    void lock() { mutex_.lock(); }
    void unlock() { mutex_.unlock(); }

  private:
    friend struct ForkHandlers;
    std::mutex mutex_;
    ProcessMutex* next_ = nullptr;
};

}  // namespace voicecore
