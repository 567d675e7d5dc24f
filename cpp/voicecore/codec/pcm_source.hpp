// A media source that decodes.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <vector>

#include "voicecore/audio/media_source.hpp"
#include "voicecore/codec/audio_decoder.hpp"
#include "voicecore/codec/packet_feed.hpp"
#include "voicecore/codec/resampler.hpp"

namespace voicecore::codec {

// Thread-safety as MediaSource says.
class PcmSource final : public audio::MediaSource {
  public:
    PcmSource(audio::SourceInfo info, std::unique_ptr<PacketFeed> feed)
        : info_{std::move(info)}, feed_{std::move(feed)} {}

    [[nodiscard]] const audio::SourceInfo& info() const noexcept override { return info_; }
    [[nodiscard]] audio::ReadStatus read(audio::MediaUnit& unit) noexcept override;
    void seek(Samples position) noexcept override;
    [[nodiscard]] Error error() const override { return error_; }
    [[nodiscard]] std::uint64_t decode_errors() const noexcept override {
        return errors_.load(std::memory_order_relaxed) + feed_->damage();
    }
    void set_ready_hook(std::function<void()> hook) override {
        feed_->set_ready_hook(std::move(hook));
    }

    // For inputs that cannot seek: what lies before `position` is read and dropped.
    void drop_until(Samples position) noexcept;

    // Decodes until the first samples are there: they stay for the next read(). ok, would_block, or
    // what stands in the way.
    [[nodiscard]] audio::ReadStatus prime();

  private:
    [[nodiscard]] audio::ReadStatus produce();
    [[nodiscard]] audio::ReadStatus take_packet();
    [[nodiscard]] bool send(const Packet& packet);
    [[nodiscard]] bool begin_segment(const SegmentPtr& segment);
    [[nodiscard]] bool consume_frame();
    [[nodiscard]] bool start_run(const AVFrame& frame, std::int64_t& low, std::int64_t high);
    [[nodiscard]] bool finish_run();
    [[nodiscard]] bool conceal();
    [[nodiscard]] bool fill_gap();
    void came_out(std::size_t before);
    bool fail(Error error);
    [[nodiscard]] Samples position_of(std::int64_t native) const noexcept;
    [[nodiscard]] bool pending() const noexcept { return out_begin_ < out_.size(); }

    audio::SourceInfo info_;
    std::unique_ptr<PacketFeed> feed_;
    std::unique_ptr<AudioDecoder> decoder_;
    Samples warm_up_{0};  // of the decoder used last
    Resampler resampler_;
    Error error_;
    std::atomic<std::uint64_t> errors_{0};

    SegmentPtr segment_;
    Samples base_{0};  // media position of the segment's tick 0
    Packet packet_;    // sent last, or held back while the decoder of the former segment drains
    bool held_ = false;
    bool draining_ = false;
    bool ended_ = false;
    bool failed_ = false;
    bool ever_decoded_ = false;
    bool ever_given_ = false;   // a run was started
    int damaged_in_front_ = 0;  // packets, before anything could be decoded

    // "Native" counts samples at the rate of the decoder's frames, from the segment's tick 0.
    int rate_ = 0;
    std::optional<std::int64_t> expected_;  // where the next frame should start
    bool frame_waits_ = false;              // a frame to be consumed once what is before it is out
    std::int64_t gap_ = 0;                  // native, to be filled with silence first
    bool damaged_ = false;                  // a packet was lost since the last frame
    std::int64_t shift_ = 0;    // ticks from the segment's 0 to its first audible sample
    bool running_ = false;      // the resampler holds a run without gaps
    std::int64_t run_end_ = 0;  // native, of what was pushed
    Samples run_out_{0};        // position of the next sample that comes out

    std::optional<Samples> target_;  // of a seek: nothing before it is given
    bool sought_ = false;            // no packet has come since

    std::vector<float> out_;
    std::size_t out_begin_ = 0;  // values in front that are dropped
    Samples out_position_{0};    // of out_[out_begin_]
};

}  // namespace voicecore::codec
