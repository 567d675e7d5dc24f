#include "catch.hpp"
#include "rig.hpp"
#include "voicecore/transport/stream_meter.hpp"

using namespace voicecore;
using namespace voicecore::transport;
using namespace std::chrono_literals;
using Verdict = StreamMeter::Verdict;

namespace {

constexpr std::int64_t kEpoch = 1'000'000'000'000;
constexpr std::int64_t kMs = 1'000'000;

// Packet `i` of a perfect stream, `late_ms` after its time.
Arrival packet(int i, std::int64_t late_ms = 0, bool silence = false) {
    return {.time_ns = kEpoch + (20 * i + late_ms) * kMs,
            .timestamp = static_cast<std::uint32_t>(960 * i),
            .sequence = static_cast<std::uint16_t>(i),
            .size = 100,
            .samples = 960,
            .silence = silence};
}

// The same for any time of day: the nanoseconds do not fit into 32 bits.
Arrival packet_at(std::int64_t i) {
    Arrival out = packet(0);
    out.time_ns = kEpoch + 20 * i * kMs;
    out.timestamp = static_cast<std::uint32_t>(960 * i);
    out.sequence = static_cast<std::uint16_t>(i);
    return out;
}

}  // namespace

TEST_CASE("a perfect stream has gaps of 20 ms, no lateness, no loss and no burst") {
    StreamMeter meter;
    for (int i = 0; i < 500; ++i) REQUIRE(meter.record(packet(i)).verdict == Verdict::fresh);
    const auto figures = meter.figures();
    REQUIRE(figures.packets == 500);
    REQUIRE(figures.lost == 0);
    REQUIRE(figures.gaps.total == 499);
    REQUIRE(figures.gaps.max == 20ms);
    REQUIRE(figures.gaps.quantile(0.001) >= 20ms);
    REQUIRE(figures.lateness.total == 500);
    REQUIRE(figures.lateness.max == 0ns);
    REQUIRE(figures.longest_burst == 1);
    REQUIRE(figures.last_ns - figures.first_ns == 499 * 20 * kMs);
}

TEST_CASE("sequence numbers that never come are lost") {
    StreamMeter meter;
    for (const int i : {0, 1, 2, 5, 6, 10}) (void)meter.record(packet(i));
    REQUIRE(meter.figures().lost == 5);
    REQUIRE(meter.figures().packets == 6);
}

TEST_CASE("a packet that comes after a later one is reordered, not lost") {
    StreamMeter meter;
    for (const int i : {0, 1, 4}) (void)meter.record(packet(i));
    REQUIRE(meter.figures().lost == 2);
    REQUIRE(meter.record(packet(2, 50)).verdict == Verdict::reordered);
    REQUIRE(meter.figures().lost == 1);
    REQUIRE(meter.record(packet(3, 50)).verdict == Verdict::reordered);
    REQUIRE(meter.figures().lost == 0);
    REQUIRE(meter.figures().reordered == 2);
}

TEST_CASE("an earlier packet than the first is reordered as well") {
    StreamMeter meter;
    (void)meter.record(packet(5));
    REQUIRE(meter.record(packet(4, 30)).verdict == Verdict::reordered);
    REQUIRE(meter.figures().lost == 0);
    (void)meter.record(packet(2, 80));
    REQUIRE(meter.figures().lost == 1);
}

TEST_CASE("a sequence number that comes again is a duplicate and nothing else") {
    StreamMeter meter;
    for (const int i : {0, 1, 1, 2, 4, 0, 4, 2}) (void)meter.record(packet(i));
    const auto figures = meter.figures();
    REQUIRE(figures.duplicates == 4);
    REQUIRE(figures.packets == 4);
    REQUIRE(figures.lost == 1);
    REQUIRE(figures.reordered == 0);
}

TEST_CASE("the wraps of sequence and timestamp are no loss, no restart and no lateness") {
    StreamMeter meter;
    for (int i = 0; i < 70'000; ++i) {
        auto arrival = packet(i);
        arrival.timestamp += 0xFFFF'0000U;
        const auto recorded = meter.record(arrival);
        REQUIRE(recorded.verdict == Verdict::fresh);
        REQUIRE(recorded.index == i);
    }
    const auto figures = meter.figures();
    REQUIRE(figures.packets == 70'000);
    REQUIRE(figures.lost == 0);
    REQUIRE(figures.lateness.max == 0ns);
    REQUIRE(figures.gaps.total == 69'999);
}

TEST_CASE("loss across the wrap is counted exactly") {
    StreamMeter meter;
    auto before = packet(65'534);
    auto after = packet(65'538);
    (void)meter.record(before);
    REQUIRE(meter.record(after).index == 65'538);
    REQUIRE(meter.figures().lost == 3);
}

TEST_CASE("two packets in a row after a jump in either direction are a restart and no loss") {
    StreamMeter meter;
    for (int i = 0; i < 1'000; ++i) (void)meter.record(packet(i));
    for (const int from : {20'000, 3}) {
        auto jump = packet(from);
        REQUIRE(meter.record(jump).verdict == Verdict::stray);
        jump = packet(from + 1);
        const auto recorded = meter.record(jump);
        REQUIRE(recorded.verdict == Verdict::restart);
        REQUIRE(recorded.index == from + 1);
        jump = packet(from + 3);
        REQUIRE(meter.record(jump).verdict == Verdict::fresh);
        jump = packet(from + 2);
        REQUIRE(meter.record(jump).verdict == Verdict::reordered);
    }
    const auto figures = meter.figures();
    REQUIRE(figures.restarts == 2);
    REQUIRE(figures.lost == 0);
    REQUIRE(figures.packets == 1'008);
    REQUIRE(figures.reordered == 2);
    REQUIRE(figures.duplicates == 0);
}

TEST_CASE("a restart across the wrap of the sequence is one") {
    StreamMeter meter;
    (void)meter.record(packet(20'000));
    REQUIRE(meter.record(packet(65'535)).verdict == Verdict::stray);
    REQUIRE(meter.record(packet(65'536)).verdict == Verdict::restart);
    REQUIRE(meter.record(packet(65'537)).verdict == Verdict::fresh);
    REQUIRE(meter.figures().packets == 4);
    REQUIRE(meter.figures().lost == 0);
}

TEST_CASE("one packet far from the others restarts nothing, whatever it is") {
    const int stray = GENERATE(0, 500, 871, 4'000, 30'000);
    CAPTURE(stray);
    StreamMeter meter;
    for (int i = 0; i < 2'000; ++i) {
        if (i != 500) REQUIRE(meter.record(packet(i)).verdict == Verdict::fresh);
        if (i != 999) continue;
        auto late = packet(i);
        late.sequence = static_cast<std::uint16_t>(stray);
        REQUIRE(meter.record(late).verdict == Verdict::stray);
    }
    const auto figures = meter.figures();
    REQUIRE(figures.restarts == 0);
    const bool came_before = stray == 0 || stray == 871;
    REQUIRE(figures.duplicates == (came_before ? 1 : 0));
    REQUIRE(figures.reordered == (came_before ? 0 : 1));
    REQUIRE(figures.packets == (came_before ? 1'999 : 2'000));
    REQUIRE(figures.lost == (stray == 500 ? 0 : 1));
    REQUIRE(figures.lateness.max == 0ns);
    REQUIRE(figures.gaps.max == 20ms);
}

TEST_CASE("a packet from long before the first is no loss of all between them") {
    StreamMeter meter;
    for (int i = 0; i < 10; ++i) (void)meter.record(packet(10'000 + i));
    REQUIRE(meter.record(packet(9'000)).verdict == Verdict::stray);
    REQUIRE(meter.record(packet(10'010)).verdict == Verdict::fresh);
    REQUIRE(meter.figures().lost == 0);
    REQUIRE(meter.figures().reordered == 1);
}

TEST_CASE("stray packets that do not follow one another restart nothing") {
    StreamMeter meter;
    for (int i = 0; i < 1'000; ++i) (void)meter.record(packet(i));
    for (const int stray : {300, 302, 301}) {
        REQUIRE(meter.record(packet(stray)).verdict == Verdict::stray);
    }
    REQUIRE(meter.record(packet(1'000)).verdict == Verdict::fresh);
    REQUIRE(meter.record(packet(302)).verdict == Verdict::stray);  // not after 301: 1000 between
    REQUIRE(meter.figures().duplicates == 4);
    REQUIRE(meter.figures().restarts == 0);
}

TEST_CASE("loss before a restart stays counted") {
    StreamMeter meter;
    for (const int i : {0, 3, 40'000, 40'001}) (void)meter.record(packet(i));
    REQUIRE(meter.figures().lost == 2);
}

TEST_CASE("a restart into numbers that were lost leaves them lost") {
    StreamMeter meter;
    for (int i = 0; i < 1'000; ++i) {
        if (i != 500 && i != 501) (void)meter.record(packet(i));
    }
    REQUIRE(meter.record(packet(500)).verdict == Verdict::stray);
    REQUIRE(meter.figures().lost == 1);
    REQUIRE(meter.record(packet(501)).verdict == Verdict::restart);
    REQUIRE(meter.figures().lost == 2);
    REQUIRE(meter.figures().packets == 1'000);
}

TEST_CASE("the limits between loss, disorder and a stray packet lie where they are said to lie") {
    const auto verdict_of = [](int step) {
        StreamMeter meter;
        (void)meter.record(packet(10'000));
        return meter.record(packet(10'000 + step)).verdict;
    };
    REQUIRE(verdict_of(StreamMeter::kMaxDropout) == Verdict::fresh);
    REQUIRE(verdict_of(StreamMeter::kMaxDropout + 1) == Verdict::stray);
    REQUIRE(verdict_of(-StreamMeter::kMaxMisorder + 1) == Verdict::reordered);
    REQUIRE(verdict_of(-StreamMeter::kMaxMisorder) == Verdict::stray);
}

TEST_CASE("lateness is measured from the earliest packet, wherever in the stream it came") {
    StreamMeter meter;
    (void)meter.record(packet(0, 7));
    (void)meter.record(packet(1, 9));
    (void)meter.record(packet(2, 4));  // the earliest
    (void)meter.record(packet(3, 10));
    const auto figures = meter.figures();
    REQUIRE(figures.lateness.total == 4);
    REQUIRE(figures.lateness.max == 6ms);
    REQUIRE(figures.lateness.quantile(0.25) < 1ms);  // packet 2
    REQUIRE(figures.lateness.quantile(0.5) >= 3ms);  // packet 0
    REQUIRE(figures.lateness.quantile(0.75) >= 5ms);
}

TEST_CASE("a pause that the timestamp tells of is no gap and no lateness") {
    StreamMeter meter;
    for (int i = 0; i < 10; ++i) (void)meter.record(packet(i));
    for (int i = 0; i < 10; ++i) {
        auto later = packet(i + 100);
        later.sequence = static_cast<std::uint16_t>(10 + i);
        (void)meter.record(later);
    }
    const auto figures = meter.figures();
    REQUIRE(figures.gaps.max == 20ms);
    REQUIRE(figures.gaps.total == 18);
    REQUIRE(figures.lateness.max == 0ns);
    REQUIRE(figures.timestamp_gaps == 1);
    REQUIRE(figures.lost == 0);
}

TEST_CASE(
    "five silence frames end a transmission; a pause after them is not late, whatever the "
    "timestamp") {
    StreamMeter meter;
    for (int i = 0; i < 10; ++i) (void)meter.record(packet(i));
    for (int i = 10; i < 15; ++i) (void)meter.record(packet(i, 0, true));
    for (int i = 15; i < 25; ++i)
        (void)meter.record(packet(i, 10'000));  // the timestamp stood still
    const auto figures = meter.figures();
    REQUIRE(figures.transmissions == 2);
    REQUIRE(figures.silence_frames == 5);
    REQUIRE(figures.lateness.max == 0ns);
    REQUIRE(figures.lateness.total == 20);
    REQUIRE(figures.gaps.max == 20ms);
    REQUIRE(figures.timestamp_gaps == 0);
}

TEST_CASE("a stall shows as a gap and as lateness of what follows at once") {
    StreamMeter meter;
    for (int i = 0; i < 10; ++i) (void)meter.record(packet(i));
    for (int i = 10; i < 15; ++i) {
        auto late = packet(i);
        late.time_ns = packet(15).time_ns + i;  // all together
        (void)meter.record(late);
    }
    const auto figures = meter.figures();
    REQUIRE(figures.gaps.max >= 120ms);
    REQUIRE(figures.lateness.max >= 100ms);
    REQUIRE(figures.longest_burst == 5);
}

TEST_CASE("packets less than a millisecond apart are a burst, and a millisecond apart are not") {
    const auto burst_of = [](std::int64_t step_ns) {
        StreamMeter meter;
        for (int i = 0; i < 6; ++i) {
            auto arrival = packet(i);
            arrival.time_ns = kEpoch + i * step_ns;
            (void)meter.record(arrival);
        }
        return meter.figures().longest_burst;
    };
    REQUIRE(burst_of(kMs - 1) == 6);
    REQUIRE(burst_of(kMs) == 1);
}

TEST_CASE("packets longer than 20 ms are on time when they come that much apart") {
    StreamMeter meter;
    for (int i = 0; i < 10; ++i) {
        auto arrival = packet(3 * i);
        arrival.sequence = static_cast<std::uint16_t>(i);
        arrival.samples = 2'880;
        (void)meter.record(arrival);
    }
    REQUIRE(meter.figures().gaps.max == 60ms);
    REQUIRE(meter.figures().gaps.total == 9);
    REQUIRE(meter.figures().timestamp_gaps == 0);
}

TEST_CASE("lateness stays right in a transmission longer than the timestamps' half circle") {
    StreamMeter meter;
    // 15 hours; 2^31 samples are 12.4 of them, and a full circle would be 24.9.
    constexpr int kPackets = 15 * 3'600 * 50;
    for (int i = 0; i < kPackets; ++i) (void)meter.record(packet_at(i));
    const auto figures = meter.figures();
    REQUIRE(figures.transmissions == 1);
    REQUIRE(figures.lateness.total == kPackets);
    REQUIRE(figures.lateness.max == 0ns);
}
