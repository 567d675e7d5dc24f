// FLAC files, also several that were joined: one after the other through libavformat, which knows
// nothing of joins.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "voicecore/codec/byte_reader.hpp"
#include "voicecore/codec/container_demuxer.hpp"
#include "voicecore/codec/demuxer.hpp"
#include "voicecore/codec/flac_parts.hpp"
#include "voicecore/codec/indexing.hpp"

namespace voicecore::codec {

// Not thread-safe. Playing always notices where another file begins. What the whole is like is
// judged by a few places; only what does not look like a single file is read through: at once when
// it is small, else for the first seek.
class FlacDemuxer final : public Demuxer {
    struct Key {};  // only open() makes one

  public:
    // `format` is libavformat's for FLAC, `name` for messages.
    static Result<std::unique_ptr<FlacDemuxer>> open(ByteReader reader, const AVInputFormat& format,
                                                     std::string name);
    FlacDemuxer(Key, ByteReader reader, const AVInputFormat& format, std::string name)
        : reader_{std::move(reader)}, format_{&format}, name_{std::move(name)} {}

    [[nodiscard]] const StreamFacts& facts() const noexcept override { return facts_; }
    [[nodiscard]] DemuxStatus next(Packet& packet) override;
    [[nodiscard]] Status seek(Samples position) override;
    [[nodiscard]] Error error() const override { return error_; }
    [[nodiscard]] std::uint64_t damage() const noexcept override { return damage_; }
    [[nodiscard]] std::shared_ptr<Preparation> prepare_seek(Samples position) override;

  private:
    [[nodiscard]] Status open_part(std::int64_t begin, std::optional<std::int64_t> end);
    [[nodiscard]] Status begin_segment();
    [[nodiscard]] Status open_next();
    [[nodiscard]] Status judge();
    [[nodiscard]] Status index_here();
    [[nodiscard]] Status look_closer();
    void use(FlacIndexPtr index);
    void take_index();
    [[nodiscard]] Status seek_indexed(Samples position);

    ByteReader reader_;
    const AVInputFormat* format_;
    std::string name_;
    std::shared_ptr<FlacPartInput> part_;      // with its demuxer
    std::unique_ptr<ContainerDemuxer> inner_;  // of the part; reads from reader_
    StreamFacts facts_;
    std::optional<FlacLook> look_;  // not known before a seek where looking would block
    FlacIndexPtr index_;            // of what was joined
    std::shared_ptr<Indexing<FlacIndex>> indexing_;  // shared with the thread that runs it
    std::int64_t first_begin_ = 0;
    SegmentPtr segment_;
    std::uint64_t damage_ = 0;
    bool at_end_ = false;
    Error error_;
};

}  // namespace voicecore::codec
