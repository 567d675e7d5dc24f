// The Opus decoder: packets in, 48 kHz stereo float out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "voicecore/base/result.hpp"
#include "voicecore/base/units.hpp"
#include "voicecore/opus/encoder.hpp"
#include "voicecore/opus/handles.hpp"

namespace voicecore::opus {

// Not thread-safe. Moved-from decoders may only be destroyed or assigned to.
class Decoder {
  public:
    [[nodiscard]] static Result<Decoder> create();

    // Decodes one packet of exactly `into.size() / 2` samples; interleaved stereo, also from mono
    // packets. After a failure the content of `into` means nothing. No allocation.
    [[nodiscard]] CodecStatus decode(std::span<const std::uint8_t> packet,
                                     std::span<float> into) noexcept;
    // Fills `into` (a multiple of 2.5 ms, 120 ms at most) with what best hides a lost packet; with
    // silence when the decoder cannot.
    void conceal(std::span<float> into) noexcept;

    void reset() noexcept;

    // As in Encoder.
    [[nodiscard]] std::size_t state_bytes() const noexcept { return state_bytes_; }
    void save(std::span<std::byte> into) const noexcept;
    void restore(std::span<const std::byte> from) noexcept;
    // Takes over the state of another decoder.
    void copy_from(const Decoder& other) noexcept;

  private:
    explicit Decoder(DecoderHandle handle) noexcept;

    DecoderHandle handle_;
    std::size_t state_bytes_ = 0;
};

}  // namespace voicecore::opus
