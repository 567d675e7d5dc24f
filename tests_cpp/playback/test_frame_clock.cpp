#include <memory>

#include "catch.hpp"
#include "rig.hpp"

using namespace voicecore;
using namespace voicecore::playback;
using namespace std::chrono_literals;

namespace {

// A clock with many streams, each of which has its packets already.
struct Crowd {
    ManualClock clock;
    FeedQueue feed;
    FrameClock frame_clock{clock, TimePoint{}, feed};
    RecordingSink sink;
    RecordingListener events;
    std::vector<std::unique_ptr<Stream>> streams;

    void play(std::uint64_t packets) {
        Stream& stream = *streams.emplace_back(
            std::make_unique<Stream>(streams.size(), 32, sink, events, TimePoint{}));
        for (std::uint64_t i = 0; i < packets; ++i) {
            stream.claim()->packet.index = i;
            stream.publish(i + 1);
        }
        frame_clock.attach(stream);
    }
    // What one turn sends; then a phase passes.
    std::size_t turn() {
        const std::size_t before = sink.sent.size();
        frame_clock.run_due();
        clock.set(clock.now() + FrameClock::kPhase);
        return sink.sent.size() - before;
    }
};

}  // namespace

TEST_CASE(
    "streams that become ready together are spread over the grids within the admission time") {
    Crowd crowd;
    for (int i = 0; i < 30; ++i) crowd.play(1);
    for (int turn = 0; turn <= FrameClock::kAdmission / FrameClock::kPhase; ++turn) {
        REQUIRE(crowd.turn() <= 10);
    }
    REQUIRE(crowd.sink.sent.size() == 30);
}

TEST_CASE("the grids between are joined when those in use are crowded, and not before") {
    constexpr int kInUse = FrameClock::kGroups / 2;
    Crowd crowd;
    const auto period = [&](int joining) {
        std::vector<std::size_t> turns;
        for (int turn = 0; turn < FrameClock::kGroups; ++turn) {
            for (int i = 0; i < joining / FrameClock::kGroups; ++i) crowd.play(20);
            if (const auto sent = crowd.turn(); sent > 0) turns.push_back(sent);
        }
        return turns;
    };
    period(kInUse * FrameClock::kCrowd / 2);
    REQUIRE(period(0).size() == kInUse);
    period(kInUse * FrameClock::kCrowd * 3 / 2);
    const std::vector<std::size_t> turns = period(0);
    REQUIRE(turns.size() == FrameClock::kGroups);
    for (const std::size_t sent : turns) REQUIRE(sent < FrameClock::kCrowd * 3 / 2);
}

TEST_CASE("a clock without streams has no deadline") {
    Rig rig;
    REQUIRE(rig.frame_clock.next_deadline() == TimePoint::max());
    rig.put(1);
    rig.frame_clock.attach(rig.stream);
    rig.frame_clock.run_due();
    REQUIRE(rig.frame_clock.next_deadline() <= rig.clock.now() + kFrameDuration);
}

TEST_CASE("a stream that has not started is idle for as long, at one wake-up a second") {
    for (const bool paused : {true, false}) {
        Rig rig;
        if (paused) {
            rig.stream.want(Stream::Intent::pause);
            rig.put(1);
        }
        rig.advance(10s);  // nothing there: no wake-up, and no part of the stream's time
        REQUIRE(rig.frame_clock.next_deadline() == TimePoint::max());
        Stream late{2, 8, rig.sink, rig.events, rig.clock.now()};
        Stream& stream = paused ? rig.stream : late;
        rig.frame_clock.attach(stream);
        rig.frame_clock.run_due();
        int turns = 0;
        const TimePoint end = rig.clock.now() + 5s;
        while (rig.frame_clock.next_deadline() <= end) {
            rig.clock.set(rig.frame_clock.next_deadline());
            rig.frame_clock.run_due();
            ++turns;
        }
        REQUIRE(turns == 5);
        REQUIRE(rig.sink.idle_ticks == 250);
        rig.clock.set(end);
        stream.want(Stream::Intent::stop);
        rig.frame_clock.run_due();
        REQUIRE(rig.frame_clock.next_deadline() == TimePoint::max());
    }
}

TEST_CASE("a feeder is asked once when a ring gets short, not again before it has come") {
    Rig rig;
    rig.frame_clock.set_low_water(4);
    for (std::uint8_t i = 0; i < 8; ++i) rig.put(i);
    rig.frame_clock.attach(rig.stream);
    int asked = 0;
    const auto count = [&] { rig.feed.wanting.take_all([&](Stream&) { ++asked; }); };
    for (int i = 0; i < 6; ++i) {
        rig.ticks(1);
        count();
    }
    REQUIRE(asked == 1);
    rig.stream.clear_fill_request();
    rig.ticks(1);
    count();
    REQUIRE(asked == 2);
}

TEST_CASE("a feeder is asked when a break begins, at the frame that follows it, until it answers") {
    Rig rig;
    rig.frame_clock.set_low_water(4);
    for (std::uint8_t i = 0; i < 30; ++i) rig.put(i);
    rig.stream.set_feed_end(1);  // all there is, in the ring: still it is asked
    rig.frame_clock.attach(rig.stream);
    int asked = 0;
    const auto tick = [&] {
        rig.ticks(1);
        rig.feed.wanting.take_all([&](Stream&) { ++asked; });
        rig.stream.clear_fill_request();
    };
    for (int i = 0; i < 3; ++i) tick();
    REQUIRE(asked == 0);
    REQUIRE(rig.stream.broken_at() == 0);
    rig.stream.want(Stream::Intent::pause);
    tick();
    tick();
    REQUIRE(asked == 2);
    REQUIRE(rig.stream.broken_at() == 3);
    REQUIRE_FALSE(rig.stream.break_answered());
    rig.stream.answer_break(3);
    tick();
    rig.stream.want(Stream::Intent::play);
    for (int i = 0; i < 4; ++i) tick();
    REQUIRE(asked == 2);
    rig.stream.want(Stream::Intent::pause);
    tick();
    REQUIRE(asked == 3);
    REQUIRE(rig.stream.broken_at() == 7);
    rig.stream.answer_break(7);
    rig.stream.want(Stream::Intent::play);
    tick();
    rig.stream.want(Stream::Intent::stop);  // nothing comes after an end
    tick();
    REQUIRE(rig.stream.broken_at() == 7);
}

TEST_CASE("time that passed before a grid's first stream is neither late nor skipped") {
    Rig rig;
    rig.clock.set(TimePoint{10s + 1ms});
    rig.put(1);
    rig.frame_clock.attach(rig.stream);
    rig.frame_clock.run_due();
    rig.advance(6ms);
    REQUIRE(rig.sink.sent.size() == 1);
    REQUIRE(rig.stream.counters().skipped == 0);
    REQUIRE(rig.stream.counters().lateness.snapshot().max < 6ms);
}

TEST_CASE("a stream that comes during a stall has missed nothing of it") {
    Rig rig;
    std::vector<std::unique_ptr<Stream>> others;
    const auto attach = [&](std::uint64_t id) {
        others.push_back(std::make_unique<Stream>(id, 8, rig.sink, rig.events, TimePoint{}));
        others.back()->claim()->packet.index = 0;
        others.back()->publish(1);
        rig.frame_clock.attach(*others.back());
    };
    // One on each grid, so that all of them are behind.
    for (std::uint64_t i = 0; i < FrameClock::kGroups; ++i) {
        attach(i);
        rig.advance(FrameClock::kPhase);
    }
    rig.ticks(1);
    rig.clock.set(rig.clock.now() + 300ms);
    attach(99);
    rig.frame_clock.run_due();
    rig.ticks(1);
    REQUIRE(others.front()->counters().skipped > 0);
    REQUIRE(others.back()->counters().frames_sent == 1);
    REQUIRE(others.back()->counters().skipped == 0);
    REQUIRE(others.back()->counters().lateness.snapshot().max < kFrameDuration);
}

TEST_CASE(
    "rings with plenty left share one wake-up of the feeders in a period, dry ones do not wait") {
    Crowd crowd;
    const auto woken_in_a_period = [&] {
        int woken = 0;
        for (int turn = 0; turn < FrameClock::kGroups; ++turn) {
            crowd.clock.set(crowd.clock.now() + FrameClock::kPhase);
            crowd.frame_clock.run_due();
            if (crowd.feed.wake.wait_until(TimePoint{})) ++woken;
        }
        return woken;
    };
    for (int i = 0; i < 10; ++i)
        crowd.play(14);  // one packet above the low water, on several grids
    const int woken = woken_in_a_period() + woken_in_a_period() + woken_in_a_period();
    int asked = 0;
    crowd.feed.wanting.take_all([&](Stream&) { ++asked; });
    REQUIRE(asked == 10);
    REQUIRE(woken >= 1);
    REQUIRE(woken <= 2);
    crowd.play(2);
    crowd.play(2);
    crowd.frame_clock.run_due();
    REQUIRE(woken_in_a_period() >= 1);
    REQUIRE_FALSE(crowd.feed.wanting.empty());
}
