// Plays programs to their end.
#pragma once

#include <memory>
#include <vector>

#include "catch.hpp"
#include "fakes.hpp"
#include "voicecore/pipeline/program.hpp"

namespace test {

using voicecore::audio::PlayablePacket;
using voicecore::pipeline::Program;
using voicecore::pipeline::ProgramOptions;

inline std::unique_ptr<Program> program_of(std::unique_ptr<voicecore::audio::MediaSource> source,
                                           const ProgramOptions& options = {}) {
    auto program = Program::create(options);
    REQUIRE(program.ok());
    (*program)->append(std::move(source));
    (*program)->close_playlist();
    return std::move(program).value();
}

inline ProgramOptions with_gain(float gain) {
    ProgramOptions options;
    options.gain = voicecore::Gain{gain};
    return options;
}
inline ProgramOptions without_passthrough() {
    ProgramOptions options;
    options.passthrough = false;
    return options;
}

// The first packet that is not the same in both; kNone when they are equal.
inline constexpr int kNone = -1;
inline int first_difference(const std::vector<Packet>& a, const std::vector<Packet>& b) {
    for (std::size_t i = 0; i < std::max(a.size(), b.size()); ++i) {
        if (i >= a.size() || i >= b.size() || a[i] != b[i]) return static_cast<int>(i);
    }
    return kNone;
}

struct Played {
    std::vector<PlayablePacket> packets;
    ReadStatus last = ReadStatus::ok;

    std::vector<Packet> bytes() const {
        std::vector<Packet> out;
        for (const auto& packet : packets) {
            out.emplace_back(packet.opus.bytes().begin(), packet.opus.bytes().end());
        }
        return out;
    }
    std::int64_t media() const {
        std::int64_t sum = 0;
        for (const auto& packet : packets) sum += packet.media_samples;
        return sum;
    }
    std::size_t copied() const {
        std::size_t count = 0;
        for (const auto& packet : packets) count += packet.passthrough ? 1U : 0U;
        return count;
    }
};

// Until the end, a failure, or `most` packets; waits out would_block `patience` times in a row.
inline Played play(Program& program, std::size_t most = 1'000'000, int patience = 50) {
    Played played;
    int blocked = 0;
    while (played.packets.size() < most) {
        PlayablePacket packet;
        played.last = program.next(packet);
        if (played.last == ReadStatus::would_block && ++blocked < patience) continue;
        if (played.last != ReadStatus::ok) break;
        blocked = 0;
        played.packets.push_back(packet);
    }
    return played;
}

}  // namespace test
