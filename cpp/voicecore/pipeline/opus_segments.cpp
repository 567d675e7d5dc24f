#include "voicecore/pipeline/opus_segments.hpp"

#include <opus.h>

#include <array>

#include "voicecore/audio/opus_packet.hpp"

namespace voicecore::pipeline {
namespace {

constexpr std::uint8_t kTocKind =
    0xFC;  // configuration and channels; the rest is the frame count code

}  // namespace

void OpusSegmenter::clear() noexcept {
    whole_ = {};
    held_ = 0;
    phase_ = 0;
    flushing_ = false;
    next_ = 0;
    loose_ = 0;
    frames_.clear();
    frame_bytes_.clear();
}

void OpusSegmenter::add(std::span<const std::uint8_t> packet) {
    const auto info = audio::parse_opus_packet(packet);
    if (!info) return;
    const bool nothing_held = held_ == 0;
    held_ += info->samples();
    if (nothing_held && phase_ == 0 && info->samples() == kFrameSamples) {
        whole_ = packet;
        return;
    }
    split(packet);
}

void OpusSegmenter::flush() noexcept {
    flushing_ = true;
}

void OpusSegmenter::split(std::span<const std::uint8_t> packet) {
    if (next_ > 0) {  // forget what is out; the rest is less than a frame of the grid
        const std::size_t gone =
            next_ < frames_.size() ? frames_[next_].offset : frame_bytes_.size();
        frames_.erase(frames_.begin(), frames_.begin() + static_cast<std::ptrdiff_t>(next_));
        frame_bytes_.erase(frame_bytes_.begin(),
                           frame_bytes_.begin() + static_cast<std::ptrdiff_t>(gone));
        for (Frame& frame : frames_) frame.offset -= gone;
        next_ = 0;
    }
    std::array<const unsigned char*, audio::kMaxOpusFrames> starts{};
    std::array<opus_int16, audio::kMaxOpusFrames> sizes{};
    unsigned char toc = 0;
    const int count = opus_packet_parse(packet.data(), static_cast<opus_int32>(packet.size()), &toc,
                                        starts.data(), sizes.data(), nullptr);
    const int samples = opus_packet_get_samples_per_frame(&toc, kSampleRate);
    for (std::size_t i = 0; count > 0 && i < static_cast<std::size_t>(count); ++i) {
        const auto size = static_cast<std::size_t>(sizes[i]);
        frames_.push_back({.offset = frame_bytes_.size(), .size = size + 1, .samples = samples});
        frame_bytes_.push_back(static_cast<std::uint8_t>(toc & kTocKind));
        frame_bytes_.insert(frame_bytes_.end(), starts[i], starts[i] + size);
    }
}

bool OpusSegmenter::take(OpusPiece& piece) {
    if (!whole_.empty()) {
        piece = {.bytes = whole_,
                 .samples = kFrameSamples,
                 .copyable = whole_.size() <= audio::kMaxPacketBytes};
        whole_ = {};
        held_ = 0;
        return true;
    }
    return take_group(piece);
}

bool OpusSegmenter::take_group(OpusPiece& piece) {
    if (loose_ == 0) {
        // How many frames reach the next grid line, and do they end on it?
        int end = phase_;
        std::size_t count = 0;
        while (next_ + count < frames_.size() && end < kFrameSamples) {
            end += frames_[next_ + count].samples;
            ++count;
        }
        if (count == 0 || (end < kFrameSamples && !flushing_)) return false;
        if (phase_ == 0 && end == kFrameSamples && join(count, piece)) {
            next_ += count;
            held_ -= kFrameSamples;
            return true;
        }
        loose_ = count;
    }
    const Frame& frame = frames_[next_];
    piece = {.bytes = std::span{frame_bytes_}.subspan(frame.offset, frame.size),
             .samples = frame.samples,
             .copyable = false};
    ++next_;
    --loose_;
    held_ -= frame.samples;
    phase_ = (phase_ + frame.samples) % kFrameSamples;
    return true;
}

bool OpusSegmenter::join(std::size_t count, OpusPiece& piece) {
    const auto bytes_of = [this](std::size_t i) {
        return std::span<const std::uint8_t>{frame_bytes_}.subspan(frames_[next_ + i].offset,
                                                                   frames_[next_ + i].size);
    };
    if (count == 1) {
        piece = {.bytes = bytes_of(0),
                 .samples = kFrameSamples,
                 .copyable = frames_[next_].size <= audio::kMaxPacketBytes};
        return true;
    }
    if (!repacketizer_) {
        auto created = opus::Repacketizer::create();
        if (!created) return false;
        repacketizer_.emplace(std::move(created).value());
    }
    joined_.resize(audio::kMaxPacketBytes);
    repacketizer_->clear();
    for (std::size_t i = 0; i < count; ++i) {
        if (!repacketizer_->add(bytes_of(i))) return false;
    }
    const std::size_t size = repacketizer_->join(joined_);
    if (size == 0) return false;
    piece = {.bytes = std::span<const std::uint8_t>{joined_}.first(size),
             .samples = kFrameSamples,
             .copyable = true};
    return true;
}

}  // namespace voicecore::pipeline
