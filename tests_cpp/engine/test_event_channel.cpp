#include <poll.h>

#include <thread>

#include "catch.hpp"
#include "voicecore/engine/event_channel.hpp"

using namespace voicecore;
using namespace voicecore::engine;
using playback::Event;

namespace {
bool readable(int fd) {
    pollfd entry{.fd = fd, .events = POLLIN, .revents = 0};
    return ::poll(&entry, 1, 0) == 1;
}
}  // namespace

TEST_CASE("many events make one wake-up, and draining makes the descriptor quiet") {
    const auto channel = EventChannel::create().value();
    REQUIRE_FALSE(readable(channel->fd()));
    for (std::uint64_t i = 1; i <= 1'000; ++i) channel->emit({.subject = i});
    REQUIRE(readable(channel->fd()));
    REQUIRE(channel->wakes() == 1);
    const auto drained = channel->drain();
    REQUIRE(drained.events.size() == 1'000);
    for (std::uint64_t i = 0; i < 1'000; ++i) REQUIRE(drained.events[i].subject == i + 1);
    REQUIRE_FALSE(drained.overflowed);
    REQUIRE_FALSE(readable(channel->fd()));
    channel->emit({.subject = 1});
    REQUIRE(readable(channel->fd()));
}

TEST_CASE("a full channel says that events were lost, once") {
    const auto channel = EventChannel::create().value();
    for (std::uint64_t i = 0; i < 40'000; ++i) channel->emit({.subject = i});
    const auto drained = channel->drain();
    REQUIRE(drained.overflowed);
    REQUIRE(drained.events.size() == 16'384);
    REQUIRE_FALSE(channel->drain().overflowed);
}

TEST_CASE("nothing emitted from several threads is lost while somebody drains") {
    const auto channel = EventChannel::create().value();
    constexpr std::uint64_t kEach = 50'000;
    constexpr int kThreads = 3;
    std::atomic<std::uint64_t> in_flight{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
        threads.emplace_back([&, t] {
            for (std::uint64_t i = 1; i <= kEach; ++i) {
                while (in_flight.load() > 10'000) std::this_thread::yield();
                in_flight.fetch_add(1);
                channel->emit({.subject = i, .value = t});
            }
        });
    }
    std::array<std::uint64_t, kThreads> next{1, 1, 1};
    int wrong = 0;
    std::uint64_t seen = 0;
    while (seen < kEach * kThreads) {
        pollfd entry{.fd = channel->fd(), .events = POLLIN, .revents = 0};
        REQUIRE(::poll(&entry, 1, 10'000) == 1);
        for (const auto& event : channel->drain().events) {
            auto& expected = next[static_cast<std::size_t>(event.value)];
            wrong += event.subject == expected ? 0 : 1;
            ++expected;
            ++seen;
            in_flight.fetch_sub(1);
        }
    }
    for (auto& thread : threads) thread.join();
    REQUIRE(wrong == 0);
}
