#include <atomic>
#include <thread>
#include <vector>

#include "catch.hpp"
#include "voicecore/command/session_mutex.hpp"

using namespace voicecore::command;

TEST_CASE("of a hundred threads that race for a key one gets it") {
    SessionMutex mutex;
    for (int round = 0; round < 20; ++round) {
        std::atomic<int> won{0};
        std::atomic<std::uint64_t> ticket{0};
        std::atomic<bool> go{false};
        std::vector<std::thread> threads;
        for (int i = 0; i < 100; ++i) {
            threads.emplace_back([&, i] {
                while (!go.load()) std::this_thread::yield();
                if (const auto got = mutex.claim("a", i)) {
                    ++won;
                    ticket = *got;
                }
            });
        }
        go = true;
        for (std::thread& thread : threads) thread.join();
        REQUIRE(won == 1);
        REQUIRE(mutex.held().size() == 1);
        REQUIRE(mutex.release("a", ticket));
    }
}

TEST_CASE("never two holders, however often threads claim and release") {
    SessionMutex mutex;
    std::atomic<int> inside{0};
    std::atomic<int> most{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i) {
        threads.emplace_back([&] {
            for (int turn = 0; turn < 5'000; ++turn) {
                const auto ticket = mutex.claim("a", turn);
                if (!ticket) continue;
                if (++inside > most) most = inside.load();
                --inside;
                mutex.release("a", *ticket);
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    REQUIRE(most == 1);
    REQUIRE(mutex.held().empty());
}

TEST_CASE("a second release changes nothing, even when somebody else has the key by then") {
    SessionMutex mutex;
    const auto first = mutex.claim("a", 1);
    REQUIRE(mutex.release("a", *first));
    const auto second = mutex.claim("a", 2);
    REQUIRE_FALSE(mutex.release("a", *first));
    REQUIRE_FALSE(mutex.claim("a", 3));
    REQUIRE(mutex.release("a", *second));
}

TEST_CASE("only the attempt that was leased holds the key") {
    SessionMutex mutex;
    const auto ticket = mutex.claim("a", 1);
    REQUIRE_FALSE(mutex.holds("a", 0));
    REQUIRE(mutex.set_attempt("a", *ticket, 4));
    REQUIRE(mutex.holds("a", 4));
    REQUIRE_FALSE(mutex.holds("a", 3));
    REQUIRE_FALSE(mutex.holds("b", 4));
    mutex.release("a", *ticket);
    REQUIRE_FALSE(mutex.holds("a", 4));
}

TEST_CASE("a single mutex is one for every key") {
    SessionMutex mutex{true};
    const auto ticket = mutex.claim("a", 1);
    REQUIRE_FALSE(mutex.claim("b", 2));
    REQUIRE(mutex.held().at(0).key == "a");
    mutex.release("a", *ticket);
    REQUIRE(mutex.claim("b", 2));
}
