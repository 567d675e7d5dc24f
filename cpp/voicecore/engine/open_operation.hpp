// OpenOperation: opening a source without anyone waiting in place.
#pragma once

#include <memory>
#include <mutex>
#include <optional>

#include "voicecore/audio/media_source.hpp"
#include "voicecore/base/cancel.hpp"
#include "voicecore/playback/event.hpp"

namespace voicecore::engine {

// The opener runs on a thread of its own; `opened` is emitted when the result is there.
// Thread-safe.
class OpenOperation {
  public:
    // The opener must be registered (the codec module loaded). Fails when no thread can be had.
    static Result<std::shared_ptr<OpenOperation>> start(
        audio::OpenRequest request, std::shared_ptr<playback::EventListener> events);

    [[nodiscard]] std::uint64_t id() const noexcept { return id_; }
    // Gives up: the result, if it still comes, is thrown away on its own thread.
    void cancel() noexcept;
    // The result, once; null before `opened`.
    [[nodiscard]] std::optional<Result<std::unique_ptr<audio::MediaSource>>> take();

    // Cancels every operation under way and waits for their threads, at most this long. At exit.
    static void cancel_all(Nanoseconds patience) noexcept;

  private:
    OpenOperation() = default;
    void run(audio::OpenFunction open, const audio::OpenRequest& request) noexcept;

    const std::uint64_t id_ = playback::next_id();
    const std::shared_ptr<CancelToken> cancel_ = std::make_shared<CancelToken>();
    std::shared_ptr<playback::EventListener> events_;
    std::mutex mutex_;
    std::optional<Result<std::unique_ptr<audio::MediaSource>>> result_;
};

}  // namespace voicecore::engine
