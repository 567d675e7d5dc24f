#include <thread>

#include "catch.hpp"
#include "voicecore/base/clock.hpp"

using namespace voicecore;
using namespace std::chrono_literals;

TEST_CASE("a signal that came first is not lost") {
    WakeSignal wake;
    wake.signal();
    REQUIRE(wake.wait_until(SteadyClock{}.now() + 10s));
}

TEST_CASE("a wait without a signal ends at its deadline, not before") {
    WakeSignal wake;
    const SteadyClock clock;
    const TimePoint deadline = clock.now() + 5ms;
    REQUIRE_FALSE(wake.wait_until(deadline));
    REQUIRE(clock.now() >= deadline);
}

TEST_CASE("a sleeper is woken long before its deadline") {
    WakeSignal wake;
    const SteadyClock clock;
    std::thread waker{[&wake] {
        sleep_until(SteadyClock{}.now() + 2ms);
        wake.signal();
    }};
    const TimePoint begin = clock.now();
    REQUIRE(wake.wait_until(begin + 10s));
    REQUIRE(clock.now() - begin < 5s);
    waker.join();
}

TEST_CASE("every hand-over through a signal arrives") {
    WakeSignal wake;
    std::atomic<int> work{0};
    constexpr int kRounds = 20'000;
    std::thread consumer{[&] {
        int seen = 0;
        while (seen < kRounds) {
            wake.wait();
            seen = work.load();
        }
    }};
    for (int i = 1; i <= kRounds; ++i) {
        work.store(i);
        wake.signal();
    }
    consumer.join();
    REQUIRE(work.load() == kRounds);
}
