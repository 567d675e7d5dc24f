#include <algorithm>
#include <atomic>
#include <cstring>
#include <string>
#include <vector>

#include "voicecore/sources/push_gate.hpp"
#include "voicecore/sources/push_source.hpp"

namespace voicecore::sources {

// A ring of samples: one producer, one consumer.
class PcmQueue {
  public:
    explicit PcmQueue(Samples capacity)
        : samples_{static_cast<std::uint64_t>(capacity.count())},
          values_(static_cast<std::size_t>(samples_) * kChannels) {}

    PushGate gate;

    template <class T, class Convert>
    std::size_t write(std::span<const T> pcm, Convert&& convert) noexcept {
        const std::uint64_t wanted = pcm.size() / kChannels;
        std::uint64_t done = 0;
        while (done < wanted && !gate.closed() && !gate.abandoned()) {
            const std::uint64_t room = free();
            if (room == 0) {
                if (gate.writer_waiting()) break;
                gate.writer_waits();
                continue;  // look again: the reader may have made room before it could see us
            }
            const std::uint64_t slot = written_.load(std::memory_order_relaxed) % samples_;
            const std::uint64_t count = std::min({wanted - done, room, samples_ - slot});
            for (std::uint64_t i = 0; i < count * kChannels; ++i) {
                values_[slot * kChannels + i] = convert(pcm[done * kChannels + i]);
            }
            written_.fetch_add(count, std::memory_order_seq_cst);
            done += count;
        }
        if (done > 0) gate.wake_reader();
        return static_cast<std::size_t>(done);
    }

    // The oldest contiguous samples; they stay until release().
    [[nodiscard]] std::span<const float> peek() const noexcept {
        const std::uint64_t read = read_.load(std::memory_order_relaxed);
        const std::uint64_t there = written_.load(std::memory_order_seq_cst) - read;
        const std::uint64_t slot = read % samples_;
        const std::uint64_t count = std::min(there, samples_ - slot);
        return std::span{values_}.subspan(static_cast<std::size_t>(slot) * kChannels,
                                          static_cast<std::size_t>(count) * kChannels);
    }
    void release(std::size_t samples) noexcept {
        read_.fetch_add(samples, std::memory_order_seq_cst);
        if (writable()) gate.wake_writer();
    }
    [[nodiscard]] bool writable() const noexcept { return free() >= samples_ / 2; }
    [[nodiscard]] Samples queued() const noexcept {
        return Samples{static_cast<std::int64_t>(samples_ - free())};
    }

  private:
    [[nodiscard]] std::uint64_t free() const noexcept {
        const std::uint64_t read = read_.load(std::memory_order_seq_cst);
        return samples_ - (written_.load(std::memory_order_seq_cst) - read);
    }
    const std::uint64_t samples_;
    std::vector<float> values_;
    std::atomic<std::uint64_t> written_{0};
    std::atomic<std::uint64_t> read_{0};
};

namespace {

// One thread at a time, as MediaSource.
class PcmPushSource final : public audio::MediaSource {
  public:
    explicit PcmPushSource(std::shared_ptr<PcmQueue> queue) : queue_{std::move(queue)} {
        info_.kind = audio::MediaKind::pcm;
        info_.container = "push";
        info_.codec = "pcm_f32le";
        info_.sample_rate = kSampleRate;
        info_.channels = kChannels;
        info_.no_passthrough = "it is PCM";
    }
    ~PcmPushSource() override { queue_->gate.abandon(); }

    const audio::SourceInfo& info() const noexcept override { return info_; }

    audio::ReadStatus read(audio::MediaUnit& unit) noexcept override {
        if (lent_ > 0) queue_->release(std::exchange(lent_, 0));
        // Asked before looking: what was written before the close is seen after it.
        const bool closed = queue_->gate.closed();
        auto pcm = queue_->peek();
        if (pcm.empty() && !closed) {
            queue_->gate.reader_waits();
            pcm = queue_->peek();
            if (pcm.empty() && !queue_->gate.closed()) return audio::ReadStatus::would_block;
            queue_->gate.reader_goes_on();
            if (pcm.empty()) pcm = queue_->peek();
        }
        if (pcm.empty()) {
            return queue_->gate.failed() ? audio::ReadStatus::failed : audio::ReadStatus::end;
        }
        // One frame at a time, so that room comes back evenly.
        pcm = pcm.first(std::min(pcm.size(), kFrameValues));
        lent_ = pcm.size() / kChannels;
        unit = {};
        unit.position = position_;
        unit.pcm = pcm;
        unit.duration = Samples{static_cast<std::int64_t>(lent_)};
        position_ += unit.duration;
        return audio::ReadStatus::ok;
    }
    void seek(Samples) noexcept override {}
    Error error() const override { return queue_->gate.error(); }
    std::uint64_t decode_errors() const noexcept override { return 0; }
    bool caller_paced() const noexcept override { return true; }
    void set_ready_hook(std::function<void()> hook) override {
        queue_->gate.ready.set(std::move(hook));
    }

  private:
    std::shared_ptr<PcmQueue> queue_;
    audio::SourceInfo info_;
    std::size_t lent_ = 0;
    Samples position_{0};
};

}  // namespace

PcmFeed::PcmFeed(std::shared_ptr<PcmQueue> queue) noexcept : queue_{std::move(queue)} {}
PcmFeed::~PcmFeed() {
    if (!queue_) return;
    close();
    set_writable_hook({});  // what it would wake goes with this half
}
PcmFeed::PcmFeed(PcmFeed&&) noexcept = default;
PcmFeed& PcmFeed::operator=(PcmFeed&&) noexcept = default;

std::size_t PcmFeed::write_nowait(std::span<const float> pcm) noexcept {
    return queue_->write(pcm, [](float value) { return value; });
}
std::size_t PcmFeed::write_nowait(std::span<const std::int16_t> pcm) noexcept {
    return queue_->write(
        pcm, [](std::int16_t value) { return static_cast<float>(value) * (1.0F / 32768.0F); });
}
void PcmFeed::close() noexcept {
    queue_->gate.close(std::nullopt);
}
void PcmFeed::fail(Error error) {
    queue_->gate.close(std::move(error));
}
bool PcmFeed::abandoned() const noexcept {
    return queue_->gate.abandoned();
}
bool PcmFeed::writable() const noexcept {
    return queue_->writable();
}
Samples PcmFeed::queued() const noexcept {
    return queue_->queued();
}
void PcmFeed::set_writable_hook(std::function<void()> hook) {
    queue_->gate.writable.set(std::move(hook));
}

Result<PcmPush> make_pcm_push(Samples capacity) {
    if (capacity < Samples{kFrameSamples} || capacity > std::chrono::seconds{60}) {
        return Error{.code = Errc::invalid_argument,
                     .native = 0,
                     .message = "capacity of " + std::to_string(to_seconds(capacity)) +
                                " s: expected 0.02 to 60"};
    }
    auto queue = std::make_shared<PcmQueue>(capacity);
    return PcmPush{.feed = PcmFeed{queue}, .source = std::make_unique<PcmPushSource>(queue)};
}

}  // namespace voicecore::sources
