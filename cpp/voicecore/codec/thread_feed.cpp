#include "voicecore/codec/thread_feed.hpp"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <vector>

#include "voicecore/codec/ready_hook.hpp"
#include "voicecore/codec/unexpected.hpp"

namespace voicecore::codec {
namespace {

constexpr std::size_t kMostBytes = 2 << 20;
constexpr double kMostSeconds = 10;
constexpr std::chrono::milliseconds kCancelPoll{5};
constexpr std::chrono::seconds kGrace{1};  // for the input to report its own time-out first

struct Stored {
    std::vector<std::uint8_t> bytes;
    Packet packet;  // its data are `bytes`
};

// Owned jointly by the feed and its thread, whichever lives longer.
struct Shared {
    explicit Shared(ThreadFeedOptions given) : options{std::move(given)} {}

    ThreadFeedOptions options;
    ReadyHook hook;
    std::mutex mutex;
    std::condition_variable thread_wakes;  // room, a seek, the end
    std::condition_variable opener_wakes;
    // All below under the mutex.
    bool closed = false;
    bool opened = false;
    std::optional<Error> failure;
    StreamFacts facts;  // constant once opened
    std::deque<Stored> queue;
    std::vector<std::vector<std::uint8_t>> spare;
    std::size_t bytes = 0;
    double seconds = 0;
    bool at_end = false;
    bool starved = false;
    std::optional<Samples> seek;
    std::atomic<std::uint64_t> damage{0};

    void close() {
        {
            const std::lock_guard lock{mutex};
            closed = true;
            queue.clear();
        }
        options.interrupter->close();
        if (options.input) options.input->interrupt();
        thread_wakes.notify_all();
        hook.set({});
    }
};

double seconds_of(const Packet& packet) {
    return static_cast<double>(packet.duration) / std::max(packet.segment->rate, 1);
}

// The thread: open, then demux into the queue until closed. Ends by itself at the latest when the
// call that it hangs in returns.
class Worker {
  public:
    Worker(std::shared_ptr<Shared> shared, OpenDemuxer open)
        : shared_{std::move(shared)}, open_{std::move(open)} {}

    void operator()() {
        try {
            run();
        } catch (const std::exception& thrown) {
            fail(unexpected(thrown, shared_->options.name));
        }
    }

  private:
    void run() {
        auto opened = open_();
        if (!opened) return fail(std::move(opened).error());
        demuxer_ = std::move(opened).value();
        {
            const std::lock_guard lock{shared_->mutex};
            shared_->facts = demuxer_->facts();
            shared_->opened = true;
        }
        shared_->opener_wakes.notify_all();
        while (wait_for_work()) {
            Packet packet;
            const DemuxStatus status = demuxer_->next(packet);
            shared_->damage.store(demuxer_->damage(), std::memory_order_relaxed);
            deliver(status, packet);
        }
    }

    // False once closed. Carries out a seek that was asked for.
    bool wait_for_work() {
        std::unique_lock lock{shared_->mutex};
        for (;;) {
            if (shared_->closed) return false;
            if (shared_->seek) {
                const Samples target = *std::exchange(shared_->seek, std::nullopt);
                shared_->options.interrupter->resume();
                lock.unlock();
                auto moved = demuxer_->seek(target);
                lock.lock();
                // Another seek may have come and have interrupted this one.
                if (!moved && !shared_->seek) {
                    shared_->failure = std::move(moved).error();
                    lock.unlock();
                    shared_->hook.call();
                    lock.lock();
                }
                continue;
            }
            const bool full = shared_->bytes >= kMostBytes || shared_->seconds >= kMostSeconds;
            if (!full && !shared_->at_end && !shared_->failure) return true;
            shared_->thread_wakes.wait(lock);
        }
    }

    void deliver(DemuxStatus status, const Packet& packet) {
        std::unique_lock lock{shared_->mutex};
        if (shared_->closed || shared_->seek) return;  // of the time before the seek
        switch (status) {
            case DemuxStatus::packet: {
                Stored stored;
                if (!shared_->spare.empty()) {
                    stored.bytes = std::move(shared_->spare.back());
                    shared_->spare.pop_back();
                }
                stored.bytes.assign(packet.data.begin(), packet.data.end());
                stored.packet = packet;
                shared_->bytes += stored.bytes.size();
                shared_->seconds += seconds_of(packet);
                shared_->queue.push_back(std::move(stored));
                break;
            }
            case DemuxStatus::end:
                shared_->at_end = true;
                break;
            case DemuxStatus::failed:
                shared_->failure = demuxer_->error();
                break;
        }
        const bool wake = std::exchange(shared_->starved, false);
        lock.unlock();
        if (wake) shared_->hook.call();
    }

    void fail(Error error) {
        {
            const std::lock_guard lock{shared_->mutex};
            shared_->failure = std::move(error);
        }
        shared_->opener_wakes.notify_all();
        shared_->hook.call();
    }

    std::shared_ptr<Shared> shared_;
    OpenDemuxer open_;
    std::unique_ptr<Demuxer> demuxer_;
};

class ThreadFeed final : public PacketFeed {
  public:
    explicit ThreadFeed(std::shared_ptr<Shared> shared)
        : shared_{std::move(shared)}, facts_{shared_->facts} {}
    ~ThreadFeed() override { shared_->close(); }

    [[nodiscard]] const StreamFacts& facts() const noexcept override { return facts_; }

    [[nodiscard]] audio::ReadStatus next(Packet& packet) override {
        std::unique_lock lock{shared_->mutex};
        if (!current_.bytes.empty() && shared_->spare.size() < 8) {
            shared_->spare.push_back(std::move(current_.bytes));
        }
        if (!shared_->queue.empty()) {
            current_ = std::move(shared_->queue.front());
            shared_->queue.pop_front();
            shared_->bytes -= current_.bytes.size();
            shared_->seconds -= seconds_of(current_.packet);
            // Woken only once there is room for a worthwhile stretch of work.
            const bool wake =
                shared_->bytes < kMostBytes / 4 * 3 && shared_->seconds < kMostSeconds / 4 * 3;
            lock.unlock();
            if (wake) shared_->thread_wakes.notify_one();
            packet = current_.packet;
            packet.data = current_.bytes;
            return audio::ReadStatus::ok;
        }
        if (shared_->seek) {
            shared_->starved = true;
            return audio::ReadStatus::would_block;
        }
        if (shared_->failure) return audio::ReadStatus::failed;
        if (shared_->at_end) return audio::ReadStatus::end;
        if (shared_->options.interrupter->idle() > shared_->options.timeout + kGrace) {
            shared_->failure = stalled(shared_->options);
            return audio::ReadStatus::failed;
        }
        shared_->starved = true;
        return audio::ReadStatus::would_block;
    }

    void seek(Samples position) override {
        {
            const std::lock_guard lock{shared_->mutex};
            shared_->seek = position;
            for (auto& stored : shared_->queue) shared_->bytes -= stored.bytes.size();
            shared_->queue.clear();
            shared_->seconds = 0;
            shared_->at_end = false;
            shared_->failure.reset();
            shared_->options.interrupter->touch();
            // Out of whatever it waits for. Under the lock, so that it cannot hit the seek itself.
            shared_->options.interrupter->poke();
        }
        shared_->thread_wakes.notify_one();
    }

    [[nodiscard]] Error error() const override {
        const std::lock_guard lock{shared_->mutex};
        return shared_->failure.value_or(Error{});
    }
    [[nodiscard]] std::uint64_t damage() const noexcept override {
        return shared_->damage.load(std::memory_order_relaxed);
    }
    void set_ready_hook(std::function<void()> hook) override { shared_->hook.set(std::move(hook)); }

    [[nodiscard]] static Error stalled(const ThreadFeedOptions& options) {
        return {Errc::timeout, 0,
                options.name + ": no sign of life for " + std::to_string(options.timeout.count()) +
                    " ms"};
    }

  private:
    std::shared_ptr<Shared> shared_;
    StreamFacts facts_;
    Stored current_;
};

}  // namespace

Result<std::unique_ptr<PacketFeed>> make_thread_feed(OpenDemuxer open, ThreadFeedOptions options) {
    const auto cancel = options.cancel;
    auto shared = std::make_shared<Shared>(std::move(options));
    shared->options.interrupter->touch();
    const auto started = start_abandonable_thread(
        "vc-demux", [worker = std::make_shared<Worker>(shared, std::move(open))] { (*worker)(); });
    if (!started) return started.error();
    std::unique_lock lock{shared->mutex};
    std::optional<Error> failure;
    while (!shared->opened && !shared->failure && !failure) {
        shared->opener_wakes.wait_for(lock, kCancelPoll);
        if (shared->opened || shared->failure) break;
        if (cancel && cancel->cancelled()) {
            failure = Error{Errc::cancelled, 0, shared->options.name + ": opening was cancelled"};
        } else if (shared->options.interrupter->idle() > shared->options.timeout + kGrace) {
            failure = ThreadFeed::stalled(shared->options);
        }
    }
    if (!failure && !shared->opened) failure = shared->failure;
    lock.unlock();
    if (failure) {
        shared->close();
        return *std::move(failure);
    }
    return std::unique_ptr<PacketFeed>{std::make_unique<ThreadFeed>(std::move(shared))};
}

}  // namespace voicecore::codec
