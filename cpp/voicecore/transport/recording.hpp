// Recording: received packets, put in order, into an Ogg Opus file that keeps their timing.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "voicecore/base/result.hpp"
#include "voicecore/transport/ogg_writer.hpp"

namespace voicecore::transport {

// Not thread-safe. Waits for a missing packet until kMaxHeld later ones are there or flush() is
// called; then the place of what is missing is filled with silence frames, 20 ms each, by the RTP
// timestamps (which covers pauses as well). A hole of more than kMaxFill is filled that far.
class Recording {
  public:
    static constexpr std::size_t kMaxHeld = 5;
    static constexpr int kMaxFill = 250;  // frames: 5 s

    Recording(OggWriter file, bool fill_gaps) : file_{std::move(file)}, fill_gaps_{fill_gaps} {}

    // `index`: the sequence number without wraps. One that comes too late for its place is left
    // out.
    [[nodiscard]] Status add(std::int64_t index, std::uint32_t timestamp, int samples,
                             std::span<const std::uint8_t> opus);
    // Nothing came for a while: whoever is held has waited long enough.
    [[nodiscard]] Status flush();
    // The numbering and the timestamps begin anew.
    [[nodiscard]] Status restart();
    [[nodiscard]] Status finish();
    [[nodiscard]] bool holds() const noexcept { return !held_.empty(); }

  private:
    struct Held {
        std::vector<std::uint8_t> opus;
        std::uint32_t timestamp;
        int samples;
    };
    [[nodiscard]] Status write_oldest();

    OggWriter file_;
    const bool fill_gaps_;
    std::map<std::int64_t, Held> held_;
    std::optional<std::int64_t> next_;             // index
    std::optional<std::uint32_t> next_timestamp_;  // where the packet before ends
};

}  // namespace voicecore::transport
