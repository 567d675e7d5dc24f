#include "play.hpp"

using namespace test;
using voicecore::Gain;

namespace {

std::unique_ptr<Program> program_with(const ProgramOptions& options = {}) {
    auto program = Program::create(options);
    REQUIRE(program.ok());
    return std::move(program).value();
}

std::vector<float> joined(const std::vector<float>& a, const std::vector<float>& b) {
    auto out = a;
    out.insert(out.end(), b.begin(), b.end());
    return out;
}

}  // namespace

TEST_CASE("PCM tracks without a gap are one signal to the encoder") {
    const auto a = music(10'007, 1);
    const auto b = music(9'001, 2);
    auto program = program_with();
    program->append(std::make_unique<PcmFake>(a));
    program->append(std::make_unique<PcmFake>(b));
    program->close_playlist();
    const auto played = play(*program);
    REQUIRE(first_difference(played.bytes(), encode(joined(a, b))) == kNone);
    REQUIRE(played.media() == 10'007 + 9'001);
    REQUIRE(played.packets.front().track == 0);
    REQUIRE(played.packets.back().track == 1);
    // The frame that both are in belongs to the later one.
    REQUIRE(played.packets[10].track == 1);
    REQUIRE(played.packets[10].position == Samples{11 * 960 - 10'007});
}

TEST_CASE("a gap is silence of exactly its length") {
    const auto a = music(10'000, 1);
    const auto b = music(9'000, 2);
    ProgramOptions options;
    options.gap = Samples{3'333};
    auto program = program_with(options);
    program->append(std::make_unique<PcmFake>(a));
    program->append(std::make_unique<PcmFake>(b));
    program->close_playlist();
    const auto silence = std::vector<float>(3'333 * 2, 0.0F);
    REQUIRE(first_difference(play(*program).bytes(), encode(joined(joined(a, silence), b))) ==
            kNone);
}

TEST_CASE("a gap belongs to the track before it, for whoever asks, seeks or skips") {
    ProgramOptions options;
    options.gap = Samples{48'000};
    const auto two_tracks = [&] {
        auto program = program_with(options);
        program->append(std::make_unique<PcmFake>(music(96'000, 1)));
        program->append(std::make_unique<PcmFake>(music(96'000, 2)));
        program->close_playlist();
        return program;
    };
    auto program = two_tracks();
    const auto played = play(*program, 160);
    for (std::size_t i = 0; i < 160; ++i) {
        CAPTURE(i);
        REQUIRE(played.packets[i].track == (i < 150 ? 0U : 1U));
        if (i >= 100 && i < 150) REQUIRE(played.packets[i].position == Samples{96'000});
    }
    program->skip_track({120});  // in the gap
    REQUIRE(play(*program, 1).packets.front().track == 1);
    program = two_tracks();
    (void)play(*program, 120);
    REQUIRE(program->seek(Samples{48'000}, {120}));
    const auto again = play(*program, 1).packets.front();
    REQUIRE(again.track == 0);
    REQUIRE(again.position == Samples{48'960});
}

TEST_CASE("the list goes round as often as asked, gapless") {
    const auto a = music(5'555, 1);
    ProgramOptions options;
    options.loops = 3;
    auto program = program_with(options);
    program->append(std::make_unique<PcmFake>(a));
    program->close_playlist();
    const auto played = play(*program);
    REQUIRE(first_difference(played.bytes(), encode(joined(joined(a, a), a))) == kNone);
    REQUIRE(played.packets.back().track == 2);
}

TEST_CASE("a list that goes round for ever without a sample ends") {
    ProgramOptions options;
    options.loops = 0;
    auto program = program_with(options);
    program->append(std::make_unique<PcmFake>(std::vector<float>{}));
    program->append(std::make_unique<PcmFake>(std::vector<float>{}));
    program->close_playlist();
    REQUIRE(play(*program).last == ReadStatus::end);
}

TEST_CASE("an open list waits for its first track, and for more at its end") {
    auto program = program_with();
    PlayablePacket packet;
    REQUIRE(program->next(packet) == ReadStatus::would_block);
    REQUIRE(program->caller_paced());
    int called = 0;
    program->set_ready_hook([&] { ++called; });
    program->append(std::make_unique<PcmFake>(music(3'000, 1)));
    REQUIRE(called > 0);
    auto played = play(*program);
    REQUIRE(played.last == ReadStatus::would_block);
    REQUIRE(played.media() == 3'000);
    program->append(std::make_unique<PcmFake>(music(2'000, 2)));
    auto more = play(*program);
    REQUIRE(more.media() == 2'000);
    REQUIRE(more.packets.front().index == played.packets.back().index + 1);
    REQUIRE(more.packets.front().track == 1);
    program->close_playlist();
    PlayablePacket none;
    REQUIRE(program->next(none) == ReadStatus::end);
}

TEST_CASE("a track that fails is told and the next one plays") {
    auto program = program_with();
    auto broken = std::make_unique<PcmFake>(music(9'600, 1), 1'000);
    broken->fail_at = 3;
    program->append(std::move(broken));
    program->append(std::make_unique<PcmFake>(music(4'800, 2)));
    program->close_playlist();
    const auto played = play(*program);
    REQUIRE(played.last == ReadStatus::end);
    REQUIRE(played.media() == 3'000 + 4'800);
    const auto errors = program->take_track_errors();
    REQUIRE(errors.size() == 1);
    REQUIRE(errors[0].track == 0);
    REQUIRE(errors[0].error.message == "broken");
    REQUIRE(program->take_track_errors().empty());
}

TEST_CASE("a finished track is kept while it may be heard and let go after that") {
    auto log = std::make_shared<Log>();
    auto first = std::make_unique<PcmFake>(music(9'600, 1));
    first->log = log;
    auto program = program_with();
    program->append(std::move(first));
    program->append(std::make_unique<PcmFake>(music(96'000, 2)));
    program->close_playlist();
    (void)play(*program, 25);
    REQUIRE(log->alive);
    (void)play(*program, 30);
    REQUIRE_FALSE(log->alive);
}

TEST_CASE("Opus after Opus: the join is trimmed, and copying goes on soon") {
    const std::size_t length = 48'000 + 500;
    const auto pcm_a = music(length, 1);
    const auto pcm_b = music(length, 2);
    const auto a = encode(pcm_a);
    const auto b = encode(pcm_b);
    const auto samples = static_cast<std::int64_t>(length);
    auto program = program_with();
    program->append(std::make_unique<OpusFake>(a, 312, samples));
    program->append(std::make_unique<OpusFake>(b, 312, samples));
    program->close_playlist();
    const auto played = play(*program);
    REQUIRE(played.media() == 2 * samples);
    // 312 + 48,500 samples lie in frames 0 to 50; the second track's packets start at frame 51 or,
    // with their pre-skip under the tail of the first, earlier.
    const std::size_t start = 51;
    for (std::size_t i = 0; i < 50; ++i) REQUIRE(played.packets[i].passthrough);
    REQUIRE_FALSE(played.packets[50].passthrough);
    std::size_t back = start;
    while (back < played.packets.size() && !played.packets[back].passthrough) ++back;
    REQUIRE(back < start + 20);
    for (std::size_t i = back; i < played.packets.size(); ++i) {
        const auto bytes = played.packets[i].opus.bytes();
        REQUIRE(Packet(bytes.begin(), bytes.end()) == b[i - start]);
    }
    // What is heard: all of a, at most a frame of silence, all of b.
    const auto heard = decode(played.bytes());
    const auto tail = decode(b);
    std::vector<float> b_heard(heard.begin() + static_cast<std::ptrdiff_t>(start * 1'920),
                               heard.end());
    REQUIRE(error_db(tail, b_heard, back - start, back - start + 1) <= -35.0);
    REQUIRE(error_db(tail, b_heard, 2, 45) < -15.0);
}

TEST_CASE("Opus after Opus is joined to the sample where it is decoded") {
    const auto a = encode(music(20'000, 1));
    const auto b = encode(music(24'000, 2));
    ProgramOptions decoded;
    decoded.passthrough = false;
    ProgramOptions quieter;
    quieter.gain = voicecore::Gain{0.5F};
    for (const ProgramOptions& options : {decoded, quieter}) {
        auto program = program_with(options);
        program->append(std::make_unique<OpusFake>(a, 312, 20'000));
        program->append(std::make_unique<OpusFake>(b, 312, 24'000));
        program->close_playlist();
        const auto played = play(*program);
        REQUIRE(played.media() == 20'000 + 24'000);
        CHECK(played.packets.size() == (312 + 44'000 + 959) / 960);
        auto heard = decode(played.bytes());
        for (float& value : heard) value /= options.gain.linear();
        const auto tail = decode(b);
        const auto error_if_at = [&](std::size_t place) {
            auto expected = decode(a);
            expected.resize(place * 2);
            expected.insert(expected.end(), tail.begin() + 312 * 2, tail.end());
            return error_db(expected, heard, 19, 45);
        };
        const double exact = error_if_at(20'312);
        CHECK(exact < -8.0);
        CHECK(exact < error_if_at(20'311) - 1.0);
        CHECK(exact < error_if_at(20'313) - 1.0);
    }
}

TEST_CASE("what the grid leaves between copied tracks is no hole") {
    for (const std::int64_t length : {20'000, 20'200, 20'500, 20'700}) {
        INFO(length);
        const auto pcm = music(48'000, 1);
        const auto cut = pcm.begin() + length * 2;
        auto program = program_with();
        program->append(std::make_unique<OpusFake>(encode({pcm.begin(), cut}), 312, length));
        program->append(std::make_unique<OpusFake>(encode({cut, pcm.end()}), 312, 48'000 - length));
        program->close_playlist();
        const auto heard = decode(play(*program).bytes());
        const auto level = [](const auto from, std::size_t samples) {
            double sum = 0.0;
            for (std::size_t i = 0; i < samples * 2; ++i) {
                const double value = *(from + static_cast<std::ptrdiff_t>(i));
                sum += value * value;
            }
            return std::sqrt(sum / static_cast<double>(samples * 2));
        };
        const double around = level(cut - 4'000, 4'000);
        for (std::int64_t at = length - 480; at < length + 1'440; at += 240) {
            INFO(at);
            CHECK(level(heard.begin() + (312 + at) * 2, 240) > 0.3 * around);
        }
    }
}

TEST_CASE("PCM after Opus starts on the sample after its end") {
    const auto packets = encode(music(20'000, 1));
    const auto pcm = music(24'000, 2);
    auto program = program_with();
    program->append(std::make_unique<OpusFake>(packets, 312, 20'000));
    program->append(std::make_unique<PcmFake>(pcm));
    program->close_playlist();
    const auto played = play(*program);
    REQUIRE(played.media() == 20'000 + 24'000);
    const auto heard = decode(played.bytes());
    const auto error_if_at = [&](std::size_t place) {
        auto expected = decode(packets);
        expected.resize(place * 2);
        expected.insert(expected.end(), pcm.begin(), pcm.end());
        return error_db(expected, heard, 22, 45);
    };
    const double exact = error_if_at(20'312);
    CHECK(exact < -8.0);
    CHECK(exact < error_if_at(20'311) - 1.0);
    CHECK(exact < error_if_at(20'313) - 1.0);
}

TEST_CASE("Opus after PCM: nothing is lost and packets are copied again") {
    const auto packets = encode(music(48'000, 2));
    auto program = program_with();
    program->append(std::make_unique<PcmFake>(music(10'001, 1)));
    program->append(std::make_unique<OpusFake>(packets, 312, 48'000));
    program->close_playlist();
    const auto played = play(*program);
    REQUIRE(played.media() == 10'001 + 48'000);
    REQUIRE(played.copied() > 20);
}

// One source that gives two streams, the second's pre-skip lying under the first's end.
class Chained final : public FakeSource {
  public:
    Chained(std::size_t length, std::int64_t second_pre_skip)
        : length_{static_cast<std::int64_t>(length)},
          second_pre_skip_{second_pre_skip},
          a{encode(music(length, 1))},
          b{encode(music(length, 2))} {
        info_.kind = MediaKind::opus;
        info_.pre_skip = Samples{312};
    }
    ReadStatus read(MediaUnit& unit) noexcept override {
        if (next_ >= a.size() + b.size()) return ReadStatus::end;
        const bool second = next_ >= a.size();
        const auto i = static_cast<std::int64_t>(second ? next_ - a.size() : next_);
        const std::int64_t skip = second ? second_pre_skip_ : 312;
        unit = {};
        unit.packet = second ? b[static_cast<std::size_t>(i)] : a[static_cast<std::size_t>(i)];
        unit.position = Samples{i * 960 - skip + (second ? length_ : 0)};
        unit.duration = Samples{960};
        unit.begins = i == 0;
        const std::int64_t end = (i + 1) * 960 - skip;
        unit.trim_end = Samples{std::max<std::int64_t>(0, end - length_)};
        ++next_;
        return ReadStatus::ok;
    }
    void seek(Samples) noexcept override {}

  private:
    std::int64_t length_;
    std::int64_t second_pre_skip_;
    std::size_t next_ = 0;

  public:
    const std::vector<Packet> a;
    const std::vector<Packet> b;
};

TEST_CASE("a chained stream's second pre-skip is not heard") {
    auto program = program_of(std::make_unique<Chained>(24'100, 312));
    const auto played = play(*program);
    REQUIRE(played.media() == 2 * 24'100);
    REQUIRE(played.packets.back().position == Samples{2 * 24'100});
    REQUIRE(played.packets.back().passthrough);
}

TEST_CASE("a chained stream begins with a decoder of its own, whatever its pre-skip") {
    // The first one's media ends with its last packet, so that nothing else tells them apart.
    constexpr std::size_t kLength = 25 * 960 - 312;
    auto chained = std::make_unique<Chained>(kLength, 0);
    const auto b = chained->b;
    auto program = program_of(std::move(chained));
    const auto played = play(*program);
    const auto heard = decode(played.bytes());
    const std::vector<float> second(heard.begin() + 25 * 1'920, heard.end());
    REQUIRE(error_db(decode(b), second, 0, 1) <= -20.0);
}

TEST_CASE("a second track's pre-skip lies under the first one's end and does not replace it") {
    // The media of the first ends 312 samples into a frame, just where the second's pre-skip ends.
    const auto a = encode(music(48'000, 1));
    auto program = program_with();
    program->append(std::make_unique<OpusFake>(a, 312, 48'000));
    program->append(std::make_unique<OpusFake>(encode(speech(48'000, 2)), 312, 48'000));
    program->close_playlist();
    const auto played = play(*program);
    REQUIRE(played.media() == 96'000);
    const auto heard = decode(played.bytes());
    const auto expected = decode(a);
    double signal = 0.0;
    double error = 0.0;
    for (std::size_t i = 2 * 48'000; i < 2 * 48'300; ++i) {
        signal += static_cast<double>(expected[i]) * static_cast<double>(expected[i]);
        error += std::pow(static_cast<double>(expected[i]) - static_cast<double>(heard[i]), 2.0);
    }
    REQUIRE(10.0 * std::log10(error / signal) < -10.0);
}
