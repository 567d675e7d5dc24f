// Owners of libopus objects.
#pragma once

#include <memory>

struct OpusEncoder;
struct OpusDecoder;
struct OpusRepacketizer;

namespace voicecore::opus {

struct EncoderDeleter {
    void operator()(OpusEncoder* encoder) const noexcept;
};
struct DecoderDeleter {
    void operator()(OpusDecoder* decoder) const noexcept;
};
struct RepacketizerDeleter {
    void operator()(OpusRepacketizer* repacketizer) const noexcept;
};

using EncoderHandle = std::unique_ptr<OpusEncoder, EncoderDeleter>;
using DecoderHandle = std::unique_ptr<OpusDecoder, DecoderDeleter>;
using RepacketizerHandle = std::unique_ptr<OpusRepacketizer, RepacketizerDeleter>;

}  // namespace voicecore::opus
