#include "voicecore/opus/encoder_options.hpp"

#include <cmath>
#include <cstdio>
#include <string>

namespace voicecore::opus {
namespace {

Error out_of_range(const char* format, auto value, auto low, auto high) {
    char text[120];
    std::snprintf(text, sizeof text, format, value, low, high);
    return Error{.code = Errc::invalid_argument, .native = 0, .message = text};
}

}  // namespace

Status check(const EncoderOptions& options) {
    if (options.bitrate < kMinBitrate || options.bitrate > kMaxBitrate) {
        return out_of_range("bitrate %d: expected %d to %d bit/s", options.bitrate, kMinBitrate,
                            kMaxBitrate);
    }
    if (options.complexity < 0 || options.complexity > kMaxComplexity) {
        return out_of_range("complexity %d: expected %d to %d", options.complexity, 0,
                            kMaxComplexity);
    }
    // Written so that NaN fails.
    if (!(options.expected_loss >= 0.0 && options.expected_loss <= 1.0)) {
        return out_of_range("expected loss %g: expected %g to %g", options.expected_loss, 0.0, 1.0);
    }
    return Done{};
}

}  // namespace voicecore::opus
