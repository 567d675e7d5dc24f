#include <string>
#include <vector>

#include "voicecore/audio/opus_packet.hpp"
#include "voicecore/base/spsc_ring.hpp"
#include "voicecore/sources/push_gate.hpp"
#include "voicecore/sources/push_source.hpp"

namespace voicecore::sources {

// A ring of packets: one producer, one consumer. The vectors keep their capacity from use to use.
class OpusQueue {
  public:
    explicit OpusQueue(std::size_t capacity) : ring_{capacity} {}

    PushGate gate;

    bool push(std::span<const std::uint8_t> packet) {
        std::vector<std::uint8_t>* slot = ring_.claim();
        if (slot == nullptr) {
            gate.writer_waits();
            slot = ring_.claim();  // the reader may have made room before it could see us
            if (slot == nullptr) return false;
        }
        slot->assign(packet.begin(), packet.end());
        ring_.publish();
        gate.wake_reader();
        return true;
    }
    [[nodiscard]] const std::vector<std::uint8_t>* front() noexcept { return ring_.front(); }
    void pop() noexcept {
        ring_.pop();
        if (writable()) gate.wake_writer();
    }
    [[nodiscard]] bool writable() const noexcept { return queued() <= ring_.capacity() / 2; }
    [[nodiscard]] std::size_t queued() const noexcept { return ring_.size(); }

  private:
    SpscRing<std::vector<std::uint8_t>> ring_;
};

namespace {

// One thread at a time, as MediaSource.
class OpusPushSource final : public audio::MediaSource {
  public:
    explicit OpusPushSource(std::shared_ptr<OpusQueue> queue) : queue_{std::move(queue)} {
        info_.kind = audio::MediaKind::opus;
        info_.container = "push";
        info_.codec = "opus";
        info_.sample_rate = kSampleRate;
        info_.channels = kChannels;
    }
    ~OpusPushSource() override { queue_->gate.abandon(); }

    const audio::SourceInfo& info() const noexcept override { return info_; }

    audio::ReadStatus read(audio::MediaUnit& unit) noexcept override {
        if (std::exchange(lent_, false)) queue_->pop();
        // Asked before looking: what was written before the close is seen after it.
        const bool closed = queue_->gate.closed();
        const auto* packet = queue_->front();
        if (packet == nullptr && !closed) {
            queue_->gate.reader_waits();
            packet = queue_->front();
            if (packet == nullptr && !queue_->gate.closed()) return audio::ReadStatus::would_block;
            queue_->gate.reader_goes_on();
            if (packet == nullptr) packet = queue_->front();
        }
        if (packet == nullptr) {
            return queue_->gate.failed() ? audio::ReadStatus::failed : audio::ReadStatus::end;
        }
        lent_ = true;
        unit = {};
        unit.position = position_;
        unit.packet = *packet;
        unit.duration = Samples{audio::parse_opus_packet(*packet)->samples()};
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
    std::shared_ptr<OpusQueue> queue_;
    audio::SourceInfo info_;
    bool lent_ = false;
    Samples position_{0};
};

}  // namespace

OpusFeed::OpusFeed(std::shared_ptr<OpusQueue> queue) noexcept : queue_{std::move(queue)} {}
OpusFeed::~OpusFeed() {
    if (!queue_) return;
    close();
    set_writable_hook({});  // what it would wake goes with this half
}
OpusFeed::OpusFeed(OpusFeed&&) noexcept = default;
OpusFeed& OpusFeed::operator=(OpusFeed&&) noexcept = default;

PushStatus OpusFeed::write_nowait(std::span<const std::uint8_t> packet) {
    if (queue_->gate.closed() || queue_->gate.abandoned()) return PushStatus::closed;
    if (!audio::parse_opus_packet(packet)) return PushStatus::not_opus;
    return queue_->push(packet) ? PushStatus::accepted : PushStatus::full;
}
void OpusFeed::close() noexcept {
    queue_->gate.close(std::nullopt);
}
void OpusFeed::fail(Error error) {
    queue_->gate.close(std::move(error));
}
bool OpusFeed::abandoned() const noexcept {
    return queue_->gate.abandoned();
}
bool OpusFeed::writable() const noexcept {
    return queue_->writable();
}
std::size_t OpusFeed::queued() const noexcept {
    return queue_->queued();
}
void OpusFeed::set_writable_hook(std::function<void()> hook) {
    queue_->gate.writable.set(std::move(hook));
}

Result<OpusPush> make_opus_push(std::size_t capacity) {
    if (capacity < 1 || capacity > 3'000) {
        return Error{
            .code = Errc::invalid_argument,
            .native = 0,
            .message = "capacity of " + std::to_string(capacity) + " packets: expected 1 to 3000"};
    }
    auto queue = std::make_shared<OpusQueue>(capacity);
    return OpusPush{.feed = OpusFeed{queue}, .source = std::make_unique<OpusPushSource>(queue)};
}

}  // namespace voicecore::sources
