// The native objects of the queue that Python holds, and how rows become Python.
#pragma once

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "native_call.hpp"
#include "voicecore/command/store_worker.hpp"

namespace voicecore::bindings {

// A call whose result Python can have. result() needs the GIL.
class QueueCall : public command::StoreCall {
  public:
    virtual py::object result() = 0;
    [[nodiscard]] bool done() const noexcept { return done_.load(std::memory_order_acquire); }
    void mark_done() noexcept { done_.store(true, std::memory_order_release); }

  private:
    std::atomic<bool> done_{false};
};

using QueueHandle = Forkable<command::StoreWorker>;

// Stands between any two steps of SQL: counts them, keeps their texts, and kills the process before
// a given one, as a power cut would. Thread-safe.
class FaultHook {
  public:
    explicit FaultHook(std::uint64_t die_at) noexcept : die_at_{die_at} {}
    void at(std::string_view sql) {
        const std::uint64_t step = steps_.fetch_add(1) + 1;
        if (step == die_at_) ::kill(::getpid(), SIGKILL);
        const std::lock_guard lock{mutex_};
        if (trace_.size() < kLongest) trace_.emplace_back(sql.substr(0, 80));
    }
    [[nodiscard]] std::uint64_t steps() const noexcept { return steps_.load(); }
    [[nodiscard]] std::vector<std::string> trace() const {
        const std::lock_guard lock{mutex_};
        return trace_;
    }

  private:
    static constexpr std::size_t kLongest = 10'000;
    const std::uint64_t die_at_;
    std::atomic<std::uint64_t> steps_{0};
    mutable std::mutex mutex_;
    std::vector<std::string> trace_;
};

[[nodiscard]] py::tuple command_to_python(const command::Command& one);
[[nodiscard]] py::object commands_to_python(const std::vector<command::Command>& commands);
[[nodiscard]] command::StoreOptions store_options(const py::dict& settings);

}  // namespace voicecore::bindings
