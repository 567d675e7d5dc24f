// The source port: where decoded audio, or Opus that is already right, comes from.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "voicecore/base/cancel.hpp"
#include "voicecore/base/export.hpp"
#include "voicecore/base/result.hpp"
#include "voicecore/base/units.hpp"

namespace voicecore::audio {

enum class MediaKind : std::uint8_t {
    pcm,   // units are interleaved stereo float at 48 kHz, nominal range -1 to 1
    opus,  // units are Opus packets, mono or stereo, channel mapping family 0
};

// Everything that `probe` tells. Filled when the source opens, constant afterwards.
struct SourceInfo {
    MediaKind kind = MediaKind::pcm;
    std::string container;            // "mp3", "ogg", "mov,mp4,...": libavformat's words
    std::string codec;                // "mp3", "aac", "opus", "pcm_s16le", ...
    int sample_rate = 0;              // Hz, of the file
    int channels = 0;                 // of the file
    std::optional<Samples> duration;  // null when nobody knows (a live stream)
    std::int64_t bitrate = 0;         // bit/s of the audio stream; 0 when unknown
    std::vector<std::pair<std::string, std::string>> tags;
    std::string no_passthrough;  // why packets cannot be copied; empty when they can
    Samples pre_skip{0};         // opus: samples before position 0 (RFC 7845 section 4.2)
    float header_gain = 1.0F;    // opus: linear output gain of the header (section 5.1)
    bool seekable = false;
};

// What one read() gives. The views stay valid until the next call on the source.
struct MediaUnit {
    Samples position{0};                   // of the first sample; 0 is the first audible sample of
                                           // the media; negative inside an Opus pre-skip
    std::span<const float> pcm;            // pcm: 2 values per sample, never empty
    std::span<const std::uint8_t> packet;  // opus: one valid packet (parse_opus_packet accepts it)
    Samples duration{0};                   // of the unit, trimmed samples included
    Samples trim_end{0};                   // opus: samples at the unit's end that are padding
    bool begins = false;                   // opus: of a stream of its own (a chain's next one)
};

enum class ReadStatus : std::uint8_t {
    ok,           // the unit is filled
    would_block,  // nothing yet; the ready hook will be called
    end,          // end of the media, reached without an error
    failed,       // cannot go on; error() says why
};

// Port. One thread at a time calls read() and seek(); neither blocks: an input that can block has a
// thread of its own behind read(). The destructor returns at once even while that thread is
// blocked.
class VOICECORE_EXPORT MediaSource {
  public:
    MediaSource() = default;
    MediaSource(const MediaSource&) = delete;
    MediaSource& operator=(const MediaSource&) = delete;
    virtual ~MediaSource();

    [[nodiscard]] virtual const SourceInfo& info() const noexcept = 0;

    // Damaged data in the middle is skipped or concealed and counted, not an error.
    [[nodiscard]] virtual ReadStatus read(MediaUnit& unit) noexcept = 0;

    // The units after this start at `position` exactly (pcm), or at a packet at least kOpusPreroll
    // before it, so that a decoder has converged by then (opus). At or past the end: read() gives
    // end. Call only when info().seekable. A failure shows in the next read().
    virtual void seek(Samples position) noexcept = 0;

    // After read() gave failed: why.
    [[nodiscard]] virtual Error error() const = 0;

    // Packets that could not be decoded so far. Any thread.
    [[nodiscard]] virtual std::uint64_t decode_errors() const noexcept = 0;

    // True for a source whose data the caller pushes by hand: virtual time does not wait for it.
    [[nodiscard]] virtual bool caller_paced() const noexcept { return false; }

    // Called from any thread when read() may give something other than would_block. Set before the
    // first read; may be called spuriously; never called once the source is destroyed or the hook
    // was replaced.
    virtual void set_ready_hook(std::function<void()> hook) = 0;
};

// RFC 7845 section 4.6: a decoder needs this much before its output can be trusted.
inline constexpr Samples kOpusPreroll{3'840};

// The byte port: what a demuxer reads when the input is neither a path nor a URL. Called from one
// thread at a time; interrupt() from any.
class VOICECORE_EXPORT ByteInput {
  public:
    ByteInput() = default;
    ByteInput(const ByteInput&) = delete;
    ByteInput& operator=(const ByteInput&) = delete;
    virtual ~ByteInput();

    // Fills at least one byte; 0 means end. May block when can_block().
    [[nodiscard]] virtual Result<std::size_t> read(std::span<std::uint8_t> into) = 0;
    // Absolute offset from the start. Only when seekable().
    [[nodiscard]] virtual Status seek(std::int64_t offset) = 0;
    [[nodiscard]] virtual bool seekable() const noexcept = 0;
    [[nodiscard]] virtual std::optional<std::int64_t> size() const noexcept = 0;
    [[nodiscard]] virtual bool can_block() const noexcept = 0;
    // Makes a blocked and every later read fail with Errc::cancelled.
    virtual void interrupt() noexcept = 0;
};

// What to open and what it may reach.
struct OpenRequest {
    std::string location;              // path or URL; a name for messages when `input` is set
    std::shared_ptr<ByteInput> input;  // read from here instead of the location
    std::vector<std::pair<std::string, std::string>> headers;  // sent with every HTTP request
    Samples start{0};                     // like a seek() before the first read
    bool allow_playlists = false;         // HLS over HTTPS (or HTTP) when true
    bool allow_private_addresses = true;  // false refuses loopback, private and link-local peers
    std::chrono::milliseconds timeout{10'000};  // without a byte: connecting, reading
    int max_reconnects = 5;                     // in a row without progress
    std::string ca_file;                        // PEM; empty: the system's
};

// Opens a source; blocks until its header is read, so call it from a thread that may. `cancel` ends
// it early with Errc::cancelled.
using OpenFunction = Result<std::unique_ptr<MediaSource>> (*)(const OpenRequest& request,
                                                              std::shared_ptr<CancelToken> cancel);

// The codec module announces its opener when it is loaded; the engine looks it up. Thread-safe.
VOICECORE_EXPORT void register_opener(OpenFunction open) noexcept;
[[nodiscard]] VOICECORE_EXPORT OpenFunction registered_opener() noexcept;

}  // namespace voicecore::audio
