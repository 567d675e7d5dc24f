// OggSink: records what a player sends as a playable Ogg Opus file.
#pragma once

#include <memory>

#include "voicecore/transport/ogg_writer.hpp"
#include "voicecore/transport/ring_sink.hpp"

namespace voicecore::transport {

// As the port says. One file is one playing: a second start() fails with `closed`. Packets follow
// one another without the pauses between them; silence frames are part of the recording. A write
// that fails (disk full) makes send() return `failed` and the listener hear io with errno and the
// path.
class OggSink final : public RingSink {
  public:
    // Creates the file, as OggWriter::open; fails when its directory is missing, it may not be
    // written, or the options make no valid header.
    [[nodiscard]] static Result<std::unique_ptr<OggSink>> open(OggOptions options);
    [[nodiscard]] static Result<std::unique_ptr<OggSink>> open(OggOptions options,
                                                               const Options& ring);

    // What a player of the file skips at its start, when that is not the encoder's look-ahead:
    // packets that are copied bring their own. Before start().
    void set_pre_skip(Samples samples) noexcept;

  private:
    class Recorder;
    OggSink(std::unique_ptr<Recorder> recorder, const Options& ring);
    OggSink(Recorder& kept, std::unique_ptr<Recorder> recorder, const Options& ring);

    Recorder& recorder_;  // owned by the base, which outlives this part
};

}  // namespace voicecore::transport
