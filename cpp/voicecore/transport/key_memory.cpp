#include "voicecore/transport/key_memory.hpp"

#include <sodium.h>

#include <mutex>
#include <new>

namespace voicecore::transport {
namespace {
constexpr std::size_t kPage = 4'096;
}

void* KeyMemory::take() noexcept {
    const std::lock_guard lock{mutex_};
    if (free_.empty()) {
        const std::size_t pieces = kPage / size_;
        try {
            free_.reserve(made_ + pieces);
        } catch (const std::bad_alloc&) {
            return nullptr;
        }
        // Locked where RLIMIT_MEMLOCK allows it; libsodium goes on without where not. A whole page
        // begins at a page. Kept for the keys to come.
        auto* page = static_cast<std::byte*>(::sodium_malloc(kPage));
        if (page == nullptr) return nullptr;
        made_ += pieces;
        for (std::size_t i = pieces; i > 0; --i) free_.push_back(page + (i - 1) * size_);
    }
    void* piece = free_.back();
    free_.pop_back();
    return piece;
}

void KeyMemory::give_back(void* piece) noexcept {
    ::sodium_memzero(piece, size_);
    const std::lock_guard lock{mutex_};
    free_.push_back(piece);
}

}  // namespace voicecore::transport
