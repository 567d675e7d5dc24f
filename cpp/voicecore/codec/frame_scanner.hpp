// Walks from frame to frame through a raw stream: past tags, junk and damage.
#pragma once

#include <cstdint>
#include <optional>

#include "voicecore/codec/byte_reader.hpp"
#include "voicecore/codec/frame_header.hpp"

namespace voicecore::codec {

struct FoundFrame {
    FrameHeader header;
    std::int64_t offset = 0;
    std::span<const std::uint8_t> bytes;
    std::optional<InfoFrame> info;  // it describes the stream instead of carrying audio
    std::int64_t skipped = 0;       // bytes of damage before it, tags not counted
};

// Not thread-safe. Playing and indexing use the same walk, so that they count the same frames.
class FrameScanner {
  public:
    explicit FrameScanner(ByteReader& reader) noexcept : reader_{&reader} {}

    // The next frame, consumed; null at the end. The bytes are valid until the next call.
    Result<std::optional<FoundFrame>> next();

    // After the reader was moved: to a frame of a stream like `expected`, or to anywhere.
    void restart(std::optional<FrameHeader> expected) noexcept {
        last_ = expected;
        pending_ = 0;
        anywhere_ = !expected;
    }
    // Behind the frame handed out last.
    [[nodiscard]] std::int64_t position() const noexcept { return reader_->position() + pending_; }
    [[nodiscard]] std::uint64_t damage() const noexcept { return damage_; }

  private:
    [[nodiscard]] Result<bool> confirmed(const FrameHeader& header, int more);
    [[nodiscard]] Result<std::int64_t> tag_length();
    [[nodiscard]] Result<std::optional<FrameHeader>> here();

    ByteReader* reader_;
    std::optional<FrameHeader> last_;
    std::int64_t pending_ = 0;  // bytes of the frame handed out last, still to be skipped
    bool anywhere_ = true;      // no frame was found yet
    std::uint64_t damage_ = 0;
};

}  // namespace voicecore::codec
