// Caretaker: audits the file and moves the log into it, beside whoever serves the line.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <thread>

#include "voicecore/base/clock.hpp"
#include "voicecore/command/store.hpp"

namespace voicecore::command {

// Both take long: a checkpoint waits for the disk, and an audit looks at every open descriptor of
// the process. A stop that has come meanwhile must not wait with them. One thread, vc-tidy, with a
// connection of its own, opened with the first request.
class Caretaker {
  public:
    // A file that is not ours any more is written into `verdict`. `failed` is called on the
    // thread. Nothing runs before start().
    Caretaker(StoreOptions options, std::shared_ptr<Verdict> verdict,
              std::function<void(Error)> failed)
        : options_{std::move(options)}, verdict_{std::move(verdict)}, failed_{std::move(failed)} {}
    Caretaker(const Caretaker&) = delete;
    Caretaker& operator=(const Caretaker&) = delete;
    ~Caretaker() { stop(); }

    // Fails with `io` when there is no thread to be had.
    [[nodiscard]] Status start();
    // Soon; several requests may become one.
    void request() noexcept { wanted_.signal(); }
    // Idempotent; not from two threads at a time.
    void stop() noexcept;

  private:
    void run() noexcept;

    const StoreOptions options_;
    const std::shared_ptr<Verdict> verdict_;
    const std::function<void(Error)> failed_;
    WakeSignal wanted_;
    std::atomic<bool> stopping_{false};
    std::thread thread_;
};

}  // namespace voicecore::command
