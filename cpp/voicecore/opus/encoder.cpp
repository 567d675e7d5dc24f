#include "voicecore/opus/encoder.hpp"

#include <opus.h>

#include <cassert>
#include <cmath>
#include <cstring>

#include "voicecore/opus/error.hpp"

namespace voicecore::opus {
namespace {

// opus_private.h: OPUS_SET_FORCE_MODE and its values.
constexpr int kSetForceMode = 11'002;
constexpr int kModeSilk = 1'000;
constexpr int kModeHybrid = 1'001;
constexpr int kModeCelt = 1'002;

int native(Application application) noexcept {
    switch (application) {
        case Application::voip:
            return OPUS_APPLICATION_VOIP;
        case Application::low_delay:
            return OPUS_APPLICATION_RESTRICTED_LOWDELAY;
        case Application::audio:
            break;
    }
    return OPUS_APPLICATION_AUDIO;
}

int native(Signal signal) noexcept {
    switch (signal) {
        case Signal::music:
            return OPUS_SIGNAL_MUSIC;
        case Signal::voice:
            return OPUS_SIGNAL_VOICE;
        case Signal::automatic:
            break;
    }
    return OPUS_AUTO;
}

int native(Bandwidth bandwidth) noexcept {
    return OPUS_BANDWIDTH_NARROWBAND + static_cast<int>(bandwidth);
}

}  // namespace

Encoder::Encoder(EncoderHandle handle, const EncoderOptions& options) noexcept
    : handle_{std::move(handle)},
      options_{options},
      state_bytes_{static_cast<std::size_t>(opus_encoder_get_size(kChannels))} {}

Result<Encoder> Encoder::create(const EncoderOptions& options) {
    if (auto status = check(options); !status) return std::move(status).error();
    int error = OPUS_OK;
    EncoderHandle handle{
        opus_encoder_create(kSampleRate, kChannels, native(options.application), &error)};
    if (!handle) return translate(error, "creating the Opus encoder");
    Encoder encoder{std::move(handle), options};
    if (auto status = encoder.apply(); !status) return std::move(status).error();
    return encoder;
}

Status Encoder::apply() {
    OpusEncoder* encoder = handle_.get();
    const int loss = static_cast<int>(std::lround(options_.expected_loss * 100.0));
    const int results[] = {
        opus_encoder_ctl(encoder, OPUS_SET_BITRATE(options_.bitrate)),
        opus_encoder_ctl(encoder, OPUS_SET_COMPLEXITY(options_.complexity)),
        opus_encoder_ctl(encoder, OPUS_SET_INBAND_FEC(options_.fec ? 1 : 0)),
        opus_encoder_ctl(encoder, OPUS_SET_PACKET_LOSS_PERC(loss)),
        opus_encoder_ctl(encoder, OPUS_SET_SIGNAL(native(options_.signal))),
        opus_encoder_ctl(encoder, OPUS_SET_VBR(options_.rate_mode == RateMode::cbr ? 0 : 1)),
        opus_encoder_ctl(encoder, OPUS_SET_VBR_CONSTRAINT(
                                      options_.rate_mode == RateMode::constrained_vbr ? 1 : 0)),
        opus_encoder_ctl(encoder, OPUS_SET_DTX(options_.dtx ? 1 : 0)),
        opus_encoder_ctl(encoder, OPUS_SET_MAX_BANDWIDTH(native(options_.max_bandwidth))),
    };
    for (const int result : results) {
        if (result != OPUS_OK) return translate(result, "configuring the Opus encoder");
    }
    opus_int32 lookahead = 0;
    if (const int result = opus_encoder_ctl(encoder, OPUS_GET_LOOKAHEAD(&lookahead));
        result != OPUS_OK) {
        return translate(result, "reading the look-ahead of the Opus encoder");
    }
    lookahead_ = Samples{lookahead};
    return Done{};
}

CodecStatus Encoder::encode(std::span<const float, kFrameValues> frame,
                            audio::OpusPacket& packet) noexcept {
    const auto room = packet.storage();
    const int bytes = opus_encode_float(handle_.get(), frame.data(), kFrameSamples, room.data(),
                                        static_cast<opus_int32>(room.size()));
    if (bytes <= 0) return CodecStatus::failed;
    packet.set_size(static_cast<std::size_t>(bytes));
    return CodecStatus::ok;
}

std::size_t Encoder::encode_short(std::span<const float> frame,
                                  std::span<std::uint8_t> room) noexcept {
    const int bytes =
        opus_encode_float(handle_.get(), frame.data(), static_cast<int>(frame.size()) / kChannels,
                          room.data(), static_cast<opus_int32>(room.size()));
    return bytes > 0 ? static_cast<std::size_t>(bytes) : 0;
}

void Encoder::reset() noexcept {
    opus_encoder_ctl(handle_.get(), OPUS_RESET_STATE);
    set_bitrate(options_.bitrate);
    set_prediction_disabled(false);
    imitate(std::nullopt);
}

void Encoder::save(std::span<std::byte> into) const noexcept {
    assert(into.size() >= state_bytes_);
    std::memcpy(into.data(), static_cast<const void*>(handle_.get()), state_bytes_);
}

void Encoder::restore(std::span<const std::byte> from) noexcept {
    assert(from.size() >= state_bytes_);
    std::memcpy(static_cast<void*>(handle_.get()), from.data(), state_bytes_);
}

void Encoder::set_bitrate(int bits_per_second) noexcept {
    if (bits_per_second < kMinBitrate || bits_per_second > kMaxBitrate) return;
    opus_encoder_ctl(handle_.get(), OPUS_SET_BITRATE(bits_per_second));
}

void Encoder::set_prediction_disabled(bool disabled) noexcept {
    opus_encoder_ctl(handle_.get(), OPUS_SET_PREDICTION_DISABLED(disabled ? 1 : 0));
}

void Encoder::imitate(std::optional<std::uint8_t> toc) noexcept {
    opus_int32 mode = OPUS_AUTO;
    opus_int32 bandwidth = OPUS_AUTO;
    opus_int32 channels = OPUS_AUTO;
    if (toc) {  // RFC 6716 table 2
        const unsigned config = *toc >> 3U;
        mode = config < 12 ? kModeSilk : config < 16 ? kModeHybrid : kModeCelt;
        bandwidth = opus_packet_get_bandwidth(&*toc);
        channels = (*toc & 0x04U) != 0 ? 2 : 1;
    }
    opus_encoder_ctl(handle_.get(), kSetForceMode, mode);
    opus_encoder_ctl(handle_.get(), OPUS_SET_BANDWIDTH(bandwidth));
    opus_encoder_ctl(handle_.get(), OPUS_SET_FORCE_CHANNELS(channels));
}

}  // namespace voicecore::opus
