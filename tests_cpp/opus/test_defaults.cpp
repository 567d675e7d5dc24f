// The figures behind the defaults of EncoderOptions. Run with: test_opus "[.measure]"
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <numbers>
#include <random>
#include <vector>

#include "catch.hpp"
#include "voicecore/base/clock.hpp"
#include "voicecore/opus/decoder.hpp"
#include "voicecore/opus/encoder.hpp"

using namespace voicecore;
using namespace voicecore::opus;

namespace {

constexpr int kFrames = 1'500;

// What VOICECORE_MEASURE names, raw 48 kHz stereo floats (of real music: ffmpeg -f f32le -ar 48000
// -ac 2), or the synthetic kind.
std::vector<float> synthetic();
std::vector<float> music() {
    const char* path = std::getenv("VOICECORE_MEASURE");
    if (path == nullptr) return synthetic();
    std::vector<float> out(kFrames * kFrameValues);
    std::ifstream file{path, std::ios::binary};
    file.read(reinterpret_cast<char*>(out.data()),
              static_cast<std::streamsize>(out.size() * sizeof(float)));
    REQUIRE(file);
    return out;
}

// Chords with harmonics, hits and a noise floor that falls with frequency, as in produced music.
std::vector<float> synthetic() {
    std::mt19937 random{7};
    std::normal_distribution<double> noise{0.0, 1.0};
    std::uniform_int_distribution<int> note{0, 30};
    std::vector<float> out(kFrames * kFrameValues);
    double chord[4]{};
    double hit = 0.0;
    double low = 0.0;
    for (std::size_t n = 0; n < out.size() / 2; ++n) {
        if (n % 14'000 == 0) {
            for (double& f : chord) f = 82.4 * std::pow(2.0, note(random) / 12.0);
        }
        hit = n % 21'000 == 3'000 ? 0.4 : hit * 0.9992;
        const double t = static_cast<double>(n) / kSampleRate;
        double left = 0.0;
        double right = 0.0;
        for (int i = 0; i < 4; ++i) {
            for (int h = 1; h <= 10; ++h) {
                const double s = std::sin(2.0 * std::numbers::pi * chord[i] * h * t + i * h) /
                                 (std::pow(h, 1.3) * 11.0);
                left += s * (i % 2 == 0 ? 1.0 : 0.5);
                right += s * (i % 2 == 0 ? 0.5 : 1.0);
            }
        }
        low += (noise(random) - low) * 0.2;
        out[2 * n] = static_cast<float>(left + hit * noise(random) + 0.01 * low);
        out[2 * n + 1] = static_cast<float>(right + hit * noise(random) + 0.01 * low);
    }
    return out;
}

struct Outcome {
    double us = 0;
    double kbit = 0;
    double snr = 0;           // segmental, dB
    std::size_t largest = 0;  // packet, bytes
};
Outcome measure(const std::vector<float>& pcm, const EncoderOptions& options) {
    Outcome best;
    best.us = 1e9;
    for (int turn = 0; turn < 3; ++turn) {
        auto encoder = std::move(Encoder::create(options)).value();
        auto decoder = std::move(Decoder::create()).value();
        std::vector<float> decoded(pcm.size());
        std::size_t bytes = 0;
        Nanoseconds spent{0};
        audio::OpusPacket packet;
        for (std::size_t k = 0; k < kFrames; ++k) {
            const auto begun = thread_cpu_time();
            REQUIRE(encoder.encode(std::span{pcm}.subspan(k * kFrameValues).first<kFrameValues>(),
                                   packet) == CodecStatus::ok);
            spent += thread_cpu_time() - begun;
            bytes += packet.size();
            best.largest = std::max(best.largest, packet.size());
            REQUIRE(decoder.decode(packet.bytes(),
                                   std::span{decoded}.subspan(k * kFrameValues, kFrameValues)) ==
                    CodecStatus::ok);
        }
        const auto late = static_cast<std::size_t>(encoder.lookahead().count()) * 2;
        double sum = 0.0;
        for (std::size_t k = 1; k + 1 < kFrames; ++k) {
            double signal = 1e-9;
            double error = 1e-12;
            for (std::size_t i = k * kFrameValues; i < (k + 1) * kFrameValues; ++i) {
                const double d =
                    static_cast<double>(pcm[i]) - static_cast<double>(decoded[i + late]);
                signal += static_cast<double>(pcm[i]) * static_cast<double>(pcm[i]);
                error += d * d;
            }
            sum += 10.0 * std::log10(signal / error);
        }
        best.us = std::min(best.us, static_cast<double>(spent.count()) / 1e3 / kFrames);
        best.kbit = static_cast<double>(bytes) * 8.0 / (kFrames * 0.02) / 1e3;
        best.snr = sum / (kFrames - 2);
    }
    return best;
}

}  // namespace

TEST_CASE("what complexity and in-band FEC cost and give", "[.measure]") {
    const auto pcm = music();
    for (const int bitrate : {96'000, 128'000, 192'000}) {
        for (const int complexity : {0, 2, 5, 8, 10}) {
            EncoderOptions options;
            options.bitrate = bitrate;
            options.complexity = complexity;
            const auto o = measure(pcm, options);
            std::printf("%3d kbit/s complexity %2d: %6.1f us a frame, %5.1f kbit/s, SNR %5.2f dB\n",
                        bitrate / 1'000, complexity, o.us, o.kbit, o.snr);
        }
    }
    EncoderOptions options;
    options.fec = true;
    options.expected_loss = 0.15;
    const auto o = measure(pcm, options);
    std::printf(
        "128 kbit/s complexity  5 with FEC for 15 %% loss: %6.1f us, %5.1f kbit/s, SNR %5.2f dB\n",
        o.us, o.kbit, o.snr);
}

TEST_CASE("what the kind of rate, of application and of signal cost and give", "[.measure]") {
    const auto pcm = music();
    const auto show = [&](const char* what, const EncoderOptions& options) {
        const auto o = measure(pcm, options);
        std::printf("%-24s %6.1f us a frame, %5.1f kbit/s, largest packet %4zu, SNR %5.2f dB\n",
                    what, o.us, o.kbit, o.largest, o.snr);
    };
    EncoderOptions options;
    show("VBR (the default)", options);
    options.rate_mode = RateMode::constrained_vbr;
    show("constrained VBR", options);
    options.rate_mode = RateMode::cbr;
    show("CBR", options);
    options = {};
    options.signal = Signal::music;
    show("signal: music", options);
    options.signal = Signal::voice;
    show("signal: voice", options);
    options = {};
    options.application = Application::voip;
    show("application: VoIP", options);
    options.application = Application::low_delay;
    show("application: low delay", options);
    options = {};
    options.dtx = true;
    show("DTX", options);
}
