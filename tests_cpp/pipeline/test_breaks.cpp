// What is heard after silence frames, which a receiver's decoder forgets over.
#include <cmath>
#include <functional>
#include <numbers>

#include "play.hpp"
#include "voicecore/audio/packet_sink.hpp"

using namespace test;
using voicecore::Gain;
using voicecore::kFrameValues;

namespace {

constexpr std::size_t kSilent = 5;

Packet silence() {
    return {voicecore::audio::kSilenceFrame.begin(), voicecore::audio::kSilenceFrame.end()};
}

using Make = std::function<std::unique_ptr<Program>()>;

// What is sent when a break begins before frame `at`, told when `ahead` more were produced.
std::vector<Packet> with_break(const Make& make, std::size_t at, std::size_t ahead) {
    auto program = make();
    auto sent = play(*program, at + ahead).bytes();
    sent.resize(at);
    REQUIRE(program->start_afresh(at) == at);
    sent.insert(sent.end(), kSilent, silence());
    const auto played = play(*program);
    REQUIRE(played.packets.front().index == at);
    const auto rest = played.bytes();
    sent.insert(sent.end(), rest.begin(), rest.end());
    return sent;
}

// How much of frame `as` of `reference` is in frame `frame` of `heard`: 1, but for what coding
// costs, when it is heard as loud.
double loudness(const std::vector<float>& heard, std::size_t frame,
                const std::vector<float>& reference, std::size_t as) {
    double both = 0.0;
    double alone = 1e-12;
    for (std::size_t i = 0; i < kFrameValues; ++i) {
        const double wanted = reference[as * kFrameValues + i];
        both += static_cast<double>(heard[frame * kFrameValues + i]) * wanted;
        alone += wanted * wanted;
    }
    return both / alone;
}

}  // namespace

TEST_CASE("after a break the audio is as loud as it was, from its first frame on") {
    const auto pcm = music(48'000 * 2);
    const auto packets = encode(pcm);
    const Make encoded = [&] { return program_of(std::make_unique<PcmFake>(pcm)); };
    const Make quieter = [&] {
        return program_of(std::make_unique<OpusFake>(packets), with_gain(0.5F));
    };
    for (const Make& make : {encoded, quieter}) {
        auto undisturbed = make();
        const auto reference = decode(play(*undisturbed).bytes());
        for (const std::size_t at : {1, 9, 20, 33, 50}) {
            const auto heard = decode(with_break(make, at, 20));
            CAPTURE(at);
            // It comes up in 2.5 ms, where a decoder overlaps it with what was before.
            CHECK(loudness(heard, at + kSilent, reference, at) > 0.75);
            for (std::size_t i = 1; i < 10; ++i) {
                CAPTURE(i);
                CHECK(std::abs(loudness(heard, at + kSilent + i, reference, at + i) - 1.0) < 0.15);
            }
        }
    }
}

TEST_CASE("a break is no louder than what is played around it") {
    std::vector<float> note(std::size_t{48'000} * 2 * 2);
    for (std::size_t i = 0; i < note.size(); ++i) {
        note[i] =
            0.8F * std::sin(static_cast<float>(i / 2) * 2.0F * std::numbers::pi_v<float> / 120);
    }
    const Make make = [&] { return program_of(std::make_unique<PcmFake>(note)); };
    for (const std::size_t at : {1, 17, 40}) {
        float loudest = 0.0F;
        for (const float value : decode(with_break(make, at, 20))) {
            loudest = std::max(loudest, std::abs(value));
        }
        CAPTURE(at);
        CHECK(loudest < 0.8F * 1.1F);
    }
}

TEST_CASE("a break told late gives the bytes of one told in time") {
    const auto pcm = music(48'000 * 2);
    const auto packets = encode(pcm);
    const Make raw = [&] { return program_of(std::make_unique<PcmFake>(pcm)); };
    const Make copied = [&] { return program_of(std::make_unique<OpusFake>(packets)); };
    const Make returning = [&] {
        auto program = program_of(std::make_unique<OpusFake>(packets), with_gain(0.5F));
        REQUIRE(program->set_gain(Gain{1.0F}, 28) == 0);
        return program;
    };
    for (const Make& make : {raw, copied, returning}) {
        for (const std::size_t at : {1, 8, 10, 30, 31, 40}) {
            const auto expected = with_break(make, at, 0);
            for (const std::size_t ahead : {1, 6, 20}) {
                CAPTURE(at, ahead);
                REQUIRE(first_difference(with_break(make, at, ahead), expected) == kNone);
            }
        }
    }
}

TEST_CASE("packets that are copied stay what they are after a break") {
    const auto packets = encode(music(48'000));
    const auto sent =
        with_break([&] { return program_of(std::make_unique<OpusFake>(packets)); }, 20, 10);
    for (std::size_t i = 20; i < packets.size(); ++i) REQUIRE(sent[i + kSilent] == packets[i]);
}

TEST_CASE("a volume set in a break is heard after it, whichever was told first") {
    const auto pcm = music(48'000);
    const auto run = [&](bool volume_first) {
        auto program = program_of(std::make_unique<PcmFake>(pcm));
        (void)play(*program, 30);
        if (volume_first) REQUIRE(program->set_gain(Gain{0.25F}, 20) == 20);
        REQUIRE(program->start_afresh(20) == 20);
        if (!volume_first) REQUIRE(program->set_gain(Gain{0.25F}, 20) == 20);
        return play(*program).bytes();
    };
    REQUIRE(first_difference(run(true), run(false)) == kNone);
}

TEST_CASE("a volume told late, behind a break, gives the bytes of one told in time") {
    const auto pcm = music(48'000 * 2);
    const auto packets = encode(pcm);
    const Make raw = [&] { return program_of(std::make_unique<PcmFake>(pcm)); };
    const Make quieter = [&] {
        return program_of(std::make_unique<OpusFake>(packets), with_gain(0.5F));
    };
    for (const Make& make : {raw, quieter}) {
        const auto run = [&](std::size_t broken, std::size_t at, std::size_t ahead) {
            auto program = make();
            (void)play(*program, broken + 5);
            REQUIRE(program->start_afresh(broken) == broken);
            (void)play(*program, at + ahead - broken);
            REQUIRE(program->set_gain(Gain{0.7F}, at) == at);
            return play(*program).bytes();
        };
        for (const std::size_t broken : {1, 31, 35, 40}) {
            for (std::size_t at = broken; at < broken + 11; ++at) {
                CAPTURE(broken, at);
                REQUIRE(first_difference(run(broken, at, 20), run(broken, at, 0)) == kNone);
            }
        }
    }
}

TEST_CASE("a break further back than the history changes nothing") {
    const auto pcm = music(48'000 * 2);
    auto program = program_of(std::make_unique<PcmFake>(pcm));
    auto sent = play(*program, 60).bytes();
    REQUIRE(program->start_afresh(10) == 60);
    for (auto& packet : play(*program).bytes()) sent.push_back(packet);
    REQUIRE(first_difference(sent, encode(pcm)) == kNone);
}
