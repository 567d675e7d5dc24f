// Store: one connection to a queue file, and everything that is done through it.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "voicecore/command/file_guard.hpp"
#include "voicecore/command/sqlite.hpp"
#include "voicecore/command/types.hpp"

namespace voicecore::command {

struct StoreOptions {
    std::string path = {};
    std::string owner = {};       // who claims: unique to this process and object
    std::string role = "client";  // or "worker": who claims, and who moves the WAL into the file
    Synchronous synchronous = Synchronous::full;
    int busy_timeout_ms = 5'000;
    bool create = true;  // the file, and the queue's tables in it; false: both must be there
    std::string default_key = "default";
    std::optional<Millis> play_expires_after = 600'000;
    StepHook hook = {};
};

struct ClaimRequest {
    Millis now = 0;
    int limit = 1;
    Millis lease = 30'000;
    // Pauses, resumes and stops that were sent before this are superseded: they meant another run.
    std::optional<Millis> started_at = {};
};

// Why a claim found what it found.
struct ClaimResult {
    std::vector<Command> claimed;
    int expired = 0;
    int superseded = 0;
    int failed = 0;  // commands whose holders died too often
};

// What an orderly end waits for whoever holds the file.
inline constexpr std::chrono::milliseconds kBriefPatience{250};

struct StoreStatistics {
    std::int64_t ready = 0;
    std::int64_t delayed = 0;
    std::int64_t claimed = 0;
    std::int64_t sessions = 0;
    std::optional<Millis> oldest_ready = {};
    std::vector<std::pair<std::string, std::int64_t>> history;  // by state
    std::int64_t wal_bytes = 0;
};

struct Worker {
    std::string owner = {};
    std::int64_t pid = 0;
    std::string role;
    std::optional<std::string> bell = {};
    std::string sqlite_version;
    Millis seen_at = 0;
};

// How often the holders of one command may die before it is given up, when it has fewer tries than
// that: a death is not an error of the command's, and does not end it; but it has used up a try,
// and a command that kills must not kill for ever.
inline constexpr std::int64_t kMostDeaths = 3;

struct Finished {
    std::int64_t id;
    std::int64_t attempt;
    std::string result;
};
struct Leases {
    std::vector<std::pair<std::int64_t, std::int64_t>> commands;  // id, attempt
    std::vector<std::pair<std::string, std::int64_t>> sessions;   // key, attempt
};

// Not thread-safe. Every writing call is one immediate transaction.
class Store {
  public:
    static Result<std::unique_ptr<Store>> open(StoreOptions options);
    ~Store();

    // -- senders ---------------------------------------------------------------------------------
    // The ids, in the order given, after COMMIT. One whose dedup_key waits already gives that id.
    [[nodiscard]] Result<std::vector<std::int64_t>> enqueue(std::span<const NewCommand> commands,
                                                            Millis now);
    // False: it is not waiting any more.
    [[nodiscard]] Result<bool> cancel(std::int64_t id, Millis now);
    // Where the workers listen, when something was sent since the last call.
    [[nodiscard]] std::vector<std::string> take_bells() noexcept {
        return std::exchange(bells_, {});
    }
    // As if something had been sent: for commands that were inserted otherwise.
    [[nodiscard]] Status find_bells();

    // -- workers ---------------------------------------------------------------------------------
    [[nodiscard]] Result<ClaimResult> claim(const ClaimRequest& request);
    [[nodiscard]] Status renew(std::int64_t id, std::int64_t attempt, Millis now, Millis lease);
    [[nodiscard]] Status ack(std::int64_t id, std::int64_t attempt, Millis now,
                             const std::string& result);
    // Several at once. The ids of those whose claims are no longer live: they are left alone.
    [[nodiscard]] Result<std::vector<std::int64_t>> ack_many(std::span<const Finished> finished,
                                                             Millis now);
    // True: it will be tried again. `tries` raises what the command allows itself.
    [[nodiscard]] Result<bool> nack(std::int64_t id, std::int64_t attempt, Millis now,
                                    const std::string& error, std::optional<Millis> retry_in,
                                    std::int64_t tries = 1);
    // Failed for good, whatever tries are left.
    [[nodiscard]] Status fail(std::int64_t id, std::int64_t attempt, Millis now,
                              const std::string& error);
    // As if it had never been claimed, but for the attempt: for a claim that nobody came to take,
    // or a command whose time has not come. Due again after `delay`.
    [[nodiscard]] Status give_back(std::int64_t id, std::int64_t attempt, Millis now, Millis delay);
    // Is there anything to look at? A read without a lock.
    [[nodiscard]] Result<bool> anything();
    // When something that waits now becomes due.
    [[nodiscard]] Result<std::optional<Millis>> next_due(Millis now);

    // -- sessions --------------------------------------------------------------------------------
    // The attempt; Errc::stale (taken) when somebody else holds the key.
    [[nodiscard]] Result<std::int64_t> lease_session(const std::string& key,
                                                     std::optional<std::int64_t> entry_id,
                                                     std::optional<std::int64_t> command_id,
                                                     Millis now, Millis lease);
    [[nodiscard]] Status renew_session(const std::string& key, std::int64_t attempt, Millis now,
                                       Millis lease);
    [[nodiscard]] Status end_session(const std::string& key, std::int64_t attempt, Millis now,
                                     const std::string& outcome);
    // All leases of a process in one transaction; gives back those that are lost. `step` is by how
    // much the wall clock has just been set forward: by so much no lease has come nearer its end.
    [[nodiscard]] Result<Leases> renew_all(const Leases& leases, Millis now, Millis lease,
                                           Millis step = 0);
    // Ends the sessions, and gives back the commands, of owners that no longer live on this
    // machine. The number of both.
    [[nodiscard]] Result<std::int64_t> clear_dead(Millis now);

    // -- everybody -------------------------------------------------------------------------------
    [[nodiscard]] Result<std::optional<Command>> get(std::int64_t id);
    [[nodiscard]] Result<std::vector<Command>> peek(std::int64_t limit);
    [[nodiscard]] Result<std::vector<Command>> history(std::int64_t limit,
                                                       std::optional<std::int64_t> before);
    [[nodiscard]] Result<StoreStatistics> statistics(Millis now);
    [[nodiscard]] Result<std::int64_t> prune(Millis older_than, std::int64_t limit);
    // The caller's own statements: one immediate transaction, or a plain read for a single SELECT.
    struct Step {
        std::string sql;
        std::vector<Value> parameters;
    };
    [[nodiscard]] Result<std::vector<std::vector<Row>>> transact(std::span<const Step> steps);

    [[nodiscard]] Status announce(std::int64_t pid, const std::optional<std::string>& bell,
                                  Millis now);
    [[nodiscard]] Status retire_worker();
    [[nodiscard]] Result<std::vector<Worker>> workers();
    // Moves the WAL into the file: only what is free to move, or all of it when it has grown large.
    [[nodiscard]] Status checkpoint(bool truncate);
    // Of the write-ahead log, in bytes.
    [[nodiscard]] std::int64_t log_size() const;
    // Is the file still ours? See FileGuard. Once it was not, every call of this process on it is
    // refused, by whatever connection.
    [[nodiscard]] Status audit();
    // For other connections' transactions, from now on and also in a call that waits already;
    // nothing: as it was opened with. Any thread.
    void set_patience(std::optional<std::chrono::milliseconds> most) noexcept {
        database_.wait_at_most(most.value_or(std::chrono::milliseconds{options_.busy_timeout_ms}));
    }
    // For a Caretaker, which does from now on what claim() does every two seconds.
    [[nodiscard]] std::shared_ptr<Verdict> leave_care() noexcept {
        care_ = false;
        return verdict_;
    }
    // Changes when another connection has committed.
    [[nodiscard]] Result<std::int64_t> data_version();
    [[nodiscard]] const StoreOptions& options() const noexcept { return options_; }

  private:
    Store(StoreOptions options, Database database, FileGuard guard);
    friend class ClaimPass;
    [[nodiscard]] Status usable() const;
    // What a worker owes its file, at most every two seconds: audits it, and moves a log that has
    // grown large into it. For those who claim without a scheduler, whose caretaker does both.
    [[nodiscard]] Status look_after(Millis now);
    [[nodiscard]] bool log_is_large() const;
    // What is sent into a file that is no longer there would be gone, although it was committed.
    [[nodiscard]] Status still_in_place();
    // Out of the line, into the history. Within a transaction.
    [[nodiscard]] Status finish(std::int64_t id, std::string_view state,
                                const std::optional<std::string>& result,
                                const std::optional<std::string>& error, Millis now);
    [[nodiscard]] Status write_announcement(std::int64_t pid,
                                            const std::optional<std::string>& bell, Millis now);
    [[nodiscard]] Status check_claim(std::int64_t id, std::int64_t attempt, Millis now);
    [[nodiscard]] Status check_session(const std::string& key, std::int64_t attempt, Millis now);

    StoreOptions options_;
    Database database_;
    FileGuard guard_;
    std::shared_ptr<Verdict> verdict_;
    std::vector<std::string> bells_;
    std::string resume_after_;  // the key that the last look along all keys ended with
    bool announced_ = false;
    bool care_ = true;
    Millis looked_after_ = 0;
};

[[nodiscard]] Error stale_error(Stale why, std::string message);
[[nodiscard]] bool is_stale(const Error& error, Stale why) noexcept;

// This process and this moment, as nobody else is: host, boot, pid, start of the process, a number.
[[nodiscard]] std::string make_owner();
// False only when the owner was a process of this machine and boot, and that process is gone.
[[nodiscard]] bool owner_may_live(std::string_view owner);

}  // namespace voicecore::command
