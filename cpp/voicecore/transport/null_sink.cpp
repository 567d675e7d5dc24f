#include "voicecore/transport/null_sink.hpp"

namespace voicecore::transport {
namespace {

void add(std::atomic<std::uint64_t>& counter, std::uint64_t n) noexcept {
    counter.store(counter.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
}

Error in_use() {
    return {Errc::already_playing, 0, "another player uses this null sink"};
}

}  // namespace

Status NullSink::available() const {
    if (listener_.load(std::memory_order_acquire) != nullptr) return in_use();
    return Done{};
}

Status NullSink::start(audio::SinkListener& listener) {
    audio::SinkListener* nobody = nullptr;
    if (!listener_.compare_exchange_strong(nobody, &listener, std::memory_order_acq_rel)) {
        return in_use();
    }
    return Done{};
}

audio::SendStatus NullSink::send(const audio::OutgoingPacket& packet) noexcept {
    add(packets_, 1);
    if (packet.silence) add(silence_, 1);
    add(bytes_, packet.opus.size());
    add(ticks_, packet.ticks);
    return audio::SendStatus::sent;
}

void NullSink::finish() noexcept {
    auto* listener = listener_.exchange(nullptr, std::memory_order_acq_rel);
    if (listener != nullptr) listener->on_sink_finished(std::nullopt);
}

NullStatistics NullSink::statistics() const noexcept {
    return {.packets = packets_.load(std::memory_order_relaxed),
            .silence = silence_.load(std::memory_order_relaxed),
            .bytes = bytes_.load(std::memory_order_relaxed),
            .ticks = ticks_.load(std::memory_order_relaxed)};
}

}  // namespace voicecore::transport
