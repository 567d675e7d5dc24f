#include "voicecore/command/sqlite.hpp"

#include <pthread.h>

#include <array>
#include <thread>
#include <utility>

namespace voicecore::command {

Error sqlite_error(sqlite3* connection, std::string_view doing) {
    const int code = connection == nullptr ? SQLITE_NOMEM : sqlite3_extended_errcode(connection);
    const char* text = connection == nullptr ? "out of memory" : sqlite3_errmsg(connection);
    std::string message{doing.substr(0, 200)};
    message += ": ";
    message += text;
    return Error{Errc::database, code, std::move(message)};
}

void Statement::bind(int at, std::int64_t value) noexcept {
    sqlite3_bind_int64(statement_.get(), at, value);
}
void Statement::bind(int at, double value) noexcept {
    sqlite3_bind_double(statement_.get(), at, value);
}
void Statement::bind(int at, std::string_view text) noexcept {
    borrows_ = true;
    sqlite3_bind_text64(statement_.get(), at, text.data() == nullptr ? "" : text.data(),
                        text.size(), SQLITE_STATIC, SQLITE_UTF8);
}
void Statement::bind(int at, std::nullptr_t) noexcept {
    sqlite3_bind_null(statement_.get(), at);
}
void Statement::bind_value(int at, const Value& value) noexcept {
    if (const auto* integer = std::get_if<std::int64_t>(&value)) {
        bind(at, *integer);
    } else if (const auto* real = std::get_if<double>(&value)) {
        bind(at, *real);
    } else if (const auto* text = std::get_if<std::string>(&value)) {
        bind(at, std::string_view{*text});
    } else if (const auto* blob = std::get_if<Blob>(&value)) {
        borrows_ = true;
        sqlite3_bind_blob64(statement_.get(), at,
                            blob->empty() ? "" : static_cast<const void*>(blob->data()),
                            blob->size(), SQLITE_STATIC);
    } else {
        bind(at, nullptr);
    }
}

Result<bool> Statement::step() {
    if (*hook_) (*hook_)(sqlite3_sql(statement_.get()));
    const int code = sqlite3_step(statement_.get());
    if (code == SQLITE_ROW) return true;
    if (code == SQLITE_DONE) return false;
    Error error = sqlite_error(sqlite3_db_handle(statement_.get()), sqlite3_sql(statement_.get()));
    reset();
    return error;
}

void Statement::reset() noexcept {
    sqlite3_reset(statement_.get());
    if (std::exchange(borrows_, false)) sqlite3_clear_bindings(statement_.get());
}

bool Statement::is_null(int column) const noexcept {
    return sqlite3_column_type(statement_.get(), column) == SQLITE_NULL;
}
bool Statement::is_integer(int column) const noexcept {
    return sqlite3_column_type(statement_.get(), column) == SQLITE_INTEGER;
}
bool Statement::is_number(int column) const noexcept {
    return is_integer(column) || sqlite3_column_type(statement_.get(), column) == SQLITE_FLOAT;
}
std::int64_t Statement::integer(int column) const noexcept {
    return sqlite3_column_int64(statement_.get(), column);
}
// From here on by its value, which is looked up once. SQLite calls it unprotected: no other thread
// may use the connection meanwhile, and none does.
std::string_view Statement::view(int column) const noexcept {
    sqlite3_value* const value = sqlite3_column_value(statement_.get(), column);
    const auto* text = reinterpret_cast<const char*>(sqlite3_value_text(value));
    if (text == nullptr) return {};
    return {text, static_cast<std::size_t>(sqlite3_value_bytes(value))};
}
std::string Statement::text(int column) const {
    return std::string{view(column)};
}
std::optional<std::int64_t> Statement::maybe_integer(int column) const noexcept {
    sqlite3_value* const value = sqlite3_column_value(statement_.get(), column);
    if (sqlite3_value_type(value) == SQLITE_NULL) return std::nullopt;
    return sqlite3_value_int64(value);
}
std::optional<std::string> Statement::maybe_text(int column) const {
    const std::string_view found = view(column);
    if (found.data() == nullptr) return std::nullopt;
    return std::string{found};
}
Value Statement::value(int column) const {
    switch (sqlite3_column_type(statement_.get(), column)) {
        case SQLITE_INTEGER:
            return integer(column);
        case SQLITE_FLOAT:
            return sqlite3_column_double(statement_.get(), column);
        case SQLITE_TEXT:
            return text(column);
        case SQLITE_BLOB: {
            const auto* data =
                static_cast<const std::uint8_t*>(sqlite3_column_blob(statement_.get(), column));
            const auto size =
                static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column));
            return data == nullptr ? Blob{} : Blob(data, data + size);
        }
        default:
            return std::monostate{};
    }
}

namespace {

// Locks that SQLite takes for the whole process, of files and of memory, in the order in which it
// nests them. A fork waits until it has them, so that no thread of the parent leaves one locked in
// the child for ever: SQLite itself does not see to that.
constexpr std::array kLocksOfTheProcess{
    SQLITE_MUTEX_STATIC_MASTER, SQLITE_MUTEX_STATIC_OPEN, SQLITE_MUTEX_STATIC_VFS1,
    SQLITE_MUTEX_STATIC_VFS2,   SQLITE_MUTEX_STATIC_VFS3, SQLITE_MUTEX_STATIC_LRU,
    SQLITE_MUTEX_STATIC_PRNG,   SQLITE_MUTEX_STATIC_PMEM, SQLITE_MUTEX_STATIC_MEM};

void lock_for_fork() {
    for (const int one : kLocksOfTheProcess) sqlite3_mutex_enter(sqlite3_mutex_alloc(one));
}
void unlock_after_fork() {
    for (const int one : kLocksOfTheProcess) sqlite3_mutex_leave(sqlite3_mutex_alloc(one));
}

}  // namespace

void survive_forks() {
    static const int installed =
        ::pthread_atfork(&lock_for_fork, &unlock_after_fork, &unlock_after_fork);
    static_cast<void>(installed);
}

Database::Database(sqlite3* connection, StepHook hook)
    : hook_{std::make_unique<StepHook>(std::move(hook))}, connection_{connection} {}

Result<Database> Database::open(const std::string& path, int busy_timeout_ms, StepHook hook,
                                bool create) {
    survive_forks();
    sqlite3* raw = nullptr;
    // One thread at a time uses a connection; its owner sees to that.
    const int flags =
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (create ? SQLITE_OPEN_CREATE : 0);
    const int code = sqlite3_open_v2(path.c_str(), &raw, flags, nullptr);
    Database database{raw, std::move(hook)};
    if (code != SQLITE_OK) return sqlite_error(raw, "opening " + path);
    // SQLite is content with less. But the log that it makes even to read would be ours, and
    // whoever owns the file could not write to it.
    if (sqlite3_db_readonly(raw, "main") == 1) {
        return Error{Errc::database, SQLITE_READONLY, "opening " + path + ": only for reading"};
    }
    sqlite3_extended_result_codes(raw, 1);
    database.patience_ = std::make_unique<Patience>();
    database.wait_at_most(std::chrono::milliseconds{busy_timeout_ms});
    sqlite3_busy_handler(raw, &Database::wait_for_lock, database.patience_.get());
    return database;
}

// SQLite's own waits grow to 100 ms: beside a process that commits without a pause, whoever waits
// so long finds the lock taken again and again (a worker came to 34 acks a second). A transaction
// is over within a few milliseconds; so this looks again soon, and less often when it is not.
int Database::wait_for_lock(void* patience, int count) noexcept {
    using namespace std::chrono_literals;
    auto& own = *static_cast<Patience*>(patience);
    const auto now = std::chrono::steady_clock::now();
    if (count == 0) own.began = now;
    const auto waited = now - own.began;
    if (waited >= own.most.load(std::memory_order_relaxed)) return 0;
    std::this_thread::sleep_for(waited < 20ms ? 200us : waited < 500ms ? 1ms : 5ms);
    return 1;
}

Status Database::run(const char* sql) {
    if (*hook_) (*hook_)(sql);
    if (sqlite3_exec(connection_.get(), sql, nullptr, nullptr, nullptr) != SQLITE_OK) {
        return sqlite_error(connection_.get(), sql);
    }
    return Done{};
}

Result<Statement> Database::prepare(std::string_view sql) {
    sqlite3_stmt* raw = nullptr;
    const char* rest = nullptr;
    const int code = sqlite3_prepare_v3(connection_.get(), sql.data(), static_cast<int>(sql.size()),
                                        SQLITE_PREPARE_PERSISTENT, &raw, &rest);
    Statement statement{raw, hook_.get()};
    if (code != SQLITE_OK) return sqlite_error(connection_.get(), sql);
    if (raw == nullptr) {
        return Error{Errc::invalid_argument, 0, "an empty SQL text: expected one statement"};
    }
    const std::string_view tail{rest, static_cast<std::size_t>(sql.data() + sql.size() - rest)};
    if (tail.find_first_not_of(" \t\r\n;") != std::string_view::npos) {
        return Error{Errc::invalid_argument, 0,
                     "more than one SQL statement in one text: expected one"};
    }
    return statement;
}

Result<Statement*> Database::cached(const char* sql) {
    const auto found = cache_.find(sql);
    if (found != cache_.end()) return &found->second;
    auto prepared = prepare(sql);
    if (!prepared) return std::move(prepared).error();
    return &cache_.emplace(sql, std::move(prepared).value()).first->second;
}

Result<std::optional<Value>> Database::single(std::string_view sql) {
    auto statement = prepare(sql);
    if (!statement) return std::move(statement).error();
    auto row = statement->step();
    if (!row) return std::move(row).error();
    if (!row.value()) return std::optional<Value>{};
    return std::optional<Value>{statement->value(0)};
}

// What begins and ends every transaction would otherwise be parsed each time, a twentieth of what a
// claim takes.
Status Database::run_kept(Statement*& kept, const char* sql) {
    if (kept == nullptr) {
        auto prepared = cached(sql);
        if (!prepared) return std::move(prepared).error();
        kept = prepared.value();
    }
    const Use statement{*kept};
    if (auto step = statement->step(); !step) return std::move(step).error();
    return Done{};
}

Result<Transaction> Transaction::begin(Database& database) {
    if (auto begun = database.begin(); !begun) return std::move(begun).error();
    return Transaction{database};
}

Transaction::~Transaction() {
    if (database_ != nullptr && database_->in_transaction()) {
        [[maybe_unused]] const auto rolled = database_->run("ROLLBACK");
    }
}

Status Transaction::commit() {
    Database& database = *std::exchange(database_, nullptr);
    if (auto done = database.commit(); !done) {
        if (database.in_transaction()) {
            [[maybe_unused]] const auto rolled = database.run("ROLLBACK");
        }
        return done;
    }
    return Done{};
}

}  // namespace voicecore::command
