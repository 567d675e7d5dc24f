#include "voicecore/command/claim_pass.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <tuple>
#include <utility>

#include "voicecore/command/intents.hpp"
#include "voicecore/command/rows.hpp"

namespace voicecore::command {
namespace {

constexpr int kStretch = 64;       // due rows of the line looked at before going along the keys
constexpr int kScan = 2048;        // and rows that are passed for it, delayed ones mostly
constexpr int kKeysAlong = 512;    // keys looked at in one pass; the next goes on behind them
constexpr int kRowsOfKey = 64;     // of one key: expired ones come before its head
constexpr int kUrgentRows = 4096;  // rows among which keys with urgent commands are looked for
constexpr std::array kEndStates{"done", "failed", "expired", "superseded", "cancelled"};
constexpr int kLineToReduce = 1024;  // intents of one key that are weighed together

// Must be the index's own words, or the planner does not use it.
#define VOICECORE_STEERING "command IN ('pause', 'resume', 'stop', 'seek', 'volume', 'next')"
// Two questions, each with an index of its own.
#define VOICECORE_TO_ALL                                                         \
    "EXISTS (SELECT 1 FROM bot_commands WHERE not_before IS NULL AND key = '*')" \
    " OR EXISTS (SELECT 1 FROM bot_commands WHERE not_before IS NOT NULL AND key = '*')"

}  // namespace

Result<ClaimResult> Store::claim(const ClaimRequest& request) {
    if (auto ok = usable(); !ok) return std::move(ok).error();
    if (auto ok = look_after(request.now); !ok) return std::move(ok).error();
    return ClaimPass{*this, request}.run();
}

Result<ClaimResult> ClaimPass::run() {
    auto transaction = Transaction::begin(database_);
    if (!transaction) return std::move(transaction).error();
    if (auto ok = look_at_claims(); !ok) return std::move(ok).error();
    auto seen = survey();
    if (!seen) return std::move(seen).error();
    if (seen->undated) {
        if (auto ok = end_undated(); !ok) return std::move(ok).error();
    }
    if (seen->queued) {
        if (auto ok = find_queued(); !ok) return std::move(ok).error();
    }
    if (seen->bare) {
        if (auto ok = resolve_keys(); !ok) return std::move(ok).error();
        // A bare stop steers every key only now that it has one.
    }
    if (seen->steering) {
        if (auto ok = reduce_intents(); !ok) return std::move(ok).error();
        if (auto ok = take_overtaking(); !ok) return std::move(ok).error();
    }
    if (auto ok = walk(*seen); !ok) return std::move(ok).error();
    if (auto ok = end_noted(); !ok) return std::move(ok).error();
    if (auto ok = shorten_noted(); !ok) return std::move(ok).error();
    if (auto ok = take_heads(); !ok) return std::move(ok).error();
    if (changed_) {
        if (auto done = transaction->commit(); !done) return std::move(done).error();
    }
    return std::move(result_);
}

// All of them, before the walk: a command that was delayed may become due while a later one of its
// key is held.
Status ClaimPass::look_at_claims() {
    auto look = database_.cached(
        "SELECT id, key, attempt - given_back, max_attempts, lease_until, claimed_at FROM "
        "bot_commands"
        " WHERE state = 'claimed' AND overtakes = 0");
    if (!look) return std::move(look).error();
    std::vector<std::int64_t> lapsed;
    {
        const Use statement{*look.value()};
        for (auto row = statement->step();; row = statement->step()) {
            if (!row) return std::move(row).error();
            if (!row.value()) break;
            const Held held{.id = statement->integer(0),
                            .key = statement->view(1),
                            .tries = statement->integer(2),
                            .most = statement->integer(3),
                            .lease = statement->integer(4),
                            .claimed = statement->integer(5)};
            if (is_live(held)) {
                blocked_.emplace(held.key);
            } else {
                lapsed.push_back(held.id);
            }
        }
    }
    if (auto ok = end_noted(); !ok) return ok;
    for (const std::int64_t id : lapsed) {
        if (auto ok = put_back(id); !ok) return ok;
    }
    return shorten_noted();
}

bool ClaimPass::is_live(const Held& held) {
    if (held.lease > request_.now) {
        if (held.claimed > request_.now + kStepBack) {
            too_long_.emplace_back(held.id, held.lease - held.claimed);
        }
        return true;
    }
    // Its holder died, or sleeps past its lease.
    if (held.tries >= std::max(held.most, kMostDeaths)) {
        ends_.push_back(
            {held.id, "failed", "its holders were lost " + std::to_string(held.tries) + " times"});
    }
    return false;
}

// The lease stays, as a mark that it ran out: its holder may still come and ask.
Status ClaimPass::put_back(std::int64_t id) {
    auto update =
        database_.cached("UPDATE bot_commands SET state = 'ready', owner = NULL WHERE id = ?1");
    if (!update) return std::move(update).error();
    const Use statement{*update.value()};
    statement->bind_all(id);
    if (auto step = statement->step(); !step) return std::move(step).error();
    changed_ = true;
    return Done{};
}

Result<ClaimPass::Survey> ClaimPass::survey() {
    auto look = database_.cached(
        "SELECT EXISTS (SELECT 1 FROM bot_commands WHERE key IS NULL),"
        " EXISTS (SELECT 1 FROM bot_commands WHERE " VOICECORE_STEERING ") OR " VOICECORE_TO_ALL
        ", EXISTS (SELECT 1 FROM bot_commands WHERE priority <> 0 AND priority > 0),"
        " EXISTS (SELECT 1 FROM bot_commands WHERE priority <> 0 AND priority < 0),"
        " EXISTS (SELECT 1 FROM bot_commands WHERE not_before IS NOT NULL AND not_before >= ''),"
        " EXISTS (SELECT 1 FROM bot_commands WHERE given_back > 0 AND command = 'play')");
    if (!look) return std::move(look).error();
    const Use statement{*look.value()};
    auto row = statement->step();
    if (!row) return std::move(row).error();
    return Survey{.bare = statement->integer(0) != 0,
                  .steering = statement->integer(1) != 0,
                  .urgent = statement->integer(2) != 0,
                  .patient = statement->integer(3) != 0,
                  .undated = statement->integer(4) != 0,
                  .queued = statement->integer(5) != 0};
}

Status ClaimPass::resolve_keys() {
    auto update = database_.cached(
        "UPDATE bot_commands SET key = CASE"
        " WHEN command = 'play' THEN"
        " coalesce((SELECT key FROM schedule_entries WHERE schedule_entries.id = entry_id), ?1)"
        " WHEN command IN ('pause', 'resume', 'stop') THEN '*' ELSE ?1 END WHERE key IS NULL");
    if (!update) return std::move(update).error();
    const Use statement{*update.value()};
    statement->bind_all(store_.options_.default_key);
    if (auto step = statement->step(); !step) return std::move(step).error();
    changed_ = true;
    return Done{};
}

Status ClaimPass::reduce_intents() {
    if (auto ok = drop_older_than_start(); !ok) return ok;
    auto to_all = database_.single("SELECT " VOICECORE_TO_ALL);
    if (!to_all) return std::move(to_all).error();
    const bool all = to_all.value() == Value{std::int64_t{1}};
    // A command to every key concerns every line; others only their own.
    auto every = database_.cached(
        "SELECT key FROM bot_commands WHERE not_before IS NULL UNION"
        " SELECT key FROM bot_commands WHERE not_before IS NOT NULL");
    auto steered =
        database_.cached("SELECT DISTINCT key FROM bot_commands WHERE " VOICECORE_STEERING);
    if (!every) return std::move(every).error();
    if (!steered) return std::move(steered).error();
    std::vector<std::string> keys;
    {
        const Use statement{all ? *every.value() : *steered.value()};
        for (auto row = statement->step();; row = statement->step()) {
            if (!row) return std::move(row).error();
            if (!row.value()) break;
            keys.push_back(statement->text(0));
        }
    }
    for (const std::string& key : keys) {
        if (auto ok = reduce_line(key); !ok) return ok;
    }
    return find_barrier();
}

Status ClaimPass::drop_older_than_start() {
    if (!request_.started_at) return Done{};
    auto look = database_.cached("SELECT id FROM bot_commands WHERE " VOICECORE_STEERING
                                 " AND command IN ('pause', 'resume', 'stop') AND state = 'ready'"
                                 " AND created_at < ?1");
    if (!look) return std::move(look).error();
    {
        const Use statement{*look.value()};
        statement->bind_all(*request_.started_at);
        for (auto row = statement->step();; row = statement->step()) {
            if (!row) return std::move(row).error();
            if (!row.value()) break;
            ends_.push_back({statement->integer(0), "superseded", "sent before this run began"});
        }
    }
    return end_noted();
}

// The first command to every key that is due or under way: nothing behind it starts before it ends.
Status ClaimPass::find_barrier() {
    auto look = database_.cached(
        "SELECT min(id) FROM (SELECT id, command, overtakes FROM bot_commands"
        " WHERE not_before IS NULL AND key = '*' UNION ALL"
        " SELECT id, command, overtakes FROM bot_commands"
        " WHERE not_before IS NOT NULL AND not_before <= ?1 AND key = '*')"
        " WHERE overtakes = 0 OR command <> 'stop'");
    if (!look) return std::move(look).error();
    const Use statement{*look.value()};
    statement->bind_all(request_.now);
    auto row = statement->step();
    if (!row) return std::move(row).error();
    barrier_ = statement->integer(0);
    return Done{};
}

Status ClaimPass::reduce_line(const std::string& key) {
    // With the plays that wait until their key is free: they have not begun. (A plus keeps SQLite
    // from an index by which it would have to look at everything that is delayed.)
    auto look = database_.cached(
        "SELECT " VOICECORE_COMMAND_COLUMNS
        " FROM bot_commands WHERE not_before IS NULL AND key IN (?1, '*') AND state = 'ready'"
        " UNION ALL SELECT " VOICECORE_COMMAND_COLUMNS
        " FROM bot_commands WHERE not_before IS NOT NULL AND not_before <= ?2"
        " AND key IN (?1, '*') AND state = 'ready'"
        " UNION ALL SELECT " VOICECORE_COMMAND_COLUMNS
        " FROM bot_commands WHERE given_back > 0 AND command = 'play' AND error IS NULL AND "
        "+not_before > ?2"
        " AND key IN (?1, '*') AND state = 'ready' ORDER BY 1 LIMIT ?3");
    if (!look) return std::move(look).error();
    std::vector<Intent> line;
    std::unordered_set<std::int64_t> of_others;  // of every key, seen from one of them
    {
        const Use statement{*look.value()};
        statement->bind_all(key, request_.now, std::int64_t{kLineToReduce});
        for (auto row = statement->step();; row = statement->step()) {
            if (!row) return std::move(row).error();
            if (!row.value()) break;
            const std::int64_t id = statement->integer(kId);
            const bool of_this_line = statement->view(kKey) == key;
            // What has expired says nothing any more, and holds nobody up.
            if (has_expired(*statement)) {
                if (of_this_line) note_expired(*statement);
                continue;
            }
            const bool relative = statement->view(kArgs).find("\"by\"") != std::string_view::npos;
            line.push_back({id, verb_of(statement->view(kCommand)), relative});
            if (!of_this_line) of_others.insert(id);
        }
    }
    for (const Superseded& one : reduce(line)) {
        if (of_others.contains(one.id)) continue;
        ends_.push_back({one.id, "superseded", "superseded by command " + std::to_string(one.by)});
    }
    return end_noted();
}

// A stop that overtakes waits for nobody: not for those before it, nor for what its key is at.
Status ClaimPass::take_overtaking() {
    auto look = database_.cached("SELECT " VOICECORE_COMMAND_COLUMNS
                                 " FROM bot_commands WHERE " VOICECORE_STEERING
                                 " AND command = 'stop' AND overtakes <> 0"
                                 " AND (not_before IS NULL OR not_before <= ?1) ORDER BY id");
    if (!look) return std::move(look).error();
    const Use statement{*look.value()};
    statement->bind_all(request_.now);
    for (auto row = statement->step();; row = statement->step()) {
        if (!row) return std::move(row).error();
        if (!row.value() || enough()) return Done{};
        if (statement->view(kState) == "claimed") {
            const auto noted = ends_.size();
            const bool live =
                is_live({.id = statement->integer(kId),
                         .key = statement->view(kKey),
                         .tries = statement->integer(kAttempt) - statement->integer(kGivenBack),
                         .most = statement->integer(kMost),
                         .lease = statement->integer(kLease),
                         .claimed = statement->integer(kClaimed)});
            if (live || ends_.size() != noted) continue;
        }
        if (!ends_as_it_is(*statement) && !has_fault(*statement)) {
            heads_.push_back(read_command(*statement, false));
        }
    }
}

Status ClaimPass::walk(const Survey& seen) {
    // The first of a key's line stands for all of it, so that urgent commands are looked for by
    // their keys, wherever they are.
    if (seen.urgent) {
        auto keys = database_.cached(
            "SELECT key FROM (SELECT key, priority, id FROM bot_commands"
            " WHERE priority <> 0 AND priority > 0 AND (not_before IS NULL OR not_before <= ?1)"
            " ORDER BY priority DESC LIMIT ?2) GROUP BY key ORDER BY max(priority) DESC, min(id)"
            " LIMIT ?3");
        if (!keys) return std::move(keys).error();
        if (auto ok = walk_some_keys(*keys.value()); !ok) return ok;
    }
    if (seen.patient) {
        auto keys = database_.cached(
            "SELECT key FROM (SELECT key, priority, id, not_before FROM bot_commands"
            " ORDER BY id LIMIT ?2) WHERE priority >= 0 AND (not_before IS NULL OR"
            " not_before <= ?1) GROUP BY key ORDER BY min(id) LIMIT ?3");
        if (!keys) return std::move(keys).error();
        if (auto ok = walk_some_keys(*keys.value()); !ok) return ok;
    }
    return walk_line(seen.urgent || seen.patient);
}

Status ClaimPass::walk_some_keys(Statement& rows) {
    std::vector<std::string> keys;
    {
        const Use statement{rows};
        statement->bind_all(request_.now, std::int64_t{kUrgentRows}, std::int64_t{kKeysAlong});
        for (auto row = statement->step();; row = statement->step()) {
            if (!row) return std::move(row).error();
            if (!row.value()) break;
            keys.push_back(statement->text(0));
        }
    }
    for (const std::string& key : keys) {
        if (key == kEveryKey) continue;  // after those before it
        if (auto ok = walk_key(key, 0, false); !ok) return ok;
    }
    return end_noted();  // the walk along the line must not meet them again
}

Status ClaimPass::walk_line(bool all_of_it) {
    auto look = database_.cached("SELECT " VOICECORE_COMMAND_COLUMNS
                                 " FROM bot_commands ORDER BY id LIMIT ?1");
    if (!look) return std::move(look).error();
    const int stretch = kStretch + 4 * request_.limit;
    int due = 0;
    {
        const Use statement{*look.value()};
        statement->bind_all(std::int64_t{kScan});
        int rows = 0;
        while (due < stretch) {
            auto row = statement->step();
            if (!row) return std::move(row).error();
            if (!row.value()) {
                if (rows < kScan) return Done{};
                break;
            }
            ++rows;
            if (consider(*statement, !all_of_it)) ++due;
            seen_up_to_ = statement->integer(kId);
            if (!all_of_it && enough()) return Done{};
        }
    }
    // In the order of keys a command to every key comes before commands with smaller ids.
    if (barrier_ > seen_up_to_) {
        if (auto ok = look_before_barrier(seen_up_to_); !ok) return ok;
    }
    return walk_keys();
}

Status ClaimPass::look_before_barrier(std::int64_t from) {
    auto look = database_.cached(
        "SELECT EXISTS (SELECT 1 FROM bot_commands WHERE id > ?1 AND id < ?2"
        " AND (state = 'claimed' OR not_before IS NULL OR not_before <= ?3))");
    if (!look) return std::move(look).error();
    const Use statement{*look.value()};
    statement->bind_all(from, barrier_, request_.now);
    auto row = statement->step();
    if (!row) return std::move(row).error();
    barrier_waits_ = statement->integer(0) != 0;
    return Done{};
}

// The keys behind `key` in their order that have something due, from the two indexes.
Result<std::optional<std::string>> ClaimPass::key_behind(const std::string& key,
                                                         const std::set<std::string>& delayed) {
    auto next = database_.cached(
        "SELECT key FROM bot_commands WHERE not_before IS NULL AND key > ?1 ORDER BY key LIMIT 1");
    if (!next) return std::move(next).error();
    std::optional<std::string> found;
    {
        const Use statement{*next.value()};
        statement->bind_all(key);
        auto row = statement->step();
        if (!row) return std::move(row).error();
        if (row.value()) found = statement->text(0);
    }
    const auto other = delayed.upper_bound(key);
    if (other != delayed.end() && (!found || *other < *found)) found = *other;
    return found;
}

Status ClaimPass::walk_keys() {
    std::set<std::string> delayed;  // with commands that were, and are due by now
    {
        auto look = database_.cached(
            "SELECT DISTINCT +key FROM bot_commands"
            " WHERE not_before IS NOT NULL AND not_before <= ?1");
        if (!look) return std::move(look).error();
        const Use statement{*look.value()};
        statement->bind_all(request_.now);
        for (auto row = statement->step();; row = statement->step()) {
            if (!row) return std::move(row).error();
            if (!row.value()) break;
            delayed.insert(statement->text(0));
        }
    }
    const std::string began = store_.resume_after_;
    std::string key = began;
    bool wrapped = began.empty();
    for (int i = 0; i < kKeysAlong && !enough(); ++i) {
        auto found = key_behind(key, delayed);
        if (!found) return std::move(found).error();
        if (!found.value() || (wrapped && !began.empty() && *found.value() > began)) {
            if (wrapped) {
                key.clear();
                break;
            }
            wrapped = true;
            key.clear();
            continue;
        }
        key = *found.value();
        if (auto ok = walk_key(key, seen_up_to_, true); !ok) return ok;
    }
    store_.resume_after_ = key;
    return Done{};
}

// Its line from behind `behind` on, up to the first that can be taken or may not yet be.
Status ClaimPass::walk_key(const std::string& key, std::int64_t behind, bool stop_when_enough) {
    if (blocked_.contains(key)) return Done{};
    auto look = database_.cached(
        "SELECT " VOICECORE_COMMAND_COLUMNS
        " FROM bot_commands WHERE not_before IS NULL AND key = ?1 AND id > ?2"
        " AND (id <= ?4 OR command <> 'play') UNION ALL SELECT " VOICECORE_COMMAND_COLUMNS
        " FROM bot_commands WHERE not_before IS NOT NULL AND not_before <= ?3 AND key = ?1"
        " AND id > ?2 AND (id <= ?4 OR command <> 'play') ORDER BY 1 LIMIT ?5");
    if (!look) return std::move(look).error();
    const auto queued = queued_.find(key);
    const Use statement{*look.value()};
    statement->bind_all(
        key, behind, request_.now,
        queued == queued_.end() ? std::numeric_limits<std::int64_t>::max() : queued->second,
        std::int64_t{kRowsOfKey});
    for (auto row = statement->step();; row = statement->step()) {
        if (!row) return std::move(row).error();
        if (!row.value()) return Done{};
        consider(*statement, stop_when_enough);
        if (blocked_.contains(key) || (stop_when_enough && enough())) return Done{};
    }
}

// Whose time is a text is never due, nor would it expire: SQLite puts texts behind all numbers.
Status ClaimPass::end_undated() {
    auto look = database_.cached("SELECT " VOICECORE_COMMAND_COLUMNS
                                 " FROM bot_commands WHERE not_before IS NOT NULL"
                                 " AND not_before >= ''");
    if (!look) return std::move(look).error();
    {
        const Use statement{*look.value()};
        for (auto row = statement->step();; row = statement->step()) {
            if (!row) return std::move(row).error();
            if (!row.value()) break;
            ends_.push_back({statement->integer(kId), "failed", fault_of_times(*statement)});
        }
    }
    return end_noted();
}

// A play that waits until its key is free keeps its place: no later one passes it. One that has
// failed and waits for its next try holds nobody up.
Status ClaimPass::find_queued() {
    auto look = database_.cached(
        "SELECT key, min(id) FROM bot_commands WHERE given_back > 0 AND command = 'play'"
        " AND error IS NULL AND not_before > ?1 AND state = 'ready' GROUP BY key");
    if (!look) return std::move(look).error();
    const Use statement{*look.value()};
    statement->bind_all(request_.now);
    for (auto row = statement->step();; row = statement->step()) {
        if (!row) return std::move(row).error();
        if (!row.value()) return Done{};
        queued_.emplace(statement->text(0), statement->integer(1));
    }
}

bool ClaimPass::has_expired(const Statement& row) const noexcept {
    std::optional<Millis> expires = row.maybe_integer(kExpires);
    if (!expires && row.view(kCommand) == "play" && store_.options_.play_expires_after) {
        Millis until = 0;
        const bool never = __builtin_add_overflow(row.integer(kCreated),
                                                  *store_.options_.play_expires_after, &until);
        expires = never ? kNever : until;
    }
    return expires && *expires != kNever && *expires <= request_.now;
}

void ClaimPass::note_expired(const Statement& row) {
    std::string fault = fault_of_times(row);
    const char* state = fault.empty() ? "expired" : "failed";
    ends_.push_back({row.integer(kId), state, std::move(fault)});
}

// What somebody has ended by hand, and what is too old.
bool ClaimPass::ends_as_it_is(const Statement& row) {
    const std::string_view state = row.view(kState);
    if (state != "ready" && state != "claimed") {
        const auto* const known = std::find(kEndStates.begin(), kEndStates.end(), state);
        if (known != kEndStates.end()) {
            ends_.push_back({row.integer(kId), *known, {}});
        } else {
            ends_.push_back({row.integer(kId), "failed",
                             "state: got '" + row.text(kState) + "', expected 'ready'"});
        }
        return true;
    }
    if (!has_expired(row)) return false;
    note_expired(row);
    return true;
}

bool ClaimPass::has_fault(const Statement& row) {
    std::string fault = fault_of_times(row);
    if (fault.empty()) fault = fault_of(row);
    if (fault.empty()) return false;
    ends_.push_back({row.integer(kId), "failed", std::move(fault)});
    return true;
}

// False: it was passed, being claimed or not due.
bool ClaimPass::consider(const Statement& row, bool stop_when_enough) {
    const std::string_view command = row.view(kCommand);
    if (row.integer(kOvertakes) != 0 && command == "stop") return false;  // looked at before
    if (row.view(kState) == "claimed") return false;                      // so are these
    if (ends_as_it_is(row)) return true;
    if (!row.is_null(kNotBefore) && row.integer(kNotBefore) > request_.now) return false;
    const std::int64_t id = row.integer(kId);
    // Nothing behind a command to every key begins before that has ended.
    if (barrier_ != 0 && id > barrier_) return true;
    const std::string key = row.text(kKey);
    const auto queued = queued_.find(key);
    if (queued != queued_.end() && id > queued->second && command == "play") return true;
    if (blocked_.contains(key)) return true;
    if (id == barrier_ && (barrier_waits_ || !blocked_.empty())) {
        blocked_.insert(key);
        return true;
    }
    if (has_fault(row)) return true;
    // With the last one that is wanted the walk ends: nobody asks for its key.
    if (!stop_when_enough || wanted() > 1) blocked_.insert(key);
    heads_.push_back(read_command(row, false));
    return true;
}

// Claims from before the wall clock was set back would last for as long as it was set back. Whoever
// holds one renews it by the new time.
Status ClaimPass::shorten_noted() {
    if (too_long_.empty()) return Done{};
    auto update =
        database_.cached("UPDATE bot_commands SET lease_until = ?2, claimed_at = ?3 WHERE id = ?1");
    if (!update) return std::move(update).error();
    for (const auto& [id, lease] : std::exchange(too_long_, {})) {
        const Use statement{*update.value()};
        statement->bind_all(id, request_.now + lease, request_.now);
        if (auto step = statement->step(); !step) return std::move(step).error();
        changed_ = true;
    }
    return Done{};
}

Status ClaimPass::end_noted() {
    for (const End& end : std::exchange(ends_, {})) {
        const std::string_view state{end.state};
        std::optional<std::string> error;
        if (!end.error.empty()) error = end.error;
        if (auto ok = store_.finish(end.id, state, std::nullopt, error, request_.now); !ok)
            return ok;
        changed_ = true;
        if (state == "expired") ++result_.expired;
        if (state == "superseded") ++result_.superseded;
        if (state == "failed") ++result_.failed;
    }
    return Done{};
}

Status ClaimPass::take_heads() {
    std::sort(heads_.begin(), heads_.end(), [](const Command& a, const Command& b) {
        const auto place = [](const Command& one) {
            const bool overtakes = one.overtakes && one.command == "stop";
            return std::tuple{!overtakes, -one.priority, one.id};
        };
        return place(a) < place(b);
    });
    if (heads_.size() > static_cast<std::size_t>(request_.limit)) {
        heads_.resize(static_cast<std::size_t>(request_.limit));
    }
    auto update = database_.cached(
        "UPDATE bot_commands SET state = 'claimed', attempt = attempt + 1, lease_until = ?2,"
        " owner = ?3, claimed_at = ?4,"
        // Only a stop overtakes; whatever else says so takes its turn, and the index sees to it.
        " overtakes = CASE command WHEN 'stop' THEN overtakes ELSE 0 END WHERE id = ?1");
    if (!update) return std::move(update).error();
    for (Command& head : heads_) {
        const Use statement{*update.value()};
        statement->bind_all(head.id, request_.now + request_.lease, store_.options_.owner,
                            request_.now);
        if (auto step = statement->step(); !step) return std::move(step).error();
        changed_ = true;
        head.state = "claimed";
        ++head.attempt;
        head.lease_until = request_.now + request_.lease;
        head.owner = store_.options_.owner;
        head.claimed_at = request_.now;
        head.overtakes = head.overtakes && head.command == "stop";
    }
    result_.claimed = std::move(heads_);
    return Done{};
}

}  // namespace voicecore::command
