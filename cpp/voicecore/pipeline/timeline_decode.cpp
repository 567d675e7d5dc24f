// The lazy half of the timeline: packets become PCM only when somebody asks for it.
#include <algorithm>

#include "voicecore/pipeline/timeline.hpp"

namespace voicecore::pipeline {

// The newest frame, the one that the look-ahead reaches into, and for packets what a piece of 60 ms
// covers beyond that.
std::size_t Timeline::pcm_frames() const noexcept {
    return static_cast<std::size_t>(packets_seen_ ? options_.reach + 5 : options_.pcm_reach + 2);
}

void Timeline::need_pcm() {
    const Place wanted = static_cast<Place>(pcm_frames()) * kFrameSamples;
    if (pcm_.samples() >= wanted) return;
    if (pcm_.allocated()) {
        pcm_.grow(pcm_frames(), std::max<Place>(0, placed_ - pcm_.samples()), placed_);
    } else {
        pcm_.allocate(pcm_frames());
    }
}

void Timeline::prepare(std::int64_t first, std::int64_t last) {
    last = std::min(last, opened_);
    if (first < last) decode(first, last);
}

void Timeline::read(Place at, std::span<float> into) {
    const Place end = at + static_cast<Place>(into.size() / kChannels);
    const Place from = std::clamp<Place>(0, at, end);
    const Place to = std::clamp(placed_, from, end);
    if (from < to) {
        decode(from / kFrameSamples, (to - 1) / kFrameSamples + 1);
        pcm_.read(from, into.subspan(static_cast<std::size_t>((from - at) * kChannels),
                                     static_cast<std::size_t>((to - from) * kChannels)));
    }
    const auto clear = [&](Place a, Place b) {
        std::fill(into.begin() + (a - at) * kChannels, into.begin() + (b - at) * kChannels, 0.0F);
    };
    clear(at, from < to ? from : end);
    if (from < to) clear(to, end);
}

bool Timeline::decoder_stands_at(std::int64_t index, std::size_t piece) noexcept {
    if (decoder_frame_ < oldest()) return false;
    // Standing behind the last piece of a frame is standing before the next frame.
    while (decoder_frame_ < index && decoder_piece_ == slot(decoder_frame_).pieces.size()) {
        ++decoder_frame_;
        decoder_piece_ = 0;
    }
    return decoder_frame_ == index && decoder_piece_ == piece;
}

void Timeline::decode(std::int64_t first, std::int64_t last) {
    first = std::max(first - slot(first).reach_back, oldest());
    while (first < last && slot(first).decoded == slot(first).pieces.size()) ++first;
    if (first == last) return;
    need_pcm();
    if (!decoder_) {
        auto created = opus::Decoder::create();
        if (!created) {
            ++decode_errors_;
            return;
        }
        decoder_.emplace(std::move(created).value());
    }
    if (!decoder_stands_at(first, slot(first).decoded)) {
        decoder_->reset();
        decoder_frame_ = std::max(first - kDecoderPreroll, oldest());
        decoder_piece_ = 0;
    }
    for (std::int64_t index = decoder_frame_; index < last; ++index) {
        decode_frame(index, index >= first);
    }
}

void Timeline::decode_frame(std::int64_t index, bool wanted) {
    TimelineFrame& frame = slot(index);
    if (decoder_frame_ != index) {
        decoder_frame_ = index;
        decoder_piece_ = 0;
    }
    for (; decoder_piece_ < frame.pieces.size(); ++decoder_piece_) {
        const bool fresh = decoder_piece_ >= frame.decoded;
        decode_piece(frame, frame.pieces[decoder_piece_], wanted && fresh);
        if (wanted && fresh) frame.decoded = static_cast<std::uint32_t>(decoder_piece_ + 1);
    }
}

void Timeline::decode_piece(const TimelineFrame& frame, const TimelinePiece& piece, bool keep) {
    if (piece.reset) decoder_->reset();
    scratch_.resize(static_cast<std::size_t>(piece.samples) * kChannels);
    const auto bytes = std::span{frame.bytes}.subspan(piece.offset, piece.size);
    if (decoder_->decode(bytes, scratch_) != opus::CodecStatus::ok) {
        if (keep) ++decode_errors_;
        decoder_->conceal(scratch_);
    }
    const Place at = piece.at + piece.skip;
    if (!keep || piece.keep == 0 || at < opened_ * kFrameSamples - pcm_.samples()) {
        return;
    }
    const auto kept = std::span{scratch_}.subspan(static_cast<std::size_t>(piece.skip) * kChannels,
                                                  static_cast<std::size_t>(piece.keep) * kChannels);
    if (piece.scale != 1.0F) {
        for (float& value : kept) value *= piece.scale;
    }
    pcm_.write(at, kept);
}

}  // namespace voicecore::pipeline
