#include <chrono>

#include "play.hpp"
#include "voicecore/base/clock.hpp"

using namespace test;
using voicecore::Gain;

namespace {

using Make = std::function<std::unique_ptr<voicecore::audio::MediaSource>()>;

// What is heard when the gain changes at `at`, told in time.
std::vector<Packet> told_in_time(const Make& make, std::size_t at, float gain) {
    auto program = program_of(make());
    auto heard = play(*program, at).bytes();
    REQUIRE(program->set_gain(Gain{gain}, at) == at);
    const auto rest = play(*program).bytes();
    heard.insert(heard.end(), rest.begin(), rest.end());
    return heard;
}
// The same, told when `ahead` more packets had been produced already.
std::vector<Packet> told_late(const Make& make, std::size_t at, std::size_t ahead, float gain) {
    auto program = program_of(make());
    auto heard = play(*program, at + ahead).bytes();
    heard.resize(at);
    REQUIRE(program->set_gain(Gain{gain}, at) == at);
    const auto rest = play(*program).bytes();
    heard.insert(heard.end(), rest.begin(), rest.end());
    return heard;
}

}  // namespace

TEST_CASE("PCM: a volume told late gives the bytes of one told in time") {
    const auto pcm = music(48'000 * 2);
    const Make make = [&] { return std::make_unique<PcmFake>(pcm); };
    for (const std::size_t at : std::initializer_list<std::size_t>{0, 1, 7, 8, 9, 31, 40}) {
        const auto expected = told_in_time(make, at, 0.25F);
        for (const std::size_t ahead : std::initializer_list<std::size_t>{1, 5, 13, 20}) {
            INFO(at << " + " << ahead);
            REQUIRE(first_difference(told_late(make, at, ahead, 0.25F), expected) == kNone);
        }
    }
}

TEST_CASE("copied packets: a volume told late gives the bytes of one told in time") {
    const auto packets = encode(music(48'000 * 2));
    const Make make = [&] { return std::make_unique<OpusFake>(packets); };
    for (const std::size_t at : std::initializer_list<std::size_t>{0, 1, 5, 8, 30, 41}) {
        const auto expected = told_in_time(make, at, 2.0F);
        for (const std::size_t ahead : std::initializer_list<std::size_t>{1, 6, 20}) {
            INFO(at << " + " << ahead);
            REQUIRE(first_difference(told_late(make, at, ahead, 2.0F), expected) == kNone);
        }
    }
}

TEST_CASE("a volume that changes back and forth within the history leaves no trace") {
    const auto packets = encode(music(48'000 * 2));
    const Make opus = [&] { return std::make_unique<OpusFake>(packets); };
    const auto pcm = music(48'000 * 2);
    const Make raw = [&] { return std::make_unique<PcmFake>(pcm); };
    for (const Make& make : {opus, raw}) {
        auto plain = program_of(make());
        const auto expected = play(*plain).bytes();
        auto program = program_of(make());
        auto heard = play(*program, 30).bytes();
        heard.resize(20);
        program->set_gain(Gain{0.5F}, 20);
        (void)play(*program, 9);
        program->set_gain(Gain{1.0F}, 20);
        const auto rest = play(*program).bytes();
        heard.insert(heard.end(), rest.begin(), rest.end());
        REQUIRE(first_difference(heard, expected) == kNone);
    }
}

TEST_CASE("a rewind while a return is under way gives the bytes of one told in time") {
    const auto packets = encode(music(48'000 * 3));
    const auto run = [&](std::size_t ahead) {
        auto program = program_of(std::make_unique<OpusFake>(packets));
        (void)play(*program, 40);
        program->set_gain(Gain{0.5F}, 40);
        (void)play(*program, 10);
        program->set_gain(Gain{1.0F}, 50);
        (void)play(*program, 3 + ahead);
        program->set_gain(Gain{0.7F}, 53);
        return play(*program).bytes();
    };
    const auto expected = run(0);
    for (const std::size_t ahead : std::initializer_list<std::size_t>{1, 4, 12, 19}) {
        REQUIRE(first_difference(run(ahead), expected) == kNone);
    }
}

TEST_CASE("a rewind beyond the history goes back as far as it reaches") {
    auto program = program_of(std::make_unique<PcmFake>(music(48'000 * 2)));
    (void)play(*program, 60);
    REQUIRE(program->set_gain(Gain{0.5F}, 10) == 60 - program->history());
    PlayablePacket packet;
    REQUIRE(program->next(packet) == ReadStatus::ok);
    REQUIRE(packet.index == 60 - program->history());
}

TEST_CASE("a volume planned for a later frame takes effect there") {
    const auto pcm = music(48'000);
    const Make make = [&] { return std::make_unique<PcmFake>(pcm); };
    auto program = program_of(make());
    REQUIRE(program->set_gain(Gain{0.5F}, 20) == 0);
    REQUIRE(first_difference(play(*program).bytes(), told_in_time(make, 20, 0.5F)) == kNone);
}

TEST_CASE("after the end a rewind plays the last frames again") {
    const auto pcm = music(48'000);
    const Make make = [&] { return std::make_unique<PcmFake>(pcm); };
    auto program = program_of(make());
    auto heard = play(*program).bytes();
    const std::size_t at = heard.size() - 6;
    heard.resize(at);
    REQUIRE(program->set_gain(Gain{0.5F}, at) == at);
    for (auto& packet : play(*program).bytes()) heard.push_back(packet);
    REQUIRE(first_difference(heard, told_in_time(make, at, 0.5F)) == kNone);
}

TEST_CASE("a volume that is no number changes nothing") {
    auto program = program_of(std::make_unique<PcmFake>(music(9'600)));
    (void)play(*program, 5);
    REQUIRE(program->set_gain(Gain{std::nanf("")}, 2) == 5);
    REQUIRE(program->set_gain(Gain{-1.0F}, 2) == 5);
}

TEST_CASE("the first packet after a rewind takes about a millisecond", "[.measure]") {
    const auto pcm = music(48'000 * 4);
    const auto packets = encode(pcm);
    for (const bool opus : {false, true}) {
        double worst = 0;
        double sum = 0;
        for (std::size_t at = 60; at < 76; ++at) {
            std::unique_ptr<voicecore::audio::MediaSource> source;
            if (opus) {
                source = std::make_unique<OpusFake>(packets);
            } else {
                source = std::make_unique<PcmFake>(pcm);
            }
            auto program = program_of(std::move(source));
            (void)play(*program, at + 20);
            const auto begun = voicecore::thread_cpu_time();
            program->set_gain(Gain{0.5F}, at);
            (void)play(*program, 1);
            const double us =
                static_cast<double>((voicecore::thread_cpu_time() - begun).count()) / 1000.0;
            worst = std::max(worst, us);
            sum += us;
        }
        std::printf("rewind of %s: mean %.0f us, worst %.0f us\n", opus ? "Opus" : "PCM", sum / 16,
                    worst);
    }
}
