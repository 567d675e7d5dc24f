// Where the frames of a raw stream lie: built by one walk, kept for the next source of the same
// file.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "voicecore/base/units.hpp"
#include "voicecore/codec/file_input.hpp"
#include "voicecore/codec/frame_scanner.hpp"

namespace voicecore::codec {

// A run of frames of one stream, with what is to be trimmed from it.
struct Stretch {
    FrameHeader header;               // of its first frame
    std::int64_t skip = 0;            // samples in front of tick 0
    std::optional<std::int64_t> end;  // tick
    // What its description told: how many frames lead to `end`, and where in the input they end.
    std::optional<std::int64_t> counted;
    std::optional<std::int64_t> told_end;
    std::int64_t frames = 0;
    Samples base{0};                  // media position of tick 0
    std::vector<std::int64_t> marks;  // offsets of frames 0, kEvery, 2 kEvery, ...

    static constexpr std::int64_t kEvery = 64;
    [[nodiscard]] std::int64_t ticks() const noexcept {
        const std::int64_t all = std::max<std::int64_t>(frames * header.samples - skip, 0);
        return end ? std::min(all, *end) : all;
    }
};

// Immutable once built to the end. 8 bytes for each 1.7 s of mp3.
struct FrameIndex {
    std::vector<Stretch> stretches;
    [[nodiscard]] Samples duration() const noexcept;
};
using FrameIndexPtr = std::shared_ptr<const FrameIndex>;

// What begins at a frame: null when it goes on with the stretch before it.
[[nodiscard]] std::optional<Stretch> stretch_from(const FoundFrame& frame,
                                                  const std::optional<FrameHeader>& before);

// Behind the last frame that the description of `stretch` counts, where it ends, comes another one.
// Has a file been joined to the one described, so that its padding ends there? Otherwise the count
// was wrong, and only the last of all frames can be padded.
[[nodiscard]] bool joined_there(const Stretch& stretch, std::int64_t counted_end,
                                std::span<const std::uint8_t> frame);

// How many frames were lost where `frame` was found behind damage.
[[nodiscard]] std::int64_t lost_frames(const FoundFrame& frame) noexcept;

// Grows an index by one frame after the other. Not thread-safe.
class IndexBuilder {
  public:
    explicit IndexBuilder(std::int64_t begin) noexcept : next_{begin} {}

    // The frame that was found at next(), or null: nothing follows.
    void add(const std::optional<FoundFrame>& found);
    // Walks on from next() until the position is inside, or to the end. `cancelled` may end it
    // early with Errc::cancelled.
    [[nodiscard]] Status walk(ByteReader& reader, Samples position,
                              const std::atomic<bool>& cancelled);
    // Where the walk goes on.
    [[nodiscard]] std::int64_t next() const noexcept { return next_; }
    // A view of what grows.
    [[nodiscard]] FrameIndexPtr index() const noexcept { return index_; }

  private:
    std::shared_ptr<FrameIndex> index_ = std::make_shared<FrameIndex>();  // with index()
    std::int64_t next_;
    std::optional<FrameHeader> before_;
    bool complete_ = false;
};

// Of everything from `begin` on.
Result<FrameIndexPtr> build_index(ByteReader& reader, std::int64_t begin,
                                  const std::atomic<bool>& cancelled);

// The indexes of this process, by file. Thread-safe.
[[nodiscard]] FrameIndexPtr cached_index(const FileIdentity& file);
void cache_index(const FileIdentity& file, FrameIndexPtr index);

}  // namespace voicecore::codec
