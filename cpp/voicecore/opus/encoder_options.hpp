// What can be chosen about the Opus encoder, and the defaults.
#pragma once

#include <cstdint>

#include "voicecore/base/result.hpp"

namespace voicecore::opus {

enum class Application : std::uint8_t { audio, voip, low_delay };
enum class Signal : std::uint8_t { automatic, music, voice };
enum class RateMode : std::uint8_t { vbr, constrained_vbr, cbr };
// Audio bandwidth: 4, 6, 8, 12 and 20 kHz.
enum class Bandwidth : std::uint8_t { narrow, medium, wide, super_wide, full };

inline constexpr int kMinBitrate = 500;  // bit/s, RFC 6716 section 2.1.1
inline constexpr int kMaxBitrate = 510'000;
inline constexpr int kMaxComplexity = 10;

// Why these defaults (30 s of synthetic music at 128 kbit/s, libopus 1.3.1, `test_opus
// "[.measure]"`): complexity 0 / 2 / 5 / 8 / 10 takes 43 / 64 / 83 / 146 / 146 us a frame for an
// SNR of 19.2 / 19.8 / 19.8 / 21.0 / 21.0 dB. From 7 on libopus analyses the signal, which costs 75
// % more CPU, and the SNR that it gains comes with 13 % more bits; 5 is the first to use every tool
// of CELT (the pitch prefilter). 150 mp3 streams then need 0.85 of a core. In-band FEC for 15 %
// loss leaves CELT: 356 us and 13.1 dB. It is off: a listener who loses packets hears it less than
// everyone hears the hybrid.
// Of recorded music (examples/audio/palace.mp3 by VOICECORE_MEASURE, see test_defaults.cpp) free /
// constrained VBR / CBR give 23.7 / 23.3 / 23.3 dB and 136 / 128.5 / 128 kbit/s, with a largest
// packet of 631 / 510 / 320 bytes, for the same CPU (of the synthetic kind 127, 128.4 and 128
// kbit/s): free VBR spends up to a tenth more where the music needs it, and a frame of 20 ms is one
// datagram in any case. What the signal is told to be changes nothing at this bitrate, and libopus
// finds out by itself at lower ones. The application VoIP filters what lies below speech (its SNR
// against the original is 2 to 6 dB); low delay takes 2.5 ms instead of 6.5 and forgoes SILK at low
// bitrates. DTX changes nothing in music, and leaves gaps in the packets where it is silent.
struct EncoderOptions {
    int bitrate = 128'000;  // bit/s
    int complexity = 5;     // 0 (cheap) to 10 (good)
    bool fec = false;  // in-band; makes libopus leave CELT for SILK hybrids when loss is expected
    double expected_loss = 0.0;  // 0 to 1
    Application application = Application::audio;
    Signal signal = Signal::automatic;
    RateMode rate_mode = RateMode::vbr;
    bool dtx = false;
    Bandwidth max_bandwidth = Bandwidth::full;
};

// Says which value is out of its range.
[[nodiscard]] Status check(const EncoderOptions& options);

}  // namespace voicecore::opus
