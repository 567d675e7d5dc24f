#include "catch.hpp"
#include "voicecore/base/wake_margin.hpp"

using namespace voicecore;
using namespace std::chrono_literals;

TEST_CASE("a margin is what the latest wake-ups took") {
    WakeMargin margin;
    REQUIRE(margin.before(2s) == 0ns);
    margin.woke(700us);
    REQUIRE(margin.before(2s) == 700us);
    margin.woke(900us);
    REQUIRE(margin.before(2s) == 900us);
    margin.woke(100us);
    REQUIRE(margin.before(2s) == 875us);
    for (int i = 0; i < 300; ++i) margin.woke(100us);
    REQUIRE(margin.before(2s) < 101us);
    REQUIRE(margin.before(2s) >= 100us);
}

TEST_CASE("a margin costs a tenth of a processor at most, and two milliseconds") {
    WakeMargin margin;
    margin.woke(30ms);
    REQUIRE(margin.before(2s) == 2ms);
    REQUIRE(margin.before(20ms) == 2ms);
    REQUIRE(margin.before(10ms) == 1ms);
}
