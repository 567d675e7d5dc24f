#include "voicecore/transport/ring_sink.hpp"

#include <exception>
#include <new>
#include <string>
#include <utility>

#include "voicecore/base/thread.hpp"

namespace voicecore::transport {

PacketWriter::~PacketWriter() = default;

RingSink::RingSink(std::unique_ptr<PacketWriter> writer, const Options& options)
    : options_{options}, writer_{std::move(writer)}, ring_{options.packets} {}

RingSink::~RingSink() {
    // For a sink whose player never finished it: what was sent is still written and closed.
    RingSink::finish();
    if (thread_.joinable()) thread_.join();
}

Status RingSink::available() const {
    const std::lock_guard lock{mutex_};
    return available_locked();
}

Status RingSink::available_locked() const {
    if (in_use_) return Error{Errc::already_playing, 0, "another player uses this sink"};
    return writer_->available();
}

Status RingSink::start(audio::SinkListener& listener) {
    {
        const std::lock_guard lock{mutex_};
        if (auto free = available_locked(); !free) return free;
        writer_->admit();
        in_use_ = true;
        concluded_ = false;
        finished_ = false;
        listener_ = &listener;
    }
    if (thread_.joinable()) thread_.join();  // the player before: its thread has only to return
    finishing_.store(false, std::memory_order_relaxed);
    failed_.store(false, std::memory_order_relaxed);
    {
        // Left by a player whose packets could not be written.
        const std::lock_guard lock{drain_mutex_};
        while (ring_.front() != nullptr) {
            ring_.pop();
            drained_.fetch_add(1, std::memory_order_relaxed);
        }
    }
    auto thread = start_thread("for the sink", [this] { run(); });
    if (!thread) {
        const std::lock_guard lock{mutex_};
        in_use_ = false;
        return std::move(thread).error();
    }
    thread_ = std::move(thread).value();
    return Done{};
}

audio::SendStatus RingSink::send(const audio::OutgoingPacket& packet) noexcept {
    if (failed_.load(std::memory_order_relaxed)) return audio::SendStatus::failed;
    RingPacket* slot = has_room() ? ring_.claim() : nullptr;
    if (slot == nullptr || !slot->opus.assign(packet.opus)) {
        overflow_.store(overflow_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
        lost_ticks_ += packet.ticks;
        return audio::SendStatus::overflow;
    }
    slot->ticks = packet.ticks + std::exchange(lost_ticks_, 0);
    slot->media_samples = packet.media_samples;
    slot->silence = packet.silence;
    ring_.publish();
    // A read-modify-write in the one total order, paired with rest(): either the writer sees this
    // packet before it sleeps, or its mark is seen here.
    accepted_.fetch_add(1, std::memory_order_seq_cst);
    if (dozing_.load(std::memory_order_seq_cst)) {
        if (dozing_.exchange(false, std::memory_order_seq_cst)) wake_.signal();
    } else if (waiting() * 2 >= ring_.capacity() &&
               !prodded_.exchange(true, std::memory_order_seq_cst)) {
        wake_.signal();
    }
    return audio::SendStatus::sent;
}

bool RingSink::ready() const noexcept {
    // A sink that cannot take packets any more must not hold time up.
    return failed_.load(std::memory_order_relaxed) || waiting() < ring_.capacity();
}

void RingSink::finish() noexcept {
    {
        const std::lock_guard lock{mutex_};
        finished_ = true;
        if (concluded_) in_use_ = false;
    }
    finishing_.store(true, std::memory_order_seq_cst);
    wake_.signal();
}

RingStatistics RingSink::ring_statistics() const noexcept {
    return {.packets = accepted_.load(std::memory_order_relaxed),
            .overflow = overflow_.load(std::memory_order_relaxed)};
}

Status RingSink::drain() {
    const std::lock_guard lock{drain_mutex_};
    while (const RingPacket* packet = ring_.front()) {
        auto written = writer_->write(*packet);
        ring_.pop();
        drained_.fetch_add(1, std::memory_order_relaxed);
        if (!written) return written;
    }
    return Done{};
}

void RingSink::run() noexcept {
    enter_native_thread("vc-write");
    std::optional<Error> error;
    try {
        if (auto done = work(); !done) error = std::move(done).error();
    } catch (const std::bad_alloc&) {
        error = Error{Errc::no_memory, 0, {}};  // too short to allocate
    } catch (const std::exception& e) {
        error = Error{Errc::internal, 0, e.what()};
    }
    conclude(std::move(error));
}

Status RingSink::work() {
    if (auto begun = writer_->begin(); !begun) return begun;
    while (true) {
        // Looked at before the ring: everything sent before finish() is then visible.
        const bool finishing = finishing_.load(std::memory_order_seq_cst);
        if (auto drained = drain(); !drained) return drained;
        if (finishing) return writer_->end();
        rest();
    }
}

void RingSink::rest() noexcept {
    prodded_.store(false, std::memory_order_seq_cst);
    if (waiting() * 2 >= ring_.capacity()) return;
    const SteadyClock clock;
    if (wake_.wait_until(clock.now() + options_.interval) || waiting() != 0) return;
    dozing_.store(true, std::memory_order_seq_cst);
    if (waiting() == 0 && !finishing_.load(std::memory_order_seq_cst)) wake_.wait();
    dozing_.store(false, std::memory_order_seq_cst);
}

void RingSink::conclude(std::optional<Error> error) noexcept {
    if (error) failed_.store(true, std::memory_order_seq_cst);
    audio::SinkListener* listener = nullptr;
    {
        const std::lock_guard lock{mutex_};
        concluded_ = true;
        if (finished_) in_use_ = false;
        listener = std::exchange(listener_, nullptr);
    }
    if (listener != nullptr) listener->on_sink_finished(std::move(error));
}

}  // namespace voicecore::transport
