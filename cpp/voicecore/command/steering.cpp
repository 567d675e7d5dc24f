#include "voicecore/command/steering.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

namespace voicecore::command {
namespace {

// What is left of `text` behind white space and `token`.
std::optional<std::string_view> behind(std::string_view text, std::string_view token) noexcept {
    const auto at = text.find_first_not_of(" \t\r\n");
    if (at == std::string_view::npos) return std::nullopt;
    text.remove_prefix(at);
    if (!text.starts_with(token)) return std::nullopt;
    return text.substr(token.size());
}

bool is_digit(std::string_view text, std::size_t at) noexcept {
    return at < text.size() && text[at] >= '0' && text[at] <= '9';
}

// A number as JSON writes it (RFC 8259, section 6), and what is left behind it.
std::optional<std::pair<double, std::string_view>> number(std::string_view text) noexcept {
    const auto start = std::min(text.find_first_not_of(" \t\r\n"), text.size());
    text.remove_prefix(start);
    const std::size_t first = text.starts_with('-') ? 1 : 0;
    double value = 0.0;
    const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
    if (read.ec != std::errc{} || !std::isfinite(value)) return std::nullopt;
    const auto size = static_cast<std::size_t>(read.ptr - text.data());
    // Forms that from_chars() takes and JSON does not have: `.5`, `01` and `1.`.
    if (!is_digit(text, first)) return std::nullopt;
    if (text[first] == '0' && is_digit(text, first + 1)) return std::nullopt;
    const auto point = text.substr(0, size).find('.');
    if (point != std::string_view::npos && !is_digit(text, point + 1)) return std::nullopt;
    return std::pair{value, text.substr(size)};
}

// The number of a JSON object that has this one member and no other. Whatever else there is to say
// is read where there is a whole JSON parser: by the handlers.
std::optional<double> only_member(std::string_view args, std::string_view name) noexcept {
    auto rest = behind(args, "{");
    for (const std::string_view token : {name, std::string_view{":"}}) {
        if (rest) rest = behind(*rest, token);
    }
    if (!rest) return std::nullopt;
    const auto found = number(*rest);
    if (!found) return std::nullopt;
    rest = behind(found->second, "}");
    if (!rest || rest->find_first_not_of(" \t\r\n") != std::string_view::npos) return std::nullopt;
    return found->first;
}

}  // namespace

std::optional<Steering> parse_steering(std::string_view command, std::string_view args) noexcept {
    const Verb verb = verb_of(command);
    if (!steers(verb)) return std::nullopt;
    if (verb != Verb::seek && verb != Verb::volume) return Steering{.verb = verb};
    const auto to = only_member(args, "\"to\"");
    const auto by = only_member(args, "\"by\"");
    if (!to && !by) return std::nullopt;
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
