#include <algorithm>

#include "scratch.hpp"

using namespace voicecore;
using namespace voicecore::command;

namespace {

constexpr Millis kHour = 3'600'000;

std::string state_of(Store& store, std::int64_t id) {
    return store.get(id).value()->state;
}

}  // namespace

TEST_CASE("a command that becomes due while a later one of its key is held waits for that") {
    const Scratch scratch;
    auto store = scratch.open();
    const auto delayed = put(*store, {.command = "work", .key = "a", .not_before = 100});
    const auto later = put(*store, {.command = "work", .key = "a"});
    const auto other = put(*store, {.command = "work", .key = "b", .not_before = 100});
    REQUIRE(ids_of(claim(*store, 1)) == std::vector{later});
    REQUIRE(ids_of(claim(*store, 200)) == std::vector{other});
    REQUIRE(store->ack(later, 1, 201, "done").ok());
    REQUIRE(ids_of(claim(*store, 202)) == std::vector{delayed});
}

TEST_CASE(
    "of a lapsed claim and an earlier command that is due by now, the earlier one comes first") {
    const Scratch scratch;
    auto store = scratch.open();
    const auto delayed = put(*store, {.command = "work", .key = "a", .not_before = 100});
    const auto lapsed = put(*store, {.command = "work", .key = "a"});
    REQUIRE(ids_of(claim(*store, 1, 10, 50)) == std::vector{lapsed});
    REQUIRE(ids_of(claim(*store, 200)) == std::vector{delayed});
    REQUIRE(is_stale(store->ack(lapsed, 1, 201, "done").error(), Stale::expired));
    REQUIRE(store->ack(delayed, 1, 201, "done").ok());
    REQUIRE(ids_of(claim(*store, 202)) == std::vector{lapsed});
}

TEST_CASE("a command whose holder died is not tried again once it has expired") {
    const Scratch scratch;
    auto store = scratch.open();
    const auto play = put(*store, {.command = "play", .key = "a"}, 0);
    const auto work = put(*store, {.command = "work", .key = "b", .expires_at = 5'000}, 0);
    REQUIRE(claim(*store, 1).claimed.size() == 2);
    REQUIRE(claim(*store, 700'000).expired == 2);
    REQUIRE(state_of(*store, play) == "expired");
    REQUIRE(state_of(*store, work) == "expired");
}

TEST_CASE("a stop whose holder died is superseded by the next start") {
    const Scratch scratch;
    auto store = scratch.open();
    const auto stop = put(*store, {.command = "stop", .key = "a"}, 0);
    REQUIRE(ids_of(claim(*store, 1)) == std::vector{stop});
    const auto found =
        store->claim({.now = 5'000, .limit = 10, .lease = 1'000, .started_at = 4'000});
    REQUIRE(found.value().claimed.empty());
    REQUIRE(state_of(*store, stop) == "superseded");
}

TEST_CASE("an overtaking stop far ahead of other keys' commands is claimed once") {
    const Scratch scratch;
    auto store = scratch.open();
    const auto stop = put(*store, {.command = "stop", .key = "b", .overtakes = true});
    const auto first = put(*store, {.command = "work", .key = "a"});
    for (int i = 0; i < 200; ++i) put(*store, {.command = "work", .key = "a"});
    REQUIRE(ids_of(claim(*store, 1)) == std::vector{stop, first});
    REQUIRE(store->get(stop).value()->attempt == 1);
}

TEST_CASE("a command far behind is expired once") {
    const Scratch scratch;
    auto store = scratch.open();
    for (int i = 0; i < 150; ++i) put(*store, {.command = "work", .key = "a", .expires_at = 5}, 0);
    const auto live = put(*store, {.command = "work", .key = "a"});
    const auto found = claim(*store, 10);
    REQUIRE(ids_of(found) == std::vector{live});
    REQUIRE(found.expired == 150);
}

TEST_CASE("a command to every key waits for those before it, however many are delayed") {
    const Scratch scratch;
    auto store = scratch.open();
    for (int i = 0; i < 200; ++i) {
        put(*store, {.command = "work", .key = "later", .not_before = kHour});
    }
    const auto before = put(*store, {.command = "work", .key = "a"});
    const auto every = put(*store, {.command = "stop"});
    REQUIRE(ids_of(claim(*store, 1)) == std::vector{before});
    REQUIRE(claim(*store, 2).claimed.empty());
    REQUIRE(store->ack(before, 1, 3, "done").ok());
    REQUIRE(ids_of(claim(*store, 4)) == std::vector{every});
}

TEST_CASE("only a stop overtakes") {
    const Scratch scratch;
    auto store = scratch.open();
    const auto first = put(*store, {.command = "work", .key = "a", .not_before = 100});
    const auto pushy = put(*store, {.command = "work", .key = "a", .overtakes = true});
    REQUIRE(ids_of(claim(*store, 1)) == std::vector{pushy});
    REQUIRE(claim(*store, 200).claimed.empty());
    REQUIRE(store->ack(pushy, 1, 201, "done").ok());
    REQUIRE(ids_of(claim(*store, 202)) == std::vector{first});
}

TEST_CASE("a claim outlives a wall clock that was set back by one lease at most") {
    const Scratch scratch;
    auto store = scratch.open();
    const auto id = put(*store, {.command = "work", .key = "a"}, kHour);
    REQUIRE(ids_of(claim(*store, kHour, 10, 1'000)) == std::vector{id});
    REQUIRE(claim(*store, 100).claimed.empty());  // an hour earlier
    REQUIRE(claim(*store, 1'099).claimed.empty());
    REQUIRE(ids_of(claim(*store, 1'100)) == std::vector{id});
}

TEST_CASE("a holder keeps its claim when the wall clock is set back") {
    const Scratch scratch;
    auto store = scratch.open();
    const auto id = put(*store, {.command = "work", .key = "a"}, kHour);
    REQUIRE(ids_of(claim(*store, kHour, 10, 1'000)) == std::vector{id});
    REQUIRE(claim(*store, 100).claimed.empty());
    REQUIRE(store->renew(id, 1, 500, 1'000).ok());
    REQUIRE(claim(*store, 1'400).claimed.empty());
    REQUIRE(store->ack(id, 1, 1'450, "done").ok());
}

TEST_CASE("a holder that renews before anybody looks keeps its claim as well") {
    const Scratch scratch;
    auto store = scratch.open();
    const auto id = put(*store, {.command = "work", .key = "a"}, kHour);
    REQUIRE(ids_of(claim(*store, kHour, 10, 1'000)) == std::vector{id});
    SECTION("by itself") {
        REQUIRE(store->renew(id, 1, 100, 1'000).ok());
    }
    SECTION("with all that it holds") {
        REQUIRE(store->renew_all({.commands = {{id, 1}}, .sessions = {}}, 100, 1'000).ok());
    }
    REQUIRE(claim(*store, 200).claimed.empty());
    REQUIRE(claim(*store, 1'000).claimed.empty());
    REQUIRE(store->ack(id, 1, 1'050, "done").ok());
}

TEST_CASE("what has waited longest is something that is due") {
    const Scratch scratch;
    auto store = scratch.open();
    put(*store, {.command = "work", .not_before = kHour}, 1);
    REQUIRE(!store->statistics(10).value().oldest_ready);
    put(*store, {.command = "work"}, 5);
    REQUIRE(store->statistics(10).value().oldest_ready == 5);
}

TEST_CASE("a claim that was given back counts neither as a failure nor as a death") {
    const Scratch scratch;
    auto store = scratch.open();
    const auto id = put(*store, {.command = "work", .key = "a", .max_attempts = 2}, 0);
    std::int64_t attempt = 0;
    for (; attempt < 10; ++attempt) {
        REQUIRE(ids_of(claim(*store, 1)) == std::vector{id});
        REQUIRE(store->give_back(id, attempt + 1, 2, 0).ok());
    }
    REQUIRE(ids_of(claim(*store, 3)) == std::vector{id});  // and its holder dies
    REQUIRE(ids_of(claim(*store, 5'000)) == std::vector{id});
    REQUIRE(is_stale(store->ack(id, attempt + 1, 5'001, "done").error(), Stale::taken));
    REQUIRE(store->give_back(id, attempt + 2, 5'002, 0).ok());
    REQUIRE(ids_of(claim(*store, 5'003)) == std::vector{id});
    REQUIRE(!store->nack(id, attempt + 3, 5'004, "broke", 0).value());  // one death, one failure
    REQUIRE(state_of(*store, id) == "failed");
}

TEST_CASE("what was given back does not count as a death of an overtaking stop either") {
    const Scratch scratch;
    auto store = scratch.open();
    const auto stop = put(*store, {.command = "stop", .key = "a", .overtakes = true}, 0);
    std::int64_t attempt = 1;
    for (; attempt <= 2 * kMostDeaths; ++attempt) {
        REQUIRE(ids_of(claim(*store, 1)) == std::vector{stop});
        REQUIRE(store->give_back(stop, attempt, 2, 0).ok());
    }
    REQUIRE(ids_of(claim(*store, 3)) == std::vector{stop});      // and its holder dies
    REQUIRE(ids_of(claim(*store, 5'000)) == std::vector{stop});  // once is not too often
}

TEST_CASE("an expired command to every key holds nobody up") {
    const Scratch scratch;
    auto store = scratch.open();
    const auto gone = put(*store, {.command = "pause", .key = "*", .expires_at = 10});
    const auto play = put(*store, {.command = "play", .key = "a"}, 20);
    REQUIRE(ids_of(claim(*store, 30)) == std::vector{play});
    REQUIRE(store->get(gone).value()->state == "expired");
}

TEST_CASE("a command of any name to every key is a barrier") {
    const Scratch scratch;
    auto store = scratch.open();
    const auto all = put(*store, {.command = "reload", .key = "*"});
    put(*store, {.command = "work", .key = "a"});
    REQUIRE(ids_of(claim(*store, 1)) == std::vector{all});
    REQUIRE(claim(*store, 2).claimed.empty());
}

TEST_CASE("a row that does not fit its columns fails, says why, and holds nobody up") {
    const Scratch scratch;
    auto store = scratch.open();
    by_hand(
        scratch.path(),
        "INSERT INTO bot_commands(command, key) VALUES (CAST(x'6af6' AS TEXT), 'a');"
        "INSERT INTO bot_commands(command, key) VALUES ('job', CAST(x'c080' AS TEXT));"
        "INSERT INTO bot_commands(command, key, requested_by)"
        " VALUES ('job', 'a', CAST(x'5a6feb' AS TEXT));"
        "INSERT INTO bot_commands(command, key, args)"
        " VALUES ('job', 'a', CAST(x'22eda08022' AS TEXT));"
        "INSERT INTO bot_commands(command, key, entry_id) VALUES ('play', 'a', 'seven');"
        "INSERT INTO bot_commands(command, key, entry_id) VALUES ('play', 'a', 1.5);"
        "INSERT INTO bot_commands(command, key, requested_by) VALUES ('job', 'a', 'Zo\xc3\xab');"
        "INSERT INTO bot_commands(command, key) VALUES ('job', 'b')");
    const auto found = claim(*store, store->get(1).value()->created_at + 1);
    REQUIRE(found.failed == 6);
    REQUIRE(found.claimed.size() == 2);
    REQUIRE(found.claimed[0].id == 7);
    REQUIRE(found.claimed[1].id == 8);
    const auto error = [&](std::int64_t id) { return store->get(id).value()->error.value_or(""); };
    REQUIRE(error(1) == "command: got bytes that are not UTF-8, expected a text");
    REQUIRE(error(2).starts_with("key: "));
    REQUIRE(error(3).starts_with("requested_by: "));
    REQUIRE(error(4).starts_with("args: "));
    REQUIRE(error(5) == "entry_id: got 'seven', expected a whole number");
    REQUIRE(error(6) == "entry_id: got '1.5', expected a whole number");
}
