#include <algorithm>
#include <utility>

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

TEST_CASE("however much is delayed, what is due behind it is claimed") {
    const Scratch scratch;
    auto store = scratch.open();
    for (const char* key : {"a", "b", "c"}) {
        const NewCommand one{.command = "work", .key = key, .not_before = kHour};
        REQUIRE(store->enqueue(std::vector(2'000, one), 0).ok());
    }
    const auto due = put(*store, {.command = "work", .key = "b"});
    const auto other = put(*store, {.command = "work", .key = "z"});
    REQUIRE(ids_of(claim(*store, 1)) == std::vector{due, other});
    REQUIRE(store->ack(due, 1, 2, "done").ok());
    REQUIRE(store->ack(other, 1, 2, "done").ok());
    REQUIRE(ids_of(claim(*store, kHour)) == std::vector<std::int64_t>{1, 2'001, 4'001});
}

TEST_CASE("an overtaking stop is found however far back it is") {
    const Scratch scratch;
    auto store = scratch.open();
    put(*store, {.command = "work", .key = "a"});
    REQUIRE(claim(*store, 1).claimed.size() == 1);
    REQUIRE(store->enqueue(std::vector(3'000, NewCommand{.command = "work", .key = "a"}), 1).ok());
    const auto stop = put(*store, {.command = "stop", .key = "a", .overtakes = true});
    REQUIRE(ids_of(claim(*store, 2, 1)) == std::vector{stop});
    REQUIRE(claim(*store, 3, 1).claimed.empty());
}

TEST_CASE("overtaking stops come before everything that a claim has no room for") {
    const Scratch scratch;
    auto store = scratch.open();
    for (const char* key : {"a", "b", "c"}) put(*store, {.command = "work", .key = key});
    put(*store, {.command = "work", .key = "d", .priority = 100});
    const auto stop = put(*store, {.command = "stop", .key = "a", .overtakes = true});
    REQUIRE(ids_of(claim(*store, 1, 1)) == std::vector{stop});
}

TEST_CASE("an urgent command is found however far back it is, and waits for its own key alone") {
    const Scratch scratch;
    auto store = scratch.open();
    const auto first = put(*store, {.command = "work", .key = "mine"});
    std::vector<NewCommand> many;
    for (int i = 0; i < 3'000; ++i) {
        many.push_back({.command = "work", .key = "k" + std::to_string(i)});
    }
    REQUIRE(store->enqueue(many, 0).ok());
    put(*store, {.command = "work", .key = "mine", .priority = 7});
    const auto urgent = put(*store, {.command = "work", .key = "other", .priority = 5});
    // Its key's line begins with a command that is not urgent, and comes first.
    REQUIRE(ids_of(claim(*store, 1, 2)) == std::vector{urgent, first});
}

TEST_CASE("what has expired in an urgent key's line is ended once") {
    const Scratch scratch;
    auto store = scratch.open();
    put(*store, {.command = "work", .key = "a", .expires_at = 5}, 0);
    const auto urgent = put(*store, {.command = "work", .key = "a", .priority = 1}, 0);
    const auto found = claim(*store, 10);
    REQUIRE(ids_of(found) == std::vector{urgent});
    REQUIRE(found.expired == 1);
}

TEST_CASE("patient commands wait for all others") {
    const Scratch scratch;
    auto store = scratch.open();
    std::vector<NewCommand> many;
    for (int i = 0; i < 1'000; ++i) {
        many.push_back({.command = "work", .key = "k" + std::to_string(i), .priority = -1});
    }
    REQUIRE(store->enqueue(many, 0).ok());
    put(*store, {.command = "work", .key = "k5"});  // behind a patient one of its key
    const auto normal = put(*store, {.command = "work", .key = "z"});
    REQUIRE(ids_of(claim(*store, 1, 1)) == std::vector{normal});
}

TEST_CASE("urgent commands behind a command to every key do not keep it waiting") {
    const Scratch scratch;
    auto store = scratch.open();
    const auto every = put(*store, {.command = "stop"});
    const auto urgent = put(*store, {.command = "work", .key = "a", .priority = 5});
    REQUIRE(ids_of(claim(*store, 1)) == std::vector{every});
    REQUIRE(store->ack(every, 1, 2, "done").ok());
    REQUIRE(ids_of(claim(*store, 3)) == std::vector{urgent});
}

TEST_CASE("plays that were given back because their key is busy keep their order") {
    const Scratch scratch;
    auto store = scratch.open();
    const auto first = put(*store, {.command = "play", .key = "a"});
    REQUIRE(ids_of(claim(*store, 1)) == std::vector{first});
    REQUIRE(store->give_back(first, 1, 1, 1'000).ok());  // for a second
    const auto second = put(*store, {.command = "play", .key = "a"});
    const auto pause = put(*store, {.command = "pause", .key = "a"});
    REQUIRE(ids_of(claim(*store, 2)) == std::vector{pause});  // nobody's turn is taken by it
    REQUIRE(store->ack(pause, 1, 2, "done").ok());
    REQUIRE(claim(*store, 3).claimed.empty());
    REQUIRE(ids_of(claim(*store, 2'000)) == std::vector{first});
    REQUIRE(store->ack(first, 2, 2'000, "started").ok());
    REQUIRE(ids_of(claim(*store, 2'001)) == std::vector{second});
}

TEST_CASE(
    "a play that has failed does not keep later ones waiting, though it was given back once") {
    const Scratch scratch;
    auto store = scratch.open();
    const auto first = put(*store, {.command = "play", .key = "a", .max_attempts = 9});
    REQUIRE(ids_of(claim(*store, 1)) == std::vector{first});
    REQUIRE(store->give_back(first, 1, 1, 0).ok());
    REQUIRE(ids_of(claim(*store, 1)) == std::vector{first});
    REQUIRE(store->nack(first, 2, 1, "broke", 1'000).value());
    const auto second = put(*store, {.command = "play", .key = "a"});
    REQUIRE(ids_of(claim(*store, 2)) == std::vector{second});
}

TEST_CASE("an urgent command to every key comes after those before it") {
    const Scratch scratch;
    auto store = scratch.open();
    const auto first = put(*store, {.command = "work", .key = "a"});
    const auto every = put(*store, {.command = "pause", .priority = 9});
    REQUIRE(ids_of(claim(*store, 1)) == std::vector{first});
    REQUIRE(store->ack(first, 1, 2, "done").ok());
    REQUIRE(ids_of(claim(*store, 3)) == std::vector{every});
}

TEST_CASE("a pause is found behind any number of plays that wait for their key") {
    const Scratch scratch;
    auto store = scratch.open();
    const auto first = put(*store, {.command = "play", .key = "a"});
    REQUIRE(ids_of(claim(*store, 1)) == std::vector{first});
    REQUIRE(store->give_back(first, 1, 1, 1'000).ok());
    REQUIRE(store->enqueue(std::vector(3'000, NewCommand{.command = "play", .key = "a"}), 0).ok());
    const auto pause = put(*store, {.command = "pause", .key = "a"});
    REQUIRE(ids_of(claim(*store, 2)) == std::vector{pause});
}

TEST_CASE("a stop ends the plays that wait for their key, not those that are for later") {
    const Scratch scratch;
    auto store = scratch.open();
    const auto later = put(*store, {.command = "play", .key = "a", .not_before = kHour});
    const auto queued = put(*store, {.command = "play", .key = "a"});
    REQUIRE(ids_of(claim(*store, 1)) == std::vector{queued});
    REQUIRE(store->give_back(queued, 1, 1, 1'000).ok());
    const auto stop = put(*store, {.command = "stop"});  // of every key
    REQUIRE(ids_of(claim(*store, 2)) == std::vector{stop});
    REQUIRE(state_of(*store, queued) == "superseded");
    REQUIRE(state_of(*store, later) == "ready");
}

TEST_CASE("a state that was written by hand ends its command") {
    const Scratch scratch;
    auto store = scratch.open();
    const auto cancelled = put(*store, {.command = "work", .key = "a"});
    const auto odd = put(*store, {.command = "work", .key = "b"});
    const auto held = put(*store, {.command = "work", .key = "c"});
    const auto next = put(*store, {.command = "work", .key = "a"});
    by_hand(scratch.path(), "UPDATE bot_commands SET state = 'cancelled' WHERE id = 1");
    by_hand(scratch.path(), "UPDATE bot_commands SET state = 'paused' WHERE id = 2");
    REQUIRE(ids_of(claim(*store, 1)) == std::vector{held, next});
    REQUIRE(state_of(*store, cancelled) == "cancelled");
    REQUIRE(state_of(*store, odd) == "failed");
    REQUIRE(store->get(odd).value()->error == "state: got 'paused', expected 'ready'");
    by_hand(scratch.path(), "UPDATE bot_commands SET state = 'done' WHERE id = 3");
    REQUIRE(claim(*store, 5'000).claimed.size() == 1);  // the one of key a, whose holder is gone
    REQUIRE(state_of(*store, held) == "done");
    REQUIRE(is_stale(store->ack(held, 1, 5'001, "done").error(), Stale::finished));
}

TEST_CASE("a time that is a text ends its command with the reason, whatever else waits") {
    const Scratch scratch;
    auto store = scratch.open();
    const auto holds = put(*store, {.command = "work", .key = "a"});
    REQUIRE(ids_of(claim(*store, 1)) == std::vector{holds});
    by_hand(scratch.path(),
            "INSERT INTO bot_commands(command, key, not_before) VALUES"
            " ('work', 'a', datetime('now', '+8 hours'));"
            "INSERT INTO bot_commands(command, key, expires_at) VALUES"
            " ('work', 'b', datetime('now', '+1 day'));"
            "INSERT INTO bot_commands(command, key, created_at) VALUES"
            " ('play', 'c', datetime('now'));"
            "INSERT INTO bot_commands(command, key, not_before) VALUES ('work', 'd', 1.5)");
    REQUIRE(ids_of(claim(*store, 2)) == std::vector<std::int64_t>{5});  // a fraction is a time
    for (const auto& [id, name] :
         {std::pair{2, "not_before"}, std::pair{3, "expires_at"}, std::pair{4, "created_at"}}) {
        REQUIRE(state_of(*store, id) == "failed");
        const std::string error = store->get(id).value()->error.value();
        REQUIRE(error.find(name) == 0);
        REQUIRE(error.find("expected milliseconds since 1970 UTC") != std::string::npos);
    }
}

TEST_CASE("a time that no clock reaches is no time to wake up at, and expires nothing") {
    const Scratch scratch;
    auto store = scratch.open();
    by_hand(scratch.path(),
            "INSERT INTO bot_commands(command, key, created_at) VALUES"
            " ('play', 'a', 9223372036854775807);"
            "INSERT INTO bot_commands(command, key, attempt) VALUES"
            " ('work', 'b', 9223372036854775807)");
    REQUIRE(ids_of(claim(*store, 2)) == std::vector<std::int64_t>{1});
    REQUIRE(store->get(2).value()->error == "attempt: got '9223372036854775807', expected a count");
}

TEST_CASE("an id that has ended before ends again, and holds nobody up") {
    const Scratch scratch;
    auto store = scratch.open();
    const auto id = put(*store, {.command = "work", .key = "a"});
    REQUIRE(claim(*store, 1).claimed.size() == 1);
    REQUIRE(store->ack(id, 1, 2, "first").ok());
    by_hand(scratch.path(),
            "INSERT INTO bot_commands(id, command, key, expires_at) VALUES (1, 'work', 'a', 1)");
    const auto next = put(*store, {.command = "work", .key = "b"});
    REQUIRE(ids_of(claim(*store, 3)) == std::vector{next});
    REQUIRE(state_of(*store, id) == "expired");
}

TEST_CASE("an index that was dropped is made again when the file is opened") {
    const Scratch scratch;
    scratch.open().reset();
    by_hand(scratch.path(), "DROP INDEX bot_commands_one_claim; DROP INDEX bot_commands_queued");
    scratch.open().reset();
    by_hand(scratch.path(), "DROP INDEX bot_commands_one_claim; DROP INDEX bot_commands_queued");
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
