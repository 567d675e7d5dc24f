// Frames of a timeline become packets: copied, or encoded so that the two may follow each other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "voicecore/audio/opus_packet.hpp"
#include "voicecore/base/result.hpp"
#include "voicecore/opus/decoder.hpp"
#include "voicecore/opus/encoder.hpp"
#include "voicecore/opus/repacketizer.hpp"
#include "voicecore/pipeline/timeline.hpp"

namespace voicecore::pipeline {

// How the two kinds of packets follow each other without a click:
// - An encoder's output is late by its look-ahead, so frame k is encoded from the timeline that
//   much after 960 k. Decoded, it then lies where the packet of the same frame would.
// - Leaving: a fresh encoder is fed with the frames before, and its first packet leans on nothing.
// - After something else, another place or silence: the same, but it hears silence before, as that
//   is no longer what the receiver's decoder remembers.
// - Returning: while frames are encoded finely, a model of the receiver decodes what is sent. As
//   soon as it would decode the original packet like a decoder that had never seen anything else,
//   packets are copied again. How long that takes depends on the signal; nothing is ever switched
//   on a guess.
// Not thread-safe. Nothing is created before a frame must be encoded.
class EncodeStage {
  public:
    EncodeStage(const opus::EncoderOptions& options, std::uint64_t history, Timeline& timeline);

    // A run starts: `clean` as in Timeline::start(); `interrupts` when the receiver has heard
    // something else before, which its decoder remembers.
    void start(bool clean, bool interrupts, Gain gain) noexcept;

    // The run goes on with frame `index`, before which silence was heard. `again`: it has been
    // produced, at most the history back, and will be once more.
    void go_on_after_silence(std::int64_t index, bool again) noexcept;

    struct Output {
        audio::OpusPacket* packet;
        bool copied = false;
    };
    // True when frame `index`, which is placed, can be produced without encoding.
    [[nodiscard]] bool copies(std::int64_t index, Gain gain) const noexcept;
    // True while the encoder runs from frame to frame.
    [[nodiscard]] bool encoding() const noexcept { return !state_.copying && !state_.fresh; }
    // Frames in order. When it cannot be copied, the timeline is placed `lookahead` beyond its end.
    [[nodiscard]] Status produce(std::int64_t index, Gain gain, Output& output);

    // Frame `index` of this run will be produced again. `gain_of(i)` is the gain of each frame
    // before. At most the history back.
    template <class GainOf>
    [[nodiscard]] Status rewind(std::int64_t index, GainOf&& gain_of) {
        std::int64_t from = restore_before(index);
        audio::OpusPacket ignored;
        for (; from < index; ++from) {
            Output output{.packet = &ignored};
            if (auto status = produce(from, gain_of(from), output); !status) return status;
        }
        return Done{};
    }

    // How many frames before the oldest one that rewind() may ask for must stay on the timeline.
    [[nodiscard]] static constexpr std::uint64_t reach() noexcept { return kInterval + kPrime; }
    // The same in a run of PCM.
    [[nodiscard]] static constexpr std::uint64_t pcm_reach() noexcept { return kInterval; }
    // Copied frames that followed encoded ones, for tests and statistics: frames the last return
    // took.
    [[nodiscard]] int last_return() const noexcept { return last_return_; }

  private:
    // Frames from one snapshot to the next. A snapshot is as large as 6 frames of PCM, and a rewind
    // encodes up to an interval of frames again: at the default history 10 takes the least memory
    // (391 KB) for at most 0.8 ms.
    static constexpr std::int64_t kInterval = 10;
    static constexpr std::int64_t kNever = -1;
    static constexpr std::int64_t kPrime = 3;  // frames that a fresh encoder hears before it counts

    struct State {
        bool copying = false;
        bool fresh = true;  // the encoder has not been used since the run, or an interruption
        int returning = 0;  // frames encoded since a return began
        Gain gain;          // at the end of the frame before
    };
    // Silence up to `from`, and from `until` on all of it.
    struct Rise {
        Place from = 0;
        Place until = 0;
    };
    struct Snapshot {
        std::int64_t index = -1;
        std::vector<std::byte> encoder;
        std::vector<std::byte> model;
    };
    [[nodiscard]] Status need_encoder();
    [[nodiscard]] Status need_model();
    void load(std::int64_t index);
    void prime(std::int64_t index);
    [[nodiscard]] Status encode(std::int64_t index, Gain to, bool returning, bool left,
                                audio::OpusPacket& packet);
    [[nodiscard]] bool encode_frame(int samples, audio::OpusPacket& packet);
    [[nodiscard]] bool encode_short(int samples, audio::OpusPacket& packet);
    [[nodiscard]] bool fits(std::int64_t index);
    void take_snapshot(std::int64_t index);
    [[nodiscard]] std::int64_t restore_before(std::int64_t index);
    State& before(std::int64_t index) noexcept {
        return before_[static_cast<std::size_t>(index) % before_.size()];
    }

    const opus::EncoderOptions options_;
    const Samples lookahead_;
    Timeline& timeline_;
    State state_;
    std::vector<State> before_;        // of each of the newest frames
    std::vector<Snapshot> snapshots_;  // by (index / kInterval) modulo their number
    std::optional<opus::Encoder> encoder_;
    std::optional<opus::Decoder> model_;  // what the receiver's decoder is like, while returning
    std::optional<opus::Decoder> trial_;
    std::optional<opus::Repacketizer> joiner_;  // for originals of short frames
    std::vector<std::uint8_t> shorts_;
    std::vector<std::byte> undo_;  // the encoder before it was tried
    std::vector<float> frame_;
    std::vector<float> reference_;
    std::vector<float> decoded_;
    int last_return_ = 0;
    std::int64_t interrupted_ = kNever;  // the newest frame before which something else was heard
    Rise rise_;                          // behind that
};

// The look-ahead that libopus has at 48 kHz: 2.5 ms of overlap, and 4 ms more unless it is told not
// to.
[[nodiscard]] constexpr Samples lookahead_of(opus::Application application) noexcept {
    return application == opus::Application::low_delay ? Samples{120} : Samples{312};
}

}  // namespace voicecore::pipeline
