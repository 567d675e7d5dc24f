#include "voicecore/command/steering.hpp"

#include <charconv>
#include <cmath>

namespace voicecore::command {
namespace {

std::string_view skip_space(std::string_view text) noexcept {
    const auto at = text.find_first_not_of(" \t\r\n");
    return at == std::string_view::npos ? std::string_view{} : text.substr(at);
}

// The number behind `"name":` in a flat JSON object.
std::optional<double> number_of(std::string_view args, std::string_view name) noexcept {
    const auto at = args.find(name);
    if (at == std::string_view::npos) return std::nullopt;
    std::string_view rest = skip_space(args.substr(at + name.size()));
    if (rest.empty() || rest.front() != ':') return std::nullopt;
    rest = skip_space(rest.substr(1));
    double value = 0.0;
    const auto read = std::from_chars(rest.data(), rest.data() + rest.size(), value);
    if (read.ec != std::errc{} || !std::isfinite(value)) return std::nullopt;
    const auto behind = skip_space(rest.substr(static_cast<std::size_t>(read.ptr - rest.data())));
    if (behind.empty() || (behind.front() != ',' && behind.front() != '}')) return std::nullopt;
    return value;
}

}  // namespace

std::optional<Steering> parse_steering(std::string_view command, std::string_view args) noexcept {
    const Verb verb = verb_of(command);
    if (!steers(verb)) return std::nullopt;
    if (verb != Verb::seek && verb != Verb::volume) return Steering{.verb = verb};
    const auto to = number_of(args, "\"to\"");
    const auto by = number_of(args, "\"by\"");
    if (to.has_value() == by.has_value()) return std::nullopt;
    return Steering{.verb = verb, .value = to ? *to : *by, .relative = by.has_value()};
}

std::string apply(const Steering& steering, SessionControl& control) {
    switch (steering.verb) {
        case Verb::pause:
            return control.pause();
        case Verb::resume:
            return control.resume();
        case Verb::stop:
            return control.stop();
        case Verb::seek:
            return control.seek(steering.value, steering.relative);
        case Verb::volume:
            return control.volume(steering.value, steering.relative);
        case Verb::next:
            return control.next();
        case Verb::play:
        case Verb::other:
            break;
    }
    return {};
}

}  // namespace voicecore::command
