// SessionMutex: at most one session per key, among all threads of the process.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace voicecore::command {

// Thread-safe. A claim is one compare-and-exchange on the key's word and never waits for a holder;
// finding a key's word takes a short lock, held for a look into a map. "Assign before the first
// await" would hold under one event loop only (lesson R24).
class SessionMutex {
  public:
    // With `single` every key is the same one: one session at a time in the whole process (D23).
    explicit SessionMutex(bool single = false) : single_{single} {}

    // A ticket, never 0, that release() wants back; nothing when the key is held.
    [[nodiscard]] std::optional<std::uint64_t> claim(const std::string& key,
                                                     std::optional<std::int64_t> entry_id);
    // False when the ticket is not the one that holds the key: released twice, or not ours.
    bool release(const std::string& key, std::uint64_t ticket);

    // The durable lease's attempt, once it is taken. False as with release().
    bool set_attempt(const std::string& key, std::uint64_t ticket, std::int64_t attempt);
    // Does this attempt hold the key now? What a player's start is checked against.
    [[nodiscard]] bool holds(const std::string& key, std::int64_t attempt) const;

    struct Held {
        std::string key;
        std::optional<std::int64_t> entry_id;
        std::int64_t attempt;  // 0: not leased yet
    };
    [[nodiscard]] std::vector<Held> held() const;

  private:
    struct Slot {
        std::atomic<std::uint64_t> ticket{0};  // 0: free
        std::atomic<std::int64_t> attempt{0};
        // Written by the holder of the ticket, under the lock of the map.
        std::optional<std::int64_t> entry_id;
        std::string key;
    };
    [[nodiscard]] Slot& slot(const std::string& key);
    [[nodiscard]] const Slot* find(const std::string& key) const;

    const bool single_;
    mutable std::mutex mutex_;                            // the map, entry_id and key
    std::map<std::string, std::unique_ptr<Slot>> slots_;  // only grows
    std::atomic<std::uint64_t> next_ticket_{1};
};

}  // namespace voicecore::command
