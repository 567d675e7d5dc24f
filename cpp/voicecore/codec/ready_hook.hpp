// The consumer's callback, called without a lock and never after it was replaced.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

namespace voicecore::codec {

// Thread-safe.
class ReadyHook {
  public:
    // Waits until a call of the former hook that is under way has returned (unless it is that call
    // which replaces it).
    void set(std::function<void()> hook) {
        auto next = hook ? std::make_shared<const std::function<void()>>(std::move(hook)) : nullptr;
        std::unique_lock lock{mutex_};
        hook_.swap(next);
        idle_.wait(lock, [this] { return calls_ == 0 || caller_ == std::this_thread::get_id(); });
    }

    void call() {
        std::shared_ptr<const std::function<void()>> hook;  // keeps it alive while it runs
        {
            std::unique_lock lock{mutex_};
            idle_.wait(lock, [this] { return calls_ == 0; });
            if (!hook_) return;
            hook = hook_;
            ++calls_;
            caller_ = std::this_thread::get_id();
        }
        (*hook)();
        {
            const std::lock_guard lock{mutex_};
            --calls_;
            caller_ = {};
        }
        idle_.notify_all();
    }

  private:
    std::mutex mutex_;
    std::condition_variable idle_;
    std::shared_ptr<const std::function<void()>> hook_;
    int calls_ = 0;
    std::thread::id caller_;
};

}  // namespace voicecore::codec
