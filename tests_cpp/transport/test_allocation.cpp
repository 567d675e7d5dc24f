#define VOICECORE_ALLOCATION_GUARD_DEFINE
#include "allocation_guard.hpp"

#include <new>
#include <thread>

#include "catch.hpp"
#include "rig.hpp"
#include "voicecore/transport/memory_sink.hpp"
#include "voicecore/transport/null_sink.hpp"
#include "voicecore/transport/ogg_sink.hpp"
#include "voicecore/transport/udp_sink.hpp"

using namespace voicecore;
using namespace voicecore::transport;
using namespace voicecore_test;

namespace {

// Everything that the clock thread does with a sink, well beyond the point where rings are full.
std::uint64_t allocations_of(audio::PacketSink& sink) {
    const Bytes packet = packet_of(1, 300);
    const auto media = outgoing(packet);
    const auto quiet = silence();
    const AllocationGuard guard;
    for (int i = 0; i < 2'000; ++i) {
        (void)sink.send(media);
        (void)sink.send(quiet);
        sink.idle(TimePoint{});
        (void)sink.ready();
    }
    return guard.count();
}

}  // namespace

TEST_CASE("the guard sees an allocation of this thread, and only of this thread") {
    const AllocationGuard guard;
    ::operator delete(::operator new(64));
    std::uint64_t elsewhere = 0;
    const std::uint64_t here = guard.count();
    std::thread{[&elsewhere] {
        const AllocationGuard other;
        ::operator delete(::operator new(64));
        elsewhere = other.count();
    }}.join();
    REQUIRE(here == 1);
    REQUIRE(elsewhere == 1);
}

TEST_CASE("a UDP sink allocates nothing on the frame path, whether the peer is there or not") {
    for (const bool there : {true, false}) {
        for (const auto mode : available_cipher_modes()) {
            Peer peer;
            UdpOptions options;
            options.host = "127.0.0.1";
            options.port = peer.port();
            options.mode = mode;
            options.key = fresh_key();
            options.keepalive = std::chrono::milliseconds{100};
            auto sink = UdpSink::open(options).value();
            if (!there) peer.close();
            REQUIRE(allocations_of(*sink) == 0);
        }
    }
}

TEST_CASE("a UDP sink that fails allocates nothing on the frame path") {
    Peer peer;
    UdpOptions options;
    options.host = "127.0.0.1";
    options.port = peer.port();
    options.key = fresh_key();
    options.first_nonce = 0xFFFF'FFF0;
    auto sink = UdpSink::open(options).value();
    REQUIRE(allocations_of(*sink) == 0);
}

TEST_CASE("a null sink allocates nothing on the frame path") {
    NullSink sink;
    REQUIRE(allocations_of(sink) == 0);
}

TEST_CASE("a ring sink allocates nothing on the frame path, also when it overflows") {
    auto sink = MemorySink::create(1'000);
    Listener listener;
    REQUIRE(sink->start(listener));
    REQUIRE(allocations_of(*sink) == 0);
    sink->finish();
    REQUIRE(listener.wait());
    REQUIRE(sink->ring_statistics().overflow >= 3'000);
}

TEST_CASE("a recording allocates nothing on the frame path, also when its disk is full") {
    Listener listener;
    OggOptions options;
    options.path = "/dev/full";
    auto sink = OggSink::open(options).value();
    REQUIRE(sink->start(listener));
    REQUIRE(allocations_of(*sink) == 0);
    sink->finish();
    REQUIRE(listener.wait());
}
