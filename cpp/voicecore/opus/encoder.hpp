// The Opus encoder: 20 ms of 48 kHz stereo in, one packet out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "voicecore/audio/opus_packet.hpp"
#include "voicecore/base/result.hpp"
#include "voicecore/base/units.hpp"
#include "voicecore/opus/encoder_options.hpp"
#include "voicecore/opus/handles.hpp"

namespace voicecore::opus {

enum class CodecStatus : std::uint8_t { ok, failed };

// Not thread-safe. Moved-from encoders may only be destroyed or assigned to.
class Encoder {
  public:
    [[nodiscard]] static Result<Encoder> create(const EncoderOptions& options);

    // Interleaved stereo. No allocation; about 95 µs at the defaults.
    [[nodiscard]] CodecStatus encode(std::span<const float, kFrameValues> frame,
                                     audio::OpusPacket& packet) noexcept;

    // A shorter frame (2.5, 5 or 10 ms) into a packet of its own: its size, 0 after a failure.
    [[nodiscard]] std::size_t encode_short(std::span<const float> frame,
                                           std::span<std::uint8_t> room) noexcept;

    // By how many samples the decoded signal is later than what was put in.
    [[nodiscard]] Samples lookahead() const noexcept { return lookahead_; }

    // As just created, with the same options.
    void reset() noexcept;

    // The whole state, options included, is `state_bytes()` long and may be copied in memory of
    // this process. restore() takes what save() of an encoder with the same options wrote.
    [[nodiscard]] std::size_t state_bytes() const noexcept { return state_bytes_; }
    void save(std::span<std::byte> into) const noexcept;
    void restore(std::span<const std::byte> from) noexcept;

    // From the next frame on; values out of range are a bug of the caller and are ignored.
    void set_bitrate(int bits_per_second) noexcept;
    // Frames that do not lean on the ones before: what a decoder in another state needs.
    void set_prediction_disabled(bool disabled) noexcept;
    // Makes frames of the kind that this table-of-contents byte names: mode, bandwidth, channels.
    // Null lets libopus choose. The mode is a request that libopus does not document but has
    // honoured in every release; where it is refused nothing changes.
    void imitate(std::optional<std::uint8_t> toc) noexcept;

    [[nodiscard]] const EncoderOptions& options() const noexcept { return options_; }

  private:
    Encoder(EncoderHandle handle, const EncoderOptions& options) noexcept;
    [[nodiscard]] Status apply();

    EncoderHandle handle_;
    EncoderOptions options_;
    std::size_t state_bytes_ = 0;
    Samples lookahead_{0};
};

}  // namespace voicecore::opus
