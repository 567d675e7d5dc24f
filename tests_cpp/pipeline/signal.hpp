// Signals that behave like music, and Opus made from them.
#pragma once

#include <cmath>
#include <cstdint>
#include <numbers>
#include <random>
#include <span>
#include <vector>

#include "voicecore/opus/decoder.hpp"
#include "voicecore/opus/encoder.hpp"

namespace test {

using Packet = std::vector<std::uint8_t>;

// Interleaved stereo: chords that change four times a second, a noise floor, drum hits.
inline std::vector<float> music(std::size_t samples, unsigned seed = 1) {
    std::mt19937 random{seed};
    std::normal_distribution<double> noise{0.0, 1.0};
    std::uniform_int_distribution<int> note{0, 24};
    std::vector<float> out(samples * 2);
    double frequencies[4]{};
    double hit = 0.0;
    for (std::size_t n = 0; n < samples; ++n) {
        if (n % 12'000 == 0) {
            for (double& f : frequencies) f = 110.0 * std::pow(2.0, note(random) / 12.0);
        }
        if (n % 24'000 == 7'000) hit = 0.5;
        hit *= 0.9993;
        const double t = static_cast<double>(n) / 48'000.0;
        double left = 0.0;
        double right = 0.0;
        for (int i = 0; i < 4; ++i) {
            for (int h = 1; h <= 6; ++h) {
                const double s =
                    std::sin(2.0 * std::numbers::pi * frequencies[i] * h * t + i) / (h * 10.0);
                left += s * (i % 2 ? 1.0 : 0.6);
                right += s * (i % 2 ? 0.6 : 1.0);
            }
        }
        const double drum = hit * noise(random);
        out[2 * n] = static_cast<float>(left + drum + 0.003 * noise(random));
        out[2 * n + 1] = static_cast<float>(right + drum + 0.003 * noise(random));
    }
    return out;
}

// Something like speech: a buzz with moving formants, in syllables with pauses.
inline std::vector<float> speech(std::size_t samples, unsigned seed = 1) {
    std::mt19937 random{seed};
    std::normal_distribution<double> noise{0.0, 1.0};
    std::uniform_real_distribution<double> uniform{0.0, 1.0};
    std::vector<float> out(samples * 2);
    double phase = 0.0, pitch = 120.0, y1 = 0.0, y2 = 0.0, z1 = 0.0, z2 = 0.0;
    double f1 = 500.0, f2 = 1'500.0;
    bool voiced = true;
    double level = 0.0, target = 1.0;
    for (std::size_t n = 0; n < samples; ++n) {
        if (n % 7'200 == 0) {
            pitch = 90.0 + 80.0 * uniform(random);
            f1 = 300.0 + 500.0 * uniform(random);
            f2 = 900.0 + 1'500.0 * uniform(random);
            voiced = uniform(random) < 0.7;
            target = uniform(random) < 0.25 ? 0.0 : 1.0;
        }
        level += (target - level) * 0.002;
        phase += pitch / 48'000.0;
        double x = 0.0;
        if (phase >= 1.0) {
            phase -= 1.0;
            x = voiced ? 1.0 : 0.0;
        }
        x += (voiced ? 0.01 : 0.12) * noise(random);
        const auto resonate = [](double in, double f, double& a, double& b) {
            const double r = 0.985;
            const double out_value =
                in + 2.0 * r * std::cos(2.0 * std::numbers::pi * f / 48'000.0) * a - r * r * b;
            b = a;
            a = out_value;
            return out_value;
        };
        const double y = resonate(resonate(x, f1, y1, y2) * 0.05, f2, z1, z2) * 0.2;
        const auto value = static_cast<float>(level * y + 0.0002 * noise(random));
        out[2 * n] = out[2 * n + 1] = std::fmax(-0.9F, std::fmin(0.9F, value));
    }
    return out;
}

// As opusenc would: the look-ahead is flushed, so that the packets decode to look-ahead + signal +
// a bit.
inline std::vector<Packet> encode(const std::vector<float>& pcm,
                                  const voicecore::opus::EncoderOptions& options = {},
                                  std::size_t frame_samples = voicecore::kFrameSamples) {
    auto encoder = voicecore::opus::Encoder::create(options);
    std::vector<Packet> packets;
    std::vector<float> frame(frame_samples * 2);
    const std::size_t total =
        pcm.size() + static_cast<std::size_t>(encoder->lookahead().count()) * 2;
    for (std::size_t at = 0; at < total; at += frame.size()) {
        std::fill(frame.begin(), frame.end(), 0.0F);
        for (std::size_t i = 0; i < frame.size() && at + i < pcm.size(); ++i)
            frame[i] = pcm[at + i];
        if (frame.size() < voicecore::kFrameValues) {
            Packet packet(voicecore::audio::kMaxPacketBytes);
            packet.resize(encoder->encode_short(frame, packet));
            packets.push_back(std::move(packet));
            continue;
        }
        voicecore::audio::OpusPacket packet;
        if (encoder->encode(std::span{frame}.first<voicecore::kFrameValues>(), packet) !=
            voicecore::opus::CodecStatus::ok) {
            return {};
        }
        packets.emplace_back(packet.bytes().begin(), packet.bytes().end());
    }
    return packets;
}

// What an undisturbed receiver hears.
inline std::vector<float> decode(const std::vector<Packet>& packets) {
    auto decoder = voicecore::opus::Decoder::create();
    std::vector<float> out;
    for (const Packet& packet : packets) {
        const auto info = voicecore::audio::parse_opus_packet(packet);
        std::vector<float> pcm(static_cast<std::size_t>(info->samples()) * 2);
        if (decoder->decode(packet, pcm) != voicecore::opus::CodecStatus::ok) decoder->conceal(pcm);
        out.insert(out.end(), pcm.begin(), pcm.end());
    }
    return out;
}

// Power of a - b relative to the power of a, in dB, over whole frames [first, last).
inline double error_db(const std::vector<float>& a, const std::vector<float>& b, std::size_t first,
                       std::size_t last) {
    double signal = 1e-12;
    double error = 1e-15;
    for (std::size_t i = first * voicecore::kFrameValues; i < last * voicecore::kFrameValues; ++i) {
        const double x = i < a.size() ? static_cast<double>(a[i]) : 0.0;
        const double y = i < b.size() ? static_cast<double>(b[i]) : 0.0;
        signal += x * x;
        error += (x - y) * (x - y);
    }
    return 10.0 * std::log10(error / signal);
}

}  // namespace test
