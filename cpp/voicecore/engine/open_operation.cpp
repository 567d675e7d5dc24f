#include "voicecore/engine/open_operation.hpp"

#include <condition_variable>
#include <set>
#include <utility>

#include "voicecore/base/thread.hpp"

namespace voicecore::engine {
namespace {

// The operations under way. Their threads are on their own (nobody waits for an open that hangs in
// a name look-up); this is how exit still reaches them.
struct UnderWay {
    std::mutex mutex;
    std::condition_variable left;
    std::set<OpenOperation*> operations;
};
// Never destroyed: a thread that outlives main() may still come back to it.
UnderWay& under_way() {
    static auto* instance = new UnderWay;  // NOLINT
    return *instance;
}

}  // namespace

Result<std::shared_ptr<OpenOperation>> OpenOperation::start(
    audio::OpenRequest request, std::shared_ptr<playback::EventListener> events) {
    const audio::OpenFunction open = audio::registered_opener();
    if (open == nullptr) {
        return Error{Errc::internal, 0, "the codec module is not loaded"};
    }
    std::shared_ptr<OpenOperation> operation{new OpenOperation};  // NOLINT: private constructor
    operation->events_ = std::move(events);
    auto& all = under_way();
    {
        const std::lock_guard lock{all.mutex};
        all.operations.insert(operation.get());
    }
    auto thread = start_thread("to open a source", [operation, open, request = std::move(request)] {
        operation->run(open, request);
        auto& set = under_way();
        const std::lock_guard lock{set.mutex};
        set.operations.erase(operation.get());
        set.left.notify_all();
    });
    if (!thread) {
        const std::lock_guard lock{all.mutex};
        all.operations.erase(operation.get());
        return std::move(thread).error();
    }
    thread->detach();
    return operation;
}

void OpenOperation::run(audio::OpenFunction open, const audio::OpenRequest& request) noexcept {
    enter_native_thread("vc-open");
    auto result = open(request, cancel_);
    {
        const std::lock_guard lock{mutex_};
        if (!cancel_->cancelled()) result_.emplace(std::move(result));
    }
    events_->emit({.subject = id_, .value = 0, .kind = playback::EventKind::opened});
}

void OpenOperation::cancel() noexcept {
    cancel_->cancel();
    std::optional<Result<std::unique_ptr<audio::MediaSource>>> unwanted;
    const std::lock_guard lock{mutex_};
    unwanted.swap(result_);
}

std::optional<Result<std::unique_ptr<audio::MediaSource>>> OpenOperation::take() {
    const std::lock_guard lock{mutex_};
    return std::exchange(result_, std::nullopt);
}

void OpenOperation::cancel_all(Nanoseconds patience) noexcept {
    auto& all = under_way();
    std::unique_lock lock{all.mutex};
    for (OpenOperation* operation : all.operations) operation->cancel_->cancel();
    all.left.wait_for(lock, patience, [&] { return all.operations.empty(); });
}

}  // namespace voicecore::engine
