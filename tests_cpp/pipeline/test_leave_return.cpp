#include "play.hpp"

using namespace test;
using voicecore::Gain;
using voicecore::opus::EncoderOptions;

namespace {

struct Return {
    std::size_t left = 0;     // first encoded frame
    std::size_t back = 0;     // first copied frame after it
    double worst_switch = 0;  // dB, first frame after the switch back
    double worst_after = 0;   // dB, the ten frames from it on
    double left_error = 0;    // dB, first three frames after leaving, against the ramped original
};

// Plays with gain 0.5 during [at, at + 10).
Return leave_and_return(const std::vector<Packet>& packets, std::size_t at) {
    auto program = program_of(std::make_unique<OpusFake>(packets));
    Played played = play(*program, at);
    program->set_gain(Gain{0.5F}, at);
    Played during = play(*program, 10);
    program->set_gain(Gain{1.0F}, at + 10);
    Played after = play(*program);
    for (const Played* more : {&during, &after}) {
        played.packets.insert(played.packets.end(), more->packets.begin(), more->packets.end());
    }
    Return result;
    const auto& all = played.packets;
    for (result.left = 0; result.left < all.size() && all[result.left].passthrough;) ++result.left;
    for (result.back = at + 10; result.back < all.size() && !all[result.back].passthrough;) {
        ++result.back;
    }
    const auto reference = decode(packets);
    const auto heard = decode(played.bytes());
    result.worst_switch = error_db(reference, heard, result.back, result.back + 1);
    result.worst_after = -1'000;
    for (std::size_t i = result.back; i < result.back + 10 && i < packets.size(); ++i) {
        result.worst_after = std::max(result.worst_after, error_db(reference, heard, i, i + 1));
    }
    auto ramped = reference;
    for (std::size_t i = at * 960 + 312; i < ramped.size() / 2; ++i) {
        const double progress = static_cast<double>(i - at * 960 - 312 + 1) / 960.0;
        const auto gain = static_cast<float>(1.0 - 0.5 * std::min(1.0, progress));
        ramped[2 * i] *= gain;
        ramped[2 * i + 1] *= gain;
    }
    result.left_error = error_db(ramped, heard, at, at + 3);
    return result;
}

}  // namespace

TEST_CASE("measure", "[.measure]") {
    struct Kind {
        const char* name;
        std::vector<float> (*make)(std::size_t, unsigned);
        EncoderOptions options;
    };
    std::vector<Kind> kinds;
    for (const int bitrate : {64'000, 96'000, 128'000, 192'000}) {
        EncoderOptions options;
        options.bitrate = bitrate;
        options.complexity = 10;
        kinds.push_back({"music", &music, options});
    }
    EncoderOptions hybrid;
    hybrid.bitrate = 32'000;
    hybrid.application = voicecore::opus::Application::voip;
    hybrid.signal = voicecore::opus::Signal::voice;
    kinds.push_back({"speech hybrid", &speech, hybrid});
    hybrid.bitrate = 20'000;
    kinds.push_back({"speech silk?", &speech, hybrid});
    hybrid.bitrate = 48'000;
    kinds.push_back({"music voip", &music, hybrid});
    for (const auto& kind : kinds) {
        for (unsigned seed = 1; seed <= 3; ++seed) {
            const auto packets = encode(kind.make(48'000 * 12, seed), kind.options);
            std::vector<int> took;
            double worst_switch = -1'000, worst_after = -1'000, left = -1'000;
            int silk = 0, hyb = 0;
            for (const auto& p : packets) {
                const auto mode = voicecore::audio::parse_opus_packet(p)->mode;
                silk += mode == voicecore::audio::OpusMode::silk;
                hyb += mode == voicecore::audio::OpusMode::hybrid;
            }
            for (std::size_t at = 20; at < 400; at += 19) {
                const auto r = leave_and_return(packets, at);
                took.push_back(static_cast<int>(r.back - at - 10));
                if (r.back < packets.size()) {
                    worst_switch = std::max(worst_switch, r.worst_switch);
                    worst_after = std::max(worst_after, r.worst_after);
                }
                left = std::max(left, r.left_error);
            }
            std::sort(took.begin(), took.end());
            std::printf(
                "%-14s %6d seed %u silk %d hybrid %d of %zu: frames median %d p90 %d max %d; "
                "switch %.1f dB, after %.1f dB, leaving %.1f dB\n",
                kind.name, kind.options.bitrate, seed, silk, hyb, packets.size(),
                took[took.size() / 2], took[took.size() * 9 / 10], took.back(), worst_switch,
                worst_after, left);
        }
    }
}
