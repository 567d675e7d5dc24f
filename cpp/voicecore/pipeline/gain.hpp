// Volume: which factor holds at which frame, and how it is applied without a click.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "voicecore/base/units.hpp"

namespace voicecore::pipeline {

// The factors that a listener asked for, by frame. Not thread-safe.
class GainSchedule {
  public:
    explicit GainSchedule(Gain initial);

    // Holds from frame `index` on; what was planned at or after it is forgotten.
    void set(Gain gain, std::uint64_t index);
    [[nodiscard]] Gain at(std::uint64_t index) const noexcept;
    // The one that was asked for last, whenever it is to hold.
    [[nodiscard]] Gain latest() const noexcept { return changes_.back().gain; }
    // Forgets what no frame from `oldest` on needs.
    void forget_before(std::uint64_t oldest) noexcept;

  private:
    struct Change {
        std::uint64_t index;
        Gain gain;
    };
    std::vector<Change> changes_;  // by index; never empty
};

// Multiplies a frame by a factor that goes linearly from one value to the other.
void apply_gain(std::span<float, kFrameValues> frame, Gain from, Gain to) noexcept;

}  // namespace voicecore::pipeline
