#include <sodium.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <set>
#include <thread>
#include <vector>

#include "catch.hpp"
#include "voicecore/transport/key_memory.hpp"

using voicecore::transport::KeyMemory;

TEST_CASE("a thousand keys get pieces of their own, many to a page") {
    REQUIRE(::sodium_init() >= 0);
    KeyMemory memory{32};
    std::set<std::uintptr_t> pieces;
    std::set<std::uintptr_t> pages;
    for (int i = 0; i < 1'000; ++i) {
        const auto at = reinterpret_cast<std::uintptr_t>(memory.take());
        REQUIRE(at != 0);
        CHECK(at % 32 == 0);
        pieces.insert(at);
        pages.insert(at / 4'096);
    }
    CHECK(pieces.size() == 1'000);
    CHECK(pages.size() == 8);
}

TEST_CASE("a key that is given back is wiped, and its piece serves the next") {
    REQUIRE(::sodium_init() >= 0);
    KeyMemory memory{512};
    auto* piece = static_cast<std::uint8_t*>(memory.take());
    REQUIRE(piece != nullptr);
    std::memset(piece, 0xA5, 512);
    memory.give_back(piece);
    CHECK(std::all_of(piece, piece + 512, [](std::uint8_t byte) { return byte == 0; }));
    CHECK(memory.take() == piece);
}

TEST_CASE("threads that take and give back keys never hold the same piece") {
    REQUIRE(::sodium_init() >= 0);
    KeyMemory memory{32};
    std::vector<std::thread> threads;
    std::atomic<int> shared{0};
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&, mark = static_cast<std::uint8_t>(t + 1)] {
            for (int i = 0; i < 2'000; ++i) {
                auto* piece = static_cast<std::uint8_t*>(memory.take());
                std::memset(piece, mark, 32);
                std::this_thread::yield();
                shared +=
                    std::any_of(piece, piece + 32, [&](std::uint8_t byte) { return byte != mark; })
                        ? 1
                        : 0;
                memory.give_back(piece);
            }
        });
    }
    for (auto& thread : threads) thread.join();
    CHECK(shared == 0);
}
