#include "voicecore/command/caretaker.hpp"

#include <utility>

#include "voicecore/base/thread.hpp"

namespace voicecore::command {

Status Caretaker::start() {
    if (thread_.joinable()) return Done{};
    auto thread = start_thread("to look after the queue file", [this] { run(); });
    if (!thread) return std::move(thread).error();
    thread_ = std::move(thread).value();
    return Done{};
}

void Caretaker::stop() noexcept {
    stopping_.store(true, std::memory_order_release);
    wanted_.signal();
    if (thread_.joinable()) thread_.join();
}

void Caretaker::run() noexcept {
    enter_native_thread("vc-tidy");
    std::unique_ptr<Store> store;
    while (true) {
        wanted_.wait();
        if (stopping_.load(std::memory_order_acquire)) return;
        if (store == nullptr) {
            auto opened = Store::open(options_);
            if (!opened) {
                failed_(std::move(opened).error());
                continue;
            }
            store = std::move(opened).value();
        }
        if (auto ok = store->audit(); !ok) {
            verdict_->condemn(ok.error());
            failed_(std::move(ok).error());
        } else if (auto done = store->checkpoint(false); !done) {
            failed_(std::move(done).error());
        }
    }
}

}  // namespace voicecore::command
