#include <random>

#include "play.hpp"
#include "voicecore/pipeline/opus_segments.hpp"

using namespace test;
using voicecore::Gain;

namespace {

struct Run {
    std::vector<PlayablePacket> produced;  // in the order they came
    std::vector<PlayablePacket> heard;     // by index: the last one produced for each
    ReadStatus last = ReadStatus::ok;
};

// A player that keeps `ahead` packets in its ring and does random things.
Run random_run(unsigned seed, bool with_seeks) {
    std::mt19937 random{seed};
    const auto roll = [&](unsigned n) { return random() % n; };
    ProgramOptions options;
    options.gap = Samples{roll(3) == 0 ? static_cast<std::int64_t>(roll(4'000)) : 0};
    options.loops = static_cast<std::uint32_t>(1 + roll(2));
    auto program = std::move(Program::create(options)).value();
    for (unsigned track = 0; track < 3; ++track) {
        const std::size_t length = 3'000 + roll(30'000);
        const auto pcm = music(length, seed + track);
        if (roll(2) == 0) {
            auto fake = std::make_unique<PcmFake>(pcm, 1 + roll(5'000));
            fake->block_every = roll(2) == 0 ? 0 : 7;
            program->append(std::move(fake));
        } else {
            auto fake =
                std::make_unique<OpusFake>(encode(pcm), 312, static_cast<std::int64_t>(length));
            fake->block_every = roll(2) == 0 ? 0 : 5;
            program->append(std::move(fake));
        }
    }
    program->close_playlist();
    Run run;
    std::uint64_t next = 0;   // that next() must give
    std::uint64_t clock = 0;  // the next one to be heard
    int blocked = 0;
    for (int turn = 0; turn < 3'000; ++turn) {
        PlayablePacket packet;
        run.last = program->next(packet);
        if (run.last == ReadStatus::would_block) {
            REQUIRE(++blocked < 50);
            continue;
        }
        blocked = 0;
        if (run.last != ReadStatus::ok) break;
        REQUIRE(packet.index == next);
        REQUIRE(packet.opus.size() > 0);
        REQUIRE(packet.media_samples <= 960);
        ++next;
        run.produced.push_back(packet);
        run.heard.resize(packet.index);
        run.heard.push_back(packet);
        if (next - clock > 18) clock = next - roll(18);
        switch (roll(with_seeks ? 40 : 12)) {
            case 0:
                next = program->set_gain(Gain{static_cast<float>(roll(5)) * 0.5F}, clock);
                REQUIRE(next >= clock);
                break;
            case 1:
                next = program->set_gain(Gain{1.0F}, clock);
                break;
            case 2:
                if (with_seeks && program->seek(Samples{roll(30'000)}, {clock})) next = clock;
                break;
            case 3:
                if (with_seeks && roll(8) == 0) {
                    program->skip_track({clock});
                    next = clock;
                }
                break;
            default:
                break;
        }
        run.heard.resize(std::min<std::size_t>(run.heard.size(), next));
    }
    return run;
}

bool same(const PlayablePacket& a, const PlayablePacket& b) {
    return std::ranges::equal(a.opus.bytes(), b.opus.bytes()) && a.index == b.index &&
           a.position == b.position && a.track == b.track && a.media_samples == b.media_samples;
}

}  // namespace

TEST_CASE("whatever is asked for and when, indices are contiguous and runs repeat exactly") {
    for (unsigned seed = 1; seed <= 12; ++seed) {
        INFO("seed " << seed);
        const auto a = random_run(seed, true);
        const auto b = random_run(seed, true);
        REQUIRE(a.produced.size() == b.produced.size());
        for (std::size_t i = 0; i < a.produced.size(); ++i) {
            REQUIRE(same(a.produced[i], b.produced[i]));
        }
    }
}

TEST_CASE("volume changes lose no sample of media, whenever they come") {
    for (unsigned seed = 100; seed < 112; ++seed) {
        INFO("seed " << seed);
        const auto run = random_run(seed, false);
        REQUIRE(run.last == ReadStatus::end);
        // The same programme without any change.
        std::mt19937 random{seed};
        const auto roll = [&](unsigned n) { return random() % n; };
        if (roll(3) == 0) (void)roll(4'000);
        const std::uint32_t loops = static_cast<std::uint32_t>(1 + roll(2));
        std::int64_t media = 0;
        for (unsigned track = 0; track < 3; ++track) {
            media += 3'000 + roll(30'000);
            if (roll(2) == 0) (void)roll(5'000);
            (void)roll(2);
        }
        std::int64_t heard = 0;
        for (const auto& packet : run.heard) heard += packet.media_samples;
        REQUIRE(heard == media * loops);
    }
}
