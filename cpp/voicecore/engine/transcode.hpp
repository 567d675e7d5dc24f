// Transcode: a packet source into an Ogg file, as fast as the CPU allows.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "voicecore/audio/packet_source.hpp"
#include "voicecore/base/cancel.hpp"
#include "voicecore/base/clock.hpp"
#include "voicecore/playback/event.hpp"
#include "voicecore/transport/ogg_writer.hpp"

namespace voicecore::engine {

// Works on a thread of its own and emits `finished` at its end. Thread-safe. The destructor cancels
// and waits for the thread, which looks at the cancel token before each packet.
class Transcode {
  public:
    [[nodiscard]] static Result<std::shared_ptr<Transcode>> start(
        std::unique_ptr<audio::PacketSource> source, transport::OggWriter writer,
        std::shared_ptr<playback::EventListener> events);
    ~Transcode();

    [[nodiscard]] std::uint64_t id() const noexcept { return id_; }
    [[nodiscard]] bool running() const noexcept { return running_.load(std::memory_order_acquire); }
    // Samples written so far.
    [[nodiscard]] Samples position() const noexcept {
        return Samples{written_.load(std::memory_order_relaxed)};
    }
    // The file gets its proper end all the same.
    void cancel() noexcept;

    struct Failure {
        Error error;
        bool sink = false;  // the file, not the source
    };
    struct Totals {
        Samples written{0};  // the length of the file
        std::uint64_t frames = 0;
        std::uint64_t passthrough = 0;
        std::uint64_t decode_errors = 0;
        Nanoseconds elapsed{0};
    };
    // Both once it no longer runs.
    [[nodiscard]] std::optional<Failure> failure() const;
    [[nodiscard]] Totals totals() const;

  private:
    Transcode(std::unique_ptr<audio::PacketSource> source, transport::OggWriter writer,
              std::shared_ptr<playback::EventListener> events);
    void run() noexcept;
    [[nodiscard]] std::optional<Failure> convert();

    const std::uint64_t id_ = playback::next_id();
    std::unique_ptr<audio::PacketSource> source_;
    transport::OggWriter writer_;
    const std::shared_ptr<playback::EventListener> events_;  // outlives the thread
    CancelToken cancel_;
    WakeSignal more_;  // from the source, and from cancel()
    std::atomic<bool> running_{true};
    std::atomic<std::int64_t> written_{0};
    mutable std::mutex mutex_;
    std::optional<Failure> failure_;
    Totals totals_;
    std::thread thread_;
};

}  // namespace voicecore::engine
