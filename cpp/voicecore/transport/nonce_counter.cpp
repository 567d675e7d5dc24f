#include "voicecore/transport/nonce_counter.hpp"

#include <sodium.h>
#include <unistd.h>

#include <array>
#include <deque>
#include <map>
#include <memory>
#include <mutex>

#include "voicecore/base/process_mutex.hpp"

namespace voicecore::transport {
namespace {

using Fingerprint = std::array<std::uint8_t, crypto_generichash_BYTES_MIN>;
static_assert(crypto_generichash_BYTES_MIN == 16);

struct Known {
    NonceCounter* counter = nullptr;
    pid_t process = 0;  // which made it
};

struct Registry {
    ProcessMutex mutex;
    std::map<Fingerprint, Known> known;
    // Never moves its values, and keeps them close together for the clock thread.
    std::deque<NonceCounter> counters;
};

// Never destroyed: a clock thread may still be sending while the process runs its static
// destructors.
Registry& registry() {
    static Registry& instance = *std::make_unique<Registry>().release();
    return instance;
}

Fingerprint fingerprint_of(std::span<const std::uint8_t> key) {
    // Keyed with a purpose, so that the value means nothing anywhere else.
    static constexpr std::array<unsigned char, 24> kPurpose{'v', 'o', 'i', 'c', 'e', 'c', 'o', 'r',
                                                            'e', ' ', 'n', 'o', 'n', 'c', 'e', ' ',
                                                            'c', 'o', 'u', 'n', 't', 'e', 'r', '.'};
    Fingerprint out{};
    ::crypto_generichash(out.data(), out.size(), key.data(), key.size(), kPurpose.data(),
                         kPurpose.size());
    return out;
}

}  // namespace

Result<NonceCounter*> nonce_counter_of(std::span<const std::uint8_t> key, std::uint64_t first) {
    const Fingerprint fingerprint = fingerprint_of(key);
    Registry& all = registry();
    const std::lock_guard lock{all.mutex};
    Known& known = all.known[fingerprint];
    if (known.counter == nullptr) {
        known = {.counter = &all.counters.emplace_back(first), .process = ::getpid()};
    } else if (known.process != ::getpid()) {
        return Error{Errc::closed, 0,
                     "this key was in use before fork(), and two processes would use the same "
                     "nonces: the child needs a key of its own"};
    } else {
        known.counter->raise_to(first);
    }
    return known.counter;
}

}  // namespace voicecore::transport
