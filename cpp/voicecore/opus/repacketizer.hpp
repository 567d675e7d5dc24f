// Joins Opus frames into packets without decoding them.
#pragma once

#include <cstdint>
#include <span>

#include "voicecore/base/result.hpp"
#include "voicecore/opus/handles.hpp"

namespace voicecore::opus {

// Not thread-safe. Moved-from repacketizers may only be destroyed or assigned to.
class Repacketizer {
  public:
    [[nodiscard]] static Result<Repacketizer> create();

    // Forgets the packets added.
    void clear() noexcept;
    // The bytes must stay where they are until clear(). False when this packet cannot be joined
    // with the ones before (another table-of-contents byte, more than 120 ms).
    [[nodiscard]] bool add(std::span<const std::uint8_t> packet) noexcept;
    // Writes one packet with all frames; its size, 0 when it does not fit.
    [[nodiscard]] std::size_t join(std::span<std::uint8_t> into) noexcept;

  private:
    explicit Repacketizer(RepacketizerHandle handle) noexcept : handle_{std::move(handle)} {}
    RepacketizerHandle handle_;
};

}  // namespace voicecore::opus
