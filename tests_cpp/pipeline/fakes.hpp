// Media sources whose every behaviour is chosen by the test.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "signal.hpp"
#include "voicecore/audio/media_source.hpp"
#include "voicecore/audio/opus_packet.hpp"

namespace test {

using voicecore::Errc;
using voicecore::Error;
using voicecore::Samples;
using voicecore::audio::MediaKind;
using voicecore::audio::MediaUnit;
using voicecore::audio::ReadStatus;
using voicecore::audio::SourceInfo;

// What may be asked of a fake after it was given away.
struct Log {
    int reads = 0;
    int seeks = 0;
    bool alive = true;
};

class FakeSource : public voicecore::audio::MediaSource {
  public:
    ~FakeSource() override {
        if (log) log->alive = false;
    }
    const SourceInfo& info() const noexcept override { return info_; }
    Error error() const override {
        return {.code = Errc::corrupt, .native = 0, .message = "broken"};
    }
    std::uint64_t decode_errors() const noexcept override { return 0; }
    bool caller_paced() const noexcept override { return paced; }
    void set_ready_hook(std::function<void()> hook) override { hook_ = std::move(hook); }

    int block_every = 0;                 // every so many reads give would_block once
    std::optional<std::size_t> fail_at;  // unit
    bool paced = false;
    std::shared_ptr<Log> log;

  protected:
    bool blocks() {
        if (log) ++log->reads;
        if (block_every == 0) return false;
        return ++reads_ % block_every == 0;
    }
    SourceInfo info_;
    std::function<void()> hook_;
    int reads_ = 0;
};

class PcmFake final : public FakeSource {
  public:
    explicit PcmFake(std::vector<float> pcm, std::size_t unit_samples = 1'152, bool seekable = true)
        : pcm_{std::move(pcm)}, unit_{unit_samples} {
        info_.kind = MediaKind::pcm;
        info_.seekable = seekable;
    }
    ReadStatus read(MediaUnit& unit) noexcept override {
        if (blocks()) return ReadStatus::would_block;
        if (fail_at && at_ >= *fail_at * unit_) return ReadStatus::failed;
        const std::size_t total = pcm_.size() / 2;
        if (at_ >= total) return ReadStatus::end;
        const std::size_t count = std::min(unit_, total - at_);
        unit = {};
        unit.position = Samples{static_cast<std::int64_t>(at_)};
        unit.pcm = std::span<const float>{pcm_}.subspan(at_ * 2, count * 2);
        unit.duration = Samples{static_cast<std::int64_t>(count)};
        at_ += count;
        return ReadStatus::ok;
    }
    void seek(Samples position) noexcept override {
        if (log) ++log->seeks;
        at_ = static_cast<std::size_t>(position.count());
    }

  private:
    std::vector<float> pcm_;
    std::size_t unit_;
    std::size_t at_ = 0;
};

class OpusFake final : public FakeSource {
  public:
    // Media is [pre_skip, length) of what the packets decode to; length 0 is all of it.
    explicit OpusFake(std::vector<Packet> packets, std::int64_t pre_skip = 312,
                      std::int64_t length = 0, float header_gain = 1.0F)
        : packets_{std::move(packets)}, pre_skip_{pre_skip} {
        for (const Packet& packet : packets_) {
            starts_.push_back(total_);
            total_ += voicecore::audio::parse_opus_packet(packet)->samples();
        }
        end_ = length == 0 ? total_ : pre_skip + length;
        info_.kind = MediaKind::opus;
        info_.pre_skip = Samples{pre_skip};
        info_.header_gain = header_gain;
        info_.seekable = true;
    }
    ReadStatus read(MediaUnit& unit) noexcept override {
        if (blocks()) return ReadStatus::would_block;
        if (fail_at && at_ >= *fail_at) return ReadStatus::failed;
        if (at_ >= packets_.size() || starts_[at_] >= end_) return ReadStatus::end;
        const std::int64_t next = at_ + 1 < starts_.size() ? starts_[at_ + 1] : total_;
        unit = {};
        unit.position = Samples{starts_[at_] - pre_skip_};
        unit.packet = packets_[at_];
        unit.duration = Samples{next - starts_[at_]};
        unit.trim_end = Samples{std::max<std::int64_t>(0, next - end_)};
        ++at_;
        return ReadStatus::ok;
    }
    void seek(Samples position) noexcept override {
        if (log) ++log->seeks;
        const std::int64_t wanted = position.count() + pre_skip_;
        if (wanted >= end_) {
            at_ = packets_.size();
            return;
        }
        at_ = 0;
        while (at_ + 1 < packets_.size() && starts_[at_ + 1] <= wanted - 3'840) ++at_;
    }
    std::int64_t media_samples() const { return end_ - pre_skip_; }

  private:
    std::vector<Packet> packets_;
    std::vector<std::int64_t> starts_;
    std::int64_t pre_skip_;
    std::int64_t total_ = 0;
    std::int64_t end_ = 0;
    std::size_t at_ = 0;
};

}  // namespace test
