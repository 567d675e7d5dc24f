// Where libopus' error numbers become ours.
#pragma once

#include <string_view>

#include "voicecore/base/result.hpp"

namespace voicecore::opus {

// `native` is the negative number that libopus returned, `doing` what was tried ("creating the
// encoder").
[[nodiscard]] Error translate(int native, std::string_view doing);

// The version of the library that is loaded, for example "libopus 1.3.1".
[[nodiscard]] std::string_view library_version() noexcept;

}  // namespace voicecore::opus
