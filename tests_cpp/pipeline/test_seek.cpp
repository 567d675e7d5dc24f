#include "play.hpp"

using namespace test;
using voicecore::Gain;

TEST_CASE("PCM: a seek goes on at exactly the sample asked for") {
    const auto pcm = music(48'000 * 2);
    auto program = program_of(std::make_unique<PcmFake>(pcm));
    (void)play(*program, 30);
    REQUIRE(program->seek(Samples{12'345}, 20));
    const auto played = play(*program);
    REQUIRE(played.packets.front().index == 20);
    REQUIRE(played.packets.front().position == Samples{12'345 + 960});
    const std::vector<float> rest(pcm.begin() + 2 * 12'345, pcm.end());
    REQUIRE(first_difference(played.bytes(), encode(rest)) == kNone);
}

TEST_CASE("Opus: a seek goes on with the frame that holds the position and copies soon") {
    const auto packets = encode(music(48'000 * 3));
    const auto reference = decode(packets);
    for (const std::int64_t position : {0, 480, 9'999, 48'000, 90'001}) {
        auto program = program_of(std::make_unique<OpusFake>(packets));
        (void)play(*program, 30);
        REQUIRE(program->seek(Samples{position}, 25));
        const auto played = play(*program);
        REQUIRE(played.packets.front().index == 25);
        const auto end = played.packets.front().position.count();
        CHECK(end > position);
        CHECK(end - 960 <= position);
        // Which frame of the file the first one is.
        const auto first = static_cast<std::size_t>((position + 312) / 960);
        std::size_t back = 0;
        while (back < played.packets.size() && !played.packets[back].passthrough) ++back;
        CHECK(back < 25);
        const auto heard = decode(played.bytes());
        const std::vector<float> rest(
            reference.begin() + static_cast<std::ptrdiff_t>(first * 1'920), reference.end());
        CHECK(error_db(rest, heard, back, back + 1) <= -35.0);
        CHECK(error_db(rest, heard, 1, 5) < -15.0);
    }
}

TEST_CASE("a seek to the end or past it ends the track") {
    auto program = program_of(std::make_unique<PcmFake>(music(9'600)));
    (void)play(*program, 3);
    REQUIRE(program->seek(Samples{9'600}, 3));
    REQUIRE(play(*program).last == ReadStatus::end);
    REQUIRE(program->seek(Samples{1'000'000}, 3));
    REQUIRE(play(*program).last == ReadStatus::end);
    REQUIRE(program->seek(Samples{0}, 3));
    REQUIRE(play(*program).media() == 9'600);
}

TEST_CASE("after the end a seek plays again, with the next index") {
    auto program = program_of(std::make_unique<PcmFake>(music(9'600)));
    const auto played = play(*program);
    REQUIRE(program->seek(Samples{0}, played.packets.size()));
    const auto again = play(*program);
    REQUIRE(again.packets.front().index == played.packets.size());
    REQUIRE(again.media() == 9'600);
}

TEST_CASE("a source that cannot seek refuses, and nothing has changed") {
    const auto pcm = music(48'000);
    auto program = program_of(std::make_unique<PcmFake>(pcm, 1'000, false));
    auto heard = play(*program, 10).bytes();
    REQUIRE_FALSE(program->seek(Samples{0}, 10));
    for (auto& packet : play(*program).bytes()) heard.push_back(packet);
    REQUIRE(first_difference(heard, encode(pcm)) == kNone);
}

TEST_CASE("a seek belongs to the track that is heard, and tracks read ahead start again") {
    auto program = std::move(Program::create({})).value();
    const auto second = music(48'000, 2);
    program->append(std::make_unique<PcmFake>(music(9'600, 1)));
    program->append(std::make_unique<PcmFake>(second));
    program->close_playlist();
    (void)play(*program, 18);  // in the second track already
    REQUIRE(program->seek(Samples{4'800}, 5));
    const auto played = play(*program);
    REQUIRE(played.packets.front().track == 0);
    REQUIRE(played.media() == 4'800 + 48'000);
    REQUIRE(played.packets.back().track == 1);
}

TEST_CASE("skipping goes on with the track after the one that is heard") {
    auto program = std::move(Program::create({})).value();
    const auto second = music(20'000, 2);
    program->append(std::make_unique<PcmFake>(music(9'600, 1)));
    program->append(std::make_unique<PcmFake>(second));
    program->append(std::make_unique<PcmFake>(music(5'000, 3)));
    program->close_playlist();
    (void)play(*program, 15);  // in the second track already
    program->skip_track(4);
    const auto played = play(*program);
    REQUIRE(played.packets.front().index == 4);
    REQUIRE(played.packets.front().track == 1);
    REQUIRE(played.media() == 25'000);
    program->skip_track(10'000);
    REQUIRE(play(*program).last == ReadStatus::end);
}

TEST_CASE("a seek while the source has nothing yet waits and then goes on there") {
    auto fake = std::make_unique<PcmFake>(music(48'000), 960);
    fake->block_every = 2;
    auto program = program_of(std::move(fake));
    PlayablePacket packet;
    while (program->next(packet) == ReadStatus::ok) {
    }
    REQUIRE(program->seek(Samples{24'000}, 1));
    const auto played = play(*program);
    REQUIRE(played.packets.front().position == Samples{24'960});
}

TEST_CASE("a source opened in the middle of its packets starts where it was told to") {
    const auto packets = encode(music(48'000 * 2));
    auto fake = std::make_unique<OpusFake>(packets);
    fake->seek(Samples{24'000});
    ProgramOptions options;
    options.start = Samples{24'000};
    auto program = program_of(std::move(fake), options);
    const auto played = play(*program);
    CHECK(played.packets.front().position > Samples{24'000});
    CHECK(played.packets.front().position <= Samples{24'960});
    CHECK(played.copied() > 40);
}
