// The native objects that Python holds, and how.
#pragma once

#include <memory>
#include <mutex>

#include "native_call.hpp"
#include "voicecore/audio/packet_sink.hpp"
#include "voicecore/engine/engine.hpp"
#include "voicecore/engine/event_channel.hpp"

namespace voicecore::bindings {

using ChannelHandle = Forkable<engine::EventChannel>;
using EngineHandle = Forkable<engine::Engine>;

// A source until a player takes it. Not polymorphic on purpose: Python never sees the port itself.
class SourceBox {
  public:
    explicit SourceBox(std::unique_ptr<audio::MediaSource> source)
        : info_{source->info()}, source_{std::move(source)} {}

    [[nodiscard]] const audio::SourceInfo& info() const noexcept { return info_; }
    // The source, once; a second call is the caller's mistake.
    [[nodiscard]] Result<std::unique_ptr<audio::MediaSource>> take() {
        const std::lock_guard lock{mutex_};
        if (source_ != nullptr) {
            taken_ = true;
            return std::move(source_);
        }
        if (taken_) {
            return Error{Errc::already_playing, 0,
                         "this source was given to a player already; open it again to play it again"};
        }
        return Error{Errc::closed, 0, "this source is closed"};
    }
    void close() noexcept {
        std::unique_ptr<audio::MediaSource> doomed;
        const std::lock_guard lock{mutex_};
        doomed = std::move(source_);
    }

  private:
    const audio::SourceInfo info_;
    std::mutex mutex_;
    std::unique_ptr<audio::MediaSource> source_;
    bool taken_ = false;
};
using SourceHandle = Forkable<SourceBox>;

// A player keeps its engine: controls stay valid whatever Python lets go of first.
struct PlayerBox {
    std::shared_ptr<engine::Engine> engine;
    std::shared_ptr<playback::Player> player;
    ~PlayerBox() {
        player.reset();
        engine.reset();
    }
};
using PlayerHandle = Forkable<PlayerBox>;

using SinkHandle = Forkable<audio::PacketSink>;

}  // namespace voicecore::bindings
