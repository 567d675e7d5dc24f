#include <sqlite3.h>

#include <fstream>

#include "scratch.hpp"

using namespace voicecore;
using namespace voicecore::command;

namespace {

constexpr Millis kHour = 3'600'000;

}  // namespace

TEST_CASE("commands of one key are claimed one at a time, in the order of their ids") {
    const Scratch scratch;
    auto store = scratch.open();
    const auto first = put(*store, {.command = "work", .key = "a"});
    const auto second = put(*store, {.command = "work", .key = "a"});
    REQUIRE(ids_of(claim(*store, 1)) == std::vector{first});
    REQUIRE(claim(*store, 2).claimed.empty());
    REQUIRE(store->ack(first, 1, 3, "done").ok());
    REQUIRE(ids_of(claim(*store, 4)) == std::vector{second});
}

TEST_CASE("different keys are claimed together") {
    const Scratch scratch;
    auto store = scratch.open();
    const auto a = put(*store, {.command = "work", .key = "a"});
    const auto b = put(*store, {.command = "work", .key = "b"});
    REQUIRE(ids_of(claim(*store, 1)) == std::vector{a, b});
}

TEST_CASE("two connections never claim the same command") {
    const Scratch scratch;
    auto one = scratch.open("one");
    auto two = scratch.open("two");
    for (int i = 0; i < 20; ++i) put(*one, {.command = "work", .key = std::to_string(i)});
    std::vector<std::int64_t> all;
    for (int i = 0; i < 20; ++i) {
        for (const auto id : ids_of(claim(i % 2 == 0 ? *one : *two, 1, 3))) all.push_back(id);
    }
    std::sort(all.begin(), all.end());
    REQUIRE(std::unique(all.begin(), all.end()) == all.end());
    REQUIRE(all.size() == 20);
}

TEST_CASE("a bare INSERT is a complete command, and its key is found when it is claimed") {
    const Scratch scratch;
    auto store = scratch.open();
    by_hand(
        scratch.path(),
        "INSERT INTO schedule_entries(id, name, key, rule, zone) VALUES (3, 'n', 'g', '{}', 'UTC');"
        "INSERT INTO bot_commands(command, entry_id) VALUES ('play', 3);"
        "INSERT INTO bot_commands(command) VALUES ('work');"
        "INSERT INTO bot_commands(command) VALUES ('stop')");
    auto row = store->get(1);
    REQUIRE(row.ok());
    const Millis sent = row.value()->created_at;
    REQUIRE(sent > 1'700'000'000'000);
    const auto claimed = claim(*store, sent + 1).claimed;
    REQUIRE(claimed.size() == 1);  // the stop made the play pointless and waits for the work
    REQUIRE(claimed[0].key == "default");
    auto past = store->get(1);
    REQUIRE(past.value()->state == "superseded");
    REQUIRE(past.value()->key == "g");
    REQUIRE(store->ack(2, 1, sent + 2, "done").ok());
    REQUIRE(claim(*store, sent + 3).claimed.at(0).key == "*");
}

TEST_CASE("a command to every key waits for what is before it and holds what is behind it") {
    const Scratch scratch;
    auto store = scratch.open();
    const auto before = put(*store, {.command = "work", .key = "a"});
    const auto pause = put(*store, {.command = "pause", .key = "*"});
    const auto behind = put(*store, {.command = "work", .key = "b"});
    REQUIRE(ids_of(claim(*store, 1)) == std::vector{before});
    REQUIRE(claim(*store, 2).claimed.empty());
    REQUIRE(store->ack(before, 1, 3, "done").ok());
    REQUIRE(ids_of(claim(*store, 4)) == std::vector{pause});
    REQUIRE(claim(*store, 5).claimed.empty());
    REQUIRE(store->ack(pause, 1, 6, "done").ok());
    REQUIRE(ids_of(claim(*store, 7)) == std::vector{behind});
}

TEST_CASE("a late ack is refused, and says which case it is") {
    const Scratch scratch;
    auto store = scratch.open();
    const auto id = put(*store, {.command = "work", .key = "a"});
    REQUIRE(is_stale(store->ack(id, 1, 1, "done").error(), Stale::unknown));
    REQUIRE(claim(*store, 1, 1, 100).claimed.size() == 1);
    REQUIRE(is_stale(store->ack(id, 1, 101, "done").error(), Stale::expired));
    REQUIRE(claim(*store, 102, 1, 100).claimed.at(0).attempt == 2);
    REQUIRE(is_stale(store->ack(id, 1, 103, "done").error(), Stale::taken));
    REQUIRE(store->ack(id, 2, 104, "done").ok());
    REQUIRE(is_stale(store->ack(id, 2, 105, "done").error(), Stale::finished));
    REQUIRE(is_stale(store->renew(4711, 1, 1, 1).error(), Stale::unknown));
}

TEST_CASE("a play that waited for ten minutes does not start any more") {
    const Scratch scratch;
    auto store = scratch.open();
    const auto id = put(*store, {.command = "play", .key = "a"}, 1'000);
    const auto kept = put(*store, {.command = "play", .key = "b", .expires_at = kNever}, 1'000);
    const auto found = claim(*store, 601'000);
    REQUIRE(found.expired == 1);
    REQUIRE(ids_of(found) == std::vector{kept});
    REQUIRE(store->get(id).value()->state == "expired");
}

TEST_CASE("a command whose holders die every time is given up") {
    const Scratch scratch;
    auto store = scratch.open();
    const auto id = put(*store, {.command = "work", .key = "a"});
    Millis now = 0;
    for (int death = 0; death < 3; ++death) {
        REQUIRE(claim(*store, now, 1, 10).claimed.size() == 1);
        now += 11;
    }
    REQUIRE(claim(*store, now, 1, 10).failed == 1);
    REQUIRE(store->get(id).value()->state == "failed");
}

TEST_CASE("the same dedup key gives the id that waits already") {
    const Scratch scratch;
    auto store = scratch.open();
    const auto id = put(*store, {.command = "work", .dedup_key = "x"});
    REQUIRE(put(*store, {.command = "work", .dedup_key = "x"}) == id);
    REQUIRE(claim(*store, 1).claimed.size() == 1);
    REQUIRE(put(*store, {.command = "work", .dedup_key = "x"}) == id);
    REQUIRE(store->ack(id, 1, 2, "done").ok());
    REQUIRE(put(*store, {.command = "work", .dedup_key = "x"}) != id);
}

TEST_CASE("a long line of one key does not keep the others waiting") {
    const Scratch scratch;
    auto store = scratch.open();
    std::vector<NewCommand> many(5'000, NewCommand{.command = "work", .key = "a"});
    many.push_back({.command = "work", .key = "b"});
    REQUIRE(store->enqueue(many, 0).ok());
    const auto found = claim(*store, 1);
    REQUIRE(found.claimed.size() == 2);
    REQUIRE(found.claimed[1].key == "b");
}

TEST_CASE("an overtaking stop does not wait for the command under way") {
    const Scratch scratch;
    auto store = scratch.open();
    const auto slow = put(*store, {.command = "work", .key = "a"});
    REQUIRE(ids_of(claim(*store, 1)) == std::vector{slow});
    const auto polite = put(*store, {.command = "stop", .key = "a"});
    REQUIRE(claim(*store, 2).claimed.empty());
    REQUIRE(store->cancel(polite, 2).value());
    const auto stop = put(*store, {.command = "stop", .key = "a", .overtakes = true});
    REQUIRE(ids_of(claim(*store, 3)) == std::vector{stop});
}

TEST_CASE("a newer file is refused") {
    const Scratch scratch;
    scratch.open().reset();
    by_hand(scratch.path(), "UPDATE voicecore_schema SET version = 99");
    auto store = Store::open({.path = scratch.path(), .owner = "x", .hook = nullptr});
    REQUIRE_FALSE(store.ok());
    REQUIRE(store.error().code == Errc::unsupported);
}

TEST_CASE("a lesson's table is taken over with its rows") {
    const Scratch scratch;
    by_hand(scratch.path(),
            "CREATE TABLE bot_commands (id INTEGER PRIMARY KEY, command TEXT, entry_id INTEGER);"
            "INSERT INTO bot_commands(command, entry_id) VALUES ('play', 7)");
    auto store = scratch.open();
    REQUIRE(store->get(1).value()->entry_id == 7);
}

TEST_CASE("a lesson's table keeps its own columns and the age of its rows") {
    const Scratch scratch;
    by_hand(scratch.path(),
            "CREATE TABLE bot_commands (id INTEGER PRIMARY KEY AUTOINCREMENT, command TEXT,"
            " entry_id INTEGER, guild_id INTEGER NOT NULL, \"a \"\"note\" TEXT DEFAULT 'none',"
            " state TEXT, created_at TEXT DEFAULT CURRENT_TIMESTAMP);"
            "INSERT INTO bot_commands(command, entry_id, guild_id, state, created_at) VALUES"
            " ('play', 7, 777, 'pending', '2020-01-01 00:00:00'),"
            " ('play', 8, 777, 'pending', 1577836800),"
            " ('play', 9, 777, 'pending', 1577836800000), ('play', 10, 777, 'pending', NULL)");
    auto store = scratch.open();
    constexpr Millis kNewYear = 1'577'836'800'000;
    for (const std::int64_t id : {1, 2, 3}) {
        const auto one = store->get(id).value();
        REQUIRE(one->created_at == kNewYear);
        REQUIRE(one->state == "ready");
    }
    REQUIRE(store->get(4).value()->created_at > kNewYear);
    // The lesson's admin goes on, and what it sends runs.
    by_hand(scratch.path(),
            "INSERT INTO bot_commands(command, entry_id, guild_id) VALUES ('x', 1, 5)");
    auto rows = store->transact(std::vector<Store::Step>{
        {.sql = "SELECT guild_id, \"a \"\"note\" FROM bot_commands WHERE id IN (1, 5)",
         .parameters = {}}});
    REQUIRE(rows.ok());
    REQUIRE(rows->at(0).at(0).at(0) == Value{std::int64_t{777}});
    REQUIRE(rows->at(0).at(1) == Row{Value{std::int64_t{5}}, Value{std::string{"none"}}});
    REQUIRE(ids_of(claim(*store, kNewYear + 3'600'000)) == std::vector<std::int64_t>{4});
}

TEST_CASE("what else a lesson's file has goes on with the table that was taken over") {
    const Scratch scratch;
    by_hand(scratch.path(),
            "CREATE TABLE bot_commands (id INTEGER PRIMARY KEY AUTOINCREMENT, command TEXT,"
            " entry_id INTEGER, key TEXT, requested_by INTEGER);"
            "CREATE VIEW waiting AS SELECT id, key FROM bot_commands;"
            "CREATE TABLE note(command INTEGER REFERENCES bot_commands(id));"
            "CREATE TABLE seen(id INTEGER);"
            "CREATE TRIGGER on_new AFTER INSERT ON bot_commands BEGIN"
            " INSERT INTO seen VALUES (new.id); END;"
            "CREATE INDEX mine ON bot_commands(requested_by);"
            "INSERT INTO bot_commands(command, entry_id, key, requested_by) VALUES"
            " ('play', 3, 'guild', 42), (NULL, 4, 'other', NULL)");
    auto store = scratch.open();
    REQUIRE(store->get(1).value()->key == "guild");
    REQUIRE(store->get(1).value()->requested_by == "42");
    // A row without a command is one that nobody knows.
    REQUIRE(ids_of(claim(*store, 0)) == std::vector<std::int64_t>{1, 2});
    REQUIRE(store->get(2).value()->command.empty());
    by_hand(scratch.path(),
            "PRAGMA foreign_keys = ON; INSERT INTO note VALUES (1);"
            "INSERT INTO bot_commands(command, requested_by) VALUES ('stop', 'b');"
            "SELECT id, key FROM waiting; SELECT 1 FROM bot_commands INDEXED BY mine WHERE"
            " requested_by = 'b'");
    auto rows = store->transact(
        std::vector<Store::Step>{{.sql = "SELECT count(*) FROM seen", .parameters = {}}});
    REQUIRE(rows->at(0).at(0).at(0) == Value{std::int64_t{3}});
}

TEST_CASE("a file without a queue is left as it is by whoever does not want to make one") {
    const Scratch scratch;
    by_hand(scratch.path(), "CREATE TABLE customers(id)");
    const auto before = std::filesystem::file_size(scratch.path());
    const StoreOptions reader{.path = scratch.path(), .owner = "one", .create = false};
    const auto refused = Store::open(reader);
    REQUIRE_FALSE(refused.ok());
    REQUIRE(refused.error().code == Errc::database);
    REQUIRE(refused.error().message.find("no queue in this file") != std::string::npos);
    REQUIRE(std::filesystem::file_size(scratch.path()) == before);
    REQUIRE_FALSE(std::filesystem::exists(scratch.path() + "-wal"));
    // Both kinds of queue files are opened.
    static_cast<void>(scratch.open());
    REQUIRE(Store::open(reader).ok());
}

TEST_CASE("a table of the queue's name that is none of a lesson is refused in words") {
    const Scratch scratch;
    by_hand(scratch.path(), "CREATE TABLE bot_commands(name)");
    const auto refused = Store::open({.path = scratch.path(), .owner = "one"});
    REQUIRE_FALSE(refused.ok());
    REQUIRE(refused.error().message.find("expected the columns id, command and entry_id") !=
            std::string::npos);
}

TEST_CASE("a file that was put in the place of the open one is noticed") {
    const Scratch scratch;
    auto store = scratch.open();
    put(*store, {.command = "work"});
    REQUIRE(store->audit().ok());
    std::filesystem::rename(scratch.path(), scratch.path() + ".old");
    std::ofstream{scratch.path()} << "something else";
    REQUIRE(store->audit().error().code == Errc::database);
    REQUIRE_FALSE(store->anything().ok());
}

TEST_CASE("locks that a plain open and close of the file drops are missed") {
    const Scratch scratch;
    auto store = scratch.open();
    put(*store, {.command = "work"});
    REQUIRE(store->audit().ok());
    { std::ifstream sniff{scratch.path()}; }
    const auto audited = store->audit();
    REQUIRE_FALSE(audited.ok());
    REQUIRE(audited.error().message.find("locks") != std::string::npos);
}

TEST_CASE("a session's lease is taken once, and its attempt only grows") {
    const Scratch scratch;
    auto one = scratch.open("one");
    auto two = scratch.open("two");
    REQUIRE(one->lease_session("a", 1, {}, 0, 100).value() == 1);
    REQUIRE(is_stale(two->lease_session("a", 2, {}, 50, 100).error(), Stale::taken));
    REQUIRE(two->lease_session("a", 2, {}, 100, 100).value() == 2);
    REQUIRE(is_stale(one->end_session("a", 1, 120, "done").error(), Stale::taken));
    REQUIRE(two->end_session("a", 2, 120, "done").ok());
    REQUIRE(one->lease_session("a", 1, {}, 121, 100).value() == 3);
}

TEST_CASE("a session's lease outlives a wall clock that was set back by one lease at most") {
    const Scratch scratch;
    auto dead = scratch.open("dead");
    auto alive = scratch.open("alive");
    REQUIRE(dead->lease_session("a", 1, {}, kHour, 1'000).value() == 1);
    // An hour earlier.
    REQUIRE(is_stale(alive->lease_session("a", 2, {}, 100, 1'000).error(), Stale::taken));
    REQUIRE(is_stale(alive->lease_session("a", 2, {}, 1'099, 1'000).error(), Stale::taken));
    REQUIRE(alive->lease_session("a", 2, {}, 1'100, 1'000).value() == 2);
}

TEST_CASE("a session keeps its lease when the wall clock is set back, whoever looks first") {
    const Scratch scratch;
    auto holder = scratch.open("holder");
    auto other = scratch.open("other");
    REQUIRE(holder->lease_session("a", 1, {}, kHour, 1'000).value() == 1);
    const auto refused = [&](Millis now) {
        return is_stale(other->lease_session("a", 2, {}, now, 1'000).error(), Stale::taken);
    };
    SECTION("the other") {
        REQUIRE(refused(100));
    }
    SECTION("the holder, by itself") {
        REQUIRE(holder->renew_session("a", 1, 100, 1'000).ok());
    }
    SECTION("the holder, with all that it holds") {
        REQUIRE(holder->renew_all({.commands = {}, .sessions = {{"a", 1}}}, 100, 1'000).ok());
    }
    REQUIRE(refused(500));
    REQUIRE(holder->renew_session("a", 1, 1'000, 1'000).ok());
    REQUIRE(refused(1'900));
    REQUIRE(holder->end_session("a", 1, 1'950, "done").ok());
}

TEST_CASE("a lease of a moment in the future is left alone") {
    // A transaction that waited for its turn while another took the lease.
    const Scratch scratch;
    auto holder = scratch.open("holder");
    auto other = scratch.open("other");
    REQUIRE(holder->lease_session("a", 1, {}, 15'000, 1'000).value() == 1);
    REQUIRE(is_stale(other->lease_session("a", 2, {}, 0, 1'000).error(), Stale::taken));
    REQUIRE(is_stale(other->lease_session("a", 2, {}, 15'999, 1'000).error(), Stale::taken));
}

TEST_CASE("an owner that is this process lives, one with a number that nobody has does not") {
    const std::string mine = make_owner();
    REQUIRE(owner_may_live(mine));
    const auto pid = mine.find(std::to_string(::getpid()));
    std::string gone = mine;
    gone.replace(pid, std::to_string(::getpid()).size(), "999999999");
    REQUIRE_FALSE(owner_may_live(gone));
    REQUIRE(owner_may_live("somebody else"));
}
