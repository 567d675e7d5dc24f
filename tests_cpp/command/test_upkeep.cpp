// What a store does for its file: the log is kept small, and a file that is no longer there is
// noticed.
#include <sqlite3.h>

#include <chrono>
#include <filesystem>

#include "scratch.hpp"

using namespace voicecore;
using namespace voicecore::command;
namespace fs = std::filesystem;

namespace {

// Another program with the file open, in the middle of a transaction.
class Reader {
  public:
    explicit Reader(const std::string& path) {
        REQUIRE(sqlite3_open(path.c_str(), &connection_) == SQLITE_OK);
        run("BEGIN");
        run("SELECT count(*) FROM bot_commands");
    }
    Reader(const Reader&) = delete;
    Reader& operator=(const Reader&) = delete;
    ~Reader() { sqlite3_close(connection_); }

  private:
    void run(const char* sql) {
        REQUIRE(sqlite3_exec(connection_, sql, nullptr, nullptr, nullptr) == SQLITE_OK);
    }
    sqlite3* connection_ = nullptr;
};

void grow_log(Store& store) {
    const std::string filling = "\"" + std::string(1 << 20, 'x') + "\"";
    for (int i = 0; i < 20; ++i) {
        put(store, {.command = "work", .key = "a", .args = "{\"x\":" + filling + "}"}, 1);
    }
}

}  // namespace

TEST_CASE("a worker that only claims moves a large log into the file") {
    const Scratch scratch;
    auto store = scratch.open();
    grow_log(*store);
    REQUIRE(fs::file_size(scratch.path() + "-wal") > (16U << 20));
    claim(*store, 5'000);
    REQUIRE(fs::file_size(scratch.path() + "-wal") < (4U << 20));  // the claim itself
}

TEST_CASE("a reader that never ends does not hold up the worker") {
    const Scratch scratch;
    auto store = scratch.open();
    const Reader reader{scratch.path()};
    grow_log(*store);
    const auto began = std::chrono::steady_clock::now();
    REQUIRE(store->checkpoint(false).ok());
    REQUIRE(std::chrono::steady_clock::now() - began < std::chrono::seconds{2});
    REQUIRE(claim(*store, 5'000).claimed.size() == 1);
}

// SQLite's own waits grow to a tenth of a second and starve beside a busy writer. It says 0 as long
// as it has somebody else's.
TEST_CASE("whoever has cut the log goes on waiting for others by our own rule") {
    const Scratch scratch;
    auto store = scratch.open();
    grow_log(*store);
    REQUIRE(store->checkpoint(false).ok());
    REQUIRE(fs::file_size(scratch.path() + "-wal") == 0);
    const Store::Step ask{.sql = "PRAGMA busy_timeout", .parameters = {}};
    auto said = store->transact(std::span{&ask, 1});
    REQUIRE(said.ok());
    REQUIRE(said->at(0).at(0).at(0) == Value{std::int64_t{0}});
}

TEST_CASE("a sender is told that its file was deleted, and that nothing was sent") {
    const Scratch scratch;
    auto store = scratch.open();
    fs::remove(scratch.path());
    NewCommand one{.command = "work"};
    const auto sent = store->enqueue(std::span{&one, 1}, 1);
    REQUIRE(!sent);
    REQUIRE(sent.error().code == Errc::database);
    REQUIRE(sent.error().message.find("it was deleted") != std::string::npos);
    REQUIRE(!store->peek(1));  // and so is everything after it
}

TEST_CASE("a sender is told that another file lies in the place of its own") {
    const Scratch scratch;
    auto store = scratch.open();
    fs::rename(scratch.path(), scratch.path() + ".old");
    auto other = scratch.open("two");
    NewCommand one{.command = "work"};
    const auto sent = store->enqueue(std::span{&one, 1}, 1);
    REQUIRE(!sent);
    REQUIRE(sent.error().message.find("another file") != std::string::npos);
    REQUIRE(other->enqueue(std::span{&one, 1}, 1).ok());
}

TEST_CASE("a worker finds out within a second of claiming that its file was replaced") {
    const Scratch scratch;
    auto store = scratch.open();
    claim(*store, 1'000);
    fs::rename(scratch.path(), scratch.path() + ".old");
    auto other = scratch.open("two");
    claim(*store, 1'999);
    const auto late = store->claim({.now = 2'000, .limit = 1, .lease = 1'000, .started_at = {}});
    REQUIRE(!late);
    REQUIRE(late.error().code == Errc::database);
}
