#include "catch.hpp"
#include "rig.hpp"

using namespace voicecore;
using namespace voicecore::playback;
using namespace std::chrono_literals;

TEST_CASE("the clock of a stream starts at its first ready frame") {
    Rig rig;
    rig.frame_clock.attach(rig.stream);
    rig.ticks(10);
    REQUIRE(rig.sink.sent.empty());
    REQUIRE(rig.stream.counters().ticks == 0);
    rig.put(1);
    rig.advance(6ms);
    rig.advance(6ms);
    REQUIRE(rig.heard() == std::vector{1});
    REQUIRE(rig.sink.sent[0].ticks == 1);
}

TEST_CASE("a paused stream sends five silence frames, one per tick, then nothing") {
    Rig rig;
    for (std::uint8_t i = 0; i < 20; ++i) rig.put(i);
    rig.frame_clock.attach(rig.stream);
    rig.ticks(3);
    const auto before = rig.heard();
    rig.stream.want(Stream::Intent::pause);
    for (int i = 1; i <= 5; ++i) {
        rig.ticks(1);
        REQUIRE(rig.sink.sent.size() == before.size() + static_cast<std::size_t>(i));
        REQUIRE(rig.sink.sent.back().silence);
        REQUIRE(rig.sink.sent.back().opus == std::vector<std::uint8_t>{0xF8, 0xFF, 0xFE});
    }
    rig.ticks(7);
    REQUIRE(rig.sink.sent.size() == before.size() + 5);
    REQUIRE(rig.sink.idle_ticks == 7);

    SECTION("and goes on where it was, its timestamp moved by the ticks in between") {
        rig.stream.want(Stream::Intent::play);
        rig.ticks(1);
        REQUIRE(rig.heard().back() == before.back() + 1);
        REQUIRE(rig.sink.sent.back().ticks == 8);
    }
    SECTION("and stopped then, it ends without a second break") {
        rig.stream.want(Stream::Intent::stop);
        rig.ticks(2);
        REQUIRE(rig.sink.sent.size() == before.size() + 5);
        REQUIRE(rig.frame_clock.streams() == 0);
    }
}

TEST_CASE("the end of the feed is followed by five silence frames and the end of the stream") {
    Rig rig;
    rig.put(1);
    rig.put(2);
    rig.stream.set_feed_end(1);
    rig.frame_clock.attach(rig.stream);
    rig.ticks(20);
    REQUIRE(rig.heard() == std::vector{1, 2, -1, -1, -1, -1, -1});
    REQUIRE(rig.frame_clock.streams() == 0);
    REQUIRE_FALSE(rig.feed.over.empty());
}

TEST_CASE("an underrun is counted once, with its cause, and ends with the next packet") {
    const auto [state, idle, cause] = GENERATE(table<FeedState, int, UnderrunCause>({
        {FeedState::blocked, 0, UnderrunCause::source_slow},
        {FeedState::running, 0, UnderrunCause::decoder_slow},
        {FeedState::queued, 0, UnderrunCause::worker_late},
        {FeedState::queued, 1, UnderrunCause::kernel_late},
    }));
    Rig rig;
    rig.put(1);
    rig.frame_clock.attach(rig.stream);
    rig.ticks(1);
    rig.stream.set_feed_state(state);
    rig.feed.idle_workers = idle;
    REQUIRE_FALSE(rig.stream.starved());
    rig.ticks(3);
    REQUIRE(rig.stream.starved());
    rig.put(2);
    rig.ticks(1);
    REQUIRE_FALSE(rig.stream.starved());
    REQUIRE(rig.heard() == std::vector{1, -1, -1, -1, 2});
    REQUIRE(rig.stream.counters().underruns[static_cast<std::size_t>(cause)] == 1);
    REQUIRE(rig.events.kinds() == std::vector{EventKind::started, EventKind::track_started,
                                              EventKind::underrun, EventKind::recovered});
    REQUIRE(rig.events.events[2].value == static_cast<std::int64_t>(cause));
}

TEST_CASE("an underrun that a pause goes on from is over with the first frame after both") {
    Rig rig;
    rig.put(1);
    rig.frame_clock.attach(rig.stream);
    rig.ticks(2);
    rig.stream.want(Stream::Intent::pause);
    rig.ticks(1);
    rig.stream.want(Stream::Intent::play);
    rig.ticks(1);
    rig.put(2);
    rig.put(3);
    rig.ticks(2);
    rig.stream.want(Stream::Intent::pause);
    rig.ticks(1);
    rig.stream.want(Stream::Intent::play);
    rig.put(4);
    rig.ticks(1);
    using enum EventKind;
    REQUIRE(rig.events.kinds() == std::vector{started, track_started, underrun, paused, resumed,
                                              recovered, paused, resumed});
}

TEST_CASE("after a stall at most three packets leave at once and the rest of the debt is skipped") {
    Rig rig;
    for (std::uint8_t i = 0; i < 30; ++i) rig.put(i);
    rig.frame_clock.attach(rig.stream);
    rig.ticks(2);
    const std::size_t before = rig.sink.sent.size();
    rig.advance(300ms);
    REQUIRE(rig.sink.sent.size() == before + 3);
    REQUIRE(rig.stream.counters().skipped == 12);
    REQUIRE(rig.sink.sent[before].ticks == 13);
    REQUIRE(rig.sink.sent[before + 1].ticks == 1);
    rig.ticks(1);
    REQUIRE(rig.sink.sent.size() == before + 4);
    // Media is delayed, none is dropped.
    const auto heard = rig.heard();
    for (std::size_t i = 0; i < heard.size(); ++i) REQUIRE(heard[i] == static_cast<int>(i));
    // The first packet after the stall answers for the whole wait.
    REQUIRE(rig.stream.counters().lateness.snapshot().max >= 280ms);
}

TEST_CASE("a flush drops everything older at the next tick, and the gap counts as the seek's") {
    Rig rig;
    for (std::uint8_t i = 0; i < 20; ++i) rig.put(i);
    rig.frame_clock.attach(rig.stream);
    rig.ticks(2);
    const auto before = rig.heard();
    rig.stream.drop_before(2);
    rig.ticks(1);
    REQUIRE(rig.heard().back() == -1);
    rig.put(100, 2);
    rig.ticks(1);
    REQUIRE(rig.heard().back() == 100);
    REQUIRE(rig.stream.counters().seek_ticks == 1);
    for (const auto& underruns : rig.stream.counters().underruns) REQUIRE(underruns == 0);
    REQUIRE(rig.events.kinds().back() == EventKind::seeked);
}

TEST_CASE("a seek past the end has arrived there") {
    Rig rig;
    for (std::uint8_t i = 0; i < 3; ++i) rig.put(i);
    rig.frame_clock.attach(rig.stream);
    rig.ticks(1);
    rig.stream.drop_before(2);
    rig.stream.set_feed_end(2);
    rig.ticks(1);
    REQUIRE(rig.events.kinds().back() == EventKind::seeked);
    REQUIRE(rig.stream.counters().seek_ticks == 0);
    REQUIRE(rig.sink.sent.back().silence);
}

TEST_CASE("an end that was announced before a flush does not end the stream after it") {
    Rig rig;
    rig.put(1);
    rig.put(2);
    rig.stream.set_feed_end(1);
    rig.frame_clock.attach(rig.stream);
    rig.ticks(1);
    rig.stream.drop_before(2);
    rig.ticks(12);
    REQUIRE(rig.frame_clock.streams() == 1);
    rig.put(9, 2);
    rig.stream.set_feed_end(2);
    rig.ticks(10);
    REQUIRE(rig.frame_clock.streams() == 0);
}

TEST_CASE("superseded frames give way to their new versions without a gap or a repetition") {
    Rig rig;
    for (std::uint8_t i = 0; i < 20; ++i) rig.put(i);
    rig.frame_clock.attach(rig.stream);
    rig.ticks(3);
    const auto next = rig.stream.next_index();
    for (std::uint64_t i = next + 1; i < 20; ++i) {
        rig.put_at(i, static_cast<std::uint8_t>(100 + i), 2);
    }
    rig.stream.supersede(2, next + 1);
    rig.ticks(40);
    const auto heard = rig.heard();
    for (std::size_t i = 0; i < 20; ++i) {
        REQUIRE(heard[i] == static_cast<int>(i <= next ? i : 100 + i));
    }
}

TEST_CASE("a rewind from a later frame brings nothing back that an earlier one has dropped") {
    Rig rig;
    for (std::uint8_t i = 0; i < 12; ++i) rig.put(i);
    rig.frame_clock.attach(rig.stream);
    rig.ticks(3);
    const auto first = rig.stream.next_index() + 1;
    for (std::uint64_t i = first; i < 12; ++i) {
        rig.put_at(i, static_cast<std::uint8_t>(100 + i), 2);
    }
    rig.stream.supersede(2, first);
    // Before the clock has looked.
    for (std::uint64_t i = first + 1; i < 12; ++i) {
        rig.put_at(i, static_cast<std::uint8_t>(200 + i), 3);
    }
    rig.stream.supersede(3, first + 1);
    rig.ticks(20);
    const auto heard = rig.heard();
    for (std::size_t i = 0; i < 12; ++i) {
        const std::size_t version = i < first ? 0 : i == first ? 100 : 200;
        REQUIRE(heard[i] == static_cast<int>(version + i));
    }
}

TEST_CASE("what a paused stream will not send any more leaves room for what it will") {
    Rig rig;
    for (std::uint8_t i = 0; i < 20; ++i) rig.put(i);
    rig.frame_clock.attach(rig.stream);
    rig.ticks(3);
    rig.stream.want(Stream::Intent::pause);
    rig.ticks(1);
    const auto used = rig.stream.ring_free();
    rig.stream.drop_before(2);
    rig.ticks(1);
    REQUIRE(rig.stream.ring_free() > used);
}

TEST_CASE("new versions that come too late are dropped, never heard twice") {
    Rig rig;
    for (std::uint8_t i = 0; i < 10; ++i) rig.put(i);
    rig.frame_clock.attach(rig.stream);
    rig.ticks(5);
    const auto next = rig.stream.next_index();
    for (std::uint64_t i = next - 2; i < 10; ++i) {
        rig.put_at(i, static_cast<std::uint8_t>(100 + i), 2);
    }
    rig.stream.supersede(2, next - 2);
    rig.ticks(10);
    const auto heard = rig.heard();
    for (std::size_t i = 0; i < 10; ++i) {
        REQUIRE(heard[i] == static_cast<int>(i < next ? i : 100 + i));
    }
}

TEST_CASE("a stream stopped before its first frame ends without a sound") {
    Rig rig;
    rig.frame_clock.attach(rig.stream);
    rig.ticks(1);
    rig.stream.want(Stream::Intent::stop);
    rig.ticks(1);
    REQUIRE(rig.sink.sent.empty());
    REQUIRE(rig.frame_clock.streams() == 0);
}

TEST_CASE("frames, silence, skipped and empty ticks add up to the periods that passed") {
    Rig rig;
    for (std::uint8_t i = 0; i < 60; ++i) rig.put(i);
    rig.frame_clock.attach(rig.stream);
    rig.ticks(4);
    rig.advance(170ms);
    rig.stream.want(Stream::Intent::pause);
    rig.ticks(9);
    rig.stream.want(Stream::Intent::play);
    rig.ticks(5);
    const auto& counters = rig.stream.counters();
    std::uint64_t timestamp_ticks = 0;
    for (const auto& packet : rig.sink.sent) timestamp_ticks += packet.ticks;
    REQUIRE(timestamp_ticks == counters.ticks);
    REQUIRE(counters.ticks == counters.frames_sent + counters.silence_frames + counters.skipped +
                                  static_cast<std::uint64_t>(rig.sink.idle_ticks));
}

TEST_CASE("packets that the sink cannot take are counted and playing goes on") {
    Rig rig;
    for (std::uint8_t i = 0; i < 5; ++i) rig.put(i);
    rig.sink.status = audio::SendStatus::dropped;
    rig.frame_clock.attach(rig.stream);
    rig.ticks(5);
    REQUIRE(rig.stream.counters().dropped == rig.stream.counters().frames_sent);
    REQUIRE(rig.stream.counters().frames_sent >= 4);
}

TEST_CASE("a limit of ticks ends the stream after that many periods, with its silence") {
    Rig rig;
    Stream limited{2, 64, rig.sink, rig.events, TimePoint{}, 3};
    for (std::uint64_t i = 0; i < 10; ++i) {
        QueuedPacket* queued = limited.claim();
        queued->generation = 1;
        queued->packet.index = i;
        queued->packet.opus.assign(std::array{static_cast<std::uint8_t>(i)});
        limited.publish(i + 1);
    }
    rig.frame_clock.attach(limited);
    rig.ticks(20);
    REQUIRE(rig.heard() == std::vector{0, 1, 2, -1, -1, -1, -1, -1});
    REQUIRE(rig.frame_clock.streams() == 0);
}

TEST_CASE("a sink that cannot go on ends the stream at once") {
    Rig rig;
    for (std::uint8_t i = 0; i < 5; ++i) rig.put(i);
    rig.frame_clock.attach(rig.stream);
    rig.ticks(1);
    rig.sink.status = audio::SendStatus::failed;
    const std::size_t before = rig.sink.sent.size();
    rig.ticks(3);
    REQUIRE(rig.sink.sent.size() == before + 1);
    REQUIRE(rig.frame_clock.streams() == 0);
}
