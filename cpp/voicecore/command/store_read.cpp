// What everybody may look at, and what time removes.
#include <sys/stat.h>

#include <utility>

#include "voicecore/command/rows.hpp"
#include "voicecore/command/store.hpp"

namespace voicecore::command {

Result<std::optional<Command>> Store::get(std::int64_t id) {
    if (auto ok = usable(); !ok) return std::move(ok).error();
    auto line =
        database_.cached("SELECT " VOICECORE_COMMAND_COLUMNS " FROM bot_commands WHERE id = ?1");
    auto past = database_.cached("SELECT " VOICECORE_COMMAND_COLUMNS
                                 ", finished_at FROM bot_command_history WHERE id = ?1");
    if (!line) return std::move(line).error();
    if (!past) return std::move(past).error();
    // The line first: a command moves from there to the history, never back.
    for (const bool history : {false, true}) {
        const Use statement{history ? *past.value() : *line.value()};
        statement->bind_all(id);
        auto found = read_commands(*statement, history);
        if (!found) return std::move(found).error();
        if (!found->empty()) return std::optional<Command>{std::move(found->front())};
    }
    return std::optional<Command>{};
}

Result<std::vector<Command>> Store::peek(std::int64_t limit) {
    if (auto ok = usable(); !ok) return std::move(ok).error();
    auto look = database_.cached("SELECT " VOICECORE_COMMAND_COLUMNS
                                 " FROM bot_commands ORDER BY id LIMIT ?1");
    if (!look) return std::move(look).error();
    const Use statement{*look.value()};
    statement->bind_all(limit);
    return read_commands(*statement, false);
}

Result<std::vector<Command>> Store::history(std::int64_t limit,
                                            std::optional<std::int64_t> before) {
    if (auto ok = usable(); !ok) return std::move(ok).error();
    auto look = database_.cached("SELECT " VOICECORE_COMMAND_COLUMNS
                                 ", finished_at FROM bot_command_history"
                                 " WHERE id < coalesce(?2, 9223372036854775807)"
                                 " ORDER BY id DESC LIMIT ?1");
    if (!look) return std::move(look).error();
    const Use statement{*look.value()};
    statement->bind_all(limit, before);
    return read_commands(*statement, true);
}

Result<StoreStatistics> Store::statistics(Millis now) {
    if (auto ok = usable(); !ok) return std::move(ok).error();
    auto line = database_.cached(
        "SELECT coalesce(sum(state = 'ready' AND (not_before IS NULL OR not_before <= ?1)), 0),"
        " coalesce(sum(state = 'ready' AND not_before > ?1), 0),"
        " coalesce(sum(state = 'claimed'), 0),"
        " (SELECT count(*) FROM bot_sessions WHERE owner IS NOT NULL AND lease_until > ?1),"
        " min(CASE WHEN state = 'ready' AND (not_before IS NULL OR not_before <= ?1)"
        " AND typeof(created_at) IN ('integer', 'real')"
        " THEN created_at END) FROM bot_commands");
    auto past = database_.cached(
        "SELECT state, count(*) FROM bot_command_history GROUP BY state ORDER BY state");
    if (!line) return std::move(line).error();
    if (!past) return std::move(past).error();
    StoreStatistics out;
    {
        const Use statement{*line.value()};
        statement->bind_all(now);
        auto row = statement->step();
        if (!row) return std::move(row).error();
        out.ready = statement->integer(0);
        out.delayed = statement->integer(1);
        out.claimed = statement->integer(2);
        out.sessions = statement->integer(3);
        out.oldest_ready = statement->maybe_integer(4);
    }
    const Use statement{*past.value()};
    for (auto row = statement->step();; row = statement->step()) {
        if (!row) return std::move(row).error();
        if (!row.value()) break;
        out.history.emplace_back(statement->text(0), statement->integer(1));
    }
    struct stat facts {};
    const std::string wal = guard_.path() + "-wal";
    if (::stat(wal.c_str(), &facts) == 0) out.wal_bytes = facts.st_size;
    return out;
}

// In small batches: a large delete would hold the write lock for as long as it takes.
Result<std::int64_t> Store::prune(Millis older_than, std::int64_t limit) {
    if (auto ok = usable(); !ok) return std::move(ok).error();
    auto remove = database_.cached(
        "DELETE FROM bot_command_history WHERE id IN (SELECT id FROM bot_command_history"
        " WHERE finished_at < ?1 ORDER BY finished_at LIMIT ?2)");
    if (!remove) return std::move(remove).error();
    auto transaction = Transaction::begin(database_);
    if (!transaction) return std::move(transaction).error();
    std::int64_t gone = 0;
    {
        const Use statement{*remove.value()};
        statement->bind_all(older_than, limit);
        if (auto step = statement->step(); !step) return std::move(step).error();
        gone = database_.changes();
    }
    if (auto done = transaction->commit(); !done) return std::move(done).error();
    return gone;
}

}  // namespace voicecore::command
