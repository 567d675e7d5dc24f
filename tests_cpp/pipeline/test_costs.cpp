// What the pipeline adds to the bare library calls. Run with: test_pipeline "[.measure]"
#include <malloc.h>

#include "play.hpp"
#include "voicecore/base/clock.hpp"

using namespace test;
using voicecore::Gain;

namespace {

double cpu_us() {
    return static_cast<double>(voicecore::thread_cpu_time().count()) / 1'000.0;
}

}  // namespace

TEST_CASE("a stream of copied packets keeps no PCM, no encoder and no decoder") {
    const auto packets = encode(music(48'000 * 2));
    auto program = program_of(std::make_unique<OpusFake>(packets));
    auto before = ::mallinfo2().uordblks;
    // Built and played here, so that only what one program keeps is counted.
    auto source = std::make_unique<OpusFake>(packets);
    before = ::mallinfo2().uordblks;
    auto counted = program_of(std::move(source));
    PlayablePacket packet;
    for (int i = 0; i < 80; ++i) REQUIRE(counted->next(packet) == ReadStatus::ok);
    const auto kept = ::mallinfo2().uordblks - before;
    CAPTURE(kept);
    if (kept < 1'000'000'000) REQUIRE(kept < 30'000);  // a sanitizer's allocator answers nothing
}

TEST_CASE("cost of a copied packet", "[.measure]") {
    std::vector<Packet> packets;
    const auto once = encode(music(48'000 * 10));
    for (int i = 0; i < 100; ++i) packets.insert(packets.end(), once.begin(), once.end());
    auto program = program_of(std::make_unique<OpusFake>(packets));
    PlayablePacket packet;
    const double begun = cpu_us();
    std::size_t count = 0;
    while (program->next(packet) == ReadStatus::ok) ++count;
    const double took = cpu_us() - begun;
    std::printf("copied: %.3f us a packet (%zu packets)\n", took / static_cast<double>(count),
                count);
}

TEST_CASE("cost of an encoded frame beside libopus alone", "[.measure]") {
    const auto pcm = music(48'000 * 20);
    for (const int complexity : {0, 5, 10}) {
        ProgramOptions options;
        options.encoder.complexity = complexity;
        double bare = 1e9;
        double ours = 1e9;
        for (int turn = 0; turn < 3; ++turn) {
            double begun = cpu_us();
            const auto packets = encode(pcm, options.encoder);
            bare = std::min(bare, (cpu_us() - begun) / static_cast<double>(packets.size()));
            auto program = program_of(std::make_unique<PcmFake>(pcm), options);
            PlayablePacket packet;
            begun = cpu_us();
            std::size_t count = 0;
            while (program->next(packet) == ReadStatus::ok) ++count;
            ours = std::min(ours, (cpu_us() - begun) / static_cast<double>(count));
            const auto times = program->stage_times();
            if (turn == 2) {
                std::printf(
                    "complexity %2d: bare %.1f us, program %.1f us (x %.3f); "
                    "stage times say decode %.1f, encode %.1f us\n",
                    complexity, bare, ours, ours / bare,
                    static_cast<double>(times.decode.count()) / 1e3 / static_cast<double>(count),
                    static_cast<double>(times.encode.count()) / 1e3 / static_cast<double>(count));
            }
        }
    }
}

TEST_CASE("memory of an encoding program", "[.measure]") {
    const auto pcm = music(48'000 * 2);
    auto source = std::make_unique<PcmFake>(pcm);
    const auto before = ::mallinfo2().uordblks;
    auto program = program_of(std::move(source));
    (void)play(*program, 80);
    std::printf("encoding: %zu bytes\n", ::mallinfo2().uordblks - before);
}
