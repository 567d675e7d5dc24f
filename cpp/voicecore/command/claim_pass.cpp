#include "voicecore/command/claim_pass.hpp"

#include <algorithm>
#include <utility>

#include "voicecore/command/intents.hpp"
#include "voicecore/command/rows.hpp"

namespace voicecore::command {
namespace {

constexpr int kStretch = 64;         // rows of the line looked at before going along the keys
constexpr int kKeysAlong = 512;      // keys looked at in one pass; the next goes on behind them
constexpr int kRowsOfKey = 64;       // of one key: expired and delayed ones come before its head
constexpr int kLineToReduce = 1024;  // intents of one key that are weighed together

// Must be the index's own words, or the planner does not use it.
#define VOICECORE_STEERING "command IN ('pause', 'resume', 'stop', 'seek', 'volume', 'next')"

enum Column {
    kId = 0,
    kCommand = 1,
    kKey = 3,
    kCreated = 6,
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
    if (seen->bare) {
        if (auto ok = resolve_keys(); !ok) return std::move(ok).error();
        // A bare stop steers every key only now that it has one.
    }
    if (seen->steering) {
        if (auto ok = reduce_intents(); !ok) return std::move(ok).error();
    }
    if (auto ok = walk_line(seen->urgent); !ok) return std::move(ok).error();
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
        " EXISTS (SELECT 1 FROM bot_commands WHERE " VOICECORE_STEERING
        ") OR EXISTS (SELECT 1 FROM bot_commands WHERE key = '*'),"
        " EXISTS (SELECT 1 FROM bot_commands WHERE priority <> 0)");
    if (!look) return std::move(look).error();
    const Use statement{*look.value()};
    auto row = statement->step();
    if (!row) return std::move(row).error();
    return Survey{.bare = statement->integer(0) != 0,
                  .steering = statement->integer(1) != 0,
                  .urgent = statement->integer(2) != 0};
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
    auto to_all = database_.single("SELECT EXISTS (SELECT 1 FROM bot_commands WHERE key = '*')");
    if (!to_all) return std::move(to_all).error();
    const bool all = to_all.value() == Value{std::int64_t{1}};
    // A command to every key concerns every line; others only their own.
    auto every = database_.cached("SELECT DISTINCT key FROM bot_commands");
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
        "SELECT min(id) FROM bot_commands WHERE key = '*' AND (overtakes = 0 OR command <> 'stop')"
        " AND (not_before IS NULL OR not_before <= ?1)");
    if (!look) return std::move(look).error();
    const Use statement{*look.value()};
    statement->bind_all(request_.now);
    auto row = statement->step();
    if (!row) return std::move(row).error();
    barrier_ = statement->integer(0);
    return Done{};
}

Status ClaimPass::reduce_line(const std::string& key) {
    auto look = database_.cached(
        "SELECT id, command, args, key = '*', expires_at, created_at FROM bot_commands"
        " WHERE key IN (?1, '*')"
        " AND state = 'ready' AND (not_before IS NULL OR not_before <= ?2) ORDER BY id LIMIT ?3");
    if (!look) return std::move(look).error();
    std::vector<Intent> line;
    std::unordered_set<std::int64_t> of_others;  // of every key, seen from one of them
    {
        const Use statement{*look.value()};
        statement->bind_all(key, request_.now, std::int64_t{kLineToReduce});
        for (auto row = statement->step();; row = statement->step()) {
            if (!row) return std::move(row).error();
            if (!row.value()) break;
            // What has expired says nothing any more, and holds nobody up.
            if (has_expired(statement->maybe_integer(4), statement->integer(5),
                            statement->view(1))) {
                const bool of_this_line = statement->integer(3) == 0 || key == kEveryKey;
                if (of_this_line) ends_.push_back({statement->integer(0), "expired", {}});
                continue;
            }
            const bool relative = statement->view(2).find("\"by\"") != std::string_view::npos;
            line.push_back({statement->integer(0), verb_of(statement->view(1)), relative});
            if (statement->integer(3) != 0 && key != kEveryKey) {
                of_others.insert(statement->integer(0));
            }
        }
    }
    for (const Superseded& one : reduce(line)) {
        if (of_others.contains(one.id)) continue;
        ends_.push_back({one.id, "superseded", "superseded by command " + std::to_string(one.by)});
    }
    return end_noted();
}

Status ClaimPass::walk_line(bool urgent) {
    auto look = database_.cached("SELECT " VOICECORE_COMMAND_COLUMNS
                                 " FROM bot_commands ORDER BY id LIMIT ?1");
    if (!look) return std::move(look).error();
    const int stretch = kStretch + 4 * request_.limit;
    int rows = 0;
    {
        const Use statement{*look.value()};
        statement->bind_all(std::int64_t{stretch});
        auto read = consider_rows(*statement, !urgent);
        if (!read) return std::move(read).error();
        rows = read.value();
    }
    if (rows < stretch || (enough() && !urgent)) return Done{};
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

Status ClaimPass::walk_keys() {
    auto next_key =
        database_.cached("SELECT key FROM bot_commands WHERE key > ?1 ORDER BY key LIMIT 1");
    auto of_key =
        database_.cached("SELECT " VOICECORE_COMMAND_COLUMNS
                         " FROM bot_commands WHERE key = ?1 AND id > ?3 ORDER BY id LIMIT ?2");
    if (!next_key) return std::move(next_key).error();
    if (!of_key) return std::move(of_key).error();
    const std::int64_t behind = seen_up_to_;
    const std::string began = store_.resume_after_;
    std::string key = began;
    bool wrapped = began.empty();
    for (int i = 0; i < kKeysAlong && !enough(); ++i) {
        std::optional<std::string> found;
        {
            const Use statement{*next_key.value()};
            statement->bind_all(key);
            auto row = statement->step();
            if (!row) return std::move(row).error();
            if (row.value()) found = statement->text(0);
        }
        if (!found || (wrapped && !began.empty() && *found > began)) {
            if (wrapped) {
                key.clear();
                break;
            }
            wrapped = true;
            key.clear();
            continue;
        }
        key = *found;
        if (blocked_.contains(key)) continue;
        const Use statement{*of_key.value()};
        statement->bind_all(key, std::int64_t{kRowsOfKey}, behind);
        if (auto read = consider_rows(*statement, true); !read) return std::move(read).error();
    }
    store_.resume_after_ = key;
    return Done{};
}

Result<int> ClaimPass::consider_rows(Statement& rows, bool stop_when_enough) {
    int count = 0;
    for (auto row = rows.step();; row = rows.step()) {
        if (!row) return std::move(row).error();
        if (!row.value()) return count;
        ++count;
        consider(rows, stop_when_enough);
        seen_up_to_ = rows.integer(kId);
        if (stop_when_enough && enough()) return count;
    }
}

bool ClaimPass::has_expired(std::optional<Millis> expires, Millis created,
                            std::string_view command) const noexcept {
    if (!expires && command == "play" && store_.options_.play_expires_after) {
        expires = created + *store_.options_.play_expires_after;
    }
    return expires && *expires != kNever && *expires <= request_.now;
}

void ClaimPass::consider(const Statement& row, bool stop_when_enough) {
    const std::int64_t id = row.integer(kId);
    const std::string key = row.text(kKey);
    const bool overtakes = row.integer(kOvertakes) != 0 && row.view(kCommand) == "stop";
    if (row.view(kState) == "claimed") {
        // Only stops that overtake: the others have been looked at before the walk.
        if (!overtakes || is_live({.id = id,
                                   .key = key,
                                   .tries = row.integer(kAttempt) - row.integer(kGivenBack),
                                   .most = row.integer(kMost),
                                   .lease = row.integer(kLease),
                                   .claimed = row.integer(kClaimed)})) {
            return;
        }
        if (!ends_.empty() && ends_.back().id == id) return;
    }
    if (has_expired(row.maybe_integer(kExpires), row.integer(kCreated), row.view(kCommand))) {
        ends_.push_back({id, "expired", {}});
        return;
    }
    if (!row.is_null(kNotBefore) && row.integer(kNotBefore) > request_.now) return;
    const bool behind_barrier = barrier_ != 0 && id > barrier_;
    const bool not_yet = id == barrier_ && (barrier_waits_ || !blocked_.empty());
    const bool second = blocked_.contains(key);
    const bool taken = overtakes || (!behind_barrier && !not_yet && !second);
    if (taken) {
        if (std::string fault = fault_of(row); !fault.empty()) {
            ends_.push_back({id, "failed", std::move(fault)});
            return;
        }
    }
    if (!overtakes) {
        // With the last one that is wanted the walk ends: nobody asks for its key.
        const bool last = taken && stop_when_enough && wanted() == 1;
        if (!second && !last) blocked_.insert(key);
        if (!taken) return;
    }
    heads_.push_back(read_command(row, false));
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
        return a.priority != b.priority ? a.priority > b.priority : a.id < b.id;
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
