// What comes out of work on somebody's bytes besides a Result.
#pragma once

#include <exception>
#include <new>
#include <string>
#include <utility>

#include "voicecore/base/result.hpp"

namespace voicecore::codec {

// For a handler of std::exception: no memory, or a bug of ours that a file has found. Neither is to
// end the process.
[[nodiscard]] inline Error unexpected(const std::exception& thrown, std::string doing) {
    if (dynamic_cast<const std::bad_alloc*>(&thrown) != nullptr) {
        return {Errc::no_memory, 0, std::move(doing) + ": out of memory"};
    }
    return {Errc::internal, 0, std::move(doing) + ": " + thrown.what()};
}

}  // namespace voicecore::codec
