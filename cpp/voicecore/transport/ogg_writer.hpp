// OggWriter: Opus packets into an Ogg Opus file (RFC 7845), written in place.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "voicecore/base/result.hpp"
#include "voicecore/base/units.hpp"
#include "voicecore/transport/fd.hpp"

namespace voicecore::transport {

inline constexpr Samples kEncoderDelay{312};  // libopus at 48 kHz, outside its low-delay mode

struct OggOptions {
    std::string path;
    // Samples in front of the media that a player throws away: the encoder's look-ahead, or for
    // copied packets what their own header said.
    Samples pre_skip = kEncoderDelay;
    std::uint32_t serial =
        0x766F6963;  // the same for every file, so that equal runs give equal bytes
    std::string vendor = "voicecore";
    std::vector<std::pair<std::string, std::string>> comments;  // ("TITLE", "..."), UTF-8
    int channels = 2;  // of the header; packets may be mono or stereo whatever it says
    std::uint32_t input_rate = 48'000;  // of the original, informative
    int page_packets =
        50;  // 1 s: what a reader that follows the file waits for, and what a kill loses
};

// How much of the file counts (RFC 7845 section 4): the granule position of a page is the number of
// samples that its packets decode to, from the start of the stream, pre-skip included. That holds
// for every page but the last. When the very last packet belongs only in part to the media, the
// file is cut to
//     pre_skip + the samples of all packets but the tail + the media samples of the tail,
// and not beyond what was written, where the tail is the run of partial packets at the very end.
// Hence N media samples, encoded with the pre-skip as look-ahead into enough packets, decode to
// exactly N samples. Two ways of counting media are understood: by what enters the encoder (the
// first packet is whole), or by what the listener hears of each packet (the first packets lack
// exactly the pre-skip, which is then not added again). A partial packet in the middle (the end of
// one track before the next, or before silence frames) is kept whole: a cut there would shorten
// whatever comes last.
//
// The file is written in place, without a temporary name, so that a reader can follow it; each page
// goes out with one write() and is not synced. A process that is killed leaves whole pages: a valid
// file without its end mark. So does a write that fails: the broken page is cut off again. Not
// thread-safe. Blocks on the disk.
class OggWriter {
  public:
    // Creates the file. Nothing is written yet: one that exists stays as it is until the first
    // packet comes, so that whoever is refused after this has destroyed nothing.
    [[nodiscard]] static Result<OggWriter> open(OggOptions options);
    OggWriter(OggWriter&&) noexcept;
    OggWriter& operator=(OggWriter&&) noexcept;
    ~OggWriter();  // without finish(): the file ends with its last whole page

    // `samples`: that the packet decodes to. `media`: how many of them, from its start, belong to
    // the media; fewer only at an end.
    [[nodiscard]] Status write(std::span<const std::uint8_t> packet, int media = kFrameSamples,
                               int samples = kFrameSamples);
    // Writes what is complete, so that a reader has it although nothing follows for a while.
    [[nodiscard]] Status flush();
    // Marks the end and closes. A file without any packet gets one frame of silence and zero
    // length.
    [[nodiscard]] Status finish();

    // Before the first write().
    void set_pre_skip(Samples samples) noexcept { options_.pre_skip = samples; }
    // Samples that a reader of the file hears. After finish().
    [[nodiscard]] Samples length() const noexcept { return length_; }
    [[nodiscard]] const std::string& path() const noexcept { return options_.path; }

  private:
    struct Stream;  // libogg's state
    struct FreeStream {
        void operator()(Stream* stream) const noexcept;
    };
    struct Held {
        std::vector<std::uint8_t> opus;
        int media;
        int samples;
    };

    OggWriter(OggOptions options, Fd fd, std::unique_ptr<Stream, FreeStream> stream);
    [[nodiscard]] Status empty_file();
    [[nodiscard]] Status write_headers();
    [[nodiscard]] Status submit(std::span<const std::uint8_t> packet, std::int64_t granule,
                                bool last);
    // Where the media ends, of a stream of so many samples.
    [[nodiscard]] std::int64_t media_end(std::int64_t written) const noexcept;
    [[nodiscard]] Status submit_held(std::size_t count);
    [[nodiscard]] Status write_pages();
    [[nodiscard]] Status write_all(std::span<const std::uint8_t> bytes);
    [[nodiscard]] Error write_error(int error);

    OggOptions options_;
    Fd fd_;
    std::unique_ptr<Stream, FreeStream> stream_;
    std::vector<Held> held_;    // the end of the stream may be among them
    std::int64_t granule_ = 0;  // of the packets submitted
    std::int64_t packet_number_ = 0;
    std::int64_t file_bytes_ = 0;  // whole pages only
    int on_page_ = 0;
    bool in_head_ = true;          // no whole packet so far
    std::int64_t head_lacks_ = 0;  // samples of the packets before the first whole one, not media
    std::int64_t head_media_ = 0;  // and those that are
    Samples length_{0};
};

}  // namespace voicecore::transport
