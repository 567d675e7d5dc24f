#include "play.hpp"

using namespace test;
using voicecore::Gain;

TEST_CASE("20 ms packets are copied bit for bit from the first") {
    const auto packets = encode(music(48'000 * 2));
    auto program = program_of(std::make_unique<OpusFake>(packets));
    const auto played = play(*program);
    REQUIRE(played.last == ReadStatus::end);
    REQUIRE(first_difference(played.bytes(), packets) == kNone);
    REQUIRE(played.copied() == packets.size());
}

TEST_CASE("a copied packet needs no packet after it") {
    auto fake = std::make_unique<OpusFake>(encode(music(9'600)));
    fake->block_every = 2;
    auto program = program_of(std::move(fake));
    PlayablePacket packet;
    REQUIRE(program->next(packet) == ReadStatus::ok);
    REQUIRE(program->next(packet) == ReadStatus::would_block);
    REQUIRE(program->next(packet) == ReadStatus::ok);
}

TEST_CASE("the media of copied packets leaves out pre-skip and padding") {
    const std::size_t length = 48'000 + 77;
    const auto packets = encode(music(length));
    auto program =
        program_of(std::make_unique<OpusFake>(packets, 312, static_cast<std::int64_t>(length)));
    const auto played = play(*program);
    REQUIRE(played.media() == static_cast<std::int64_t>(length));
    REQUIRE(played.packets[0].media_samples == 960 - 312);
    REQUIRE(played.packets.back().position == Samples{static_cast<std::int64_t>(length)});
    REQUIRE(played.copied() == packets.size());
}

TEST_CASE("with passthrough off every frame is encoded, and still lies where it lay") {
    const auto packets = encode(music(48'000));
    auto program = program_of(std::make_unique<OpusFake>(packets), without_passthrough());
    const auto played = play(*program);
    REQUIRE(played.copied() == 0);
    REQUIRE(error_db(decode(packets), decode(played.bytes()), 2, 49) < -10.0);
}

TEST_CASE("a header gain is applied, which needs encoding") {
    const auto packets = encode(music(48'000));
    auto program = program_of(std::make_unique<OpusFake>(packets, 312, 0, 0.5F));
    const auto played = play(*program);
    REQUIRE(played.copied() == 0);
    auto expected = decode(packets);
    for (float& value : expected) value *= 0.5F;
    REQUIRE(error_db(expected, decode(played.bytes()), 2, 49) < -10.0);
}
