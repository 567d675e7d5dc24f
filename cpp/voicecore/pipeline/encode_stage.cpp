#include "voicecore/pipeline/encode_stage.hpp"

#include <algorithm>
#include <cassert>

#include "voicecore/pipeline/gain.hpp"

namespace voicecore::pipeline {
namespace {

// While returning and for the first frame after leaving: the finer the packets, the sooner the
// receiver's decoder is where the original packets would have brought it.
constexpr int kFineBitrate = 510'000;
// A return that has not succeeded by then goes on at the ordinary bitrate.
constexpr int kFineFrames = 50;
constexpr int kFineShortFrames = 150;
// Samples in which a decoder goes from one packet to the next: 2.5 ms (RFC 6716, section 4.3.7).
constexpr int kOverlap = 120;
// Frames that the model must have decoded before it is believed.
constexpr int kModelFrames = 3;
// Power of the error relative to the power of the signal: -40 dB; -37 dB where frames are shorter
// than 20 ms. Each of those leans more on the one before (0.9 of its loudness at 2.5 ms, 0.5 at 20
// ms), so that the last of the difference goes late.
constexpr double kLargestError = 1e-4;
constexpr double kLargestShortError = 2e-4;
// Below -90 dBFS nobody hears a difference.
constexpr double kSilentPower = 1e-9;

double power(std::span<const float> values) noexcept {
    double sum = 0.0;
    for (const float value : values) sum += static_cast<double>(value) * static_cast<double>(value);
    return sum / static_cast<double>(values.size());
}

double error_power(std::span<const float> a, std::span<const float> b) noexcept {
    double sum = 0.0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        const double difference = static_cast<double>(a[i]) - static_cast<double>(b[i]);
        sum += difference * difference;
    }
    return sum / static_cast<double>(a.size());
}

}  // namespace

EncodeStage::EncodeStage(const opus::EncoderOptions& options, std::uint64_t history,
                         Timeline& timeline)
    : options_{options}, lookahead_{lookahead_of(options.application)}, timeline_{timeline} {
    before_.resize(history + static_cast<std::uint64_t>(kInterval) + 2);
    // Those in a window of history and interval frames.
    snapshots_.resize((history + 2 * static_cast<std::uint64_t>(kInterval) - 2) /
                      static_cast<std::uint64_t>(kInterval));
}

void EncodeStage::start(bool clean, bool interrupts, Gain gain) noexcept {
    interrupted_ = interrupts ? 0 : kNever;
    // What was heard instead leaves something in the overlap and in the decoder's pitch filter that
    // does not cancel what the new brings. So the new comes up behind it.
    rise_ = {.from = kOverlap, .until = 3 * kOverlap};
    state_ = State{.copying = clean, .fresh = true, .returning = 0, .gain = gain};
    for (Snapshot& snapshot : snapshots_) snapshot.index = -1;
}

void EncodeStage::go_on_after_silence(std::int64_t index, bool again) noexcept {
    if (again) state_ = before(index);
    state_.fresh = true;
    interrupted_ = index;
    const Place begin = index * kFrameSamples;
    rise_ = {.from = begin, .until = begin + kOverlap};  // silence leaves nothing; only no click
}

bool EncodeStage::copies(std::int64_t index, Gain gain) const noexcept {
    return state_.copying && state_.gain.neutral() && gain.neutral() &&
           timeline_.frame(index).copyable;
}

Status EncodeStage::produce(std::int64_t index, Gain gain, Output& output) {
    before(index) = state_;
    // Nothing is heard of the change from a gain to the next when silence lies between.
    if (state_.fresh && index == interrupted_) state_.gain = gain;
    const TimelineFrame& frame = timeline_.frame(index);
    const auto copy = [&] {
        output.copied = output.packet->assign(frame.bytes);
        state_.copying = true;
        state_.fresh = false;
        state_.returning = 0;
        state_.gain = gain;
    };
    if (copies(index, gain)) {
        copy();
        return Done{};
    }
    if (auto status = need_encoder(); !status) return status;
    const bool returning = frame.copyable && state_.gain.neutral() && gain.neutral();
    if (returning) {
        if (auto status = need_model(); !status) return status;
    }
    bool left = false;
    if (state_.copying || state_.fresh) {
        encoder_->reset();
        left = index == interrupted_ || !frame.pieces.empty() || !state_.fresh;
        if (left) prime(index);
        state_.copying = false;
        state_.fresh = false;
        state_.returning = 0;
    } else {
        take_snapshot(index);
    }
    if (returning && state_.returning >= kModelFrames && fits(index)) {
        last_return_ = state_.returning;
        copy();
        return Done{};
    }
    return encode(index, gain, returning, left, *output.packet);
}

Status EncodeStage::encode(std::int64_t index, Gain to, bool returning, bool left,
                           audio::OpusPacket& packet) {
    load(index);
    apply_gain(std::span{frame_}.first<kFrameValues>(), state_.gain, to);
    state_.gain = to;
    const bool first = returning && state_.returning == 0;
    const auto like =
        returning ? audio::parse_opus_packet(timeline_.frame(index).bytes) : std::nullopt;
    const bool is_short = like && like->frame_samples < kFrameSamples;
    const int longest = is_short ? kFineShortFrames : kFineFrames;
    const bool fine = left || (returning && state_.returning < longest);
    encoder_->set_bitrate(fine ? kFineBitrate : options_.bitrate);
    encoder_->set_prediction_disabled(left || first);
    // A SILK decoder must have been one all along to understand the next packet.
    encoder_->imitate(like ? std::optional{like->toc} : std::nullopt);
    if (!encode_frame(like ? like->frame_samples : 0, packet)) {
        return Error{.code = Errc::internal, .native = 0, .message = "libopus refused to encode"};
    }
    if (!returning) {
        state_.returning = 0;
        return Done{};
    }
    if (first) model_->reset();
    if (model_->decode(packet.bytes(), decoded_) != opus::CodecStatus::ok) {
        state_.returning = 0;
        return Done{};
    }
    ++state_.returning;
    return Done{};
}

bool EncodeStage::encode_frame(int samples, audio::OpusPacket& packet) {
    // What a decoder remembers is the loudness of the last frame, not of the last packet: only from
    // frames as short as the original's does it come to be where those would bring it.
    if (samples > 0 && samples < kFrameSamples && encode_short(samples, packet)) return true;
    return encoder_->encode(std::span{frame_}.first<kFrameValues>(), packet) ==
           opus::CodecStatus::ok;
}

// False, and nothing has happened: libopus made frames that do not go into one packet, as where it
// changes its mode.
bool EncodeStage::encode_short(int samples, audio::OpusPacket& packet) {
    if (!joiner_) {
        auto created = opus::Repacketizer::create();
        if (!created) return false;
        joiner_.emplace(std::move(created).value());
        shorts_.resize(audio::kMaxPacketBytes);
        undo_.resize(encoder_->state_bytes());
    }
    encoder_->save(undo_);
    joiner_->clear();
    const auto count = static_cast<std::size_t>(kFrameSamples / samples);
    // Two bytes in front of all, and two for the length of each.
    const std::size_t room = (shorts_.size() - 2) / count - 2;
    const std::size_t values = frame_.size() / count;
    bool fit = true;
    for (std::size_t i = 0; i < count && fit; ++i) {
        const auto into = std::span{shorts_}.subspan(i * room, room);
        const std::size_t size =
            encoder_->encode_short(std::span{frame_}.subspan(i * values, values), into);
        fit = size > 0 && joiner_->add(into.first(size));
    }
    if (fit) {
        packet.set_size(joiner_->join(packet.storage()));
        fit = !packet.empty();
    }
    if (!fit) encoder_->restore(undo_);
    return fit;
}

bool EncodeStage::fits(std::int64_t index) {
    trial_->copy_from(*model_);
    // The frame itself, and the one after it when it is there: errors of the decoder's predictors
    // show late.
    for (std::int64_t i = index; i <= index + 1; ++i) {
        const TimelineFrame& frame = timeline_.frame(i);
        if (i > index && (timeline_.opened() <= i || !frame.copyable)) break;
        if (trial_->decode(frame.bytes, decoded_) != opus::CodecStatus::ok) return false;
        timeline_.read(i * kFrameSamples, reference_);
        const auto info = audio::parse_opus_packet(frame.bytes);
        const bool is_short = info && info->frame_samples < kFrameSamples;
        const double largest = is_short ? kLargestShortError : kLargestError;
        const double allowed = std::max(power(reference_) * largest, kSilentPower);
        if (error_power(reference_, decoded_) > allowed) return false;
    }
    return true;
}

// What the encoder must be given for frame `index`.
void EncodeStage::load(std::int64_t index) {
    const Place from = index * kFrameSamples + lookahead_.count();
    timeline_.read(from, frame_);
    if (interrupted_ == kNever) return;
    // What lies before is not what the receiver has heard.
    for (Place at = from; at < rise_.until && at < from + kFrameSamples; ++at) {
        const float gain = static_cast<float>(std::max(at - rise_.from, Place{0})) /
                           static_cast<float>(rise_.until - rise_.from);
        const auto value = static_cast<std::size_t>(at - from) * kChannels;
        for (std::size_t channel = 0; channel < kChannels; ++channel)
            frame_[value + channel] *= gain;
    }
}

void EncodeStage::prime(std::int64_t index) {
    audio::OpusPacket ignored;
    // A fresh encoder is as one that has heard silence, but for the look-ahead.
    const std::int64_t first = index == interrupted_ ? index - 1 : index - kPrime;
    for (std::int64_t i = std::max<std::int64_t>(first, -1); i < index; ++i) {
        load(i);
        apply_gain(std::span{frame_}.first<kFrameValues>(), state_.gain, state_.gain);
        (void)encoder_->encode(std::span{frame_}.first<kFrameValues>(), ignored);
    }
}

Status EncodeStage::need_encoder() {
    if (encoder_) return Done{};
    auto created = opus::Encoder::create(options_);
    if (!created) return std::move(created).error();
    encoder_.emplace(std::move(created).value());
    assert(encoder_->lookahead() == lookahead_);
    frame_.resize(kFrameValues);
    return Done{};
}

Status EncodeStage::need_model() {
    if (trial_) return Done{};
    auto model = opus::Decoder::create();
    if (!model) return std::move(model).error();
    auto trial = opus::Decoder::create();
    if (!trial) return std::move(trial).error();
    model_.emplace(std::move(model).value());
    trial_.emplace(std::move(trial).value());
    reference_.resize(kFrameValues);
    decoded_.resize(kFrameValues);
    return Done{};
}

void EncodeStage::take_snapshot(std::int64_t index) {
    if (index % kInterval != 0) return;
    Snapshot& snapshot =
        snapshots_[static_cast<std::size_t>(index / kInterval) % snapshots_.size()];
    snapshot.index = index;
    snapshot.encoder.resize(encoder_->state_bytes());
    encoder_->save(snapshot.encoder);
    if (state_.returning > 0) {
        snapshot.model.resize(model_->state_bytes());
        model_->save(snapshot.model);
    }
}

std::int64_t EncodeStage::restore_before(std::int64_t index) {
    const auto kept = static_cast<std::int64_t>(before_.size());
    for (std::int64_t i = index; i >= 0 && i > index - kept; --i) {
        const State& then = before(i);
        if (then.copying || then.fresh) {
            state_ = then;
            return i;
        }
        const Snapshot& snapshot =
            snapshots_[static_cast<std::size_t>(i / kInterval) % snapshots_.size()];
        if (i % kInterval == 0 && snapshot.index == i) {
            encoder_->restore(snapshot.encoder);
            if (then.returning > 0) model_->restore(snapshot.model);
            state_ = then;
            return i;
        }
    }
    assert(false);  // every encoded frame has one of those in the interval before it
    return index;
}

}  // namespace voicecore::pipeline
