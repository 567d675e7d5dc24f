// Absolute deadlines with bounded debt: the arithmetic of the frame clock, and nothing else.
#pragma once

#include <cstdint>

#include "voicecore/base/clock.hpp"
#include "voicecore/base/units.hpp"

namespace voicecore {

// How many overdue ticks are made up for, back to back, before the rest is given up.
inline constexpr int kMaxDebtTicks = 2;

// Tick i is due at epoch + i × period, for ever: lateness of one tick never moves another. Not
// thread-safe.
class DeadlineGrid {
  public:
    constexpr DeadlineGrid(TimePoint epoch, Nanoseconds period) noexcept
        : epoch_{epoch}, period_{period} {}

    [[nodiscard]] constexpr TimePoint next() const noexcept { return at(index_); }
    [[nodiscard]] constexpr std::uint64_t index() const noexcept { return index_; }

    // What has to happen at one wake-up.
    struct Turn {
        std::uint64_t skipped = 0;  // ticks given up; they come before the ones to run
        int ticks = 0;              // ticks to run now: 0 to 1 + kMaxDebtTicks
        TimePoint oldest{};         // the deadline that has waited longest, given-up ones included
        TimePoint first{};          // the deadline of the first tick to run; the others follow it
    };

    // Takes every tick that is due at `now` off the grid. After it next() > now. Over any time,
    // ticks + skipped add up to the periods that passed.
    constexpr Turn take_due(TimePoint now) noexcept {
        Turn turn{.skipped = 0, .ticks = 0, .oldest = next(), .first = next()};
        if (now < turn.oldest) return turn;
        const auto due = static_cast<std::uint64_t>((now - turn.oldest) / period_) + 1;
        constexpr std::uint64_t kMost = 1 + kMaxDebtTicks;
        turn.skipped = due > kMost ? due - kMost : 0;
        turn.ticks = static_cast<int>(due - turn.skipped);
        turn.first = at(index_ + turn.skipped);
        index_ += due;
        return turn;
    }

    // Moves past every tick before `now` without counting any: for a grid on which nobody waited.
    constexpr void fast_forward(TimePoint now) noexcept {
        if (now > next()) {
            index_ +=
                static_cast<std::uint64_t>((now - next() + period_ - Nanoseconds{1}) / period_);
        }
    }

  private:
    [[nodiscard]] constexpr TimePoint at(std::uint64_t index) const noexcept {
        return epoch_ + static_cast<std::int64_t>(index) * period_;
    }
    TimePoint epoch_;
    Nanoseconds period_;
    std::uint64_t index_ = 0;
};

}  // namespace voicecore
