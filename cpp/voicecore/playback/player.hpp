// Player: one playing of a packet source into a sink.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "voicecore/audio/packet_sink.hpp"
#include "voicecore/audio/packet_source.hpp"
#include "voicecore/playback/stream.hpp"

namespace voicecore::playback {

class FeederPool;
class FrameClock;

enum class PlayerState : std::uint8_t { priming, playing, paused, finished };

// Thread-safe: controls and queries from any thread. Everything that takes time happens on a
// feeder.
class Player final : public audio::SinkListener {
  public:
    struct Options {
        std::uint64_t depth = 20;  // frames kept ready
        Gain gain;                 // that the source starts with
        bool start_paused = false;
        std::uint64_t limit_ticks =
            0;  // the end, this many periods after the first frame; 0: never
    };
    Player(std::uint64_t id, std::unique_ptr<audio::PacketSource> source,
           std::shared_ptr<audio::PacketSink> sink, EventListener& events, FeederPool& feeders,
           FrameClock& clock, TimePoint now, const Options& options);
    ~Player() override;

    // Takes the sink and begins. Once.
    [[nodiscard]] Status start(std::shared_ptr<Player> self);

    // Each takes effect at the next tick. After the end: no effect.
    void pause() noexcept;
    void resume() noexcept;
    void stop() noexcept;
    void set_gain(Gain gain);
    void seek(Samples position);  // of the current track
    void skip_track();
    // For sources that take tracks while they play: runs on the feeder, before its next packet.
    void post(std::function<void(audio::PacketSource&)> change);

    [[nodiscard]] std::uint64_t id() const noexcept { return stream_.id(); }
    [[nodiscard]] PlayerState state() const noexcept;
    [[nodiscard]] Samples position() const noexcept { return stream_.position(); }
    [[nodiscard]] std::uint32_t track() const noexcept { return stream_.track(); }
    // Silence is heard, because there was nothing to play.
    [[nodiscard]] bool waits() const noexcept { return stream_.starved(); }
    [[nodiscard]] std::uint64_t buffered() const noexcept { return stream_.ahead(); }
    [[nodiscard]] const StreamCounters& counters() const noexcept { return stream_.counters(); }
    [[nodiscard]] std::uint64_t decode_errors() const noexcept {
        return decode_errors_.load(std::memory_order_relaxed);
    }
    [[nodiscard]] audio::StageTimes stage_times() const noexcept;
    [[nodiscard]] bool sink_failed() const noexcept {
        return sink_failed_.load(std::memory_order_acquire);
    }
    // After `finished` with a failure: why.
    [[nodiscard]] std::optional<Error> error() const;

    // The tracks that failed since the last call; `track_failed` announced each.
    [[nodiscard]] std::vector<audio::TrackError> take_track_errors();
    // Empty until the player is over: for whoever may have lost the event.
    [[nodiscard]] std::optional<FinishReason> finish_reason() const noexcept {
        const int reason = finish_reason_.load(std::memory_order_acquire);
        if (reason == kNotOver) return std::nullopt;
        return static_cast<FinishReason>(reason);
    }

    void on_sink_finished(std::optional<Error> error) noexcept override;

    // -- feeders (FeederPool only) --------------------------------------------------------------
    enum class FeedResult : std::uint8_t { more, full, blocked, ended };
    // Produces at most `limit` packets.
    FeedResult feed(int limit) noexcept;
    // After the last tick: lets go of the source, ends the sink.
    void retire() noexcept;
    [[nodiscard]] Stream& stream() noexcept { return stream_; }
    // How many frames may pass until somebody hears that we were late.
    [[nodiscard]] std::uint64_t urgency() const noexcept {
        if (open_orders_.load(std::memory_order_relaxed) != 0) return 0;
        // Nobody listens yet to a stream that has not started; one that has must not run dry for
        // it.
        return stream_.started() ? stream_.ahead() : stream_.ahead() + kStartingUrgency;
    }
    // Its next frame is still to be made.
    [[nodiscard]] bool has_nothing() const noexcept {
        return open_orders_.load(std::memory_order_relaxed) != 0 || stream_.ahead() == 0;
    }
    // True when no queued request points here any more, and none will.
    [[nodiscard]] bool bury() noexcept { return pool_slot.again || stream_.take_fill_request(); }
    [[nodiscard]] std::shared_ptr<Player> take_self() noexcept { return std::move(self_); }
    static constexpr std::uint64_t kStartingUrgency = 2;
    struct Slot {  // under the pool's lock
        bool running = false;
        bool again = false;
        bool retiring = false;
    } pool_slot;
    // Virtual time may go on: nothing that a tick needs is still being worked on.
    [[nodiscard]] bool settled() const noexcept;

  private:
    struct SetGain {
        Gain gain;
        bool leaving;  // a frame may leave before it is carried out
    };
    struct SeekTo {
        Samples position;
        bool waits;  // as in audio::ListenerPlace
        std::uint32_t generation = 0;
    };
    struct SkipTrack {
        bool waits;
        std::uint32_t generation = 0;
    };
    using Change = std::function<void(audio::PacketSource&)>;
    using Order = std::variant<SetGain, SeekTo, SkipTrack, Change>;

    void give(Order order, bool flush);
    void carry_out_orders() noexcept;
    void apply(SetGain order, bool flush_follows) noexcept;
    void apply(const SeekTo& order) noexcept;
    void apply(SkipTrack order) noexcept;
    void begin_generation(std::uint32_t generation) noexcept;
    [[nodiscard]] static bool flushes(const Order& order) noexcept;
    template <class Redo>
    void rewind(std::uint64_t from, bool flush_follows, Redo&& redo) noexcept;
    void start_afresh(std::uint64_t broken_at) noexcept;
    void go_on() noexcept;
    bool produce_one(FeedResult& result) noexcept;
    void note_source_statistics() noexcept;
    void finish(FinishReason reason) noexcept;

    Stream stream_;
    std::unique_ptr<audio::PacketSource> source_;    // feeder only, after start()
    const std::shared_ptr<audio::PacketSink> sink_;  // shared with the caller, who may use it again
    EventListener& events_;
    FeederPool& feeders_;
    FrameClock& clock_;
    const std::uint64_t depth_;
    std::shared_ptr<Player> self_;  // keeps a playing player alive without its handle

    mutable std::mutex mutex_;  // the next four; never taken by the clock thread
    std::vector<Order> orders_;
    std::uint32_t next_generation_ = 1;
    std::optional<Error> error_;
    std::vector<audio::TrackError> track_errors_;
    std::atomic<int> open_orders_{0};  // given and not yet in the ring

    // Feeder only.
    std::vector<Order> taken_;
    std::uint32_t generation_ = 1;
    std::optional<std::uint64_t> supersede_from_;  // announce with the next packet
    std::uint64_t produced_ = 0;
    Gain gain_;
    bool flushed_ = false;  // the next packet is the first after a seek
    bool ended_ = false;

    std::atomic<bool> caller_paced_{false};
    std::atomic<bool> source_failed_{false};
    std::atomic<bool> sink_failed_{false};
    static constexpr int kNotOver = -1;
    std::atomic<int> finish_reason_{kNotOver};
    std::atomic<std::uint64_t> decode_errors_{0};
    std::atomic<std::int64_t> decode_ns_{0};
    std::atomic<std::int64_t> encode_ns_{0};
};

}  // namespace voicecore::playback
