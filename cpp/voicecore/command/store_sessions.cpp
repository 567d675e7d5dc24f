// Session leases, workers and what dead ones have left.
#include <sqlite3.h>

#include <utility>

#include "voicecore/command/store.hpp"

namespace voicecore::command {
Result<std::int64_t> Store::lease_session(const std::string& key,
                                          std::optional<std::int64_t> entry_id,
                                          std::optional<std::int64_t> command_id, Millis now,
                                          Millis lease) {
    if (auto ok = usable(); !ok) return std::move(ok).error();
    auto take = database_.cached(
        "INSERT INTO bot_sessions(key, attempt, entry_id, command_id, owner, lease_until,"
        " started_at, state) VALUES (?1, 1, ?2, ?3, ?4, ?5, ?6, 'running')"
        " ON CONFLICT (key) DO UPDATE SET attempt = attempt + 1, entry_id = excluded.entry_id,"
        " command_id = excluded.command_id, owner = excluded.owner,"
        " lease_until = excluded.lease_until, started_at = excluded.started_at,"
        " state = 'running', ended_at = NULL, outcome = NULL, position = NULL"
        " WHERE owner IS NULL OR lease_until <= ?6");
    auto look = database_.cached(
        "SELECT attempt, owner, entry_id, started_at FROM bot_sessions"
        " WHERE key = ?1");
    // As a claim pass does with commands: whoever holds it renews it by the new time.
    auto shorten = database_.cached(
        "UPDATE bot_sessions SET lease_until = lease_until - started_at + ?2, started_at = ?2"
        " WHERE key = ?1");
    if (!take) return std::move(take).error();
    if (!look) return std::move(look).error();
    if (!shorten) return std::move(shorten).error();
    auto transaction = Transaction::begin(database_);
    if (!transaction) return std::move(transaction).error();
    bool taken = false;
    {
        const Use statement{*take.value()};
        statement->bind_all(key, entry_id, command_id, options_.owner, now + lease, now);
        if (auto step = statement->step(); !step) return std::move(step).error();
        taken = database_.changes() == 1;
    }
    std::int64_t attempt = 0;
    std::string holder;
    bool from_before_step = false;
    {
        const Use statement{*look.value()};
        statement->bind_all(key);
        auto row = statement->step();
        if (!row) return std::move(row).error();
        attempt = statement->integer(0);
        const auto entry = statement->maybe_integer(2);
        holder = statement->text(1) + (entry ? ", playing entry " + std::to_string(*entry) : "");
        from_before_step = !taken && statement->integer(3) > now + kStepBack;
    }
    if (from_before_step) {
        const Use statement{*shorten.value()};
        statement->bind_all(key, now);
        if (auto step = statement->step(); !step) return std::move(step).error();
    }
    if (taken || from_before_step) {
        if (auto ok = still_in_place(); !ok) return std::move(ok).error();
        if (auto done = transaction->commit(); !done) return std::move(done).error();
    }
    if (!taken) {
        return stale_error(Stale::taken, "the session of key " + key + " is leased to " + holder);
    }
    return attempt;
}

Status Store::check_session(const std::string& key, std::int64_t attempt, Millis now) {
    auto look =
        database_.cached("SELECT attempt, owner, lease_until FROM bot_sessions WHERE key = ?1");
    if (!look) return std::move(look).error();
    const std::string name = "session of key " + key + ", attempt " + std::to_string(attempt);
    const Use statement{*look.value()};
    statement->bind_all(key);
    auto row = statement->step();
    if (!row) return std::move(row).error();
    if (!row.value() || attempt > statement->integer(0)) {
        return stale_error(Stale::unknown, "there is no " + name);
    }
    if (attempt < statement->integer(0)) {
        return stale_error(
            Stale::taken,
            name + ": attempt " + std::to_string(statement->integer(0)) + " has followed");
    }
    if (statement->is_null(1)) return stale_error(Stale::finished, name + " has ended");
    if (statement->integer(2) <= now)
        return stale_error(Stale::expired, name + ": the lease ran out");
    return Done{};
}

Result<Leases> Store::renew_all(const Leases& leases, Millis now, Millis lease, Millis stepped) {
    if (auto ok = usable(); !ok) return std::move(ok).error();
    auto command = database_.cached(
        "UPDATE bot_commands SET lease_until = ?3, claimed_at = min(claimed_at, ?4)"
        " WHERE id = ?1 AND attempt = ?2 AND state = 'claimed' AND lease_until > ?4 - ?5");
    auto session = database_.cached(
        "UPDATE bot_sessions SET lease_until = ?3, started_at = min(started_at, ?5)"
        " WHERE key = ?1 AND attempt = ?2 AND owner = ?4");
    if (!command) return std::move(command).error();
    if (!session) return std::move(session).error();
    auto transaction = Transaction::begin(database_);
    if (!transaction) return std::move(transaction).error();
    Leases lost;
    for (const auto& [id, attempt] : leases.commands) {
        const Use statement{*command.value()};
        statement->bind_all(id, attempt, now + lease, now, stepped);
        if (auto step = statement->step(); !step) return std::move(step).error();
        if (database_.changes() == 0) lost.commands.emplace_back(id, attempt);
    }
    for (const auto& [key, attempt] : leases.sessions) {
        const Use statement{*session.value()};
        statement->bind_all(key, attempt, now + lease, options_.owner, now);
        if (auto step = statement->step(); !step) return std::move(step).error();
        if (database_.changes() == 0) lost.sessions.emplace_back(key, attempt);
    }
    if (auto done = transaction->commit(); !done) return std::move(done).error();
    return lost;
}

Status Store::renew_session(const std::string& key, std::int64_t attempt, Millis now,
                            Millis lease) {
    if (auto ok = usable(); !ok) return ok;
    auto update = database_.cached(
        "UPDATE bot_sessions SET lease_until = ?2, started_at = min(started_at, ?3) WHERE key = "
        "?1");
    if (!update) return std::move(update).error();
    auto transaction = Transaction::begin(database_);
    if (!transaction) return std::move(transaction).error();
    // A lease that ran out while nobody else came is still ours to renew.
    if (auto ok = check_session(key, attempt, now); !ok && !is_stale(ok.error(), Stale::expired)) {
        return ok;
    }
    {
        const Use statement{*update.value()};
        statement->bind_all(key, now + lease, now);
        if (auto step = statement->step(); !step) return std::move(step).error();
    }
    return transaction->commit();
}

Status Store::end_session(const std::string& key, std::int64_t attempt, Millis now,
                          const std::string& outcome) {
    if (auto ok = usable(); !ok) return ok;
    auto update = database_.cached(
        "UPDATE bot_sessions SET owner = NULL, lease_until = NULL, ended_at = ?2, outcome = ?3,"
        " state = 'ended' WHERE key = ?1");
    if (!update) return std::move(update).error();
    auto transaction = Transaction::begin(database_);
    if (!transaction) return std::move(transaction).error();
    // A lease that ran out while nobody else came is still ours to end.
    if (auto ok = check_session(key, attempt, now); !ok && !is_stale(ok.error(), Stale::expired)) {
        return ok;
    }
    {
        const Use statement{*update.value()};
        statement->bind_all(key, now, outcome);
        if (auto step = statement->step(); !step) return std::move(step).error();
    }
    return transaction->commit();
}

Result<std::int64_t> Store::clear_dead(Millis now) {
    if (auto ok = usable(); !ok) return std::move(ok).error();
    auto owners = database_.cached(
        "SELECT owner FROM bot_sessions WHERE owner IS NOT NULL UNION"
        " SELECT owner FROM bot_commands WHERE state = 'claimed' UNION"
        " SELECT owner FROM bot_workers");
    auto sessions = database_.cached(
        "UPDATE bot_sessions SET owner = NULL, lease_until = NULL, ended_at = ?2,"
        " outcome = 'lost', state = 'ended' WHERE owner = ?1");
    // As a lease that ran out: the attempt stays, so that deaths are counted.
    auto commands = database_.cached(
        "UPDATE bot_commands SET lease_until = ?2 WHERE owner = ?1 AND state = 'claimed'"
        " AND lease_until > ?2");
    auto workers = database_.cached("DELETE FROM bot_workers WHERE owner = ?1");
    if (!owners) return std::move(owners).error();
    if (!sessions) return std::move(sessions).error();
    if (!commands) return std::move(commands).error();
    if (!workers) return std::move(workers).error();
    auto transaction = Transaction::begin(database_);
    if (!transaction) return std::move(transaction).error();
    std::vector<std::string> dead;
    {
        const Use statement{*owners.value()};
        for (auto row = statement->step();; row = statement->step()) {
            if (!row) return std::move(row).error();
            if (!row.value()) break;
            if (!owner_may_live(statement->view(0))) dead.push_back(statement->text(0));
        }
    }
    std::int64_t freed = 0;
    for (const std::string& owner : dead) {
        for (Statement* update : {sessions.value(), commands.value()}) {
            const Use statement{*update};
            statement->bind_all(owner, now);
            if (auto step = statement->step(); !step) return std::move(step).error();
            freed += database_.changes();
        }
        const Use statement{*workers.value()};
        statement->bind_all(owner);
        if (auto step = statement->step(); !step) return std::move(step).error();
    }
    if (!dead.empty()) {
        if (auto done = transaction->commit(); !done) return std::move(done).error();
    }
    return freed;
}

Status Store::announce(std::int64_t pid, const std::optional<std::string>& bell, Millis now) {
    if (auto ok = usable(); !ok) return ok;
    auto transaction = Transaction::begin(database_);
    if (!transaction) return std::move(transaction).error();
    if (auto ok = write_announcement(pid, bell, now); !ok) return ok;
    return transaction->commit();
}

Status Store::write_announcement(std::int64_t pid, const std::optional<std::string>& bell,
                                 Millis now) {
    auto insert = database_.cached(
        "INSERT INTO bot_workers(owner, pid, role, bell, sqlite_version, started_at, seen_at)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6) ON CONFLICT (owner) DO UPDATE SET"
        " bell = coalesce(excluded.bell, bell), seen_at = excluded.seen_at");
    if (!insert) return std::move(insert).error();
    const Use statement{*insert.value()};
    statement->bind_all(options_.owner, pid, options_.role, bell,
                        std::string_view{sqlite3_libversion()}, now);
    if (auto step = statement->step(); !step) return std::move(step).error();
    announced_ = true;
    return Done{};
}

Status Store::retire_worker() {
    if (!announced_ || verdict_->condemned()) return Done{};
    auto remove = database_.cached("DELETE FROM bot_workers WHERE owner = ?1");
    if (!remove) return std::move(remove).error();
    const Use statement{*remove.value()};
    statement->bind_all(options_.owner);
    if (auto step = statement->step(); !step) return std::move(step).error();
    announced_ = false;
    return Done{};
}

Result<std::vector<Worker>> Store::workers() {
    auto look = database_.cached(
        "SELECT owner, pid, role, bell, sqlite_version, seen_at FROM bot_workers ORDER BY "
        "started_at");
    if (!look) return std::move(look).error();
    const Use statement{*look.value()};
    std::vector<Worker> out;
    for (auto row = statement->step();; row = statement->step()) {
        if (!row) return std::move(row).error();
        if (!row.value()) return out;
        out.push_back({.owner = statement->text(0),
                       .pid = statement->integer(1),
                       .role = statement->text(2),
                       .bell = statement->maybe_text(3),
                       .sqlite_version = statement->text(4),
                       .seen_at = statement->integer(5)});
    }
}

}  // namespace voicecore::command
