#include "voicecore/engine/transcode.hpp"

#include <utility>

#include "voicecore/base/thread.hpp"

namespace voicecore::engine {
namespace {

constexpr std::chrono::milliseconds kPatience{200};  // by which a time-out may be noticed late

}  // namespace

Result<std::shared_ptr<Transcode>> Transcode::start(
    std::unique_ptr<audio::PacketSource> source, transport::OggWriter writer,
    std::shared_ptr<playback::EventListener> events) {
    std::shared_ptr<Transcode> transcode{
        new Transcode{std::move(source), std::move(writer), std::move(events)}};  // NOLINT: private
    auto thread = start_thread("to transcode", [self = transcode.get()] { self->run(); });
    if (!thread) return std::move(thread).error();
    transcode->thread_ = std::move(thread).value();
    return transcode;
}

Transcode::Transcode(std::unique_ptr<audio::PacketSource> source, transport::OggWriter writer,
                     std::shared_ptr<playback::EventListener> events)
    : source_{std::move(source)}, writer_{std::move(writer)}, events_{std::move(events)} {
    source_->set_ready_hook([this] { more_.signal(); });
}

Transcode::~Transcode() {
    cancel();
    if (thread_.joinable()) thread_.join();
}

void Transcode::cancel() noexcept {
    cancel_.cancel();
    more_.signal();
}

void Transcode::run() noexcept {
    enter_native_thread("vc-transcode");
    const SteadyClock clock;
    const TimePoint begin = clock.now();
    auto failure = convert();
    auto closed = writer_.finish();
    const bool whole = closed.ok();
    if (!whole && !failure) failure = Failure{std::move(closed).error(), true};
    {
        const std::lock_guard lock{mutex_};
        failure_ = std::move(failure);
        // More than the media where the grid of copied packets left something between tracks.
        totals_.written = whole ? writer_.length() : position();
        totals_.decode_errors = source_->decode_errors();
        totals_.elapsed = clock.now() - begin;
    }
    source_.reset();
    running_.store(false, std::memory_order_release);
    events_->emit({.subject = id_, .value = 0, .kind = playback::EventKind::finished});
}

std::optional<Transcode::Failure> Transcode::convert() {
    const SteadyClock clock;
    audio::PlayablePacket packet;
    while (!cancel_.cancelled()) {
        switch (source_->next(packet)) {
            case audio::ReadStatus::ok: {
                if (auto written = writer_.write(packet.opus.bytes(), packet.media_samples);
                    !written) {
                    return Failure{written.error(), true};
                }
                written_.fetch_add(packet.media_samples, std::memory_order_relaxed);
                ++totals_.frames;
                totals_.passthrough += packet.passthrough ? 1U : 0U;
                break;
            }
            case audio::ReadStatus::would_block:
                // An input that says nothing does not signal that it has run out of time; it does
                // so when it is asked.
                more_.wait_until(clock.now() + kPatience);
                break;
            case audio::ReadStatus::end:
                return std::nullopt;
            case audio::ReadStatus::failed:
                return Failure{source_->error(), false};
        }
    }
    return std::nullopt;
}

std::optional<Transcode::Failure> Transcode::failure() const {
    const std::lock_guard lock{mutex_};
    return failure_;
}

Transcode::Totals Transcode::totals() const {
    const std::lock_guard lock{mutex_};
    return totals_;
}

}  // namespace voicecore::engine
