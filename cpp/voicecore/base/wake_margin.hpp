// How long before a deadline to wake up, so that waking up late is not being late.
#pragma once

#include <algorithm>

#include "voicecore/base/units.hpp"

namespace voicecore {

// A processor that sleeps deeply, a virtual one above all, takes a millisecond or two to run who
// was to be woken. Whoever wakes up that much too early and waits the rest out awake is on time.
// Learns from each wake-up what it takes here. Not thread-safe.
class WakeMargin {
  public:
    // Before a deadline that comes every `period`: at most a tenth of it, which is what waiting
    // awake then costs of a processor.
    [[nodiscard]] constexpr Nanoseconds before(Nanoseconds period) const noexcept {
        return std::min({margin_, kMost, period / 10});
    }
    // So much after the time asked for.
    constexpr void woke(Nanoseconds late) noexcept {
        if (late >= margin_) {
            margin_ = late;
        } else {
            margin_ -= (margin_ - late) / kSlowness;
        }
    }

  private:
    static constexpr Nanoseconds kMost = std::chrono::milliseconds{2};
    static constexpr int kSlowness = 32;  // wake-ups after which a late one is forgotten
    Nanoseconds margin_{0};
};

}  // namespace voicecore
