// The reducer of intents: which waiting commands of a key have become pointless.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace voicecore::command {

// What the reducer knows of a command. Everything unknown stands where it is, and nothing is moved
// past it.
enum class Verb : std::uint8_t { play, pause, resume, stop, seek, volume, next, other };

[[nodiscard]] Verb verb_of(std::string_view command) noexcept;

// Those that act on a running session and need nothing else.
[[nodiscard]] constexpr bool steers(Verb verb) noexcept {
    return verb != Verb::play && verb != Verb::other;
}

// Those that change nothing more when they are carried out again.
[[nodiscard]] constexpr bool repeatable(Verb verb) noexcept {
    return verb == Verb::pause || verb == Verb::resume || verb == Verb::stop;
}

struct Intent {
    std::int64_t id;
    Verb verb;
    bool relative = false;  // a seek or a volume by so much, rather than to a place
};

struct Superseded {
    std::int64_t id;
    std::int64_t by;  // the command that made it pointless
    bool operator==(const Superseded&) const = default;
};

// Of the commands of one key that are due and not started, in the order of their ids, those that
// need not run:
//   - a stop makes every play, pause, resume, seek and next before it pointless;
//   - of pauses and resumes in a row the last one stays, and says all: a pause followed by a resume
//     is never heard, and the resume still counts where the session was paused before both;
//   - of equal stops in a row, and of seeks or volumes to a place in a row, the last one stays;
//   - nothing crosses a command that is not known, and a volume outlives a stop.
// Pure: the same input gives the same output, in the order of ids. Reducing what is left changes
// nothing more.
[[nodiscard]] std::vector<Superseded> reduce(std::span<const Intent> line);

}  // namespace voicecore::command
