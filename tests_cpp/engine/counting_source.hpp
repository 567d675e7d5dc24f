// A packet source whose packets carry their own index and gain, and which can be told to stall.
#pragma once

#include <atomic>
#include <mutex>

#include "voicecore/audio/packet_source.hpp"

namespace voicecore::engine {

class CountingSource : public audio::PacketSource {
  public:
    explicit CountingSource(std::uint64_t frames, bool stalled = false, bool paced = false)
        : frames_{frames}, stalled_{stalled}, paced_{paced} {}

    audio::ReadStatus next(audio::PlayablePacket& packet) noexcept override {
        if (stalled_) return audio::ReadStatus::would_block;
        if (position_ >= frames_) return audio::ReadStatus::end;
        packet.index = index_++;
        packet.position = Samples{static_cast<std::int64_t>(++position_) * kFrameSamples};
        packet.track = 0;
        packet.media_samples = kFrameSamples;
        const auto number = static_cast<std::uint32_t>(position_ - 1);
        packet.opus.assign(std::array{static_cast<std::uint8_t>(number >> 8U),
                                      static_cast<std::uint8_t>(number),
                                      static_cast<std::uint8_t>(gain_.linear() * 10)});
        return audio::ReadStatus::ok;
    }
    std::uint64_t set_gain(Gain gain, std::uint64_t index) noexcept override {
        gain_ = gain;
        if (index < index_) {
            position_ -= index_ - index;
            index_ = index;
        }
        return index_;
    }
    std::uint64_t start_afresh(std::uint64_t index) noexcept override {
        return set_gain(gain_, index);
    }
    bool seek(Samples position, audio::ListenerPlace) noexcept override {
        position_ = static_cast<std::uint64_t>(position.count() / kFrameSamples);
        return true;
    }
    void skip_track(audio::ListenerPlace) noexcept override { position_ = frames_; }
    [[nodiscard]] std::uint64_t history() const noexcept override { return 20; }
    [[nodiscard]] Error error() const override { return {}; }
    [[nodiscard]] std::vector<audio::TrackError> take_track_errors() override { return {}; }
    [[nodiscard]] std::uint64_t decode_errors() const noexcept override { return 0; }
    [[nodiscard]] audio::StageTimes stage_times() const noexcept override { return {}; }
    [[nodiscard]] bool caller_paced() const noexcept override { return paced_; }
    void set_ready_hook(std::function<void()>) override {}

  private:
    const std::uint64_t frames_;
    const bool stalled_;
    const bool paced_;
    std::uint64_t position_ = 0;
    std::uint64_t index_ = 0;
    Gain gain_;
};

}  // namespace voicecore::engine
