// SQLite handles: a connection and its prepared statements, and the one place where its error codes
// become ours.
#pragma once

#include <sqlite3.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "voicecore/base/result.hpp"

namespace voicecore::command {

using Blob = std::vector<std::uint8_t>;
using Value = std::variant<std::monostate, std::int64_t, double, std::string, Blob>;
using Row = std::vector<Value>;

// Told of every step that a connection takes, before it: where tests crash, stall or count. Called
// on the connection's thread.
using StepHook = std::function<void(std::string_view sql)>;

struct StatementCloser {
    void operator()(sqlite3_stmt* statement) const noexcept { sqlite3_finalize(statement); }
};
struct ConnectionCloser {
    void operator()(sqlite3* connection) const noexcept { sqlite3_close_v2(connection); }
};

// A prepared statement. Not thread-safe. Parameters count from 1, columns from 0, as in SQLite.
// Texts and blobs are not copied when they are bound: they must stay as they are until reset().
class Statement {
  public:
    Statement(sqlite3_stmt* statement, const StepHook* hook) noexcept
        : statement_{statement}, hook_{hook} {}

    void bind(int at, std::int64_t value) noexcept;
    void bind(int at, double value) noexcept;
    void bind(int at, std::string_view text) noexcept;
    void bind(int at, std::nullptr_t) noexcept;
    void bind(int at, const std::string& text) noexcept { bind(at, std::string_view{text}); }
    void bind_value(int at, const Value& value) noexcept;
    template <class T>
    void bind(int at, const std::optional<T>& value) noexcept {
        if (value) {
            bind(at, *value);
        } else {
            bind(at, nullptr);
        }
    }
    template <class... Values>
    void bind_all(Values&&... values) noexcept {
        static_assert((!passes_away<Values> && ...), "a text that is gone before the step");
        int at = 0;
        (bind(++at, std::as_const(values)), ...);
    }

    // True: there is a row. A statement must be stepped to false or reset: an unfinished one holds
    // its lock.
    [[nodiscard]] Result<bool> step();
    void reset() noexcept;

    [[nodiscard]] int columns() const noexcept { return sqlite3_column_count(statement_.get()); }
    [[nodiscard]] int parameters() const noexcept {
        return sqlite3_bind_parameter_count(statement_.get());
    }
    [[nodiscard]] bool read_only() const noexcept {
        return sqlite3_stmt_readonly(statement_.get()) != 0;
    }
    [[nodiscard]] bool is_null(int column) const noexcept;
    [[nodiscard]] bool is_integer(int column) const noexcept;
    [[nodiscard]] bool is_number(int column) const noexcept;  // with a fraction or without
    [[nodiscard]] std::int64_t integer(int column) const noexcept;
    [[nodiscard]] std::string text(int column) const;
    [[nodiscard]] std::string_view view(int column) const noexcept;  // until the next step
    [[nodiscard]] std::optional<std::int64_t> maybe_integer(int column) const noexcept;
    [[nodiscard]] std::optional<std::string> maybe_text(int column) const;
    [[nodiscard]] Value value(int column) const;

  private:
    // Deduced from a temporary, which owns the text.
    template <class T>
    static constexpr bool passes_away =
        std::is_same_v<std::remove_const_t<T>, std::string> ||
        std::is_same_v<std::remove_const_t<T>, std::optional<std::string>>;

    std::unique_ptr<sqlite3_stmt, StatementCloser> statement_;
    const StepHook* hook_;
    bool borrows_ = false;  // a text or blob
};

// Resets a cached statement when the scope ends, however it ends.
class Use {
  public:
    explicit Use(Statement& statement) noexcept : statement_{statement} {}
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;
    ~Use() { statement_.reset(); }
    Statement* operator->() const noexcept { return &statement_; }
    Statement& operator*() const noexcept { return statement_; }

  private:
    Statement& statement_;
};

enum class Synchronous : std::uint8_t { normal, full };

// One connection. Not thread-safe.
class Database {
  public:
    // Creates the file when it is not there, or else refuses that.
    static Result<Database> open(const std::string& path, int busy_timeout_ms,
                                 StepHook hook = nullptr, bool create = true);

    // Runs statements that give no rows.
    [[nodiscard]] Status run(const char* sql);
    // Prepared once and kept. The text must outlive the connection: a literal.
    [[nodiscard]] Result<Statement*> cached(const char* sql);
    [[nodiscard]] Result<Statement> prepare(std::string_view sql);
    // The first column of the first row; nothing when there is no row.
    [[nodiscard]] Result<std::optional<Value>> single(std::string_view sql);

    // For other connections' transactions, from now on. SQLite's own setting of that (and its
    // PRAGMA) would put its waits in the place of ours.
    // Any thread; a call that waits already goes by it as well.
    void wait_at_most(std::chrono::milliseconds most) noexcept { patience_->most = most; }
    [[nodiscard]] std::chrono::milliseconds patience() const noexcept { return patience_->most; }

    // The last connection to a file moves the log into it when it closes; this one will not.
    void keep_log_on_close() noexcept {
        sqlite3_db_config(connection_.get(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
    }

    [[nodiscard]] int changes() const noexcept { return sqlite3_changes(connection_.get()); }
    [[nodiscard]] std::int64_t last_id() const noexcept {
        return sqlite3_last_insert_rowid(connection_.get());
    }
    [[nodiscard]] bool in_transaction() const noexcept {
        return sqlite3_get_autocommit(connection_.get()) == 0;
    }
    [[nodiscard]] sqlite3* handle() const noexcept { return connection_.get(); }

  private:
    // How long to wait for another connection's transaction.
    struct Patience {
        std::atomic<std::chrono::milliseconds> most;
        std::chrono::steady_clock::time_point began = {};
    };
    static int wait_for_lock(void* patience, int count) noexcept;
    explicit Database(sqlite3* connection, StepHook hook);

    friend class Transaction;
    [[nodiscard]] Status begin() { return run_kept(begin_, "BEGIN IMMEDIATE"); }
    [[nodiscard]] Status commit() { return run_kept(commit_, "COMMIT"); }
    [[nodiscard]] Status run_kept(Statement*& kept, const char* sql);

    std::unique_ptr<StepHook> hook_;      // its address is kept by the statements
    std::unique_ptr<Patience> patience_;  // and this one's by the connection
    std::unique_ptr<sqlite3, ConnectionCloser> connection_;
    std::unordered_map<const char*, Statement> cache_;  // finalized before the connection
    Statement* begin_ = nullptr;                        // in the cache, as is commit_
    Statement* commit_ = nullptr;
};

// BEGIN IMMEDIATE … COMMIT. Rolls back when it goes without commit(). Writers that read first and
// write then would fail at once with BUSY_SNAPSHOT, whatever the busy time-out.
class Transaction {
  public:
    static Result<Transaction> begin(Database& database);
    Transaction(Transaction&& other) noexcept
        : database_{std::exchange(other.database_, nullptr)} {}
    Transaction& operator=(Transaction&&) = delete;
    ~Transaction();
    [[nodiscard]] Status commit();

  private:
    explicit Transaction(Database& database) noexcept : database_{&database} {}
    Database* database_;
};

// From the first call on a child of a fork can use SQLite, whatever other threads of its parent
// were doing with it, ours or not. Database::open calls it.
void survive_forks();

// What went wrong, in SQLite's words, with its extended code.
[[nodiscard]] Error sqlite_error(sqlite3* connection, std::string_view doing);

}  // namespace voicecore::command
