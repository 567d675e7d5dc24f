// CancelToken: one side gives up, the other notices at its next look.
#pragma once

#include <atomic>

namespace voicecore {

// Thread-safe. Shared between the party that waits and the thread that works.
class CancelToken {
  public:
    void cancel() noexcept { cancelled_.store(true, std::memory_order_release); }
    [[nodiscard]] bool cancelled() const noexcept {
        return cancelled_.load(std::memory_order_acquire);
    }

  private:
    std::atomic<bool> cancelled_{false};
};

}  // namespace voicecore
