// ClaimPass: one look at the line, within one transaction.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "voicecore/command/store.hpp"

namespace voicecore::command {

// What a claim does, in order: looks who holds what, and puts commands whose leases ran out back
// into the line; gives bare rows their keys; drops what intents have made pointless; finds stops
// that overtake, and the heads of lines with urgent commands; walks the line in the order of ids,
// noting expired commands and the heads of the keys' lines; when that stretch is all blocked, walks
// along the keys instead; takes the heads, urgent ones first.
class ClaimPass {
  public:
    ClaimPass(Store& store, const ClaimRequest& request) noexcept
        : store_{store}, database_{store.database_}, request_{request} {}

    [[nodiscard]] Result<ClaimResult> run();

  private:
    struct Survey {
        bool bare = false;
        bool steering = false;
        bool urgent = false;
        bool patient = false;
        bool undated = false;
        bool queued = false;
    };
    struct End {
        std::int64_t id;
        const char* state;
        std::string error;
    };

    // A claim in the line, as far as it matters here.
    struct Held {
        std::int64_t id;
        std::string_view key;
        std::int64_t tries;
        std::int64_t most;
        Millis lease;
        Millis claimed;
    };

    [[nodiscard]] Result<Survey> survey();
    [[nodiscard]] Status look_at_claims();
    // False: the lease has run out.
    [[nodiscard]] bool is_live(const Held& held);
    [[nodiscard]] Status put_back(std::int64_t id);
    [[nodiscard]] Status resolve_keys();
    [[nodiscard]] Status reduce_intents();
    [[nodiscard]] Status drop_older_than_start();
    [[nodiscard]] Status reduce_line(const std::string& key);
    [[nodiscard]] Status find_barrier();
    [[nodiscard]] Status look_before_barrier(std::int64_t from);
    [[nodiscard]] Status end_undated();
    [[nodiscard]] Status find_queued();
    [[nodiscard]] Status take_overtaking();
    [[nodiscard]] Status walk(const Survey& seen);
    [[nodiscard]] Status walk_some_keys(Statement& rows);
    [[nodiscard]] Status walk_line(bool all_of_it);
    [[nodiscard]] Status walk_keys();
    [[nodiscard]] Result<std::optional<std::string>> key_behind(
        const std::string& key, const std::set<std::string>& delayed);
    [[nodiscard]] Status walk_key(const std::string& key, std::int64_t behind,
                                  bool stop_when_enough);
    bool consider(const Statement& row, bool stop_when_enough);
    [[nodiscard]] bool ends_as_it_is(const Statement& row);
    [[nodiscard]] bool has_fault(const Statement& row);
    [[nodiscard]] bool has_expired(const Statement& row) const noexcept;
    void note_expired(const Statement& row);
    [[nodiscard]] int wanted() const noexcept {
        return request_.limit - static_cast<int>(heads_.size());
    }
    [[nodiscard]] bool enough() const noexcept { return wanted() <= 0; }
    [[nodiscard]] Status end_noted();
    [[nodiscard]] Status shorten_noted();
    [[nodiscard]] Status take_heads();

    Store& store_;
    Database& database_;
    const ClaimRequest& request_;
    ClaimResult result_;
    std::int64_t barrier_ = 0;                    // the first command to every key; 0: none
    bool barrier_waits_ = false;                  // for something that the walk has not met
    std::int64_t seen_up_to_ = 0;                 // every row up to this id has been considered
    std::unordered_set<std::string> blocked_;     // keys with a live claim, or whose head was met
    std::map<std::string, std::int64_t> queued_;  // the first play of a key that waits for it
    std::vector<Command> heads_;
    std::vector<End> ends_;
    std::vector<std::pair<std::int64_t, Millis>> too_long_;  // claims, and their leases' lengths
    bool changed_ = false;
};

}  // namespace voicecore::command
