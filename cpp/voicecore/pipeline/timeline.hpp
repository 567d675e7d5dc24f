// The audio of a run as a receiver should hear it: tracks joined and cut into 20 ms frames.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "voicecore/audio/media_source.hpp"
#include "voicecore/opus/decoder.hpp"
#include "voicecore/pipeline/opus_segments.hpp"
#include "voicecore/pipeline/pcm_ring.hpp"
#include "voicecore/pipeline/playlist.hpp"

namespace voicecore::pipeline {

// One Opus packet and where its samples lie.
struct TimelinePiece {
    std::uint32_t offset = 0;  // in TimelineFrame::bytes
    std::uint32_t size = 0;
    int samples = 0;
    int skip = 0;        // samples at its start that nobody hears
    int keep = 0;        // samples after those that somebody hears
    Place at = 0;        // of its first sample
    float scale = 1.0F;  // the output gain of the stream's header
    bool reset = false;  // the first of its stream: the decoder forgets what was before
};

// Frame k of a run: what was placed in [960 k, 960 k + 960).
struct TimelineFrame {
    std::vector<std::uint8_t> bytes;    // capacity is kept from use to use
    std::vector<TimelinePiece> pieces;  // those whose first audible sample lies here, and preroll
    std::uint32_t decoded = 0;          // how many of them are in the PCM ring
    std::uint8_t reach_back = 0;        // pieces from so many frames before reach into this one
    bool copyable = false;              // pieces[0] is the whole frame, and nothing else is in it
    std::uint32_t track = 0;
    Samples position{0};  // media position of the frame's end
    std::uint16_t media_samples = 0;
};

struct TimelineOptions {
    std::uint64_t reach = 33;      // frames before the newest that stay available
    std::uint64_t pcm_reach = 30;  // the same while there was only PCM, which needs no priming
    Samples lookahead{312};        // of the encoder
    Samples gap{0};                // silence between tracks
    bool passthrough = true;
};

// A run is a stretch without a seek. Its place 0 is the start of its frame 0. Opus packets that can
// be copied keep to the frame grid: before a track of them up to 20 ms are filled, and
// a run that starts inside of one does so up to 10 ms early or late. Everything else is exact to
// the sample, Opus that is decoded as well. What starts a run inside of a track is laid `lookahead`
// later than the grid, because it comes out of the encoder that much later. Frames are counted as
// media by what enters the encoder in a run of PCM alone, and by what the receiver hears once there
// are packets in it. Not thread-safe.
class Timeline {
  public:
    Timeline(Playlist& playlist, const TimelineOptions& options);

    // Forgets everything and starts a run with a play. `clean`: the receiver's decoder is as new,
    // so that the first packets are copied as they are, pre-skip included. Otherwise the track goes
    // on at `position`, which its source was told before (`resume`) or is where it starts (0).
    void start(std::uint32_t play, Samples position, bool resume, bool clean);

    // Whether packets may be copied where they are heard now. While they may not, a stream that
    // starts is laid to the sample instead of on the grid.
    void set_copying(bool may_copy) noexcept { may_copy_ = may_copy; }

    // Places tracks until `end` or the end of the run. ok, would_block; end: the run ends before.
    [[nodiscard]] audio::ReadStatus place_until(Place end);

    // One of the placed frames, the newest `reach` of them.
    [[nodiscard]] const TimelineFrame& frame(std::int64_t index) const noexcept {
        return frames_[static_cast<std::size_t>(index) % frames_.size()];
    }
    [[nodiscard]] std::int64_t oldest() const noexcept;
    [[nodiscard]] std::int64_t opened() const noexcept { return opened_; }
    // How many frames the run has, once it has ended.
    [[nodiscard]] std::optional<std::int64_t> length() const noexcept;

    // Decodes the packets of placed frames, as read() would.
    void prepare(std::int64_t first, std::int64_t last);
    // Decodes what is needed. Silence outside of the run.
    void read(Place at, std::span<float> into);

    // The play that is being placed, or would be next.
    [[nodiscard]] std::uint32_t play() const noexcept { return play_; }
    [[nodiscard]] audio::MediaSource* source() const noexcept { return source_; }
    [[nodiscard]] const std::optional<Error>& last_error() const noexcept { return last_error_; }
    [[nodiscard]] std::uint64_t decode_errors() const noexcept { return decode_errors_; }

  private:
    enum class Step : std::uint8_t { progress, blocked };
    [[nodiscard]] Step step(Place end);
    [[nodiscard]] Step open_track();
    [[nodiscard]] Step read_unit();
    void take_packet();
    void end_track(std::optional<Error> error);
    void place_silence(Place samples);
    void place_echo(Place samples);
    void place_pcm(Place most);
    void place_piece(const OpusPiece& piece);
    void start_stream();
    [[nodiscard]] bool before_start(Samples samples) const noexcept;
    void add_preroll(std::int64_t frame, const OpusPiece& piece);
    void limit_preroll(TimelineFrame& frame) const;
    TimelinePiece& append(TimelineFrame& frame, const OpusPiece& piece);
    TimelineFrame& open_frame(std::int64_t index);
    TimelineFrame& slot(std::int64_t index) noexcept {
        return frames_[static_cast<std::size_t>(index) % frames_.size()];
    }
    void account(Place from, Place to, Samples end_position);

    // timeline_decode.cpp
    void need_pcm();
    [[nodiscard]] std::size_t pcm_frames() const noexcept;
    void decode(std::int64_t first, std::int64_t last);
    void decode_frame(std::int64_t index, bool wanted);
    void decode_piece(const TimelineFrame& frame, const TimelinePiece& piece, bool keep);
    [[nodiscard]] bool decoder_stands_at(std::int64_t index, std::size_t piece) noexcept;

    Playlist& playlist_;
    const TimelineOptions options_;
    std::vector<TimelineFrame> frames_;
    PcmRing pcm_;

    std::int64_t opened_ = 0;  // frames that have been touched
    Place placed_ = 0;         // everything before is final
    Place content_end_ = 0;    // after the last sample that was not padding
    bool over_ = false;
    bool clean_ = false;         // the next stream starts at place 0 as it is
    bool packets_seen_ = false;  // in this run: media counts where it is heard
    bool may_copy_ = true;

    std::uint32_t play_ = 0;
    audio::MediaSource* source_ = nullptr;
    std::optional<Samples> resume_at_;  // where the track was told to go on
    Place gap_left_ = 0;
    std::uint64_t silent_plays_ = 0;  // in a row, without a sample of media
    bool play_had_media_ = false;
    std::optional<Error> last_error_;

    audio::MediaUnit unit_;  // pcm: what is left of it

    // The Opus stream that is being placed. A chained one starts anew inside its track.
    struct Stream {
        bool started = false;         // a packet has come
        bool placed = false;          // its place is known
        bool ending = false;          // no packet will come
        bool relink = false;          // unit_ starts the next stream of the track
        bool reset = true;            // the next piece is its first
        bool joins = false;           // the receiver's decoder comes from something else
        bool exact = false;           // its packets will not be copied: to the sample
        std::size_t preroll = 0;      // pieces so far that only lead to its place
        Samples lead{0};              // before its first audible sample
        Samples position{0};          // of the next piece
        std::optional<Samples> stop;  // the position at which the padding starts
        Place at = 0;                 // of the next piece
        Place hear_from = 0;
        Place media_from = 0;
        float scale = 1.0F;
    };
    Stream stream_;
    OpusSegmenter segmenter_;

    std::optional<opus::Decoder> decoder_;
    std::int64_t decoder_frame_ = -1;  // where the decoder stands; -1 nowhere
    std::size_t decoder_piece_ = 0;
    std::vector<float> scratch_;
    std::uint64_t decode_errors_ = 0;
};

// Frames that a decoder hears before it is believed. RFC 7845 asks for 80 ms; a CELT decoder
// forgets half of an error in its band energies with each frame, so that 5 frames leave -30 dB of
// it and 10 leave -60.
inline constexpr std::int64_t kDecoderPreroll = 10;

}  // namespace voicecore::pipeline
