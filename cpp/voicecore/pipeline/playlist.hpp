// The tracks of a program: their order, going round, and which of them are still needed.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "voicecore/audio/packet_source.hpp"
#include "voicecore/base/result.hpp"

namespace voicecore::pipeline {

using audio::TrackError;

// A play is one track played once: 0, 1, 2, ... also when the list goes round.
// append(), close(), set_loops(), set_ready_hook(), take_errors(): any thread. The rest: the
// feeder.
class Playlist {
  public:
    void append(std::unique_ptr<audio::MediaSource> track, Samples start = Samples{0});
    // Nothing will be appended any more.
    void close() noexcept;
    // How often the list is played in all; 0 is without end. A round starts only when the list is
    // closed, and needs tracks that can seek.
    void set_loops(std::uint32_t loops) noexcept;
    void set_ready_hook(std::function<void()> hook);
    [[nodiscard]] std::vector<TrackError> take_errors();

    enum class Turn : std::uint8_t { ready, empty, over };
    struct Opened {
        Turn turn = Turn::over;
        audio::MediaSource* source = nullptr;
        std::optional<Error> error = {};  // the track cannot be played now; it counts as ended
        Samples start{0};                 // what it gives before is only there to decode the rest
    };
    // The source of a play, at its start, or with `restart` false wherever it stands. `empty`: not
    // appended yet. Where a track was opened to start holds for the first round.
    [[nodiscard]] Opened open(std::uint32_t play, bool restart);
    // Where the next open() without `restart` finds the play. False when it cannot seek, was
    // released or is still to be appended.
    [[nodiscard]] bool seek(std::uint32_t play, Samples position);
    // No play before `oldest` will be asked for any more.
    void release_before(std::uint32_t oldest) noexcept;
    void report(std::uint32_t play, Error error);

    [[nodiscard]] std::uint64_t decode_errors() const noexcept;
    // True when open() could give something other than it did for this play.
    [[nodiscard]] bool has(std::uint32_t play) noexcept;
    [[nodiscard]] bool closed() noexcept {
        take_in();
        return closed_;
    }
    [[nodiscard]] std::size_t tracks() const noexcept { return tracks_.size(); }

  private:
    struct Track {
        std::unique_ptr<audio::MediaSource> source;  // null once released
        Samples start{0};
        bool touched = false;  // not at its start
    };
    struct Arrival {
        std::unique_ptr<audio::MediaSource> source;
        Samples start{0};
    };
    void take_in();
    void notify() noexcept;
    [[nodiscard]] Track* track_of(std::uint32_t play) noexcept;

    // The hook is called under this lock, so that it never runs once it was replaced. It belongs to
    // the player, not to the user.
    std::mutex hook_mutex_;
    std::function<void()> hook_;

    std::mutex inbox_mutex_;
    std::vector<Arrival> inbox_;
    std::vector<TrackError> errors_;
    bool closing_ = false;
    std::atomic<std::uint32_t> loops_{1};

    std::vector<Track> tracks_;
    bool closed_ = false;
    std::uint32_t released_ = 0;
    std::uint64_t gone_errors_ = 0;  // of released sources
};

}  // namespace voicecore::pipeline
