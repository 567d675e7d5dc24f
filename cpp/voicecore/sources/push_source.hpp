// Sources that the caller feeds by hand, with back-pressure.
//
// Each comes in two halves that share a bounded queue: a feed for one producer thread, and a
// MediaSource for the player. The queue is shared because neither half may outlive or wait for the
// other: a player drops its source while the producer still writes, and the producer goes while the
// queue drains.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "voicecore/audio/media_source.hpp"

namespace voicecore::sources {

class PcmQueue;
class OpusQueue;

// The producer's half, PCM. One thread at a time writes; close(), fail() and the queries from any.
class PcmFeed {
  public:
    explicit PcmFeed(std::shared_ptr<PcmQueue> queue) noexcept;
    ~PcmFeed();
    PcmFeed(PcmFeed&&) noexcept;
    PcmFeed& operator=(PcmFeed&&) noexcept;

    // Interleaved stereo at 48 kHz: takes as many whole samples as there is room for and says how
    // many (per channel). After a short write the writable hook comes when half of the queue is
    // free. 0 once closed or abandoned.
    [[nodiscard]] std::size_t write_nowait(std::span<const float> pcm) noexcept;
    [[nodiscard]] std::size_t write_nowait(std::span<const std::int16_t> pcm) noexcept;

    // What was written is played, then the source ends.
    void close() noexcept;
    // The same, but it ends as failed.
    void fail(Error error);

    // The source is gone: nobody will hear what is written.
    [[nodiscard]] bool abandoned() const noexcept;
    [[nodiscard]] Samples queued() const noexcept;
    // Half of the queue is free. The hook comes at exactly this point: whoever sets it after a
    // short write, looks here and then waits misses nothing.
    [[nodiscard]] bool writable() const noexcept;
    // Called from the player's thread, also when the source goes; from close() and fail(). Replaced
    // atomically; it must not set a hook itself.
    void set_writable_hook(std::function<void()> hook);

  private:
    std::shared_ptr<PcmQueue> queue_;
};

enum class PushStatus : std::uint8_t {
    accepted,
    full,      // the writable hook will come
    not_opus,  // the bytes are not a valid Opus packet
    closed,    // closed before, or the source is gone
};

// The producer's half, Opus packets of any valid length. Threads as PcmFeed.
class OpusFeed {
  public:
    explicit OpusFeed(std::shared_ptr<OpusQueue> queue) noexcept;
    ~OpusFeed();
    OpusFeed(OpusFeed&&) noexcept;
    OpusFeed& operator=(OpusFeed&&) noexcept;

    [[nodiscard]] PushStatus write_nowait(std::span<const std::uint8_t> packet);
    void close() noexcept;
    void fail(Error error);
    [[nodiscard]] bool abandoned() const noexcept;
    [[nodiscard]] std::size_t queued() const noexcept;  // packets
    [[nodiscard]] bool writable() const noexcept;
    void set_writable_hook(std::function<void()> hook);

  private:
    std::shared_ptr<OpusQueue> queue_;
};

struct PcmPush {
    PcmFeed feed;
    std::unique_ptr<audio::MediaSource> source;
};
struct OpusPush {
    OpusFeed feed;
    std::unique_ptr<audio::MediaSource> source;
};

// Room for at least `capacity`, 20 ms to 60 s.
[[nodiscard]] Result<PcmPush> make_pcm_push(Samples capacity);
// Room for at least `capacity` packets, 1 to 3,000.
[[nodiscard]] Result<OpusPush> make_opus_push(std::size_t capacity);

}  // namespace voicecore::sources
