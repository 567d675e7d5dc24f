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

// Where in a row of those columns.
enum Column {
    kId = 0,
    kCommand = 1,
    kEntryId = 2,
    kKey = 3,
    kArgs = 4,
    kRequestedBy = 5,
    kCreated = 6,
    kDedupKey = 7,
    kNotBefore = 9,
    kExpires = 10,
    kOvertakes = 11,
    kAttempt = 12,
    kGivenBack = 13,
    kMost = 14,
    kLease = 15,
    kClaimed = 17,
    kState = 20
};

// Why a row of those columns cannot be carried out, whoever wrote it; empty when it can. Anybody
// can insert one, and SQLite keeps what does not fit its column.
[[nodiscard]] std::string fault_of(const Statement& row);
// The same of the times, without which nobody knows when it is due or expires.
[[nodiscard]] std::string fault_of_times(const Statement& row);

// Every row of a statement whose parameters are bound.
[[nodiscard]] Result<std::vector<Command>> read_commands(Statement& statement, bool history);

}  // namespace voicecore::command
