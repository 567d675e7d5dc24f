#include "voicecore/transport/recording.hpp"

#include <algorithm>

#include "voicecore/audio/opus_packet.hpp"

namespace voicecore::transport {

Status Recording::add(std::int64_t index, std::uint32_t timestamp, int samples,
                      std::span<const std::uint8_t> opus) {
    if (next_ && index < *next_) return Done{};
    held_.try_emplace(
        index,
        Held{.opus = {opus.begin(), opus.end()}, .timestamp = timestamp, .samples = samples});
    while (!held_.empty() &&
           (!next_ || held_.begin()->first == *next_ || held_.size() > kMaxHeld)) {
        if (auto written = write_oldest(); !written) return written;
    }
    return Done{};
}

Status Recording::write_oldest() {
    auto node = held_.extract(held_.begin());
    const Held& packet = node.mapped();
    if (next_timestamp_ && fill_gaps_) {
        const auto hole = static_cast<std::int32_t>(packet.timestamp - *next_timestamp_);
        for (int i = std::min(hole / kFrameSamples, kMaxFill); i > 0; --i) {
            if (auto written = file_.write(audio::kSilenceFrame); !written) return written;
        }
    }
    next_ = node.key() + 1;
    next_timestamp_ = packet.timestamp + static_cast<std::uint32_t>(packet.samples);
    return file_.write(packet.opus, packet.samples, packet.samples);
}

Status Recording::flush() {
    while (!held_.empty()) {
        if (auto written = write_oldest(); !written) return written;
    }
    return Done{};
}

Status Recording::restart() {
    auto flushed = flush();
    next_.reset();
    next_timestamp_.reset();
    return flushed;
}

Status Recording::finish() {
    if (auto flushed = flush(); !flushed) return flushed;
    return file_.finish();
}

}  // namespace voicecore::transport
