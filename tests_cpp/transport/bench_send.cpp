// Figures, not claims: hidden from a normal run. test_transport "[.benchmark]"
#include <algorithm>
#include <chrono>
#include <cstdio>

#include "catch.hpp"
#include "rig.hpp"
#include "voicecore/base/clock.hpp"
#include "voicecore/transport/memory_sink.hpp"
#include "voicecore/transport/udp_sink.hpp"

using namespace voicecore;
using namespace voicecore::transport;
using namespace voicecore_test;

namespace {

// CPU time of this thread for each call, the best of some runs.
template <class Call>
double best_ns(int calls, Call&& call) {
    double best = 1e18;
    for (int run = 0; run < 7; ++run) {
        const auto begin = thread_cpu_time();
        for (int i = 0; i < calls; ++i) call();
        const auto spent = static_cast<double>((thread_cpu_time() - begin).count());
        best = std::min(best, spent / calls);
    }
    return best;
}

}  // namespace

TEST_CASE("cost of sealing and sending a packet of 200 bytes", "[.benchmark]") {
    const Bytes packet = packet_of(1, 200);
    auto modes = available_cipher_modes();
    modes.push_back(CipherMode::none);
    for (const auto mode : modes) {
        const Bytes key = mode == CipherMode::none ? Bytes{} : fresh_key();
        auto cipher = Cipher::for_sending(mode, key).value();
        RtpPacketizer packetizer{1};
        Bytes out(400);
        const double seal =
            best_ns(100'000, [&] { (void)cipher.seal(packetizer.next(1), packet, out); });
        Peer peer;
        UdpOptions options;
        options.host = "127.0.0.1";
        options.port = peer.port();
        options.mode = mode;
        options.key = key;
        auto sink = UdpSink::open(options).value();
        const auto media = outgoing(packet);
        const double send = best_ns(50'000, [&] { (void)sink->send(media); });
        peer.close();
        std::printf("%-32s seal %6.0f ns   send %6.0f ns\n", std::string{to_string(mode)}.c_str(),
                    seal, send);
    }
    auto memory = MemorySink::create(100'000'000);
    Listener listener;
    REQUIRE(memory->start(listener));
    const auto media = outgoing(packet);
    const double ring = best_ns(200, [&] { (void)memory->send(media); });
    memory->finish();
    REQUIRE(listener.wait());
    std::printf("%-32s send %6.0f ns\n", "ring sink", ring);
}
