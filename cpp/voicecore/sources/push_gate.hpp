// What both push queues share: the end of the stream and who must be woken.
#pragma once

#include <atomic>
#include <mutex>
#include <optional>
#include <utility>

#include "voicecore/base/result.hpp"
#include "voicecore/sources/hook.hpp"

namespace voicecore::sources {

// Each side announces that it waits, then looks again; the other changes the queue, then looks at
// the announcement. Both touch the announcement by an exchange only: whichever comes second reads
// what the first left, so either the change is seen or the announcement is. Thread-safe.
class PushGate {
  public:
    Hook ready;     // the player's
    Hook writable;  // the producer's

    void reader_waits() noexcept { reader_waits_.exchange(true, std::memory_order_acq_rel); }
    void reader_goes_on() noexcept { reader_waits_.exchange(false, std::memory_order_acq_rel); }
    void wake_reader() noexcept {
        if (reader_waits_.exchange(false, std::memory_order_acq_rel)) ready.call();
    }
    void writer_waits() noexcept { writer_waits_.exchange(true, std::memory_order_acq_rel); }
    void wake_writer() noexcept {
        if (writer_waits_.exchange(false, std::memory_order_acq_rel)) writable.call();
    }
    [[nodiscard]] bool writer_waiting() const noexcept {
        return writer_waits_.load(std::memory_order_seq_cst);
    }

    void close(std::optional<Error> error) {
        {
            const std::lock_guard lock{mutex_};
            if (closed_.load(std::memory_order_relaxed)) return;
            error_ = std::move(error);
            failed_.store(error_.has_value(), std::memory_order_relaxed);
            closed_.store(true, std::memory_order_seq_cst);
        }
        wake_reader();
        // A writer that waits for room would only be refused then; and a reader that has paused
        // makes none.
        writer_waits();
        wake_writer();
    }
    void abandon() noexcept {
        abandoned_.store(true, std::memory_order_seq_cst);
        ready.set({});
        writer_waits();
        wake_writer();
    }
    [[nodiscard]] bool closed() const noexcept { return closed_.load(std::memory_order_seq_cst); }
    [[nodiscard]] bool failed() const noexcept { return failed_.load(std::memory_order_relaxed); }
    [[nodiscard]] bool abandoned() const noexcept {
        return abandoned_.load(std::memory_order_seq_cst);
    }
    [[nodiscard]] Error error() const {
        const std::lock_guard lock{mutex_};
        return error_.value_or(
            Error{.code = Errc::internal, .native = 0, .message = "nothing has failed"});
    }

  private:
    mutable std::mutex mutex_;
    std::optional<Error> error_;
    std::atomic<bool> closed_{false};
    std::atomic<bool> failed_{false};
    std::atomic<bool> abandoned_{false};
    std::atomic<bool> reader_waits_{false};
    std::atomic<bool> writer_waits_{false};
};

}  // namespace voicecore::sources
