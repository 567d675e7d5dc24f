// StoreWorker: a store, and a thread on which those may use it who must not wait.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "voicecore/base/clock.hpp"
#include "voicecore/command/doorbell.hpp"
#include "voicecore/command/store.hpp"

namespace voicecore::command {

// One piece of work with the store.
class StoreCall {
  public:
    StoreCall() = default;
    StoreCall(const StoreCall&) = delete;
    StoreCall& operator=(const StoreCall&) = delete;
    virtual ~StoreCall() = default;
    virtual void run(Store& store) noexcept = 0;
    virtual void fail(Error error) noexcept = 0;  // instead of run(): there is no store
};

// Thread-safe. Opens the file with the first call; one call at a time, in the order in which they
// came.
class StoreWorker {
  public:
    explicit StoreWorker(StoreOptions options) : options_{std::move(options)} {}
    StoreWorker(const StoreWorker&) = delete;
    StoreWorker& operator=(const StoreWorker&) = delete;
    ~StoreWorker() { close(); }

    // On the caller's thread. Rings the workers' bells when the call has sent something.
    void run(StoreCall& call) noexcept;
    // On the thread vc-queue, started by the first submit. `done` is called there, after the call.
    void submit(std::shared_ptr<StoreCall> call, std::function<void()> done);
    // See Store::set_patience; of a store that is opened later as well.
    void set_patience(std::optional<std::chrono::milliseconds> most) noexcept;
    // What was submitted before is done; later calls fail. Idempotent.
    void close() noexcept;

    [[nodiscard]] const StoreOptions& options() const noexcept { return options_; }

  private:
    struct Job {
        std::shared_ptr<StoreCall> call;
        std::function<void()> done;
    };
    void work() noexcept;

    const StoreOptions options_;
    std::mutex store_mutex_;  // the store; taken before none other
    std::unique_ptr<Store> store_;
    bool shut_ = false;
    std::shared_ptr<Ringer> ringer_ = std::make_shared<Ringer>();  // until closed

    std::mutex patience_mutex_;  // behind store_mutex_
    Store* open_ = nullptr;      // the store, while there is one
    std::optional<std::chrono::milliseconds> patience_;

    std::mutex jobs_mutex_;
    std::vector<Job> jobs_;
    WakeSignal more_;
    bool closing_ = false;
    std::thread thread_;
};

}  // namespace voicecore::command
