// The decoded part of a timeline: the newest samples, addressed by their absolute place.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "voicecore/base/units.hpp"

namespace voicecore::pipeline {

// A place on the timeline of a run, in samples per channel; frame k starts at 960 k.
using Place = std::int64_t;

// Not thread-safe. Holds nothing until allocate(); then never allocates again.
class PcmRing {
  public:
    [[nodiscard]] bool allocated() const noexcept { return !values_.empty(); }
    void allocate(std::size_t frames) {
        values_.assign(frames * kFrameValues, 0.0F);
        samples_ = static_cast<Place>(frames) * kFrameSamples;
    }

    // More room; [from, to) stays.
    void grow(std::size_t frames, Place from, Place to) {
        PcmRing larger;
        larger.allocate(frames);
        over(from, to - from, [&](std::size_t slot, std::size_t offset, std::size_t count) {
            larger.write(from + static_cast<Place>(offset / kChannels),
                         std::span{values_}.subspan(slot, count));
        });
        *this = std::move(larger);
    }
    [[nodiscard]] Place samples() const noexcept { return samples_; }

    // Interleaved stereo, at most the ring's length.
    void write(Place at, std::span<const float> pcm) noexcept {
        over(at, static_cast<Place>(pcm.size() / kChannels),
             [&](std::size_t slot, std::size_t offset, std::size_t count) {
                 std::memcpy(&values_[slot], pcm.data() + offset, count * sizeof(float));
             });
    }
    void write_silence(Place at, Place samples) noexcept {
        over(at, samples, [&](std::size_t slot, std::size_t, std::size_t count) {
            std::fill_n(values_.begin() + static_cast<std::ptrdiff_t>(slot), count, 0.0F);
        });
    }
    void read(Place at, std::span<float> into) const noexcept {
        over(at, static_cast<Place>(into.size() / kChannels),
             [&](std::size_t slot, std::size_t offset, std::size_t count) {
                 std::memcpy(into.data() + offset, &values_[slot], count * sizeof(float));
             });
    }

  private:
    // Calls visit(index of the first value, values before it, values) for the one or two stretches.
    template <class Visit>
    void over(Place at, Place samples, Visit&& visit) const noexcept {
        Place done = 0;
        while (done < samples) {
            const Place slot = (at + done) % samples_;
            const Place count = std::min(samples - done, samples_ - slot);
            visit(static_cast<std::size_t>(slot * kChannels),
                  static_cast<std::size_t>(done * kChannels),
                  static_cast<std::size_t>(count * kChannels));
            done += count;
        }
    }

    std::vector<float> values_;
    Place samples_ = 0;
};

}  // namespace voicecore::pipeline
