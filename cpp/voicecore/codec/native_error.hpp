// The one place where FFmpeg's and the system's error numbers become ours.
#pragma once

#include <string>

#include "voicecore/base/result.hpp"

namespace voicecore::codec {

// `what` names the thing that was tried: "class.mp3", "the packet at 12.3 s".
[[nodiscard]] Error error_from_av(int code, const std::string& what);
[[nodiscard]] Error error_from_errno(int code, const std::string& what);

}  // namespace voicecore::codec
