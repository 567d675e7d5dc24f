#include <cmath>
#include <numbers>

#include "play.hpp"

using namespace test;
using voicecore::Gain;

namespace {

// By a decoder that has heard `before` as well.
std::vector<float> heard_after(std::vector<Packet> before, const std::vector<Packet>& packets) {
    const std::size_t size = before.size() * voicecore::kFrameValues;
    before.insert(before.end(), packets.begin(), packets.end());
    const auto all = decode(before);
    return {all.begin() + static_cast<std::ptrdiff_t>(size), all.end()};
}

std::vector<float> undelayed(std::vector<float> heard) {
    heard.erase(heard.begin(), heard.begin() + std::ptrdiff_t{2 * 312});
    return heard;
}

}  // namespace

TEST_CASE("PCM: a seek goes on at exactly the sample asked for") {
    const auto pcm = music(48'000 * 2);
    auto program = program_of(std::make_unique<PcmFake>(pcm));
    auto before = play(*program, 30).bytes();
    before.resize(20);
    REQUIRE(program->seek(Samples{12'345}, {20}));
    const auto played = play(*program);
    REQUIRE(played.packets.front().index == 20);
    REQUIRE(played.packets.front().position == Samples{12'345 + 960});
    const auto heard = undelayed(heard_after(before, played.bytes()));
    const auto error_from = [&](int sample) {
        return error_db({pcm.begin() + 2 * std::ptrdiff_t{sample}, pcm.end()}, heard, 1, 70);
    };
    const std::vector<float> rest(pcm.begin() + 2 * 12'345, pcm.end());
    CHECK(error_from(12'345) < error_db(rest, undelayed(decode(encode(rest))), 1, 70) + 1.0);
    CHECK(error_from(12'345) < error_from(12'344));
    CHECK(error_from(12'345) < error_from(12'346));
}

TEST_CASE("no seek and no skip is louder than what is played, for a decoder that hears all of it") {
    // The worst there is: a note that goes on, and packets that lean on their neighbours.
    std::vector<float> note(std::size_t{48'000} * 3 * 2);
    for (std::size_t i = 0; i < note.size(); ++i) {
        note[i] =
            0.8F * std::sin(static_cast<float>(i / 2) * 2.0F * std::numbers::pi_v<float> / 120);
    }
    const auto packets = encode(note);
    for (const bool opus : {false, true}) {
        for (const int position : {48'000, 48'030, 48'060, 48'090}) {
            for (const bool skips : {false, true}) {
                auto program = std::move(Program::create({})).value();
                for (int track = 0; track < 2; ++track) {
                    if (opus) {
                        program->append(std::make_unique<OpusFake>(packets));
                    } else {
                        program->append(std::make_unique<PcmFake>(note));
                    }
                }
                program->close_playlist();
                auto heard = play(*program, 60).bytes();
                heard.resize(50);
                if (skips) {
                    program->skip_track({50});
                } else {
                    REQUIRE(program->seek(Samples{position}, {50}));
                }
                for (const auto& packet : play(*program, 60).bytes()) heard.push_back(packet);
                float loudest = 0.0F;
                for (const float value : decode(heard))
                    loudest = std::max(loudest, std::abs(value));
                CAPTURE(opus, position, skips);
                CHECK(loudest < 0.8F * 1.1F);
            }
        }
    }
}

TEST_CASE("Opus: a seek goes on with the frame that holds the position and copies soon") {
    const auto packets = encode(music(48'000 * 3));
    const auto reference = decode(packets);
    for (const std::int64_t position : {0, 480, 9'999, 48'000, 90'001}) {
        auto program = program_of(std::make_unique<OpusFake>(packets));
        (void)play(*program, 30);
        REQUIRE(program->seek(Samples{position}, {25}));
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
    REQUIRE(program->seek(Samples{9'600}, {3}));
    REQUIRE(play(*program).last == ReadStatus::end);
    REQUIRE(program->seek(Samples{1'000'000}, {3}));
    REQUIRE(play(*program).last == ReadStatus::end);
    REQUIRE(program->seek(Samples{0}, {3}));
    REQUIRE(play(*program).media() == 9'600);
}

TEST_CASE("after the end a seek plays again, with the next index") {
    auto program = program_of(std::make_unique<PcmFake>(music(9'600)));
    const auto played = play(*program);
    REQUIRE(program->seek(Samples{0}, {played.packets.size()}));
    const auto again = play(*program);
    REQUIRE(again.packets.front().index == played.packets.size());
    REQUIRE(again.media() == 9'600);
}

TEST_CASE("a source that cannot seek refuses, and nothing has changed") {
    const auto pcm = music(48'000);
    auto program = program_of(std::make_unique<PcmFake>(pcm, 1'000, false));
    auto heard = play(*program, 10).bytes();
    REQUIRE_FALSE(program->seek(Samples{0}, {10}));
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
    REQUIRE(program->seek(Samples{4'800}, {5}));
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
    program->skip_track({4});
    const auto played = play(*program);
    REQUIRE(played.packets.front().index == 4);
    REQUIRE(played.packets.front().track == 1);
    REQUIRE(played.media() == 25'000);
    program->skip_track({10'000});
    REQUIRE(play(*program).last == ReadStatus::end);
}

TEST_CASE("a seek before anything was read is carried out first, and the last of several holds") {
    const auto pcm = music(48'000);
    const auto packets = encode(pcm);
    for (const bool copied : {false, true}) {
        const auto made = [&]() -> std::unique_ptr<voicecore::audio::MediaSource> {
            if (copied) return std::make_unique<OpusFake>(packets);
            return std::make_unique<PcmFake>(pcm);
        };
        ProgramOptions opened;
        opened.start = Samples{9'600};
        for (const ProgramOptions& options : {ProgramOptions{}, opened}) {
            CAPTURE(copied, options.start.count());
            auto late = program_of(made(), options);
            (void)play(*late, 20);
            REQUIRE(late->seek(Samples{24'000}, {0}));
            const auto expected = play(*late);

            auto early = program_of(made(), options);
            REQUIRE(early->seek(Samples{40'000}, {0}));
            REQUIRE(early->seek(Samples{24'000}, {0}));
            const auto played = play(*early);
            REQUIRE(played.packets.front().index == 0);
            REQUIRE(played.packets.front().position <= Samples{24'960});
            REQUIRE(played.bytes() == expected.bytes());
        }
    }
}

TEST_CASE("a seek that the first round skips past does not move the second one") {
    ProgramOptions options;
    options.loops = 2;
    auto program = std::move(Program::create(options)).value();
    program->append(std::make_unique<PcmFake>(music(9'600, 1)));
    program->append(std::make_unique<PcmFake>(music(4'800, 2)));
    program->close_playlist();
    REQUIRE(program->seek(Samples{4'800}, {0}));
    program->skip_track({0});
    REQUIRE(play(*program).media() == 4'800 + 9'600 + 4'800);
}

TEST_CASE("whoever has heard a track's last frame is still in that track") {
    for (const bool seekable : {true, false}) {
        CAPTURE(seekable);
        const auto three_tracks = [&] {
            auto program = std::move(Program::create({})).value();
            program->append(std::make_unique<PcmFake>(music(9'600, 1)));
            program->append(std::make_unique<PcmFake>(music(19'200, 2), 1'000, seekable));
            program->append(std::make_unique<PcmFake>(music(4'800, 3)));
            program->close_playlist();
            return program;
        };
        for (const std::size_t read : {10, 12, 30}) {  // a whole buffer ahead, at the most
            CAPTURE(read);
            auto program = three_tracks();
            const auto before = play(*program, read);
            REQUIRE(before.packets[9].track == 0);
            program->skip_track({10});
            const auto skipped = play(*program);
            REQUIRE(skipped.packets.front().index == 10);
            REQUIRE(skipped.packets.front().track == 1);
            REQUIRE(skipped.media() == 19'200 + 4'800);  // nothing that was read ahead is lost

            program = three_tracks();
            (void)play(*program, read);
            REQUIRE(program->seek(Samples{4'800}, {10}));
            const auto sought = play(*program, 1);
            REQUIRE(sought.packets.front().track == 0);
            REQUIRE(sought.packets.front().position == Samples{4'800 + 960});

            program = three_tracks();  // a skip counts for what follows at once
            (void)play(*program, read);
            program->skip_track({10});
            program->skip_track({10});
            REQUIRE(play(*program).media() == 4'800);
            if (!seekable) continue;
            program = three_tracks();
            (void)play(*program, read);
            program->skip_track({10});
            REQUIRE(program->seek(Samples{9'600}, {10}));
            const auto both = play(*program);
            REQUIRE(both.packets.front().track == 1);
            REQUIRE(both.media() == 9'600 + 4'800);
        }
    }
}

TEST_CASE("who waits at the end of an open list is in the next track once it is appended") {
    for (const bool read : {false, true}) {
        for (const bool waits : {false, true}) {
            CAPTURE(read, waits);
            const auto at_end = [&] {
                auto program = std::move(Program::create({})).value();
                program->append(std::make_unique<PcmFake>(music(9'600, 1)));
                REQUIRE(play(*program).last == ReadStatus::would_block);
                program->append(std::make_unique<PcmFake>(music(19'200, 2)));
                program->append(std::make_unique<PcmFake>(music(4'800, 3)));
                if (read) (void)play(*program, 5);
                return program;
            };
            const std::uint64_t end = 11;  // the encoder is late by a part of a frame
            auto program = at_end();
            REQUIRE(program->seek(Samples{4'800}, {.next = end, .waits = waits}));
            auto next = play(*program, 1).packets.front();
            REQUIRE(next.track == (waits ? 1 : 0));
            REQUIRE(next.position == Samples{4'800 + 960});

            program = at_end();
            program->skip_track({.next = end, .waits = waits});
            next = play(*program, 1).packets.front();
            REQUIRE(next.track == (waits ? 2 : 1));
            REQUIRE(next.index == end);
        }
    }
}

TEST_CASE("a skip into nothing leaves a seek the track that was heard, until one is appended") {
    auto program = std::move(Program::create({})).value();
    program->append(std::make_unique<PcmFake>(music(48'000, 1)));
    (void)play(*program, 20);
    program->skip_track({10});
    REQUIRE(play(*program).last == ReadStatus::would_block);
    REQUIRE(program->seek(Samples{4'800}, {10}));
    REQUIRE(play(*program, 1).packets.front().track == 0);
    program->skip_track({11});
    program->append(std::make_unique<PcmFake>(music(48'000, 2)));
    REQUIRE(program->seek(Samples{4'800}, {11}));
    REQUIRE(play(*program, 1).packets.front().track == 1);
}

TEST_CASE("a seek while the source has nothing yet waits and then goes on there") {
    auto fake = std::make_unique<PcmFake>(music(48'000), 960);
    fake->block_every = 2;
    auto program = program_of(std::move(fake));
    PlayablePacket packet;
    while (program->next(packet) == ReadStatus::ok) {
    }
    REQUIRE(program->seek(Samples{24'000}, {1}));
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

TEST_CASE("a volume that was to hold later holds at once where a seek or a skip goes") {
    for (const bool skips : {false, true}) {
        auto program = std::move(Program::create({})).value();
        program->append(std::make_unique<PcmFake>(music(48'000, 1)));
        program->append(std::make_unique<PcmFake>(music(48'000, 2)));
        program->close_playlist();
        auto heard = play(*program, 30).bytes();
        heard.resize(10);
        // As a player does it whose buffer is about to be dropped: no frame is made again for it.
        REQUIRE(program->set_gain(Gain{0.0F}, 30) == 30);
        if (skips) {
            program->skip_track({10});
        } else {
            REQUIRE(program->seek(Samples{24'000}, {10}));
        }
        const auto after = heard_after(heard, play(*program, 20).bytes());
        CAPTURE(skips);
        // The first frame fades from the volume before.
        const auto loud = [](float value) { return std::abs(value) > 0.01F; };
        CHECK(std::none_of(after.begin() + 2 * std::ptrdiff_t{voicecore::kFrameValues}, after.end(),
                           loud));
    }
}

TEST_CASE("Opus that is decoded starts at the sample asked for, by a start as by a seek") {
    const auto packets = encode(music(48'000 * 2));
    const auto reference = decode(packets);  // position 0 is its sample 312
    ProgramOptions quieter = with_gain(0.5F);
    for (ProgramOptions options : {without_passthrough(), quieter}) {
        const float scale = 1.0F / options.gain.linear();
        for (const std::int64_t position : {1, 485, 9'999, 24'480, 50'001}) {
            INFO("at " << position << " at gain " << options.gain.linear());
            auto fake = std::make_unique<OpusFake>(packets);
            const std::int64_t media = fake->media_samples();
            fake->seek(Samples{position});
            options.start = Samples{position};
            auto program = program_of(std::move(fake), options);
            auto played = play(*program);
            CHECK(played.media() == media - position);
            const auto check = [&] {
                const auto heard = decode(played.bytes());
                const auto error_if_at = [&](std::int64_t place) {
                    std::vector<float> expected(
                        reference.begin() + static_cast<std::ptrdiff_t>(place * 2),
                        reference.end());
                    std::vector<float> got(heard.begin() + 312 * 2, heard.end());
                    for (float& value : got) value *= scale;
                    return error_db(expected, got, 5, 30);
                };
                const double exact = error_if_at(position + 312);
                CHECK(exact < -8.0);
                CHECK(exact < error_if_at(position + 311) - 1.0);
                CHECK(exact < error_if_at(position + 313) - 1.0);
            };
            check();
            REQUIRE(program->seek(Samples{position}, {played.packets.size()}));
            played = play(*program);
            CHECK(played.media() == media - position);
            check();
        }
    }
}

TEST_CASE("copied Opus starts with the packet nearest to the position") {
    const auto packets = encode(music(48'000 * 2));
    for (const std::int64_t position : {481, 9'999, 24'479, 24'481, 50'001}) {
        auto fake = std::make_unique<OpusFake>(packets);
        const std::int64_t media = fake->media_samples();
        fake->seek(Samples{position});
        ProgramOptions options;
        options.start = Samples{position};
        auto program = program_of(std::move(fake), options);
        const auto played = play(*program);
        // Position 960 k lies 312 samples into packet k, as what was encoded does.
        const std::int64_t nearest = (position + 479) / 960 * 960;
        CHECK(played.media() == media - nearest);
        const auto& last = played.packets.back().opus;
        CHECK(first_difference({packets.back()}, {{last.bytes().begin(), last.bytes().end()}}) ==
              kNone);
    }
}
