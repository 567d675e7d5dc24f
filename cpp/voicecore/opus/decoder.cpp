#include "voicecore/opus/decoder.hpp"

#include <opus.h>

#include <algorithm>
#include <cassert>
#include <cstring>

#include "voicecore/opus/error.hpp"

namespace voicecore::opus {

Decoder::Decoder(DecoderHandle handle) noexcept
    : handle_{std::move(handle)},
      state_bytes_{static_cast<std::size_t>(opus_decoder_get_size(kChannels))} {}

Result<Decoder> Decoder::create() {
    int error = OPUS_OK;
    DecoderHandle handle{opus_decoder_create(kSampleRate, kChannels, &error)};
    if (!handle) return translate(error, "creating the Opus decoder");
    return Decoder{std::move(handle)};
}

CodecStatus Decoder::decode(std::span<const std::uint8_t> packet, std::span<float> into) noexcept {
    const int room = static_cast<int>(into.size()) / kChannels;
    // Asked first: a packet of another length would be decoded in part or leave a hole.
    const auto length = static_cast<opus_int32>(packet.size());
    if (packet.empty() || opus_packet_get_nb_samples(packet.data(), length, kSampleRate) != room) {
        return CodecStatus::failed;
    }
    const int samples =
        opus_decode_float(handle_.get(), packet.data(), length, into.data(), room, 0);
    return samples == room ? CodecStatus::ok : CodecStatus::failed;
}

void Decoder::conceal(std::span<float> into) noexcept {
    const int room = static_cast<int>(into.size()) / kChannels;
    if (opus_decode_float(handle_.get(), nullptr, 0, into.data(), room, 0) != room) {
        std::fill(into.begin(), into.end(), 0.0F);
    }
}

void Decoder::reset() noexcept {
    opus_decoder_ctl(handle_.get(), OPUS_RESET_STATE);
}

void Decoder::save(std::span<std::byte> into) const noexcept {
    assert(into.size() >= state_bytes_);
    std::memcpy(into.data(), static_cast<const void*>(handle_.get()), state_bytes_);
}

void Decoder::restore(std::span<const std::byte> from) noexcept {
    assert(from.size() >= state_bytes_);
    std::memcpy(static_cast<void*>(handle_.get()), from.data(), state_bytes_);
}

void Decoder::copy_from(const Decoder& other) noexcept {
    std::memcpy(static_cast<void*>(handle_.get()), static_cast<const void*>(other.handle_.get()),
                state_bytes_);
}

}  // namespace voicecore::opus
