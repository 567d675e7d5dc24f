// A queue file of its own for each test, and short words for what tests do to it.
#pragma once

#include <sqlite3.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "catch.hpp"
#include "voicecore/command/store.hpp"

namespace voicecore::command {

class Scratch {
  public:
    Scratch() {
        std::string name = (std::filesystem::temp_directory_path() / "voicecore-XXXXXX").string();
        REQUIRE(::mkdtemp(name.data()) != nullptr);
        folder_ = name;
    }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    ~Scratch() { std::filesystem::remove_all(folder_); }
    [[nodiscard]] std::string path() const { return (folder_ / "queue.db").string(); }
    [[nodiscard]] std::unique_ptr<Store> open(const std::string& owner = "one",
                                              StepHook hook = nullptr) const {
        auto store = Store::open({.path = path(),
                                  .owner = owner,
                                  .role = "worker",
                                  .synchronous = Synchronous::normal,
                                  .hook = std::move(hook)});
        if (!store) FAIL(store.error().message);
        return std::move(store).value();
    }

  private:
    std::filesystem::path folder_;
};

// As somebody at a shell would.
inline void by_hand(const std::string& path, const char* sql) {
    sqlite3* connection = nullptr;
    REQUIRE(sqlite3_open(path.c_str(), &connection) == SQLITE_OK);
    REQUIRE(sqlite3_exec(connection, sql, nullptr, nullptr, nullptr) == SQLITE_OK);
    sqlite3_close(connection);
}

inline std::int64_t put(Store& store, NewCommand command, Millis now = 0) {
    const auto ids = store.enqueue(std::span{&command, 1}, now);
    REQUIRE(ids.ok());
    return ids.value().front();
}

inline ClaimResult claim(Store& store, Millis now, int limit = 10, Millis lease = 1'000) {
    auto result = store.claim({.now = now, .limit = limit, .lease = lease, .started_at = {}});
    if (!result) FAIL(result.error().message);
    return std::move(result).value();
}

inline std::vector<std::int64_t> ids_of(const ClaimResult& result) {
    std::vector<std::int64_t> out;
    for (const Command& one : result.claimed) out.push_back(one.id);
    return out;
}

}  // namespace voicecore::command
