// What a player plays: a playlist turned into 20 ms packets, with volume, seeking and second
// thoughts.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "voicecore/audio/packet_source.hpp"
#include "voicecore/base/result.hpp"
#include "voicecore/opus/encoder_options.hpp"
#include "voicecore/pipeline/encode_stage.hpp"
#include "voicecore/pipeline/gain.hpp"
#include "voicecore/pipeline/playlist.hpp"
#include "voicecore/pipeline/timeline.hpp"

namespace voicecore::pipeline {

struct ProgramOptions {
    opus::EncoderOptions encoder;
    Gain gain;
    bool passthrough = true;     // false encodes every frame
    std::uint64_t history = 20;  // frames that set_gain() can go back
    Samples gap{0};              // silence between tracks
    Samples start{0};            // where the first track was told to start when it was opened
    std::uint32_t loops = 1;     // 0 is without end
};

// Threads: append(), close_playlist(), set_loops(), take_track_errors() and set_ready_hook() from
// any; everything else from the feeder alone.
//
// A track that fails ends there and the next one goes on; take_track_errors() tells. next() gives
// `failed` in place of `end` when it was the last track that failed. A seek is exact to the sample
// for all that is encoded; Opus that is copied goes on with the packet nearest to the position.
class Program final : public audio::PacketSource {
  public:
    // Refuses options out of their range.
    [[nodiscard]] static Result<std::unique_ptr<Program>> create(const ProgramOptions& options);
    ~Program() override;

    // `start`: where the track was told to start when it was opened.
    void append(std::unique_ptr<audio::MediaSource> track, Samples start = Samples{0});
    void close_playlist() noexcept;
    void set_loops(std::uint32_t loops) noexcept;
    [[nodiscard]] std::vector<TrackError> take_track_errors() override;

    [[nodiscard]] audio::ReadStatus next(audio::PlayablePacket& packet) noexcept override;
    std::uint64_t set_gain(Gain gain, std::uint64_t index) noexcept override;
    std::uint64_t start_afresh(std::uint64_t index) noexcept override;
    bool seek(Samples position, audio::ListenerPlace place) noexcept override;
    void skip_track(audio::ListenerPlace place) noexcept override;
    [[nodiscard]] std::uint64_t history() const noexcept override { return options_.history; }
    [[nodiscard]] Error error() const override;
    [[nodiscard]] std::uint64_t decode_errors() const noexcept override;
    [[nodiscard]] audio::StageTimes stage_times() const noexcept override;
    [[nodiscard]] bool caller_paced() const noexcept override;
    void set_ready_hook(std::function<void()> hook) override;

    // How many frames the last return from encoding to copying took; 0 before the first.
    [[nodiscard]] int last_return() const noexcept { return stage_.last_return(); }

  private:
    explicit Program(const ProgramOptions& options);
    [[nodiscard]] audio::ReadStatus produce(audio::PlayablePacket& packet);
    [[nodiscard]] audio::ReadStatus place(std::int64_t frame, Gain gain);
    [[nodiscard]] audio::ReadStatus fail(Error error) noexcept;
    void start_run(std::uint64_t base, std::uint32_t play, Samples position, bool resume);
    [[nodiscard]] std::uint32_t track_before(std::int64_t frame, bool waits);
    [[nodiscard]] std::int64_t frame_of(std::uint64_t index) const noexcept;
    [[nodiscard]] std::int64_t oldest_kept() const noexcept;

    // CPU time by stage is estimated from one call in so many: asking the kernel three times costs
    // more than copying a packet.
    static constexpr unsigned kSampleEncoded = 7;
    static constexpr unsigned kSampleCopied = 31;

    const ProgramOptions options_;
    Playlist playlist_;
    Timeline timeline_;
    EncodeStage stage_;
    GainSchedule gains_;

    std::uint64_t base_ = 0;      // index of the run's frame 0
    std::uint32_t first_ = 0;     // the play that the run started with
    std::uint32_t previous_ = 0;  // the play that was heard before the run
    bool resumed_ = false;        // the run started because tracks were appended behind its end
    std::int64_t entered_ = -1;   // frame at which a skip left the track that had just ended
    std::int64_t cursor_ = 0;     // frame of the run that next() gives next
    std::int64_t produced_ = 0;   // the furthest that cursor_ has been
    std::optional<Error> error_;  // that ends everything
    audio::StageTimes times_;
    unsigned calls_ = 0;
};

}  // namespace voicecore::pipeline
