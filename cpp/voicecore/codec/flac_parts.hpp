// FLAC files that were joined: where one ends and the next begins, and how long they are.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "voicecore/base/units.hpp"
#include "voicecore/codec/byte_reader.hpp"
#include "voicecore/codec/flac_header.hpp"

namespace voicecore::codec {

// The bytes of one part, which end where the next part begins. One thread at a time; must not
// outlive the reader, which nobody else moves while this is read.
class FlacPartInput final : public audio::ByteInput {
  public:
    // `end`: where the next part begins, when that is known already. The reader stands at `begin`.
    FlacPartInput(ByteReader& reader, std::int64_t begin, std::optional<std::int64_t> end)
        : reader_{&reader}, begin_{begin}, end_{end}, next_block_{begin} {}

    [[nodiscard]] Result<std::size_t> read(std::span<std::uint8_t> into) override;
    [[nodiscard]] Status seek(std::int64_t offset) override {
        return reader_->seek(begin_ + offset);
    }
    [[nodiscard]] bool seekable() const noexcept override { return reader_->seekable(); }
    [[nodiscard]] std::optional<std::int64_t> size() const noexcept override;
    [[nodiscard]] bool can_block() const noexcept override { return reader_->input().can_block(); }
    void interrupt() noexcept override { reader_->input().interrupt(); }

    // Bytes of this part from the reader's position on that can be peeked at; 0 at its end.
    [[nodiscard]] Result<std::size_t> ahead();

    [[nodiscard]] std::int64_t begin() const noexcept { return begin_; }
    // Where the next part begins, once that is known.
    [[nodiscard]] std::optional<std::int64_t> end() const noexcept { return end_; }
    void set_end(std::int64_t end) noexcept { end_ = end; }
    // Of what was read: the stream, and the offset of its first frame.
    [[nodiscard]] const std::optional<FlacInfo>& info() const noexcept { return info_; }
    [[nodiscard]] std::optional<std::int64_t> audio() const noexcept { return audio_; }
    // The end was read.
    [[nodiscard]] bool exhausted() const noexcept { return exhausted_; }
    // Reading failed.
    [[nodiscard]] bool failed() const noexcept { return failed_; }

  private:
    std::size_t follow_metadata(std::int64_t position, std::span<const std::uint8_t> bytes);

    ByteReader* reader_;
    std::int64_t begin_;
    std::optional<std::int64_t> end_;
    std::int64_t next_block_;  // of metadata, until audio_ is known
    bool begun_ = false;       // the block is behind the magic
    std::optional<FlacInfo> info_;
    std::optional<std::int64_t> audio_;
    bool exhausted_ = false;
    bool failed_ = false;
};

struct FlacPart {
    std::int64_t begin = 0;  // bytes
    std::int64_t end = 0;
    Samples base{0};
    Samples length{0};
};

// Immutable once it is shared.
struct FlacIndex {
    std::vector<FlacPart> parts;  // one at least
    [[nodiscard]] Samples duration() const noexcept {
        return parts.back().base + parts.back().length;
    }
};
using FlacIndexPtr = std::shared_ptr<const FlacIndex>;

// What follows so many parts in a row that hold no audio is not taken for any.
inline constexpr int kMostEmptyParts = 64;

// Reads everything from `begin` on. `cancelled` may end it early with Errc::cancelled.
Result<FlacIndexPtr> build_flac_index(ByteReader& reader, std::int64_t begin,
                                      const std::atomic<bool>& cancelled);

enum class FlacLook : std::uint8_t {
    single,   // one file, as it was made
    unclear,  // cut short, damaged, or with something behind it
    joined,   // more than one
};
// Judges by the last frame and by one in each of `places` between, without reading the rest. The
// part is one that was begun.
Result<FlacLook> look_for_joins(ByteReader& reader, const FlacPartInput& part, int places);

}  // namespace voicecore::codec
