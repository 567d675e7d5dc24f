#define VOICECORE_ALLOCATION_GUARD_DEFINE
#include "allocation_guard.hpp"
#include "catch.hpp"
#include "rig.hpp"

using namespace voicecore;
using namespace voicecore::playback;
using namespace std::chrono_literals;

namespace {

// As a clock thread would meet it: nothing of its own allocates.
struct SilentSink final : audio::PacketSink {
    Status start(audio::SinkListener&) override { return Done{}; }
    audio::SendStatus send(const audio::OutgoingPacket& packet) noexcept override {
        bytes += packet.opus.size();
        return audio::SendStatus::sent;
    }
    void idle(TimePoint) noexcept override { ++idles; }
    void finish() noexcept override {}
    std::size_t bytes = 0;
    std::size_t idles = 0;
};
struct SilentListener final : EventListener {
    void emit(const Event&) noexcept override { ++events; }
    int events = 0;
};

}  // namespace

TEST_CASE("a turn of the clock allocates nothing, whatever happens to its streams") {
    ManualClock clock;
    FeedQueue feed;
    FrameClock frame_clock{clock, TimePoint{}, feed};
    SilentSink sink;
    SilentListener events;
    std::vector<std::unique_ptr<Stream>> streams;
    for (std::uint64_t i = 0; i < 50; ++i) {
        streams.push_back(std::make_unique<Stream>(i, 64, sink, events, TimePoint{}));
        for (std::uint64_t index = 0; index < 30; ++index) {
            QueuedPacket* queued = streams.back()->claim();
            queued->generation = 1;
            queued->packet.index = index;
            queued->packet.opus.assign(std::array<std::uint8_t, 3>{0xF8, 0xFF, 0xFE});
            streams.back()->publish(index + 1);
        }
    }
    std::size_t allocations = 0;
    const auto turn = [&](Nanoseconds by) {
        clock.set(clock.now() + by);
        const voicecore_test::AllocationGuard guard;
        frame_clock.run_due();
        allocations += guard.count();
    };
    for (const auto& stream : streams) frame_clock.attach(*stream);
    for (int i = 0; i < 50; ++i) turn(2ms);
    streams[0]->want(Stream::Intent::pause);
    streams[1]->want(Stream::Intent::stop);
    streams[2]->drop_before(2);
    streams[3]->supersede(2, 8);
    streams[4]->set_feed_end(1);
    turn(400ms);
    for (int i = 0; i < 400; ++i) turn(2ms);
    REQUIRE(sink.bytes > 0);
    REQUIRE(sink.idles > 0);
    REQUIRE(events.events > 50);
    REQUIRE(allocations == 0);
}

TEST_CASE("the allocation guard sees an allocation") {
    const voicecore_test::AllocationGuard guard;
    const auto value = std::make_unique<int>(1);
    REQUIRE(guard.count() == 1);
}
