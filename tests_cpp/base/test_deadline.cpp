#include <random>

#include "catch.hpp"
#include "voicecore/base/deadline.hpp"

using namespace voicecore;
using namespace std::chrono_literals;

namespace {
constexpr TimePoint kEpoch{1'000'000'000ns};
}

TEST_CASE("nothing is due one nanosecond before a deadline, one tick is due at it") {
    DeadlineGrid grid{kEpoch, 20ms};
    REQUIRE(grid.take_due(kEpoch - 1ns).ticks == 0);
    const auto turn = grid.take_due(kEpoch);
    REQUIRE(turn.ticks == 1);
    REQUIRE(turn.skipped == 0);
    REQUIRE(turn.first == kEpoch);
    REQUIRE(grid.next() == kEpoch + 20ms);
}

TEST_CASE("two owed ticks are made up, a third is given up") {
    DeadlineGrid two{kEpoch, 20ms};
    const auto made_up = two.take_due(kEpoch + 40ms);
    REQUIRE(made_up.ticks == 3);
    REQUIRE(made_up.skipped == 0);

    DeadlineGrid three{kEpoch, 20ms};
    const auto given_up = three.take_due(kEpoch + 60ms);
    REQUIRE(given_up.ticks == 3);
    REQUIRE(given_up.skipped == 1);
    REQUIRE(given_up.oldest == kEpoch);
    REQUIRE(given_up.first == kEpoch + 20ms);
}

TEST_CASE("ticks and skipped ticks account for every period, and deadlines never drift") {
    std::mt19937_64 random{7};
    for (int run = 0; run < 50; ++run) {
        DeadlineGrid grid{kEpoch, 20ms};
        std::uniform_int_distribution<std::int64_t> step{1, run % 2 == 0 ? 5'000'000 : 500'000'000};
        TimePoint now = kEpoch;
        std::uint64_t accounted = 0;
        for (int i = 0; i < 2'000; ++i) {
            now += std::chrono::nanoseconds{step(random)};
            const auto turn = grid.take_due(now);
            REQUIRE(turn.ticks <= 1 + kMaxDebtTicks);
            if (turn.skipped > 0) REQUIRE(turn.ticks == 1 + kMaxDebtTicks);
            accounted += turn.skipped + static_cast<std::uint64_t>(turn.ticks);
            REQUIRE(grid.next() > now);
            REQUIRE(grid.next() - now <= 20ms);
            REQUIRE((grid.next() - kEpoch) % 20ms == 0ns);
        }
        REQUIRE(accounted == static_cast<std::uint64_t>((now - kEpoch) / 20ms) + 1);
    }
}

TEST_CASE("fast-forward stops at the first deadline that has not passed") {
    DeadlineGrid grid{kEpoch, 20ms};
    grid.fast_forward(kEpoch + 40ms);
    REQUIRE(grid.next() == kEpoch + 40ms);
    grid.fast_forward(kEpoch + 40ms + 1ns);
    REQUIRE(grid.next() == kEpoch + 60ms);
    grid.fast_forward(kEpoch);
    REQUIRE(grid.next() == kEpoch + 60ms);
}
