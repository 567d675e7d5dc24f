#include "voicecore/transport/ogg_sink.hpp"

#include <utility>

namespace voicecore::transport {

class OggSink::Recorder final : public PacketWriter {
  public:
    explicit Recorder(OggWriter file) : file_{std::move(file)} {}

    [[nodiscard]] Status available() const override {
        if (!used_) return Done{};
        return Error{Errc::closed, 0,
                     "'" + file_.path() + "' is finished: a file holds one playing, open another"};
    }
    void admit() override { used_ = true; }
    [[nodiscard]] Status write(const RingPacket& packet) override {
        const int media = packet.silence ? kFrameSamples : packet.media_samples;
        if (auto written = file_.write(packet.opus.bytes(), media); !written) return written;
        // The last of the five: perhaps nothing follows for long. Depends on the packets alone, so
        // that equal runs make equal pages.
        silence_run_ = packet.silence ? silence_run_ + 1 : 0;
        return silence_run_ == audio::kSilenceFrames ? file_.flush() : Status{Done{}};
    }
    [[nodiscard]] Status end() override { return file_.finish(); }
    void set_pre_skip(Samples samples) noexcept { file_.set_pre_skip(samples); }

  private:
    OggWriter file_;
    int silence_run_ = 0;
    bool used_ = false;
};

OggSink::OggSink(std::unique_ptr<Recorder> recorder, const Options& ring)
    : OggSink{*recorder, std::move(recorder), ring} {}

OggSink::OggSink(Recorder& kept, std::unique_ptr<Recorder> recorder, const Options& ring)
    : RingSink{std::move(recorder), ring}, recorder_{kept} {}

void OggSink::set_pre_skip(Samples samples) noexcept {
    recorder_.set_pre_skip(samples);
}

Result<std::unique_ptr<OggSink>> OggSink::open(OggOptions options) {
    return open(std::move(options), Options{});
}

Result<std::unique_ptr<OggSink>> OggSink::open(OggOptions options, const Options& ring) {
    auto file = OggWriter::open(std::move(options));
    if (!file) return std::move(file).error();
    return std::unique_ptr<OggSink>{
        new OggSink{std::make_unique<Recorder>(std::move(file).value()), ring}};  // NOLINT: private
}

}  // namespace voicecore::transport
