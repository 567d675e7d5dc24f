#include <limits>

#include "catch.hpp"
#include "voicecore/base/histogram.hpp"

using voicecore::FineHistogram;
using voicecore::Histogram;
using namespace std::chrono_literals;

TEST_CASE("every microsecond value lies under its bucket's edge and above the one before") {
    for (std::uint64_t us = 0; us < 70'000; ++us) {
        const std::size_t index = Histogram::index_of(us);
        REQUIRE(std::chrono::microseconds{us} < Histogram::upper_edge(index));
        if (index > 0) REQUIRE(std::chrono::microseconds{us} >= Histogram::upper_edge(index - 1));
    }
}

TEST_CASE("a quantile is at most a sixteenth above the true value and never above the maximum") {
    Histogram histogram;
    for (int i = 1; i <= 1000; ++i) histogram.record(std::chrono::microseconds{i});
    const auto shot = histogram.snapshot();
    REQUIRE(shot.total == 1000);
    REQUIRE(shot.max == 1000us);
    REQUIRE(shot.quantile(0.5) >= 500us);
    REQUIRE(shot.quantile(0.5) <= 533us);
    REQUIRE(shot.quantile(1.0) == 1000us);
}

TEST_CASE("the fine histogram tells times around 20 ms apart to 32 us") {
    for (std::uint64_t us = 16'400; us < 32'700; ++us) {
        const auto edge = FineHistogram::upper_edge(FineHistogram::index_of(us));
        REQUIRE(std::chrono::microseconds{us} < edge);
        REQUIRE(edge - std::chrono::microseconds{us} <= 32us);
    }
    REQUIRE(FineHistogram::upper_edge(FineHistogram::kBuckets - 1) > 60s);
}

// To record so many would take ten seconds; a thousand streams have sent them after a day.
TEST_CASE("a bucket counts beyond 32 bits") {
    using Count = decltype(Histogram::Snapshot::counts)::value_type;
    STATIC_REQUIRE(std::numeric_limits<Count>::digits == 64);
    STATIC_REQUIRE(sizeof(Histogram) >= Histogram::kBuckets * sizeof(Count));
}

TEST_CASE("values outside the range count at its ends") {
    Histogram histogram;
    histogram.record(-5ms);
    histogram.record(10h);
    const auto shot = histogram.snapshot();
    REQUIRE(shot.total == 2);
    REQUIRE(shot.counts.front() == 1);
    REQUIRE(shot.counts.back() == 1);
    REQUIRE(shot.max == 10h);
}
