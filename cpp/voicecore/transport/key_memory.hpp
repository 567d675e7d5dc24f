// Guarded, locked memory for keys, many to a page.
#pragma once

#include <cstddef>
#include <vector>

#include "voicecore/base/process_mutex.hpp"

namespace voicecore::transport {

// Hands out pieces of one size. A page of its own for each key would do as well for secrecy, but a
// sender of hundreds of streams then looks up a page for each packet, and uses up what a process
// may lock. Thread-safe; locks, so not for the clock thread. Call sodium_init() before.
class KeyMemory {
  public:
    // `size` bytes each, which divides a page.
    explicit KeyMemory(std::size_t size) : size_{size} {}
    KeyMemory(const KeyMemory&) = delete;
    KeyMemory& operator=(const KeyMemory&) = delete;

    // Aligned to `size`; null when there is no memory.
    [[nodiscard]] void* take() noexcept;
    // Wipes it.
    void give_back(void* piece) noexcept;

  private:
    const std::size_t size_;
    ProcessMutex mutex_;
    std::vector<void*> free_;  // never smaller than what has been made: give_back() cannot fail
    std::size_t made_ = 0;
};

}  // namespace voicecore::transport
