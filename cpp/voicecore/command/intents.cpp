#include "voicecore/command/intents.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace voicecore::command {
namespace {

constexpr std::array<std::pair<std::string_view, Verb>, 7> kVerbs{{
    {"play", Verb::play},
    {"pause", Verb::pause},
    {"resume", Verb::resume},
    {"stop", Verb::stop},
    {"seek", Verb::seek},
    {"volume", Verb::volume},
    {"next", Verb::next},
}};

bool switches(Verb verb) noexcept {
    return verb == Verb::pause || verb == Verb::resume;
}

// Does `later`, directly behind `earlier`, make it pointless?
bool replaces(const Intent& later, const Intent& earlier) noexcept {
    if (switches(later.verb) && switches(earlier.verb)) return true;
    if (later.verb != earlier.verb) return false;
    switch (later.verb) {
        case Verb::stop:
            return true;
        case Verb::seek:
        case Verb::volume:
            return !later.relative;
        case Verb::play:
        case Verb::pause:
        case Verb::resume:
        case Verb::next:
        case Verb::other:
            return false;
    }
    return false;
}

bool ended_by_stop(Verb verb) noexcept {
    return verb == Verb::play || verb == Verb::pause || verb == Verb::resume ||
           verb == Verb::seek || verb == Verb::next;
}

}  // namespace

Verb verb_of(std::string_view command) noexcept {
    for (const auto& [name, verb] : kVerbs) {
        if (name == command) return verb;
    }
    return Verb::other;
}

std::vector<Superseded> reduce(std::span<const Intent> line) {
    std::vector<Superseded> gone;
    std::vector<Intent> left;  // what stays, so far: no two neighbours of which one is pointless
    const auto add = [&](const Intent& intent) {
        while (!left.empty() && replaces(intent, left.back())) {
            gone.push_back({left.back().id, intent.id});
            left.pop_back();
        }
        left.push_back(intent);
    };
    for (const Intent& intent : line) {
        if (intent.verb == Verb::stop) {
            // Back to the last command that nothing may cross; what stays has new neighbours.
            auto from = left.end();
            while (from != left.begin() && std::prev(from)->verb != Verb::other) --from;
            const std::vector<Intent> behind{from, left.end()};
            left.erase(from, left.end());
            for (const Intent& earlier : behind) {
                if (ended_by_stop(earlier.verb)) {
                    gone.push_back({earlier.id, intent.id});
                } else {
                    add(earlier);
                }
            }
        }
        add(intent);
    }
    std::sort(gone.begin(), gone.end(),
              [](const Superseded& a, const Superseded& b) { return a.id < b.id; });
    return gone;
}

}  // namespace voicecore::command
