#include <atomic>
#include <thread>

#include "catch.hpp"
#include "rig.hpp"
#include "voicecore/transport/memory_sink.hpp"
#include "voicecore/transport/null_sink.hpp"

using namespace voicecore;
using namespace voicecore::transport;
using namespace voicecore_test;
using audio::SendStatus;

namespace {

// Blocks, fails or counts, as told.
struct Script {
    std::atomic<bool> hold{false};
    std::atomic<int> written{0};
    std::atomic<int> ended{0};
    std::atomic<int> begun{0};
    int fail_at = -1;
};

class ScriptedWriter final : public PacketWriter {
  public:
    explicit ScriptedWriter(Script& script) : script_{script} {}
    Status begin() override {
        ++script_.begun;
        return Done{};
    }
    Status write(const RingPacket&) override {
        while (script_.hold.load()) std::this_thread::yield();
        if (script_.written.load() == script_.fail_at) {
            return Error{Errc::io, ENOSPC, "no space"};
        }
        ++script_.written;
        return Done{};
    }
    Status end() override {
        ++script_.ended;
        return Done{};
    }

  private:
    Script& script_;
};

RingSink make(Script& script, std::size_t packets = 8, Nanoseconds interval = 1h) {
    return {std::make_unique<ScriptedWriter>(script),
            RingSink::Options{.packets = packets, .interval = interval}};
}

}  // namespace

TEST_CASE("everything sent before finish is written before the listener hears of the end") {
    Script script;
    auto sink = make(script, 64);
    Listener listener;
    REQUIRE(sink.start(listener));
    const Bytes packet = packet_of(1);
    for (int i = 0; i < 20; ++i) REQUIRE(sink.send(outgoing(packet)) == SendStatus::sent);
    sink.finish();
    REQUIRE(listener.wait());
    REQUIRE_FALSE(listener.error());
    REQUIRE(script.written == 20);
    REQUIRE(script.ended == 1);
    REQUIRE(listener.calls() == 1);
}

TEST_CASE("a half-full ring wakes its writer at once, long before the interval") {
    Script script;
    auto sink = make(script, 8, 1h);
    Listener listener;
    REQUIRE(sink.start(listener));
    const Bytes packet = packet_of(1);
    for (int sent = 4; sent <= 80; sent += 4) {
        for (int i = 0; i < 4; ++i) REQUIRE(sink.send(outgoing(packet)) == SendStatus::sent);
        // A writer that is still awake takes some of them at once; fewer than four may then wait.
        const auto limit = std::chrono::steady_clock::now() + kPatience;
        while (sent - script.written >= 4 && std::chrono::steady_clock::now() < limit) {
            std::this_thread::yield();
        }
        REQUIRE(sent - script.written < 4);
    }
    sink.finish();
    REQUIRE(listener.wait());
}

TEST_CASE("a writer that sleeps after a quiet interval is woken by the next packet") {
    Script script;
    auto sink = make(script, 64, 1ms);
    Listener listener;
    REQUIRE(sink.start(listener));
    std::this_thread::sleep_for(20ms);  // quiet for long: it sleeps without a limit now
    const Bytes packet = packet_of(1);
    REQUIRE(sink.send(outgoing(packet)) == SendStatus::sent);
    const auto limit = std::chrono::steady_clock::now() + kPatience;
    while (script.written < 1 && std::chrono::steady_clock::now() < limit)
        std::this_thread::yield();
    REQUIRE(script.written == 1);
    sink.finish();
    REQUIRE(listener.wait());
}

TEST_CASE("a stuck writer makes packets overflow, counted, and send never waits") {
    Script script;
    script.hold = true;
    auto sink = make(script, 8);
    Listener listener;
    REQUIRE(sink.start(listener));
    const Bytes packet = packet_of(1);
    int sent = 0;
    int overflow = 0;
    for (int i = 0; i < 20; ++i) {
        const auto status = sink.send(outgoing(packet));
        sent += status == SendStatus::sent ? 1 : 0;
        overflow += status == SendStatus::overflow ? 1 : 0;
    }
    // The packet being written keeps its slot.
    REQUIRE(sent == 8);
    REQUIRE(overflow == 12);
    REQUIRE_FALSE(sink.ready());
    REQUIRE(sink.ring_statistics().overflow == 12);
    sink.finish();
    REQUIRE(listener.calls() == 0);  // finish() did not wait
    script.hold = false;
    REQUIRE(listener.wait());
    REQUIRE(script.written == 8);
    REQUIRE(sink.ready());
}

TEST_CASE("a write that fails is told once, fails every later send and holds nobody up") {
    Script script;
    script.fail_at = 2;
    auto sink = make(script, 8, 1ms);
    Listener listener;
    REQUIRE(sink.start(listener));
    const Bytes packet = packet_of(1);
    for (int i = 0; i < 4; ++i) REQUIRE(sink.send(outgoing(packet)) == SendStatus::sent);
    REQUIRE(listener.wait());
    REQUIRE(listener.error()->code == Errc::io);
    REQUIRE(listener.error()->native == ENOSPC);
    REQUIRE(sink.send(outgoing(packet)) == SendStatus::failed);
    REQUIRE(sink.ready());
    REQUIRE(script.ended == 0);
    Listener second;
    REQUIRE(sink.start(second).error().code == Errc::already_playing);  // not finished yet
    sink.finish();
    REQUIRE(listener.calls() == 1);
    REQUIRE(sink.start(second));
    sink.finish();
    REQUIRE(second.wait());
}

TEST_CASE("a ring sink refuses a second player, and serves it after the first") {
    Script script;
    auto sink = make(script);
    Listener first;
    Listener second;
    REQUIRE(sink.start(first));
    REQUIRE(sink.start(second).error().code == Errc::already_playing);
    sink.finish();
    REQUIRE(first.wait());
    REQUIRE(sink.start(second));
    sink.finish();
    REQUIRE(second.wait());
    REQUIRE(script.begun == 2);
    REQUIRE(script.ended == 2);
}

TEST_CASE("a sink destroyed in the middle of a playing still writes what was sent") {
    Script script;
    Listener listener;
    {
        auto sink = make(script, 64);
        REQUIRE(sink.start(listener));
        const Bytes packet = packet_of(1);
        for (int i = 0; i < 10; ++i) (void)sink.send(outgoing(packet));
    }
    REQUIRE(script.written == 10);
    REQUIRE(script.ended == 1);
    REQUIRE(listener.calls() == 1);
}

TEST_CASE("packets cross the ring whole and in order while both sides run") {
    auto sink = MemorySink::create(1'000'000, {.packets = 16, .interval = 1ms});
    Listener listener;
    REQUIRE(sink->start(listener));
    constexpr unsigned kPackets = 20'000;
    for (unsigned i = 0; i < kPackets; ++i) {
        const Bytes packet = packet_of(i, 4 + i % 200);
        while (!sink->ready()) std::this_thread::yield();
        REQUIRE(sink->send(outgoing(packet)) == SendStatus::sent);
    }
    sink->finish();
    REQUIRE(listener.wait());
    const auto packets = sink->take();
    REQUIRE(packets.size() == kPackets);
    for (unsigned i = 0; i < kPackets; ++i) REQUIRE(packets[i].opus == packet_of(i, 4 + i % 200));
}

TEST_CASE("a memory sink tells the tick, the media samples and the silence of each packet") {
    auto sink = MemorySink::create();
    Listener listener;
    REQUIRE(sink->start(listener));
    const Bytes packet = packet_of(1);
    (void)sink->send(outgoing(packet));
    (void)sink->send(outgoing(packet, 3, 500));
    (void)sink->send(silence());
    sink->finish();
    REQUIRE(listener.wait());
    const auto packets = sink->take();
    REQUIRE(packets.size() == 3);
    REQUIRE(packets[0].tick == 0);
    REQUIRE(packets[1].tick == 3);
    REQUIRE(packets[1].media_samples == 500);
    REQUIRE(packets[2].tick == 4);
    REQUIRE(packets[2].silence);
}

TEST_CASE("take gives what was sent up to now, in the middle of a playing") {
    auto sink = MemorySink::create();
    Listener listener;
    REQUIRE(sink->start(listener));
    const Bytes packet = packet_of(1);
    for (int round = 0; round < 3; ++round) {
        for (int i = 0; i < 5; ++i) (void)sink->send(outgoing(packet));
        REQUIRE(sink->take().size() == 5);
    }
    sink->finish();
    REQUIRE(listener.wait());
}

TEST_CASE("a full memory sink overflows until something is taken, and lets time pass") {
    auto sink = MemorySink::create(10);
    Listener listener;
    REQUIRE(sink->start(listener));
    const Bytes packet = packet_of(1);
    for (int i = 0; i < 10; ++i) REQUIRE(sink->send(outgoing(packet)) == SendStatus::sent);
    REQUIRE(sink->send(outgoing(packet)) == SendStatus::overflow);
    REQUIRE(sink->ready());
    REQUIRE(sink->ring_statistics().overflow == 1);
    REQUIRE(sink->take().size() == 10);
    REQUIRE(sink->send(outgoing(packet)) == SendStatus::sent);
    sink->finish();
    REQUIRE(listener.wait());
}

TEST_CASE("packets that overflowed keep their ticks: the next one is counted after them") {
    auto sink = MemorySink::create(10);
    Listener listener;
    REQUIRE(sink->start(listener));
    const Bytes packet = packet_of(1);
    for (int i = 0; i < 10; ++i) REQUIRE(sink->send(outgoing(packet)) == SendStatus::sent);
    for (int i = 0; i < 40; ++i) REQUIRE(sink->send(outgoing(packet)) == SendStatus::overflow);
    REQUIRE(sink->send(outgoing(packet, 2)) == SendStatus::overflow);
    REQUIRE(sink->take().back().tick == 9);
    REQUIRE(sink->send(outgoing(packet)) == SendStatus::sent);
    REQUIRE(sink->send(outgoing(packet)) == SendStatus::sent);
    const auto packets = sink->take();
    REQUIRE(packets.at(0).tick == 52);
    REQUIRE(packets.at(1).tick == 53);
    sink->finish();
    REQUIRE(listener.wait());
}

TEST_CASE("a null sink counts what it gets and ends before finish returns") {
    NullSink sink;
    Listener listener;
    Listener second;
    REQUIRE(sink.start(listener));
    REQUIRE(sink.start(second).error().code == Errc::already_playing);
    const Bytes packet = packet_of(1, 50);
    REQUIRE(sink.send(outgoing(packet, 2)) == SendStatus::sent);
    REQUIRE(sink.send(silence()) == SendStatus::sent);
    sink.finish();
    REQUIRE(listener.calls() == 1);
    const auto counts = sink.statistics();
    REQUIRE(counts.packets == 2);
    REQUIRE(counts.silence == 1);
    REQUIRE(counts.bytes == 53);
    REQUIRE(counts.ticks == 3);
    REQUIRE(sink.start(second));
}
