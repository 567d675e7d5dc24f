#include "voicecore/command/schema.hpp"

#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

namespace voicecore::command {
namespace {

// Every column but the first two has a default that any SQLite since 3.35 accepts, so that an
// INSERT typed by hand is a complete command. `attempt` counts claims and never falls, being the
// fence; `given_back` those of them that came to nothing and are not held against it. Times are
// milliseconds since 1970 UTC. In `expires_at` NULL means the verb's default and 0 never.
constexpr const char* kCommandColumns = R"sql(
    command TEXT NOT NULL,
    entry_id INTEGER,
    key TEXT,
    args TEXT NOT NULL DEFAULT '{}',
    requested_by TEXT,
    created_at INTEGER NOT NULL DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)),
    dedup_key TEXT,
    priority INTEGER NOT NULL DEFAULT 0,
    not_before INTEGER,
    expires_at INTEGER,
    overtakes INTEGER NOT NULL DEFAULT 0,
    attempt INTEGER NOT NULL DEFAULT 0,
    given_back INTEGER NOT NULL DEFAULT 0,
    max_attempts INTEGER NOT NULL DEFAULT 1,
    lease_until INTEGER,
    owner TEXT,
    claimed_at INTEGER,
    result TEXT,
    error TEXT,
)sql";

constexpr std::array kIndexes{
    // The unique index is what makes a second claim of a key impossible, whoever tries.
    "CREATE UNIQUE INDEX IF NOT EXISTS bot_commands_one_claim ON bot_commands(key)"
    " WHERE state = 'claimed' AND overtakes = 0",
    // The lines of the keys, without what is delayed: however much that is, what is due behind it
    // is found at once.
    "CREATE INDEX IF NOT EXISTS bot_commands_line ON bot_commands(key, id) WHERE not_before IS "
    "NULL",
    "CREATE INDEX IF NOT EXISTS bot_commands_bare ON bot_commands(id) WHERE key IS NULL",
    "CREATE UNIQUE INDEX IF NOT EXISTS bot_commands_dedup ON bot_commands(dedup_key) WHERE "
    "dedup_key IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS bot_commands_steering ON bot_commands(id)"
    " WHERE command IN ('pause', 'resume', 'stop', 'seek', 'volume', 'next')",
    "CREATE INDEX IF NOT EXISTS bot_commands_urgent ON bot_commands(priority) WHERE priority <> 0",
    "CREATE INDEX IF NOT EXISTS bot_commands_delayed ON bot_commands(not_before, key)"
    " WHERE not_before IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS bot_commands_delayed_line ON bot_commands(key, not_before)"
    " WHERE not_before IS NOT NULL",
    // Plays that were given back because their key was busy.
    "CREATE INDEX IF NOT EXISTS bot_commands_queued ON bot_commands(key, id)"
    " WHERE given_back > 0 AND command = 'play'",
    "CREATE INDEX IF NOT EXISTS bot_command_history_finished ON bot_command_history(finished_at)"};

constexpr std::array kTables{
    // `attempt` only grows: it fences off whoever held the key before. The row stays when the
    // session ends.
    "CREATE TABLE bot_sessions (key TEXT PRIMARY KEY, attempt INTEGER NOT NULL, entry_id INTEGER,"
    " command_id INTEGER, owner TEXT, lease_until INTEGER, started_at INTEGER, ended_at INTEGER,"
    " outcome TEXT, state TEXT, position INTEGER)",
    "CREATE TABLE bot_workers (owner TEXT PRIMARY KEY, pid INTEGER NOT NULL, role TEXT NOT NULL,"
    " bell TEXT, sqlite_version TEXT NOT NULL, started_at INTEGER NOT NULL, seen_at INTEGER NOT "
    "NULL)",
    "CREATE TABLE schedule_entries (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL,"
    " key TEXT, rule TEXT NOT NULL, zone TEXT NOT NULL, remind_minutes INTEGER NOT NULL DEFAULT 0,"
    " voice_channel_id INTEGER, text_channel_id INTEGER, files TEXT NOT NULL DEFAULT '[]',"
    " enabled INTEGER NOT NULL DEFAULT 1, policy TEXT NOT NULL DEFAULT '{}',"
    " generation INTEGER NOT NULL DEFAULT 1, created_at INTEGER, updated_at INTEGER)",
    "CREATE TABLE schedule_occurrences (entry_id INTEGER NOT NULL, slot TEXT NOT NULL,"
    " due_at INTEGER NOT NULL, state TEXT NOT NULL, reminded_at INTEGER, fired_at INTEGER,"
    " owner TEXT, PRIMARY KEY (entry_id, slot)) WITHOUT ROWID",
    "CREATE TABLE voicecore_schema (version INTEGER NOT NULL)",
    "INSERT INTO voicecore_schema(version) VALUES (1)",
};

Result<bool> exists(Database& database, std::string_view table) {
    auto found = database.single("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = '" +
                                 std::string{table} + "'");
    if (!found) return std::move(found).error();
    return found.value().has_value();
}

Status make_indexes(Database& database) {
    for (const char* sql : kIndexes) {
        if (auto ok = database.run(sql); !ok) return ok;
    }
    return Done{};
}

// Files from before one of them was thought of, and those whose owners have dropped one.
Result<bool> has_indexes(Database& database) {
    auto count = database.single(
        "SELECT count(*) FROM sqlite_master WHERE type = 'index' AND (name LIKE 'bot_commands_%'"
        " OR name = 'bot_command_history_finished')");
    if (!count) return std::move(count).error();
    return count.value() >= Value{static_cast<std::int64_t>(kIndexes.size())};
}

struct Column {
    std::string name;
    std::string type;
    std::string fallback;  // as SQL; empty: none
};

Result<std::vector<Column>> columns_of(Database& database, const char* table) {
    auto look = database.prepare("SELECT name, type, dflt_value FROM pragma_table_info(?1)");
    if (!look) return std::move(look).error();
    look->bind_all(std::string_view{table});
    std::vector<Column> out;
    for (auto row = look->step();; row = look->step()) {
        if (!row) return std::move(row).error();
        if (!row.value()) return out;
        out.push_back({look->text(0), look->text(1), look->text(2)});
    }
}

std::string quoted(const std::string& name) {
    std::string out = "\"";
    for (const char c : name) {
        out += c;
        if (c == '"') out += c;
    }
    return out + '"';
}

// SQLite adds no column to a table that has rows whose default is worked out anew each time; there
// are none yet, but such a default is refused all the same.
bool is_constant(const std::string& fallback) {
    return fallback.find('(') == std::string::npos && !fallback.starts_with("CURRENT_");
}

// The user's own indexes and triggers on the table, as SQL.
Result<std::vector<std::string>> attachments(Database& database) {
    auto look = database.prepare(
        "SELECT sql FROM sqlite_master WHERE tbl_name = 'bot_commands' AND sql IS NOT NULL"
        " AND type IN ('index', 'trigger') ORDER BY rowid");
    if (!look) return std::move(look).error();
    std::vector<std::string> out;
    for (auto row = look->step();; row = look->step()) {
        if (!row) return std::move(row).error();
        if (!row.value()) return out;
        out.push_back(look->text(0));
    }
}

// How an own column of the lesson's table goes over into ours of that name; empty: it does not.
std::string carried(const std::string& name) {
    if (sqlite3_stricmp(name.c_str(), "created_at") == 0) {
        // As text, in seconds or in milliseconds.
        return "coalesce(CASE WHEN created_at IS NULL THEN NULL"
               " WHEN typeof(created_at) = 'text' AND created_at GLOB '*[^0-9.]*'"
               " THEN strftime('%s', created_at) * 1000"
               " ELSE CAST(created_at * CASE WHEN abs(created_at) < 1e11 THEN 1000 ELSE 1 END"
               " AS INTEGER) END, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER))";
    }
    for (const char* text : {"key", "requested_by"}) {
        if (sqlite3_stricmp(name.c_str(), text) == 0) {
            return "CAST(" + std::string{text} + " AS TEXT)";
        }
    }
    return {};
}

// A lesson's rows. Whoever writes columns of its own into the table goes on doing so, and whatever
// else the file has that goes by the table's name still does.
Status take_over(Database& database, const std::vector<std::string>& attached) {
    auto found = columns_of(database, "bot_commands_before");
    auto ours = columns_of(database, "bot_commands");
    if (!found) return std::move(found).error();
    if (!ours) return std::move(ours).error();
    std::string into = "id, command, entry_id";
    std::string from = "id, coalesce(command, ''), entry_id";
    for (const Column& column : found.value()) {
        const bool same = std::any_of(ours->begin(), ours->end(), [&](const Column& one) {
            return sqlite3_stricmp(one.name.c_str(), column.name.c_str()) == 0;
        });
        std::string value = carried(column.name);
        if (same && value.empty()) continue;
        if (!same) {
            value = quoted(column.name);
            std::string add = "ALTER TABLE bot_commands ADD COLUMN " + value + " " + column.type;
            if (!column.fallback.empty() && is_constant(column.fallback)) {
                add += " DEFAULT " + column.fallback;
            }
            if (auto ok = database.run(add.c_str()); !ok) return ok;
        }
        into += ", " + quoted(column.name);
        from += ", " + value;
    }
    const std::string copy = "INSERT INTO bot_commands(" + into + ") SELECT " + from +
                             " FROM bot_commands_before ORDER BY id";
    if (auto ok = database.run(copy.c_str()); !ok) return ok;
    if (auto ok = database.run("DROP TABLE bot_commands_before"); !ok) return ok;
    for (const std::string& sql : attached) {
        if (auto ok = database.run(sql.c_str()); !ok) return ok;
    }
    return Done{};
}

Status create(Database& database) {
    auto lesson = exists(database, "bot_commands");
    if (!lesson) return std::move(lesson).error();
    std::vector<std::string> attached;
    if (lesson.value()) {
        if (!database.prepare("SELECT id, command, entry_id FROM bot_commands")) {
            return Error{Errc::database, 0,
                         "the file has a table bot_commands that is not a queue's: expected the "
                         "columns id, command and entry_id"};
        }
        auto own = attachments(database);
        if (!own) return std::move(own).error();
        attached = std::move(own).value();
        // Views, triggers and foreign keys elsewhere keep the name: it will be ours.
        if (auto ok = database.run("PRAGMA legacy_alter_table = ON"); !ok) return ok;
        auto renamed = database.run("ALTER TABLE bot_commands RENAME TO bot_commands_before");
        if (auto ok = database.run("PRAGMA legacy_alter_table = OFF"); !ok) return ok;
        if (!renamed) return renamed;
    }
    const std::string columns{kCommandColumns};
    const std::string commands =
        "CREATE TABLE bot_commands (id INTEGER PRIMARY KEY AUTOINCREMENT," + columns +
        "state TEXT NOT NULL DEFAULT 'ready')";
    const std::string history = "CREATE TABLE bot_command_history (id INTEGER PRIMARY KEY," +
                                columns + "state TEXT NOT NULL, finished_at INTEGER NOT NULL)";
    if (auto ok = database.run(commands.c_str()); !ok) return ok;
    if (auto ok = database.run(history.c_str()); !ok) return ok;
    for (const char* sql : kTables) {
        if (auto ok = database.run(sql); !ok) return ok;
    }
    return lesson.value() ? take_over(database, attached) : Status{Done{}};
}

// Only in a file that nobody else has marked as theirs.
Status mark(Database& database) {
    auto id = database.single("PRAGMA application_id");
    auto version = database.single("PRAGMA user_version");
    if (!id) return std::move(id).error();
    if (!version) return std::move(version).error();
    const Value zero{std::int64_t{0}};
    if (id.value() != zero || version.value() != zero) return Done{};
    const std::string sql = "PRAGMA application_id = " + std::to_string(kApplicationId) +
                            "; PRAGMA user_version = " + std::to_string(kSchemaVersion);
    return database.run(sql.c_str());
}

Result<std::int64_t> version_of(Database& database) {
    auto known = exists(database, "voicecore_schema");
    if (!known) return std::move(known).error();
    if (!known.value()) return std::int64_t{0};
    auto version = database.single("SELECT version FROM voicecore_schema");
    if (!version) return std::move(version).error();
    if (!version.value()) return std::int64_t{0};
    const auto* number = std::get_if<std::int64_t>(&*version.value());
    return number == nullptr ? std::int64_t{0} : *number;
}

Status refuse_newer(std::int64_t version) {
    if (version <= kSchemaVersion) return Done{};
    return Error{Errc::unsupported, static_cast<int>(version),
                 "the queue file has schema version " + std::to_string(version) +
                     "; this voicecore knows versions up to " + std::to_string(kSchemaVersion) +
                     ": update voicecore in this process"};
}

}  // namespace

Status find_queue(Database& database) {
    auto version = version_of(database);
    if (!version) return std::move(version).error();
    auto lesson = exists(database, "bot_commands");
    if (!lesson) return std::move(lesson).error();
    if (version.value() != 0 || lesson.value()) return Done{};
    return Error{Errc::database, 0, "there is no queue in this file: expected a queue file"};
}

Status migrate(Database& database) {
    auto version = version_of(database);
    if (!version) return std::move(version).error();
    if (auto ok = refuse_newer(version.value()); !ok) return ok;
    if (version.value() == kSchemaVersion) {
        auto complete = has_indexes(database);
        if (!complete) return std::move(complete).error();
        if (complete.value()) return Done{};
    }
    auto transaction = Transaction::begin(database);
    if (!transaction) return std::move(transaction).error();
    // Another process may have been faster.
    version = version_of(database);
    if (!version) return std::move(version).error();
    if (auto ok = refuse_newer(version.value()); !ok) return ok;
    if (version.value() < 1) {
        if (auto ok = create(database); !ok) return ok;
        if (auto ok = mark(database); !ok) return ok;
    }
    if (auto ok = make_indexes(database); !ok) return ok;
    return transaction->commit();
}

}  // namespace voicecore::command
