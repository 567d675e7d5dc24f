#include "voicecore/audio/media_source.hpp"

#include <atomic>

namespace voicecore::audio {
namespace {
// Here, in the shared library, so that both extension modules see one variable.
std::atomic<OpenFunction> opener{nullptr};
}  // namespace

void register_opener(OpenFunction open) noexcept {
    opener.store(open, std::memory_order_release);
}
OpenFunction registered_opener() noexcept {
    return opener.load(std::memory_order_acquire);
}

}  // namespace voicecore::audio
