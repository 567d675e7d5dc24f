#include <thread>

#include "catch.hpp"
#include "voicecore/base/link_stack.hpp"
#include "voicecore/base/spsc_ring.hpp"

using voicecore::LinkStack;
using voicecore::SpscRing;

TEST_CASE("a ring takes exactly its capacity and gives it back in order") {
    SpscRing<int> ring{8};
    REQUIRE(ring.capacity() == 8);
    for (int i = 0; i < 8; ++i) REQUIRE(ring.push(i));
    REQUIRE_FALSE(ring.push(8));
    for (int i = 0; i < 8; ++i) {
        REQUIRE(*ring.front() == i);
        ring.pop();
    }
    REQUIRE(ring.front() == nullptr);
}

TEST_CASE("nothing is lost, repeated or reordered between two threads") {
    constexpr int kCount = 200'000;
    SpscRing<int> ring{64};
    std::thread producer{[&ring] {
        for (int i = 0; i < kCount;) {
            if (ring.push(i)) {
                ++i;
            } else {
                std::this_thread::yield();
            }
        }
    }};
    int wrong = 0;
    for (int expected = 0; expected < kCount;) {
        if (const int* value = ring.front(); value != nullptr) {
            wrong += *value != expected ? 1 : 0;
            ring.pop();
            ++expected;
        } else {
            std::this_thread::yield();
        }
    }
    producer.join();
    REQUIRE(wrong == 0);
    REQUIRE(ring.size() == 0);
}

namespace {
struct Counted {
    static inline int made = 0;
    Counted() { ++made; }
    int value = 0;
};
}  // namespace

TEST_CASE("a ring keeps to as many slots as were in use at a time, and one") {
    Counted::made = 0;
    {
        SpscRing<Counted> ring{64};
        const auto put = [&](int count) {
            for (int i = 0; i < count; ++i) {
                REQUIRE(ring.claim() != nullptr);
                ring.publish();
            }
        };
        const auto take = [&](int count) {
            for (int i = 0; i < count; ++i) {
                REQUIRE(ring.front() != nullptr);
                ring.pop();
            }
        };
        put(20);
        for (int round = 0; round < 100; ++round) {
            take(8);
            put(8);
        }
        CHECK(Counted::made == 21);
        take(20);
        put(64);
        CHECK(ring.claim() == nullptr);
        CHECK(Counted::made == 65);
    }
}

TEST_CASE("a claimed slot stays claimed until it is published, at the brim as well") {
    SpscRing<int> ring{2};
    int* first = ring.claim();
    *first = 1;
    CHECK(ring.claim() == first);
    CHECK(ring.front() == nullptr);
    ring.publish();
    REQUIRE(ring.push(2));
    CHECK(ring.claim() == nullptr);
    for (int next = 3; next < 50; ++next) {
        REQUIRE(*ring.front() == next - 2);
        ring.pop();
        REQUIRE(ring.push(next));
        CHECK(ring.claim() == nullptr);
    }
    CHECK(ring.size() == 2);
}

namespace {
struct Node {
    int value = 0;
    Node* link = nullptr;
};
}  // namespace

TEST_CASE("a link stack hands over everything once, oldest first for each pusher") {
    constexpr int kCount = 20'000;
    LinkStack<Node, &Node::link> stack;
    std::vector<Node> a(kCount);
    std::vector<Node> b(kCount);
    const auto push_all = [&stack](std::vector<Node>& nodes, int offset) {
        for (int i = 0; i < kCount; ++i) {
            nodes[static_cast<std::size_t>(i)].value = offset + i;
            stack.push(nodes[static_cast<std::size_t>(i)]);
        }
    };
    std::thread first{push_all, std::ref(a), 0};
    std::thread second{push_all, std::ref(b), kCount};
    int next_a = 0;
    int next_b = kCount;
    int wrong = 0;
    while (next_a < kCount || next_b < 2 * kCount) {
        stack.take_all([&](Node& node) {
            int& next = node.value < kCount ? next_a : next_b;
            wrong += node.value != next ? 1 : 0;
            ++next;
        });
    }
    first.join();
    second.join();
    REQUIRE(wrong == 0);
    REQUIRE(stack.empty());
}
