// A media source that hands Opus packets on as they are.
#pragma once

#include <atomic>
#include <limits>
#include <memory>
#include <optional>

#include "voicecore/audio/media_source.hpp"
#include "voicecore/audio/opus_packet.hpp"
#include "voicecore/codec/packet_feed.hpp"

namespace voicecore::codec {

// Thread-safety as MediaSource says.
class OpusSource final : public audio::MediaSource {
  public:
    OpusSource(audio::SourceInfo info, std::unique_ptr<PacketFeed> feed)
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

    // For inputs that cannot seek: what lies before `position`, less the pre-roll, is read and
    // dropped.
    void drop_until(Samples position) noexcept {
        drop_until_ = position - audio::kOpusPreroll;
        if (held_ && end_ <= drop_until_) held_ = false;
    }

    // Waits for nothing: is there a packet? It stays for the next read().
    [[nodiscard]] audio::ReadStatus prime();

  private:
    [[nodiscard]] audio::ReadStatus take();
    void judge(const audio::OpusPacketInfo& first);

    audio::SourceInfo info_;
    std::unique_ptr<PacketFeed> feed_;
    Error error_;
    std::atomic<std::uint64_t> errors_{0};
    SegmentPtr segment_;
    Samples base_{0};  // media position of the segment's tick 0
    Samples end_{0};   // position where the last packet's audible part ended
    Samples drop_until_{std::numeric_limits<std::int64_t>::min()};
    Packet packet_;
    Samples samples_{0};   // of packet_
    Samples position_{0};  // of packet_
    bool begins_ = false;  // another segment, not handed out yet
    bool judged_ = false;  // whether its packets can be copied
    bool held_ = false;
    bool failed_ = false;
    bool sought_ = true;  // no packet has come since the beginning or the last seek
};

}  // namespace voicecore::codec
