// PlayerControl: commands from the queue reach a player without anybody's event loop.
#pragma once

#include <atomic>
#include <memory>

#include "voicecore/command/steering.hpp"
#include "voicecore/playback/player.hpp"

namespace voicecore::engine {

// Thread-safe.
class PlayerControl final : public command::SessionControl {
  public:
    PlayerControl(std::shared_ptr<playback::Player> player, float volume, bool seekable) noexcept
        : player_{std::move(player)}, volume_{volume}, seekable_{seekable} {}

    // Pause only what plays and resume only what is paused (lesson R50).
    std::string pause() override;
    std::string resume() override;
    std::string stop() override;
    std::string seek(double seconds, bool relative) override;
    std::string volume(double gain, bool relative) override;
    std::string next() override;

    // The linear gain as last set, here or by set_volume().
    [[nodiscard]] float gain() const noexcept { return volume_.load(std::memory_order_relaxed); }
    // A stop came this way: whoever plays one track after the other must not begin the next.
    [[nodiscard]] bool stop_requested() const noexcept {
        return stop_requested_.load(std::memory_order_acquire);
    }
    void note_gain(float gain) noexcept { volume_.store(gain, std::memory_order_relaxed); }

  private:
    const std::shared_ptr<playback::Player> player_;
    std::atomic<float> volume_;
    std::atomic<bool> stop_requested_{false};
    const bool seekable_;
};

}  // namespace voicecore::engine
