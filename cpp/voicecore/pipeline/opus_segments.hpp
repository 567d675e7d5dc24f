// Cuts a stream of Opus packets of any length into pieces on the 20 ms grid, without decoding.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "voicecore/base/units.hpp"
#include "voicecore/opus/repacketizer.hpp"

namespace voicecore::pipeline {

// One valid packet that a decoder can be fed with; pieces follow each other without a gap.
struct OpusPiece {
    std::span<const std::uint8_t> bytes;  // valid until the next call on the segmenter
    int samples = 0;
    bool copyable = false;  // exactly one frame of the grid: may be sent as it is
};

// A 20 ms packet on the grid comes out bit for bit; shorter ones are joined and longer ones split
// where their frames allow; everything else comes out frame by frame, to be decoded. The grid
// starts with the first packet after clear(). Not thread-safe. Allocates only for streams whose
// packets are not 20 ms.
class OpusSegmenter {
  public:
    void clear() noexcept;
    // A packet that parse_opus_packet() accepts; the bytes must stay until take() gives false. Call
    // only when take() gave false.
    void add(std::span<const std::uint8_t> packet);
    // At the end of the stream: what is held back comes out.
    void flush() noexcept;
    [[nodiscard]] bool take(OpusPiece& piece);
    // Samples taken in that have not come out yet.
    [[nodiscard]] int held() const noexcept { return held_; }

  private:
    struct Frame {
        std::size_t offset;  // in frames_bytes_, as a packet of one frame
        std::size_t size;
        int samples;
    };
    void split(std::span<const std::uint8_t> packet);
    [[nodiscard]] bool take_group(OpusPiece& piece);
    [[nodiscard]] bool join(std::size_t count, OpusPiece& piece);

    std::span<const std::uint8_t> whole_;  // a packet that goes through as it is
    int held_ = 0;
    int phase_ = 0;  // samples past the grid line at which frames_[next_] starts
    bool flushing_ = false;
    std::size_t next_ = 0;   // the oldest frame not yet out
    std::size_t loose_ = 0;  // how many frames from next_ on must come out one by one
    std::vector<Frame> frames_;
    std::vector<std::uint8_t> frame_bytes_;
    std::vector<std::uint8_t> joined_;
    std::optional<opus::Repacketizer> repacketizer_;
};

}  // namespace voicecore::pipeline
