#include "voicecore/command/store.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "voicecore/command/rows.hpp"
#include "voicecore/command/schema.hpp"

namespace voicecore::command {
namespace {

constexpr std::int64_t kWorthTruncating = 16 << 20;
constexpr std::chrono::milliseconds kBriefly{20};

Status configure(Database& database, const StoreOptions& options) {
    auto mode = database.single("PRAGMA journal_mode = WAL");
    if (!mode) return std::move(mode).error();
    if (mode.value() != Value{std::string{"wal"}}) {
        return Error{Errc::database, 0,
                     options.path +
                         " cannot be put into WAL mode (SQLite keeps another one): "
                         "expected a writable file on a local file system"};
    }
    // Only workers move the WAL into the file: SQLite before 3.51.3 can damage it when two
    // connections do so at a bad moment.
    if (auto ok = database.run("PRAGMA wal_autocheckpoint = 0"); !ok) return ok;
    return database.run(options.synchronous == Synchronous::full ? "PRAGMA synchronous = FULL"
                                                                 : "PRAGMA synchronous = NORMAL");
}

}  // namespace

Error stale_error(Stale why, std::string message) {
    return Error{Errc::stale, static_cast<int>(why), std::move(message)};
}
bool is_stale(const Error& error, Stale why) noexcept {
    return error.code == Errc::stale && error.native == static_cast<int>(why);
}

Store::Store(StoreOptions options, Database database, FileGuard guard)
    : options_{std::move(options)},
      database_{std::move(database)},
      guard_{std::move(guard)},
      verdict_{guard_.verdict()} {}

Store::~Store() {
    // SQLite moves the log into the file when the last connection closes: never into one that is
    // not ours any more, and never a log that others have left behind.
    if (!audit()) database_.keep_log_on_close();
}

Result<std::unique_ptr<Store>> Store::open(StoreOptions options) {
    if (auto ok = check_file_system(options.path); !ok) return std::move(ok).error();
    if (auto ok = check_one_name(options.path); !ok) return std::move(ok).error();
    if (auto ok = check_not_inherited(options.path); !ok) return std::move(ok).error();
    auto database =
        Database::open(options.path, options.busy_timeout_ms, options.hook, options.create);
    if (!database) return explain_open_failure(options.path, std::move(database).error());
    if (!options.create) {
        // Before anything is written: the file may be somebody else's.
        if (auto ok = find_queue(*database); !ok) {
            return explain_open_failure(options.path, std::move(ok).error());
        }
    }
    if (auto ok = configure(*database, options); !ok) {
        return explain_open_failure(options.path, std::move(ok).error());
    }
    if (auto ok = migrate(*database); !ok) {
        return explain_open_failure(options.path, std::move(ok).error());
    }
    auto guard = FileGuard::watch(options.path);
    if (!guard) return std::move(guard).error();
    if (auto ok = guard->verdict()->status(); !ok) return std::move(ok).error();
    return std::unique_ptr<Store>{new Store{std::move(options), std::move(database).value(),
                                            std::move(guard).value()}};  // NOLINT: private
}

Status Store::usable() const {
    return verdict_->status();
}

Status Store::audit() {
    if (auto ok = usable(); !ok) return ok;
    auto checked = guard_.check();
    if (!checked) verdict_->condemn(checked.error());
    return checked;
}

Status Store::still_in_place() {
    auto checked = guard_.in_place();
    if (!checked) verdict_->condemn(checked.error());
    return checked;
}

Status Store::look_after(Millis now) {
    constexpr Millis kEvery = 2'000;  // as often as a scheduler ticks
    if (!care_ || (now >= looked_after_ && now - looked_after_ < kEvery)) return Done{};
    looked_after_ = now;
    if (auto ok = audit(); !ok) return ok;
    if (options_.role != "worker" || !log_is_large()) return Done{};
    return checkpoint(false);
}

Result<std::vector<std::int64_t>> Store::enqueue(std::span<const NewCommand> commands, Millis now) {
    if (auto ok = usable(); !ok) return std::move(ok).error();
    std::vector<std::int64_t> ids;
    ids.reserve(commands.size());
    auto insert = database_.cached(
        "INSERT INTO bot_commands(command, entry_id, key, args, requested_by, created_at,"
        " dedup_key, priority, not_before, expires_at, overtakes, max_attempts)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)"
        " ON CONFLICT (dedup_key) WHERE dedup_key IS NOT NULL DO NOTHING");
    auto known = database_.cached("SELECT id FROM bot_commands WHERE dedup_key = ?1");
    if (!insert) return std::move(insert).error();
    if (!known) return std::move(known).error();
    auto transaction = Transaction::begin(database_);
    if (!transaction) return std::move(transaction).error();
    for (const NewCommand& one : commands) {
        const Use statement{*insert.value()};
        statement->bind_all(one.command, one.entry_id, one.key, one.args, one.requested_by, now,
                            one.dedup_key, one.priority, one.not_before, one.expires_at,
                            std::int64_t{one.overtakes}, one.max_attempts);
        if (auto step = statement->step(); !step) return std::move(step).error();
        if (database_.changes() == 1) {
            ids.push_back(database_.last_id());
            continue;
        }
        const Use lookup{*known.value()};
        lookup->bind_all(one.dedup_key);
        auto row = lookup->step();
        if (!row) return std::move(row).error();
        if (!row.value()) {  // nor was it there: nothing is sent, rather than all but this one
            return Error{Errc::database, 0,
                         "a trigger on bot_commands ignored a command; expected none that does "
                         "(RAISE(IGNORE)), or RAISE(ABORT) to refuse one"};
        }
        ids.push_back(lookup->integer(0));
    }
    if (!announced_) {
        // Each process's version of SQLite is known in the file: see `voicecore doctor`.
        if (auto ok = write_announcement(::getpid(), std::nullopt, now); !ok) {
            return std::move(ok).error();
        }
    }
    if (auto ok = find_bells(); !ok) return std::move(ok).error();
    if (auto ok = still_in_place(); !ok) return std::move(ok).error();
    if (auto done = transaction->commit(); !done) return std::move(done).error();
    return ids;
}

Status Store::find_bells() {
    auto where = database_.cached("SELECT bell FROM bot_workers WHERE bell IS NOT NULL");
    if (!where) return std::move(where).error();
    const Use statement{*where.value()};
    bells_.clear();
    for (auto row = statement->step();; row = statement->step()) {
        if (!row) return std::move(row).error();
        if (!row.value()) return Done{};
        bells_.push_back(statement->text(0));
    }
}

Status Store::finish(std::int64_t id, std::string_view state,
                     const std::optional<std::string>& result,
                     const std::optional<std::string>& error, Millis now) {
    // OR REPLACE: whoever copies rows back may bring an id that has ended before. It counts again.
    auto move = database_.cached(
        "INSERT OR REPLACE INTO bot_command_history(id, command, entry_id, key, args, "
        "requested_by, "
        "created_at,"
        " dedup_key, priority, not_before, expires_at, overtakes, attempt, given_back,"
        " max_attempts, lease_until, owner, claimed_at, result, error, state, finished_at)"
        " SELECT id, command, entry_id, key, args, requested_by, created_at, dedup_key, priority,"
        " not_before, expires_at, overtakes, attempt, given_back, max_attempts, lease_until, owner,"
        " claimed_at, ?2, coalesce(?3, error), ?4, ?5 FROM bot_commands WHERE id = ?1");
    auto remove = database_.cached("DELETE FROM bot_commands WHERE id = ?1");
    if (!move) return std::move(move).error();
    if (!remove) return std::move(remove).error();
    {
        const Use statement{*move.value()};
        statement->bind_all(id, result, error, state, now);
        if (auto step = statement->step(); !step) return std::move(step).error();
    }
    const Use statement{*remove.value()};
    statement->bind_all(id);
    if (auto step = statement->step(); !step) return std::move(step).error();
    return Done{};
}

// Within a transaction: is (id, attempt) the live claim?
Status Store::check_claim(std::int64_t id, std::int64_t attempt, Millis now) {
    auto look =
        database_.cached("SELECT state, attempt, lease_until FROM bot_commands WHERE id = ?1");
    if (!look) return std::move(look).error();
    const auto name = [id] { return "command " + std::to_string(id); };
    {
        const Use statement{*look.value()};
        statement->bind_all(id);
        auto row = statement->step();
        if (!row) return std::move(row).error();
        if (row.value()) {
            const std::int64_t live = statement->integer(1);
            if (attempt < live) {
                return stale_error(Stale::taken, name() + ": attempt " + std::to_string(attempt) +
                                                     " is over, attempt " + std::to_string(live) +
                                                     " has followed it");
            }
            const bool held = statement->view(0) == "claimed";
            // Back in the line with its lease still there: a claim took it from a holder who slept.
            const bool lapsed = !held && !statement->is_null(2);
            if (attempt > live || (!held && !lapsed)) {
                return stale_error(Stale::unknown, name() + " is not claimed with attempt " +
                                                       std::to_string(attempt));
            }
            if (lapsed || statement->integer(2) <= now) {
                return stale_error(Stale::expired, name() + ": the lease of attempt " +
                                                       std::to_string(attempt) + " ran out");
            }
            return Done{};
        }
    }
    auto past = database_.cached("SELECT state FROM bot_command_history WHERE id = ?1");
    if (!past) return std::move(past).error();
    const Use statement{*past.value()};
    statement->bind_all(id);
    auto row = statement->step();
    if (!row) return std::move(row).error();
    if (row.value()) {
        return stale_error(Stale::finished, name() + " is finished: " + statement->text(0));
    }
    return stale_error(Stale::unknown, "there is no " + name());
}

Result<bool> Store::cancel(std::int64_t id, Millis now) {
    if (auto ok = usable(); !ok) return std::move(ok).error();
    auto look = database_.cached("SELECT 1 FROM bot_commands WHERE id = ?1 AND state = 'ready'");
    if (!look) return std::move(look).error();
    auto transaction = Transaction::begin(database_);
    if (!transaction) return std::move(transaction).error();
    bool waits = false;
    {
        const Use statement{*look.value()};
        statement->bind_all(id);
        auto row = statement->step();
        if (!row) return std::move(row).error();
        waits = row.value();
    }
    if (!waits) return false;
    if (auto ok = finish(id, "cancelled", std::nullopt, std::nullopt, now); !ok) {
        return std::move(ok).error();
    }
    if (auto done = transaction->commit(); !done) return std::move(done).error();
    return true;
}

Status Store::renew(std::int64_t id, std::int64_t attempt, Millis now, Millis lease) {
    if (auto ok = usable(); !ok) return ok;
    // Not begun after its renewal: or it would be taken for one from before a step of the clock.
    auto update = database_.cached(
        "UPDATE bot_commands SET lease_until = ?2, claimed_at = min(claimed_at, ?3) WHERE id = ?1");
    if (!update) return std::move(update).error();
    auto transaction = Transaction::begin(database_);
    if (!transaction) return std::move(transaction).error();
    if (auto ok = check_claim(id, attempt, now); !ok) return ok;
    {
        const Use statement{*update.value()};
        statement->bind_all(id, now + lease, now);
        if (auto step = statement->step(); !step) return std::move(step).error();
    }
    return transaction->commit();
}

Status Store::ack(std::int64_t id, std::int64_t attempt, Millis now, const std::string& result) {
    if (auto ok = usable(); !ok) return ok;
    auto transaction = Transaction::begin(database_);
    if (!transaction) return std::move(transaction).error();
    if (auto ok = check_claim(id, attempt, now); !ok) return ok;
    if (auto ok = finish(id, "done", result, std::nullopt, now); !ok) return ok;
    return transaction->commit();
}

Result<std::vector<std::int64_t>> Store::ack_many(std::span<const Finished> finished, Millis now) {
    if (auto ok = usable(); !ok) return std::move(ok).error();
    std::vector<std::int64_t> stale;
    auto transaction = Transaction::begin(database_);
    if (!transaction) return std::move(transaction).error();
    for (const Finished& one : finished) {
        if (auto live = check_claim(one.id, one.attempt, now); !live) {
            if (live.error().code != Errc::stale) return std::move(live).error();
            stale.push_back(one.id);
            continue;
        }
        if (auto ok = finish(one.id, "done", one.result, std::nullopt, now); !ok) {
            return std::move(ok).error();
        }
    }
    if (auto done = transaction->commit(); !done) return std::move(done).error();
    return stale;
}

Result<bool> Store::nack(std::int64_t id, std::int64_t attempt, Millis now,
                         const std::string& error, std::optional<Millis> retry_in,
                         std::int64_t tries) {
    if (auto ok = usable(); !ok) return std::move(ok).error();
    auto look = database_.cached(
        "SELECT attempt - given_back, max_attempts FROM bot_commands WHERE id = ?1");
    auto back = database_.cached(
        "UPDATE bot_commands SET state = 'ready', lease_until = NULL, owner = NULL,"
        " not_before = ?2, error = ?3, max_attempts = ?4 WHERE id = ?1");
    if (!look) return std::move(look).error();
    if (!back) return std::move(back).error();
    auto transaction = Transaction::begin(database_);
    if (!transaction) return std::move(transaction).error();
    if (auto ok = check_claim(id, attempt, now); !ok) return std::move(ok).error();
    std::int64_t tried = 1;
    std::int64_t most = tries;
    {
        const Use statement{*look.value()};
        statement->bind_all(id);
        auto row = statement->step();
        if (!row) return std::move(row).error();
        tried = statement->integer(0);
        most = std::max(tries, statement->integer(1));
    }
    const bool again = tried < most;
    if (again) {
        // Twice as long each time, from one second to five minutes.
        constexpr Millis kFirst = 1'000;
        constexpr Millis kLongest = 300'000;
        const Millis wait = retry_in.value_or(
            std::min(kLongest, kFirst << std::clamp<std::int64_t>(tried - 1, 0, 20)));
        const Use statement{*back.value()};
        statement->bind_all(id, now + wait, error, most);
        if (auto step = statement->step(); !step) return std::move(step).error();
    } else if (auto ok = finish(id, "failed", std::nullopt, error, now); !ok) {
        return std::move(ok).error();
    }
    if (auto done = transaction->commit(); !done) return std::move(done).error();
    return again;
}

Status Store::fail(std::int64_t id, std::int64_t attempt, Millis now, const std::string& error) {
    if (auto ok = usable(); !ok) return ok;
    auto transaction = Transaction::begin(database_);
    if (!transaction) return std::move(transaction).error();
    if (auto ok = check_claim(id, attempt, now); !ok) return ok;
    if (auto ok = finish(id, "failed", std::nullopt, error, now); !ok) return ok;
    return transaction->commit();
}

Status Store::give_back(std::int64_t id, std::int64_t attempt, Millis now, Millis delay) {
    if (auto ok = usable(); !ok) return ok;
    auto back = database_.cached(
        "UPDATE bot_commands SET state = 'ready', lease_until = NULL, owner = NULL,"
        " given_back = given_back + 1, not_before = coalesce(?2, not_before) WHERE id = ?1");
    if (!back) return std::move(back).error();
    auto transaction = Transaction::begin(database_);
    if (!transaction) return std::move(transaction).error();
    if (auto ok = check_claim(id, attempt, now); !ok) return ok;
    {
        const Use statement{*back.value()};
        statement->bind_all(id, delay > 0 ? std::optional{now + delay} : std::nullopt);
        if (auto step = statement->step(); !step) return std::move(step).error();
    }
    return transaction->commit();
}

Result<bool> Store::anything() {
    if (auto ok = usable(); !ok) return std::move(ok).error();
    auto look = database_.cached("SELECT EXISTS (SELECT 1 FROM bot_commands)");
    if (!look) return std::move(look).error();
    const Use statement{*look.value()};
    auto row = statement->step();
    if (!row) return std::move(row).error();
    return statement->integer(0) != 0;
}

Result<std::optional<Millis>> Store::next_due(Millis now) {
    if (auto ok = usable(); !ok) return std::move(ok).error();
    auto look = database_.cached(
        "SELECT min(not_before) FROM bot_commands WHERE not_before > ?1 AND state = 'ready'");
    if (!look) return std::move(look).error();
    const Use statement{*look.value()};
    statement->bind_all(now);
    auto row = statement->step();
    if (!row) return std::move(row).error();
    return statement->maybe_integer(0);
}

Result<std::int64_t> Store::data_version() {
    auto look = database_.cached("PRAGMA data_version");
    if (!look) return std::move(look).error();
    const Use statement{*look.value()};
    auto row = statement->step();
    if (!row) return std::move(row).error();
    return statement->integer(0);
}

std::int64_t Store::log_size() const {
    struct stat facts {};
    const std::string wal = guard_.path() + "-wal";
    return ::stat(wal.c_str(), &facts) == 0 ? facts.st_size : 0;
}

bool Store::log_is_large() const {
    return log_size() > kWorthTruncating;
}

Status Store::checkpoint(bool truncate) {
    if (auto ok = usable(); !ok) return ok;
    const bool large = log_is_large();
    // Truncating waits for readers, and one that never ends must not hold up who serves the line.
    const bool brief = large && !truncate;
    // Most of it without holding up anybody who writes.
    if (brief) {
        if (auto most = database_.single("PRAGMA wal_checkpoint(PASSIVE)"); !most) {
            return std::move(most).error();
        }
    }
    const auto patience = database_.patience();
    if (brief) database_.wait_at_most(std::min(kBriefly, patience));
    auto done = database_.single(truncate || large ? "PRAGMA wal_checkpoint(TRUNCATE)"
                                                   : "PRAGMA wal_checkpoint(PASSIVE)");
    if (brief) database_.wait_at_most(patience);
    if (!done) return std::move(done).error();
    return Done{};
}

Result<std::vector<std::vector<Row>>> Store::transact(std::span<const Step> steps) {
    if (auto ok = usable(); !ok) return std::move(ok).error();
    std::vector<Statement> statements;
    for (const Step& step : steps) {
        auto prepared = database_.prepare(step.sql);
        if (!prepared) return std::move(prepared).error();
        if (prepared->parameters() != static_cast<int>(step.parameters.size())) {
            return Error{Errc::invalid_argument, 0,
                         std::to_string(step.parameters.size()) + " parameters for " +
                             std::to_string(prepared->parameters()) + " places in: " + step.sql};
        }
        statements.push_back(std::move(prepared).value());
    }
    const bool reads = steps.size() == 1 && statements.front().read_only();
    std::optional<Transaction> transaction;
    if (!reads) {
        auto begun = Transaction::begin(database_);
        if (!begun) return std::move(begun).error();
        transaction.emplace(std::move(begun).value());
    }
    std::vector<std::vector<Row>> out;
    for (std::size_t i = 0; i < steps.size(); ++i) {
        Statement& statement = statements[i];
        int at = 0;
        for (const Value& value : steps[i].parameters) statement.bind_value(++at, value);
        std::vector<Row>& rows = out.emplace_back();
        for (auto step = statement.step();; step = statement.step()) {
            if (!step) return std::move(step).error();
            if (!step.value()) break;
            Row& row = rows.emplace_back();
            for (int column = 0; column < statement.columns(); ++column) {
                row.push_back(statement.value(column));
            }
        }
        statement.reset();
    }
    statements.clear();
    if (transaction) {
        if (auto ok = still_in_place(); !ok) return std::move(ok).error();
        if (auto done = transaction->commit(); !done) return std::move(done).error();
    }
    return out;
}

}  // namespace voicecore::command
