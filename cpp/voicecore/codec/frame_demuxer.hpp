// mp3, mp2, mp1 and ADTS: every frame counted, so that every position is exact.
#pragma once

#include <memory>
#include <optional>

#include "voicecore/codec/byte_reader.hpp"
#include "voicecore/codec/demuxer.hpp"
#include "voicecore/codec/frame_index.hpp"
#include "voicecore/codec/frame_scanner.hpp"
#include "voicecore/codec/indexing.hpp"

namespace voicecore::codec {

// Not thread-safe. libavformat's demuxers are not used here: theirs seek by guessing, or by reading
// everything up to the target on the spot.
class FrameDemuxer final : public Demuxer {
    struct Key {};  // only open() makes one

  public:
    // The reader stands at the beginning. Fails with Errc::unsupported where no frames follow.
    static Result<std::unique_ptr<FrameDemuxer>> open(ByteReader reader);
    FrameDemuxer(Key, ByteReader reader) : reader_{std::move(reader)}, scanner_{reader_} {}

    [[nodiscard]] const StreamFacts& facts() const noexcept override { return facts_; }
    [[nodiscard]] DemuxStatus next(Packet& packet) override;
    [[nodiscard]] Status seek(Samples position) override;
    [[nodiscard]] Error error() const override { return error_; }
    [[nodiscard]] std::uint64_t damage() const noexcept override { return scanner_.damage(); }
    [[nodiscard]] std::shared_ptr<Preparation> prepare_seek(Samples position) override;

  private:
    // Are all frames of one bitrate, so that places can be worked out?
    enum class Uniform : std::uint8_t { no, perhaps, yes };
    [[nodiscard]] Status read_tags();
    [[nodiscard]] Status first_frame();
    [[nodiscard]] Status estimate(const FoundFrame& first);
    [[nodiscard]] Result<bool> believes(const FoundFrame& first);
    [[nodiscard]] Status look_around(int places);
    [[nodiscard]] Result<std::optional<FoundFrame>> scan();
    [[nodiscard]] Status index_here();
    [[nodiscard]] Status seek_indexed(Samples position);
    [[nodiscard]] Status seek_far(Samples position);
    [[nodiscard]] Status seek_guessing(std::int64_t wanted);
    [[nodiscard]] Status look_behind_count(const FoundFrame& frame);
    [[nodiscard]] bool ends_stretch(const FoundFrame& frame, std::int64_t counted_end);
    [[nodiscard]] Status begin(Stretch stretch, std::optional<Samples> base);
    void take_index();

    ByteReader reader_;
    FrameScanner scanner_;
    StreamFacts facts_;
    std::int64_t begin_offset_ = 0;  // behind the tags in front
    std::int64_t audio_offset_ = 0;  // of the first frame with audio
    double frame_bytes_ = 0;         // mean
    Uniform uniform_ = Uniform::no;
    FrameIndexPtr index_;
    std::optional<IndexBuilder> growing_;  // of an input that nobody reads through at once
    std::shared_ptr<Indexing<FrameIndex>> indexing_;  // shared with the thread that runs it
    std::optional<std::size_t> in_stretch_;           // of the index, when it is known where we are
    Stretch stretch_;                                 // the one being played
    Stretch first_;                                   // the one at the beginning
    SegmentPtr segment_;
    std::int64_t frame_ = 0;  // number in the stretch of the next frame
    std::optional<FrameHeader> before_;
    bool at_end_ = false;
    Error error_;
};

}  // namespace voicecore::codec
