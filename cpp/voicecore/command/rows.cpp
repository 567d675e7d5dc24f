#include "voicecore/command/rows.hpp"

namespace voicecore::command {

Command read_command(const Statement& row, bool history) {
    Command out;
    int at = 0;
    out.id = row.integer(at++);
    out.command = row.text(at++);
    out.entry_id = row.maybe_integer(at++);
    out.key = row.maybe_text(at++);
    out.args = row.text(at++);
    out.requested_by = row.maybe_text(at++);
    out.created_at = row.integer(at++);
    out.dedup_key = row.maybe_text(at++);
    out.priority = row.integer(at++);
    out.not_before = row.maybe_integer(at++);
    out.expires_at = row.maybe_integer(at++);
    out.overtakes = row.integer(at++) != 0;
    out.attempt = row.integer(at++);
    out.max_attempts = row.integer(at++);
    out.lease_until = row.maybe_integer(at++);
    out.owner = row.maybe_text(at++);
    out.claimed_at = row.maybe_integer(at++);
    out.result = row.maybe_text(at++);
    out.error = row.maybe_text(at++);
    out.state = row.text(at++);
    if (history) out.finished_at = row.maybe_integer(at);
    return out;
}

Result<std::vector<Command>> read_commands(Statement& statement, bool history) {
    std::vector<Command> out;
    for (auto row = statement.step();; row = statement.step()) {
        if (!row) return std::move(row).error();
        if (!row.value()) return out;
        out.push_back(read_command(statement, history));
    }
}

}  // namespace voicecore::command
