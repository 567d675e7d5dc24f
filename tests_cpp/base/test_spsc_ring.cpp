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
