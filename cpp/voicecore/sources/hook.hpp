// A callback that one side sets and the other calls.
#pragma once

#include <functional>
#include <mutex>
#include <utility>

namespace voicecore::sources {

// Thread-safe. Called under its own lock, so that it never runs once it was replaced; a hook must
// not call set() of the object that calls it.
class Hook {
  public:
    void set(std::function<void()> hook) {
        const std::lock_guard lock{mutex_};
        hook_ = std::move(hook);
    }
    void call() noexcept {
        const std::lock_guard lock{mutex_};
        if (hook_) hook_();
    }

  private:
    std::mutex mutex_;
    std::function<void()> hook_;
};

}  // namespace voicecore::sources
