#include "voicecore/command/session_mutex.hpp"

namespace voicecore::command {

SessionMutex::Slot& SessionMutex::slot(const std::string& key) {
    const std::lock_guard lock{mutex_};
    auto& found = slots_[single_ ? std::string{} : key];
    if (found == nullptr) found = std::make_unique<Slot>();
    return *found;
}

const SessionMutex::Slot* SessionMutex::find(const std::string& key) const {
    const std::lock_guard lock{mutex_};
    const auto found = slots_.find(single_ ? std::string{} : key);
    return found == slots_.end() ? nullptr : found->second.get();
}

std::optional<std::uint64_t> SessionMutex::claim(const std::string& key,
                                                 std::optional<std::int64_t> entry_id) {
    Slot& word = slot(key);
    const std::uint64_t ticket = next_ticket_.fetch_add(1, std::memory_order_relaxed);
    std::uint64_t nobody = 0;
    if (!word.ticket.compare_exchange_strong(nobody, ticket, std::memory_order_acq_rel)) {
        return std::nullopt;
    }
    const std::lock_guard lock{mutex_};
    word.attempt.store(0, std::memory_order_release);
    word.entry_id = entry_id;
    word.key = key;
    return ticket;
}

bool SessionMutex::release(const std::string& key, std::uint64_t ticket) {
    Slot& word = slot(key);
    const std::lock_guard lock{mutex_};
    // The attempt goes first: whoever asks in between finds nobody.
    if (word.ticket.load(std::memory_order_acquire) != ticket || ticket == 0) return false;
    word.attempt.store(0, std::memory_order_release);
    word.ticket.store(0, std::memory_order_release);
    return true;
}

bool SessionMutex::set_attempt(const std::string& key, std::uint64_t ticket, std::int64_t attempt) {
    Slot& word = slot(key);
    const std::lock_guard lock{mutex_};
    if (word.ticket.load(std::memory_order_acquire) != ticket || ticket == 0) return false;
    word.attempt.store(attempt, std::memory_order_release);
    return true;
}

bool SessionMutex::holds(const std::string& key, std::int64_t attempt) const {
    const Slot* word = find(key);
    if (word == nullptr) return false;
    const std::lock_guard lock{mutex_};
    return attempt != 0 && word->ticket.load(std::memory_order_acquire) != 0 &&
           word->attempt.load(std::memory_order_acquire) == attempt && word->key == key;
}

std::vector<SessionMutex::Held> SessionMutex::held() const {
    const std::lock_guard lock{mutex_};
    std::vector<Held> out;
    for (const auto& [name, word] : slots_) {
        if (word->ticket.load(std::memory_order_acquire) == 0) continue;
        out.push_back({word->key, word->entry_id, word->attempt.load(std::memory_order_acquire)});
    }
    return out;
}

}  // namespace voicecore::command
