#include <random>

#include "catch.hpp"
#include "voicecore/command/intents.hpp"

using namespace voicecore::command;

namespace {

std::vector<Intent> random_line(std::mt19937& random) {
    std::vector<Intent> line;
    const auto length = random() % 12;
    for (std::size_t i = 0; i < length; ++i) {
        line.push_back({static_cast<std::int64_t>(i * 3 + 1), static_cast<Verb>(random() % 8),
                        random() % 4 == 0});
    }
    return line;
}

std::vector<Intent> without(const std::vector<Intent>& line, const std::vector<Superseded>& gone) {
    std::vector<Intent> left;
    for (const Intent& intent : line) {
        bool stays = true;
        for (const Superseded& one : gone) stays &= one.id != intent.id;
        if (stays) left.push_back(intent);
    }
    return left;
}

// A session as a listener meets it: what is left when a line has run from a given beginning.
struct Heard {
    int playing;  // 0: nothing, else which play
    bool paused;
    std::int64_t place;
    std::int64_t gain;
    std::uint32_t unknown;
    bool operator==(const Heard&) const = default;
};

Heard run(const std::vector<Intent>& line, Heard heard) {
    for (const Intent& intent : line) {
        const bool on = heard.playing != 0;
        switch (intent.verb) {
            case Verb::play:
                if (!on) {
                    heard = {static_cast<int>(intent.id), false, 0, heard.gain, heard.unknown};
                }
                break;
            case Verb::pause:
                if (on) heard.paused = true;
                break;
            case Verb::resume:
                if (on) heard.paused = false;
                break;
            case Verb::stop:
                heard = {0, false, 0, heard.gain, heard.unknown};
                break;
            case Verb::seek:
                if (on) heard.place = intent.relative ? heard.place + intent.id : intent.id;
                break;
            case Verb::volume:
                heard.gain = intent.relative ? heard.gain + intent.id : intent.id;
                break;
            case Verb::next:
                if (on) heard.place += 1'000;
                break;
            case Verb::other:
                heard.unknown =
                    heard.unknown * 31U + static_cast<std::uint32_t>(intent.id + heard.playing);
                break;
        }
    }
    return heard;
}

}  // namespace

TEST_CASE("a reduced line leaves a listener with what the whole line would have left") {
    std::mt19937 random{1};
    for (int round = 0; round < 20'000; ++round) {
        const auto line = random_line(random);
        const auto left = without(line, reduce(line));
        for (const Heard& begin :
             {Heard{0, false, 0, 1, 0}, Heard{999, false, 5, 1, 0}, Heard{999, true, 5, 1, 0}}) {
            REQUIRE(run(left, begin) == run(line, begin));
        }
    }
}

TEST_CASE("reducing what is left changes nothing more") {
    std::mt19937 random{2};
    for (int round = 0; round < 20'000; ++round) {
        const auto line = random_line(random);
        REQUIRE(reduce(without(line, reduce(line))).empty());
    }
}

TEST_CASE("nothing is dropped for a command that comes before it") {
    std::mt19937 random{3};
    for (int round = 0; round < 5'000; ++round) {
        for (const Superseded& one : reduce(random_line(random))) REQUIRE(one.by > one.id);
    }
}

TEST_CASE("a stop drops the plays that have not started and says so") {
    const std::vector<Intent> line{{1, Verb::play}, {2, Verb::pause}, {3, Verb::stop}};
    REQUIRE(reduce(line) == std::vector<Superseded>{{1, 3}, {2, 3}});
}

TEST_CASE("a play behind a stop stays") {
    const std::vector<Intent> line{{1, Verb::stop}, {2, Verb::play}};
    REQUIRE(reduce(line).empty());
}

TEST_CASE("nothing crosses a command that is not known") {
    const std::vector<Intent> line{{1, Verb::play}, {2, Verb::other}, {3, Verb::stop}};
    REQUIRE(reduce(line).empty());
}

TEST_CASE("of pauses and resumes in a row the last one stays") {
    const std::vector<Intent> line{{1, Verb::pause}, {2, Verb::pause}, {3, Verb::resume}};
    REQUIRE(reduce(line) == std::vector<Superseded>{{1, 2}, {2, 3}});
}
