#include "voicecore/codec/opus_source.hpp"
#include "voicecore/codec/unexpected.hpp"

#include <algorithm>
#include <new>
#include <utility>

#include "voicecore/audio/opus_packet.hpp"

namespace voicecore::codec {

using audio::ReadStatus;

// Frames are taken out of packets and put together, but not cut. Encoders that begin with long ones
// go on with them, if not for ever: what follows is judged packet by packet where it is copied.
void OpusSource::judge(const audio::OpusPacketInfo& first) {
    if (!info_.no_passthrough.empty() || first.frame_samples <= kFrameSamples) return;
    info_.no_passthrough = "its frames are " +
                           std::to_string(first.frame_samples * 1'000 / kSampleRate) +
                           " ms long (SILK); only those of 20 ms or less are copied";
}

// The next valid packet into packet_.
ReadStatus OpusSource::take() {
    for (;;) {
        if (failed_) return ReadStatus::failed;
        const ReadStatus status = feed_->next(packet_);
        if (status == ReadStatus::failed) {
            error_ = feed_->error();
            failed_ = true;
        }
        if (status != ReadStatus::ok) return status;
        if (!packet_.segment->opus) {
            error_ = {Errc::unsupported, 0, "the stream changes from Opus to another codec"};
            failed_ = true;
            return ReadStatus::failed;
        }
        const auto info = audio::parse_opus_packet(packet_.data);
        if (!info) {
            errors_.fetch_add(1, std::memory_order_relaxed);
            continue;
        }
        // At open, while nobody else knows the source.
        if (!std::exchange(judged_, true)) judge(*info);
        if (packet_.segment != segment_) {
            // In a chain the truth is where the link before ended.
            if (segment_) {
                base_ = end_;
                begins_ = true;
            }
            segment_ = packet_.segment;
            if (sought_) base_ = segment_->base.value_or(base_);
        } else if (sought_) {
            base_ = segment_->base.value_or(base_);
        }
        sought_ = false;
        samples_ = Samples{info->samples()};
        position_ = packet_.start == kNoTick ? end_ : base_ + Samples{packet_.start};
        end_ = position_ + samples_ - std::min(Samples{packet_.trim_end}, samples_);
        if (end_ > drop_until_) return ReadStatus::ok;
    }
}

ReadStatus OpusSource::prime() {
    if (held_) return ReadStatus::ok;
    const ReadStatus status = take();
    held_ = status == ReadStatus::ok;
    return status;
}

ReadStatus OpusSource::read(audio::MediaUnit& unit) noexcept {
    try {
        if (const ReadStatus status = prime(); status != ReadStatus::ok) return status;
    } catch (const std::exception& thrown) {
        error_ = unexpected(thrown, "reading packets");
        failed_ = true;
        return ReadStatus::failed;
    }
    held_ = false;
    unit = {};
    unit.packet = packet_.data;
    unit.duration = samples_;
    unit.trim_end = std::min(Samples{packet_.trim_end}, samples_);
    unit.position = position_;
    unit.begins = std::exchange(begins_, false);
    return ReadStatus::ok;
}

void OpusSource::seek(Samples position) noexcept {
    held_ = failed_ = false;
    sought_ = true;
    end_ = position;
    try {
        // At or past the end nothing is left, not even the packets that lead there.
        const bool past = info_.duration && position >= *info_.duration;
        feed_->seek(past ? position : std::max(position - audio::kOpusPreroll, Samples{0}));
    } catch (const std::exception& thrown) {
        error_ = unexpected(thrown, "seeking");
        failed_ = true;
    }
}

}  // namespace voicecore::codec
