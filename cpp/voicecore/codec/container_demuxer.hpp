// Everything that has a real container, through libavformat: mp4, Matroska and WebM, WAV, AIFF,
// FLAC, ...
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <string>

#include "voicecore/codec/avio_bridge.hpp"
#include "voicecore/codec/demuxer.hpp"
#include "voicecore/codec/mp4_length.hpp"
#include "voicecore/codec/nested_inputs.hpp"

namespace voicecore::codec {

// Not thread-safe.
class ContainerDemuxer final : public Demuxer {
    struct Key {};  // only open() makes one

  public:
    // `format` was found by probing. `name` is for messages, and the base of a playlist's relative
    // addresses.
    static Result<std::unique_ptr<ContainerDemuxer>> open(ByteReader reader,
                                                          const AVInputFormat& format,
                                                          std::string name,
                                                          const NestedRules& nested);
    explicit ContainerDemuxer(Key) {}
    ~ContainerDemuxer() override;

    [[nodiscard]] const StreamFacts& facts() const noexcept override { return facts_; }
    [[nodiscard]] DemuxStatus next(Packet& packet) override;
    [[nodiscard]] Status seek(Samples position) override;
    [[nodiscard]] Error error() const override { return error_; }
    [[nodiscard]] std::uint64_t damage() const noexcept override {
        return nested_ ? nested_->failures() : 0;
    }

  private:
    static int on_open(AVFormatContext* context, AVIOContext** io, const char* url, int flags,
                       AVDictionary** options) noexcept;
    static int on_close(AVFormatContext* context, AVIOContext* io) noexcept;
    [[nodiscard]] Status begin();
    [[nodiscard]] Status open_container();
    [[nodiscard]] Status open_again_at(Samples position);
    [[nodiscard]] Status pick_stream();
    [[nodiscard]] Status read_origin();
    [[nodiscard]] std::optional<std::int64_t> exact_end() const noexcept;
    void fill_facts();
    [[nodiscard]] Result<SegmentPtr> make_segment(
        std::span<const std::uint8_t> new_extradata) const;
    [[nodiscard]] DemuxStatus read_packet();
    [[nodiscard]] std::int64_t blocks_in(std::int64_t bytes) const noexcept;
    [[nodiscard]] std::int64_t to_ticks(std::int64_t stamp) const noexcept;
    [[nodiscard]] Status describe(int code) const;

    std::string name_;
    std::optional<Mp4Length> mp4_;
    std::unique_ptr<NestedInputs> nested_;  // of a playlist; null: nothing may be opened
    std::unique_ptr<AvioBridge> bridge_;
    FormatContextPtr context_;  // declared last: closes before what it reads from
    PacketPtr packet_;
    const AVInputFormat* format_ = nullptr;
    const AVStream* stream_ = nullptr;
    StreamFacts facts_;
    SegmentPtr segment_;
    std::int64_t first_stamp_ = 0;  // of the first packet, in the stream's time base
    // The same of a playlist's own beginning, which a seek leaves behind.
    struct Whole {
        std::int64_t stamp = 0;
        AVRational base{0, 1};
        std::int64_t skip = 0;
        SegmentPtr segment;
    };
    Whole whole_;
    // The latest stamp that the next packet may have where the place was looked up in an index.
    static constexpr std::int64_t kAnyStamp = std::numeric_limits<std::int64_t>::max();
    std::int64_t sought_ = kAnyStamp;
    std::int64_t begins_ = 0;      // where that packet is: ticks, 0 unless a playlist was cut
    std::int64_t first_skip_ = 0;  // ticks that the container trims from its beginning
    std::int64_t grid_ = 0;        // every packet is a multiple of this many ticks; 0: not known
    // WAV and its like with blocks of one size: a packet's byte offset tells its place. 0: not so.
    std::int64_t block_samples_ = 0;
    std::int64_t first_byte_ = 0;
    bool coarse_ = false;     // stamps are coarser than ticks
    bool estimated_ = false;  // the duration, by the bitrate
    bool held_ = false;       // packet_ was read and not yet given
    bool in_edit_ = false;    // a packet that is heard has come
    bool at_end_ = false;
    Error error_;
};

}  // namespace voicecore::codec
