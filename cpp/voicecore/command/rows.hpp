// How rows of bot_commands and of the history are read.
#pragma once

#include <string>

#include "voicecore/command/sqlite.hpp"
#include "voicecore/command/types.hpp"

namespace voicecore::command {

// In the order in which read_command() expects them; the history adds finished_at.
#define VOICECORE_COMMAND_COLUMNS                                                         \
    "id, command, entry_id, key, args, requested_by, created_at, dedup_key, priority,"    \
    " not_before, expires_at, overtakes, attempt, given_back, max_attempts, lease_until," \
    " owner, claimed_at, result, error, state"

[[nodiscard]] Command read_command(const Statement& row, bool history);

// Why a row of those columns cannot be carried out, whoever wrote it; empty when it can. Anybody
// can insert one, and SQLite keeps what does not fit its column.
[[nodiscard]] std::string fault_of(const Statement& row);

// Every row of a statement whose parameters are bound.
[[nodiscard]] Result<std::vector<Command>> read_commands(Statement& statement, bool history);

}  // namespace voicecore::command
