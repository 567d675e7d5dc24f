#include "voicecore/command/store_worker.hpp"

#include <algorithm>
#include <utility>

#include "voicecore/base/thread.hpp"
#include "voicecore/base/units.hpp"

namespace voicecore::command {
namespace {

// Whether to look for the next call for a moment before going to sleep. Whoever awaits one call
// after another sends the next one soon, and being woken for it can take longer than the call. A
// thread that looks in vain has taken the processor from whoever was to send it: it stops looking
// until it has slept through a number of calls that would have come in time.
class Patience {
  public:
    void finished() noexcept { finished_ = clock_.now(); }
    void slept() noexcept {
        const bool soon = clock_.now() - finished_ < 2 * kLongest;
        credit_ = soon ? std::min(credit_ + 1, kEnough) : 0;
    }
    // True when there is more.
    [[nodiscard]] bool look(WakeSignal& more) noexcept {
        if (credit_ < kEnough) return false;
        do {
            if (more.poll()) return true;
        } while (clock_.now() - finished_ < kLongest);
        credit_ = kInVain;
        return false;
    }

  private:
    static constexpr Nanoseconds kLongest = std::chrono::microseconds{150};
    static constexpr int kEnough = 4;
    static constexpr int kInVain = -16;
    const SteadyClock clock_{};
    TimePoint finished_{};
    int credit_ = 0;
};

}  // namespace

void StoreWorker::run(StoreCall& call) noexcept {
    std::vector<std::string> bells;
    std::shared_ptr<Ringer> ringer;  // another thread may close this meanwhile
    {
        const std::lock_guard lock{store_mutex_};
        if (shut_) {
            call.fail(Error{Errc::closed, 0, "the queue " + options_.path + " is closed"});
            return;
        }
        if (store_ == nullptr) {
            auto opened = Store::open(options_);
            if (!opened) {
                call.fail(std::move(opened).error());
                return;
            }
            store_ = std::move(opened).value();
            const std::lock_guard found{patience_mutex_};
            open_ = store_.get();
            open_->set_patience(patience_);
        }
        call.run(*store_);
        bells = store_->take_bells();
        if (bells.empty()) return;
        ringer = ringer_;
        ringer->prepare();
    }
    // After COMMIT: whoever looks now finds it.
    for (const std::string& bell : bells) ringer->ring(bell);
}

void StoreWorker::submit(std::shared_ptr<StoreCall> call, std::function<void()> done) {
    std::unique_lock lock{jobs_mutex_};
    const auto refuse = [&](Error why) {
        lock.unlock();
        call->fail(std::move(why));
        done();
    };
    if (closing_) {
        return refuse(Error{Errc::closed, 0, "the queue " + options_.path + " is closed"});
    }
    if (!thread_.joinable()) {
        auto thread = start_thread("for the queue", [this] { work(); });
        if (!thread) return refuse(std::move(thread).error());
        thread_ = std::move(thread).value();
    }
    jobs_.push_back({std::move(call), std::move(done)});
    lock.unlock();
    // Behind the lock: a thread that is woken while we hold it only goes to sleep once more.
    more_.signal();
}

void StoreWorker::work() noexcept {
    enter_native_thread("vc-queue");
    std::vector<Job> taken;
    Patience patience;
    while (true) {
        bool closing = false;
        {
            const std::lock_guard lock{jobs_mutex_};
            taken.swap(jobs_);
            closing = closing_;
        }
        if (taken.empty()) {
            if (closing) return;
            if (patience.look(more_)) continue;
            more_.wait();
            patience.slept();
            continue;
        }
        for (Job& job : taken) {
            run(*job.call);
            job.done();
            job = {};
        }
        taken.clear();
        patience.finished();
    }
}

void StoreWorker::close() noexcept {
    std::thread thread;
    {
        const std::lock_guard lock{jobs_mutex_};
        closing_ = true;
        thread.swap(thread_);
    }
    more_.signal();
    if (thread.joinable()) thread.join();
    const std::lock_guard lock{store_mutex_};
    shut_ = true;
    ringer_.reset();
    // A process that makes one client after another must not fill the file with their names.
    if (store_ != nullptr) {
        store_->set_patience(kBriefPatience);
        [[maybe_unused]] const auto gone = store_->retire_worker();
    }
    {
        const std::lock_guard gone{patience_mutex_};
        open_ = nullptr;
    }
    store_.reset();
}

void StoreWorker::set_patience(std::optional<std::chrono::milliseconds> most) noexcept {
    const std::lock_guard lock{patience_mutex_};
    patience_ = most;
    if (open_ != nullptr) open_->set_patience(most);
}

}  // namespace voicecore::command
