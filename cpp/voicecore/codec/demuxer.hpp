// What every demuxer gives: compressed packets with their place on the media's time line.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "voicecore/base/result.hpp"
#include "voicecore/base/units.hpp"
#include "voicecore/codec/handles.hpp"

namespace voicecore::codec {

inline constexpr std::int64_t kNoTick = std::numeric_limits<std::int64_t>::min();

// RFC 7845 section 5.1, as far as a player needs it.
struct OpusHead {
    int channels = 0;
    int pre_skip = 0;  // samples at 48 kHz
    int gain_q8 = 0;   // dB, Q7.8
    int mapping_family = 0;
};
// Samples of an Opus packet by its first bytes alone: right for multistream packets too, whose
// framing is not that of a single stream.
[[nodiscard]] int opus_packet_samples(std::span<const std::uint8_t> bytes) noexcept;

[[nodiscard]] std::optional<OpusHead> parse_opus_head(std::span<const std::uint8_t> bytes) noexcept;

// A stretch of the media with one codec and one sample rate: the whole of it, or one link of a
// chain. Its ticks are samples at `rate`; tick 0 is the first audible sample of the stretch.
// Immutable once shared: packets of it wait in queues while the demuxer is past it.
struct Segment {
    CodecParametersPtr parameters;
    int rate = 0;
    std::optional<OpusHead> opus;  // when its packets are Opus
    std::optional<Samples> base;   // media position of tick 0, when known without playing up to it
    std::optional<std::int64_t> end;  // ticks; nothing from here on is audible
};
using SegmentPtr = std::shared_ptr<const Segment>;

// A view; valid until the next call on whoever gave it.
struct Packet {
    std::span<const std::uint8_t> data;
    SegmentPtr segment;
    std::int64_t start = kNoTick;  // of its first decoded sample; kNoTick: follows the one before
    std::int64_t duration = 0;     // ticks, 0 when unknown
    std::int64_t trim_end = 0;     // ticks at its end that are padding
};

enum class DemuxStatus { packet, end, failed };

// What is known once the header is read.
struct StreamFacts {
    std::string container;
    std::vector<std::pair<std::string, std::string>> tags;
    std::optional<Samples> duration;
    std::int64_t bitrate = 0;
    bool seekable = false;
    // Every segment, when all are known before playing; otherwise the first one.
    std::vector<SegmentPtr> segments;
};

// Not thread-safe. May block exactly when its input may.
class Demuxer {
  public:
    Demuxer() = default;
    Demuxer(const Demuxer&) = delete;
    Demuxer& operator=(const Demuxer&) = delete;
    virtual ~Demuxer() = default;

    [[nodiscard]] virtual const StreamFacts& facts() const noexcept = 0;
    [[nodiscard]] virtual DemuxStatus next(Packet& packet) = 0;
    // The next packet starts at or before `position` (or is the first one). Past the end: next()
    // gives end.
    [[nodiscard]] virtual Status seek(Samples position) = 0;
    [[nodiscard]] virtual Error error() const = 0;
    // Damage that was skipped below the packets, so far.
    [[nodiscard]] virtual std::uint64_t damage() const noexcept { return 0; }

    // Work that a seek to `position` needs first and that is too long for the frame path, to be
    // done on any thread; null when there is none.
    class Preparation {
      public:
        virtual ~Preparation() = default;
        virtual void run() noexcept = 0;     // once, on a thread that may block
        virtual void cancel() noexcept = 0;  // from any thread
    };
    [[nodiscard]] virtual std::shared_ptr<Preparation> prepare_seek(Samples) { return nullptr; }
};

}  // namespace voicecore::codec
