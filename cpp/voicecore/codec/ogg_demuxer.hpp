// Opus, Vorbis and FLAC out of Ogg: chains, exact granule arithmetic, seeking by bisection.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "voicecore/codec/byte_reader.hpp"
#include "voicecore/codec/demuxer.hpp"
#include "voicecore/codec/ogg_codec.hpp"
#include "voicecore/codec/ogg_page.hpp"

namespace voicecore::codec {

// Not thread-safe. libavformat's demuxer is not used for Ogg: it restarts time stamps at every link
// of a chain, hands header packets out as audio there, and cannot seek across links.
class OggDemuxer final : public Demuxer {
    struct Key {};  // only open() makes one

  public:
    OggDemuxer(Key, ByteReader reader) : reader_{std::move(reader)} {}
    // The reader stands at the first page.
    static Result<std::unique_ptr<OggDemuxer>> open(ByteReader reader);

    [[nodiscard]] const StreamFacts& facts() const noexcept override { return facts_; }
    [[nodiscard]] DemuxStatus next(Packet& packet) override;
    [[nodiscard]] Status seek(Samples position) override;
    [[nodiscard]] Error error() const override { return error_; }
    [[nodiscard]] std::uint64_t damage() const noexcept override { return damage_; }

  private:
    // One logical stream of the chain that we play; granules are its own, ticks count from origin.
    struct Link {
        std::unique_ptr<OggCodec> codec;
        std::shared_ptr<Segment> segment;
        std::set<std::uint32_t> group;  // serials multiplexed beside it, its own included
        std::uint32_t serial = 0;
        std::int64_t data_begin = 0;         // offset of the page behind the headers
        std::int64_t data_end = 0;           // offset behind the last page; 0 when unknown
        std::optional<std::int64_t> origin;  // granule of tick 0
        std::int64_t first_granule = 0;      // where the first packet starts, once origin is known
        std::optional<std::int64_t> end_granule;
        [[nodiscard]] std::int64_t ticks() const noexcept {
            return end_granule && origin && *end_granule > *origin ? *end_granule - *origin : 0;
        }
    };
    struct Piece {
        std::size_t offset = 0;  // in the page's body
        std::size_t size = 0;
        std::int64_t start = 0;  // granule
        std::int64_t duration = 0;
        std::int64_t trim = 0;
        bool joins_carry = false;
    };

    [[nodiscard]] Result<std::unique_ptr<Link>> read_link();
    [[nodiscard]] Status read_headers(Link& link);
    [[nodiscard]] Status survey();
    [[nodiscard]] Status walk_chain();
    [[nodiscard]] Result<std::optional<OggPage>> last_page(const Link& link);
    [[nodiscard]] Result<bool> looks_chained(const Link& link, const OggPage& tail);
    void enter(Link& link);
    void forget_packets();
    [[nodiscard]] Status measure(Link& link);
    [[nodiscard]] Result<bool> walk_link(Link* link);
    [[nodiscard]] DemuxStatus next_piece(Packet& packet);
    [[nodiscard]] DemuxStatus load_page();
    [[nodiscard]] DemuxStatus next_link();
    void split(const OggPage& page);
    void place(const OggPage& page, bool final_page);
    [[nodiscard]] Result<bool> is_final(const OggPage& page);
    [[nodiscard]] Result<std::int64_t> bisect(const Link& link, std::int64_t granule);
    DemuxStatus fail(Error error);

    ByteReader reader_;
    StreamFacts facts_;
    std::vector<std::unique_ptr<Link>> links_;  // all of them when surveyed_, else the current one
    std::size_t current_ = 0;
    bool surveyed_ = false;
    bool at_end_ = false;

    // The page at the reader's position, consumed once its pieces are handed out.
    std::size_t page_size_ = 0;
    std::size_t body_at_ = 0;
    std::vector<Piece> pieces_;
    std::size_t next_piece_ = 0;
    Piece tail_;                       // the beginning of a packet that ends on a later page
    std::vector<std::uint8_t> carry_;  // such beginnings so far
    bool carrying_ = false;
    std::vector<std::uint8_t> joined_;  // the packet put together last
    std::optional<std::uint32_t> expected_sequence_;
    std::optional<std::int64_t> running_;  // granule where the next packet starts
    std::int64_t wanted_ = kNoTick;        // tick; packets that end before it are passed over
    Error error_;
    std::uint64_t damage_ = 0;
};

}  // namespace voicecore::codec
