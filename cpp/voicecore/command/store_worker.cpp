#include "voicecore/command/store_worker.hpp"

#include <utility>

#include "voicecore/base/thread.hpp"
#include "voicecore/command/doorbell.hpp"

namespace voicecore::command {

void StoreWorker::run(StoreCall& call) noexcept {
    std::vector<std::string> bells;
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
        }
        call.run(*store_);
        bells = store_->take_bells();
    }
    // After COMMIT: whoever looks now finds it.
    for (const std::string& bell : bells) ring(bell);
}

void StoreWorker::submit(std::shared_ptr<StoreCall> call, std::function<void()> done) {
    {
        const std::lock_guard lock{jobs_mutex_};
        if (!closing_) {
            if (!thread_.joinable()) thread_ = std::thread{[this] { work(); }};
            jobs_.push_back({std::move(call), std::move(done)});
            more_.notify_one();
            return;
        }
    }
    call->fail(Error{Errc::closed, 0, "the queue " + options_.path + " is closed"});
    done();
}

void StoreWorker::work() noexcept {
    enter_native_thread("vc-queue");
    std::unique_lock lock{jobs_mutex_};
    while (true) {
        more_.wait(lock, [this] { return closing_ || !jobs_.empty(); });
        if (jobs_.empty()) return;
        const Job job = std::exchange(jobs_.front(), {});
        jobs_.pop_front();
        lock.unlock();
        run(*job.call);
        job.done();
        lock.lock();
    }
}

void StoreWorker::close() noexcept {
    std::thread thread;
    {
        const std::lock_guard lock{jobs_mutex_};
        closing_ = true;
        thread.swap(thread_);
        more_.notify_all();
    }
    if (thread.joinable()) thread.join();
    const std::lock_guard lock{store_mutex_};
    shut_ = true;
    // A process that makes one client after another must not fill the file with their names.
    if (store_ != nullptr) {
        [[maybe_unused]] const auto gone = store_->retire_worker();
    }
    store_.reset();
}

}  // namespace voicecore::command
