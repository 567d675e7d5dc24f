// The tables of a queue file, and how older files become current ones.
#pragma once

#include "voicecore/command/sqlite.hpp"

namespace voicecore::command {

inline constexpr int kSchemaVersion = 1;
inline constexpr std::int64_t kApplicationId = 0x56434F52;  // "VCOR"

// Makes, or brings up to date, in one immediate transaction. A file that a newer version wrote is
// refused. The caller's own tables may be in the same file; a lesson's bot_commands(id, command,
// entry_id) is taken over with its rows.
[[nodiscard]] Status migrate(Database& database);

// Refuses a file without a queue's tables or a lesson's. Only reads.
[[nodiscard]] Status find_queue(Database& database);

}  // namespace voicecore::command
