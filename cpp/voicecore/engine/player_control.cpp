#include "voicecore/engine/player_control.hpp"

#include <algorithm>
#include <cmath>

namespace voicecore::engine {
namespace {

constexpr const char* kDone = "done";
constexpr const char* kOver = "not playing";
constexpr double kLoudest = 4.0;
constexpr double kLongest = 1e9;  // seconds: far behind the end of anything

}  // namespace

std::string PlayerControl::pause() {
    const auto state = player_->state();
    if (state == playback::PlayerState::paused || state == playback::PlayerState::finished) {
        return kOver;
    }
    player_->pause();
    return kDone;
}

std::string PlayerControl::resume() {
    if (player_->state() != playback::PlayerState::paused) return "not paused";
    player_->resume();
    return kDone;
}

std::string PlayerControl::stop() {
    stop_requested_.store(true, std::memory_order_release);
    if (player_->state() == playback::PlayerState::finished) return kOver;
    player_->stop();
    return kDone;
}

std::string PlayerControl::seek(double seconds, bool relative) {
    if (player_->state() == playback::PlayerState::finished) return kOver;
    if (!seekable_) return {};  // its owner knows better words
    const double from = relative ? to_seconds(player_->position()) : 0.0;
    const double to = std::clamp(from + seconds, 0.0, kLongest);
    player_->seek(Samples{std::llround(to * kSampleRate)});
    return kDone;
}

std::string PlayerControl::volume(double gain, bool relative) {
    if (player_->state() == playback::PlayerState::finished) return kOver;
    const double to = relative ? static_cast<double>(this->gain()) + gain : gain;
    if (!relative && (to < 0.0 || to > kLoudest)) return {};
    note_gain(static_cast<float>(std::clamp(to, 0.0, kLoudest)));
    player_->set_gain(Gain{this->gain()});
    return kDone;
}

std::string PlayerControl::next() {
    if (player_->state() == playback::PlayerState::finished) return kOver;
    player_->skip_track();
    return kDone;
}

}  // namespace voicecore::engine
