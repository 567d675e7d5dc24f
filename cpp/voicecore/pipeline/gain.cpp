#include "voicecore/pipeline/gain.hpp"

#include <algorithm>

namespace voicecore::pipeline {

GainSchedule::GainSchedule(Gain initial) {
    changes_.reserve(64);
    changes_.push_back({.index = 0, .gain = initial});
}

void GainSchedule::set(Gain gain, std::uint64_t index) {
    while (!changes_.empty() && changes_.back().index >= index) changes_.pop_back();
    changes_.push_back({.index = index, .gain = gain});
}

Gain GainSchedule::at(std::uint64_t index) const noexcept {
    Gain gain = changes_.front().gain;
    for (const auto& change : changes_) {
        if (change.index > index) break;
        gain = change.gain;
    }
    return gain;
}

void GainSchedule::forget_before(std::uint64_t oldest) noexcept {
    auto keep = changes_.begin();
    while (keep + 1 != changes_.end() && (keep + 1)->index <= oldest) ++keep;
    changes_.erase(changes_.begin(), keep);
}

void apply_gain(std::span<float, kFrameValues> frame, Gain from, Gain to) noexcept {
    if (from == to) {
        if (to.neutral()) return;
        for (float& value : frame) value *= to.linear();
        return;
    }
    const float step = (to.linear() - from.linear()) / static_cast<float>(kFrameSamples);
    for (std::size_t i = 0; i < static_cast<std::size_t>(kFrameSamples); ++i) {
        const float factor = from.linear() + step * static_cast<float>(i + 1);
        frame[2 * i] *= factor;
        frame[2 * i + 1] *= factor;
    }
}

}  // namespace voicecore::pipeline
