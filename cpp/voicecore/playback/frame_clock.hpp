// FrameClock: runs every stream's tick at its deadline. What one turn does is FrameClock::run_due.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <utility>

#include "voicecore/base/deadline.hpp"
#include "voicecore/playback/stream.hpp"

namespace voicecore::playback {

// The way from the clock thread to the feeders: requests for packets, and streams that are over.
struct FeedQueue {
    LinkStack<Stream, &Stream::fill_link> wanting;
    LinkStack<Stream, &Stream::over_link> over;
    WakeSignal wake;
    std::atomic<int> idle_workers{0};
};

// Streams are spread over grids: a stream waits at most kAdmission for its first tick and no turn
// has to serve them all. Ten, 2 ms apart, are enough while a turn is short; the ten between them
// halve it when it no longer is, at the price of twice the wake-ups. attach() is for any thread;
// everything else for the one thread that turns the clock, which neither allocates nor locks here.
class FrameClock {
  public:
    static constexpr int kGroups = 20;
    static constexpr Nanoseconds kPhase = kFrameDuration / kGroups;
    // A new stream joins the emptiest of the grids that are due within this time.
    static constexpr Nanoseconds kAdmission = 6 * kPhase;
    // Every other grid stays empty until so many streams are on each of the others. At 8 µs for a
    // datagram the last of them leaves 0.2 ms after the first.
    static constexpr int kCrowd = 25;

    FrameClock(const Clock& clock, TimePoint epoch, FeedQueue& feed) noexcept;

    // The stream is primed from now on: its first tick comes after its first packet. It must live
    // until it comes back through FeedQueue::over.
    void attach(Stream& stream) noexcept;
    // A primed stream may be ready, or a stop may have to be seen. Any thread.
    void nudge() noexcept { wake_.signal(); }
    // For the sleeping loop.
    [[nodiscard]] WakeSignal& wake() noexcept { return wake_; }

    // When run_due() has something to do next; TimePoint::max() when only nudge() can tell.
    [[nodiscard]] TimePoint next_deadline() const noexcept;
    // One turn: admits what is ready, runs every tick that is due, retires what is over, asks the
    // feeders for what is getting short.
    void run_due() noexcept;
    // Ends every stream at once, silence or not: when no turn will come any more.
    void retire_all() noexcept;
    // Attached and not over yet. Any thread.
    [[nodiscard]] int streams() const noexcept { return streams_.load(std::memory_order_acquire); }

    // Of every packet of every stream, at the send call. Any thread may take a snapshot.
    [[nodiscard]] const Histogram& lateness() const noexcept { return lateness_; }

    // The ring level below which a feeder is asked for more.
    void set_low_water(std::uint64_t frames) noexcept { low_water_ = frames; }

  private:
    struct Group {
        DeadlineGrid grid;
        Stream* first = nullptr;
        int size = 0;
    };
    template <std::size_t... I>
    [[nodiscard]] static std::array<Group, kGroups> make_groups(
        TimePoint epoch, std::index_sequence<I...> indices) noexcept;
    void admit(TimePoint now) noexcept;
    void idle_primed(TimePoint now) noexcept;
    void join_group(Stream& stream, TimePoint now) noexcept;
    Group& emptiest(TimePoint now, int step) noexcept;
    void run_group(Group& group, TimePoint now) noexcept;
    int run_tick(Group& group, const Stream::Tick& tick) noexcept;
    void retire(Stream& stream) noexcept;
    void ask_for_more(Stream& stream) noexcept;
    void wake_feeders() noexcept;

    const Clock& clock_;
    FeedQueue& feed_;
    WakeSignal wake_;
    LinkStack<Stream, &Stream::clock_link> arriving_;
    Stream* primed_ = nullptr;
    TimePoint next_idle_ = TimePoint::max();  // when the sinks of the primed are idle again
    static constexpr Nanoseconds kIdlePeriod = std::chrono::seconds{1};
    std::array<Group, kGroups> groups_;
    std::atomic<int> streams_{0};
    Histogram lateness_;
    Nanoseconds cost_{0};  // of one stream's tick, in the last turn that was measured
    std::uint64_t turns_ = 0;
    static constexpr std::uint64_t kTurnsToMeasure = 17;  // every grid has its turn
    std::uint64_t low_water_ = 13;                // a refill of 8 packets at the usual depth of 20
    static constexpr std::uint64_t kMayWait = 8;  // frames: 160 ms, far more than a period
    bool feeders_needed_ = false;                 // now
    bool refills_wait_ = false;                   // within a period
    TimePoint next_refill_;
};

}  // namespace voicecore::playback
