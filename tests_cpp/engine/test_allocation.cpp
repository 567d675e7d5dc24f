#define VOICECORE_ALLOCATION_GUARD_DEFINE
#include "allocation_guard.hpp"
#include "catch.hpp"
#include "voicecore/engine/event_channel.hpp"

using namespace voicecore::engine;
using voicecore_test::AllocationGuard;

TEST_CASE("telling the loop of events allocates nothing, not even when they are lost") {
    const auto channel = EventChannel::create().value();
    const AllocationGuard guard;
    for (std::uint64_t i = 0; i < 20'000; ++i) channel->emit({.subject = i});
    const auto allocated = guard.count();
    REQUIRE(allocated == 0);
    REQUIRE(channel->drain().overflowed);
    for (int i = 0; i < 2; ++i) {
        const AllocationGuard again;
        channel->emit({.subject = 1});  // wakes the loop
        REQUIRE(again.count() == 0);
    }
}
