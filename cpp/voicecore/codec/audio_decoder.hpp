// One codec's decoder.
#pragma once

#include "voicecore/base/result.hpp"
#include "voicecore/codec/demuxer.hpp"
#include "voicecore/codec/handles.hpp"

namespace voicecore::codec {

enum class DecodeStatus { frame, needs_packet, end, damaged };

// Not thread-safe. Frames carry their start, in samples of their own rate, in pts.
class AudioDecoder {
  public:
    static Result<std::unique_ptr<AudioDecoder>> open(const Segment& segment);

    // False: the packet is damaged.
    [[nodiscard]] bool send(const Packet& packet) noexcept;
    void send_end() noexcept;
    [[nodiscard]] DecodeStatus receive() noexcept;
    [[nodiscard]] const AVFrame& frame() const noexcept { return *frame_; }
    // The frame's start; kNoTick when the decoder does not know.
    [[nodiscard]] std::int64_t frame_start() const noexcept;
    void flush() noexcept;
    // Audio before a place that a decoder must have seen to be right there.
    [[nodiscard]] Samples warm_up() const noexcept { return warm_up_; }

  private:
    CodecContextPtr context_;
    PacketPtr packet_;
    FramePtr frame_;
    int rate_ = 0;  // of the ticks
    Samples warm_up_{0};
};

}  // namespace voicecore::codec
