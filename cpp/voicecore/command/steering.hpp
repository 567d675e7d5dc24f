// Steering: what a command does to a running session, and how its arguments are read.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "voicecore/command/intents.hpp"

namespace voicecore::command {

// What a running session lets others do to it. Any thread; none of it waits. The text is the
// command's result ("done", or why there was nothing to do); an empty one means that the session
// cannot and its owner must be asked.
class SessionControl {
  public:
    SessionControl() = default;
    SessionControl(const SessionControl&) = delete;
    SessionControl& operator=(const SessionControl&) = delete;
    virtual ~SessionControl() = default;
    virtual std::string pause() = 0;
    virtual std::string resume() = 0;
    virtual std::string stop() = 0;
    virtual std::string seek(double seconds, bool relative) = 0;
    virtual std::string volume(double gain, bool relative) = 0;
    virtual std::string next() = 0;
};

struct Steering {
    Verb verb;
    double value = 0.0;
    bool relative = false;  // "by" so much, rather than "to" a place
};

// Nothing when the command does not steer, or when its arguments are not {"to": number} or
// {"by": number} where one is needed: whoever handles it says what is wrong.
[[nodiscard]] std::optional<Steering> parse_steering(std::string_view command,
                                                     std::string_view args) noexcept;

[[nodiscard]] std::string apply(const Steering& steering, SessionControl& control);

}  // namespace voicecore::command
