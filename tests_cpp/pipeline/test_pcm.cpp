#include "play.hpp"

using namespace test;
using voicecore::Gain;
using voicecore::kFrameSamples;

TEST_CASE("PCM comes out as libopus alone would encode it") {
    const auto pcm = music(48'000 + 500);
    auto program = program_of(std::make_unique<PcmFake>(pcm));
    const auto played = play(*program);
    REQUIRE(played.last == ReadStatus::end);
    REQUIRE(first_difference(played.bytes(), encode(pcm)) == kNone);
}

TEST_CASE("the size of a source's units does not show in the packets") {
    const auto pcm = music(20'000);
    auto a = program_of(std::make_unique<PcmFake>(pcm, 960));
    const auto bytes = play(*a).bytes();
    for (const std::size_t unit : std::initializer_list<std::size_t>{1, 7, 441, 4'608, 100'000}) {
        auto b = program_of(std::make_unique<PcmFake>(pcm, unit));
        REQUIRE(first_difference(play(*b).bytes(), bytes) == kNone);
    }
}

TEST_CASE("a last partial frame is played and says how much of it is media") {
    for (const std::size_t samples :
         std::initializer_list<std::size_t>{1, 647, 648, 649, 959, 960, 961, 1'608, 1'609, 5'000}) {
        const auto pcm = music(samples);
        auto program = program_of(std::make_unique<PcmFake>(pcm));
        const auto played = play(*program);
        REQUIRE(played.media() == static_cast<std::int64_t>(samples));
        REQUIRE(played.packets.front().media_samples == std::min<std::size_t>(samples, 960));
        // Every sample, late by the look-ahead, lies within what is sent.
        REQUIRE(played.packets.size() == (samples + 312 + 959) / 960);
    }
}

TEST_CASE("positions and indices count frames from the start") {
    auto program = program_of(std::make_unique<PcmFake>(music(9'600)));
    const auto played = play(*program);
    for (std::size_t i = 0; i < 10; ++i) {
        REQUIRE(played.packets[i].index == i);
        REQUIRE(played.packets[i].position == Samples{static_cast<std::int64_t>(i + 1) * 960});
        REQUIRE(played.packets[i].track == 0);
        REQUIRE_FALSE(played.packets[i].passthrough);
    }
}

TEST_CASE("a source that has nothing yet delays packets and changes none") {
    const auto pcm = music(20'000);
    auto a = program_of(std::make_unique<PcmFake>(pcm));
    auto slow = std::make_unique<PcmFake>(pcm, 333);
    slow->block_every = 2;
    auto b = program_of(std::move(slow));
    REQUIRE(first_difference(play(*a).bytes(), play(*b).bytes()) == kNone);
}

TEST_CASE("a push source's every full frame can be played before the next is written") {
    auto fake = std::make_unique<PcmFake>(music(960 * 3), 960);
    fake->block_every = 2;  // one unit, then nothing, and so on
    auto program = program_of(std::move(fake));
    PlayablePacket packet;
    REQUIRE(program->next(packet) == ReadStatus::ok);
    REQUIRE(program->next(packet) == ReadStatus::would_block);
    REQUIRE(program->next(packet) == ReadStatus::ok);
}

TEST_CASE("a source that fails does so after what it had given") {
    auto fake = std::make_unique<PcmFake>(music(9'600), 1'000);
    fake->fail_at = 5;
    auto program = program_of(std::move(fake));
    const auto played = play(*program);
    REQUIRE(played.last == ReadStatus::failed);
    REQUIRE(played.media() == 5'000);
    REQUIRE(program->error().message == "broken");
}

TEST_CASE("an empty source gives no packet") {
    auto program = program_of(std::make_unique<PcmFake>(std::vector<float>{}));
    const auto played = play(*program);
    REQUIRE(played.last == ReadStatus::end);
    REQUIRE(played.packets.empty());
}

TEST_CASE("volume scales what is heard") {
    const auto pcm = music(48'000);
    auto full = program_of(std::make_unique<PcmFake>(pcm));
    auto half = program_of(std::make_unique<PcmFake>(pcm), with_gain(0.5F));
    auto a = decode(play(*full).bytes());
    for (float& value : a) value *= 0.5F;
    REQUIRE(error_db(a, decode(play(*half).bytes()), 0, 50) < -15.0);
}

TEST_CASE("a program refuses options out of their range and says which") {
    ProgramOptions options;
    options.encoder.bitrate = 0;
    REQUIRE(Program::create(options).error().message == "bitrate 0: expected 500 to 510000 bit/s");
    options = {};
    options.gain = Gain{-1.0F};
    REQUIRE(Program::create(options).error().code == voicecore::Errc::invalid_argument);
    options = {};
    options.gain = Gain{std::nanf("")};
    REQUIRE_FALSE(Program::create(options).ok());
}
