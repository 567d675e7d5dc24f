// What the queue is made of: commands, claims, outcomes. Times are milliseconds since 1970 UTC.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace voicecore::command {

using Millis = std::int64_t;

// The key of a pause, resume or stop that names none: every running session.
inline constexpr const char* kEveryKey = "*";
// In `expires_at`: never, where nothing means the verb's default.
inline constexpr Millis kNever = 0;
// A claim or a session this far in the future began before the wall clock was set back: its lease
// would last for as long as it was set back. Less is a transaction that waited for its turn while
// another one took the lease. Not seen: one that had been held for longer than the clock was set
// back, because its row does not say when it was last renewed.
inline constexpr Millis kStepBack = 15'000;

struct NewCommand {
    std::string command = {};
    std::optional<std::int64_t> entry_id = {};
    std::optional<std::string> key = {};
    std::string args = "{}";  // a JSON object
    std::optional<std::string> requested_by = {};
    std::optional<std::string> dedup_key = {};
    std::int64_t priority = 0;
    std::optional<Millis> not_before = {};
    std::optional<Millis> expires_at = {};
    bool overtakes = false;
    std::int64_t max_attempts = 1;
};

// A row of bot_commands or of the history.
struct Command {
    std::int64_t id = 0;
    std::string command = {};
    std::optional<std::int64_t> entry_id = {};
    std::optional<std::string> key = {};
    std::string args;
    std::optional<std::string> requested_by = {};
    Millis created_at = 0;
    std::optional<std::string> dedup_key = {};
    std::int64_t priority = 0;
    std::optional<Millis> not_before = {};
    std::optional<Millis> expires_at = {};
    bool overtakes = false;
    std::int64_t attempt = 0;
    std::int64_t given_back = 0;
    std::int64_t max_attempts = 1;
    std::optional<Millis> lease_until = {};
    std::optional<std::string> owner = {};
    std::optional<Millis> claimed_at = {};
    std::optional<std::string> result = {};
    std::optional<std::string> error = {};
    std::string state;
    std::optional<Millis> finished_at = {};
};

// Why a holder is refused; the `native` code of Errc::stale.
enum class Stale : int {
    expired = 1,   // the lease ran out
    taken = 2,     // a later attempt holds it
    finished = 3,  // it is in the history
    unknown = 4,   // there is no such command, or it was never claimed
};

}  // namespace voicecore::command
