#include "voicecore/codec/flac_parts.hpp"

#include <algorithm>
#include <string_view>

#include "voicecore/codec/comments.hpp"
#include "voicecore/codec/handles.hpp"

namespace voicecore::codec {
namespace {

using Bytes = std::span<const std::uint8_t>;

// What is looked at for one frame.
constexpr std::int64_t kLeastWindow = 16 * 1024;
constexpr std::int64_t kMostWindow = 256 * 1024;
// Tags with pictures may lie behind the last frame.
constexpr std::int64_t kMostTail = 4 << 20;
// Bytes that are summed up in search of a checksum that agrees. By accident 30 bytes in a million
// look as if a frame began there; on purpose all can, and each of them costs a walk to the end.
constexpr std::int64_t kMostSummed = 64 << 20;

std::int64_t window_of(const FlacInfo& info) noexcept {
    // Encoders that cannot go back leave the size out.
    const int frame = info.largest_frame > 0 ? info.largest_frame : 2 * kLeastWindow;
    return std::clamp<std::int64_t>(frame + kFlacHeaderBytes, kLeastWindow, kMostWindow);
}

Result<Bytes> look_at(ByteReader& reader, std::int64_t from, std::int64_t to) {
    if (to <= from) return Bytes{};  // metadata that claim to go on behind the end
    if (auto moved = reader.seek(from); !moved) return std::move(moved).error();
    const auto wanted = static_cast<std::size_t>(to - from);
    auto seen = reader.peek(wanted);
    if (!seen) return seen;
    return seen.value().first(std::min(seen.value().size(), wanted));
}

struct Found {
    std::size_t at = 0;
    FlacFrame frame;
};

// The first header from `at` on.
std::optional<Found> next_header(Bytes bytes, std::size_t at, const FlacInfo& info) noexcept {
    const std::string_view text{reinterpret_cast<const char*>(bytes.data()), bytes.size()};
    for (at = text.find('\xFF', at); at != std::string_view::npos; at = text.find('\xFF', at + 1)) {
        if (const auto frame = parse_flac_frame(bytes.subspan(at), info)) return Found{at, *frame};
    }
    return std::nullopt;
}

// Whatever its format is.
bool ends_with_frame(Bytes bytes) noexcept {
    std::int64_t left = kMostSummed;
    for (std::size_t at = 0; at + kFlacHeaderBytes < bytes.size() && left > 0; ++at) {
        if (bytes[at] != 0xFF || (bytes[at + 1] & 0xFEU) != 0xF8) continue;
        left -= static_cast<std::int64_t>(bytes.size() - at);
        if (flac_frame_size(bytes.subspan(at))) return true;
    }
    return false;
}

// Samples up to the end of the last whole frame in [audio, end); null where none is found.
Result<std::optional<std::int64_t>> last_sample(ByteReader& reader, std::int64_t audio,
                                                std::int64_t end, const FlacInfo& info) {
    std::optional<std::int64_t> unsure;
    for (std::int64_t window = window_of(info);; window *= 4) {
        const std::int64_t from = std::max(audio, end - window);
        auto seen = look_at(reader, from, end);
        if (!seen) return std::move(seen).error();
        const Bytes bytes = seen.value();
        std::vector<Found> headers;
        for (auto found = next_header(bytes, 0, info); found;
             found = next_header(bytes, found->at + 1, info)) {
            headers.push_back(*found);
        }
        // The last one counts whose checksum agrees; one that was cut short gives no audio. What
        // looks like a header may be the inside of a frame.
        std::size_t until = bytes.size();
        std::int64_t left = kMostSummed;
        for (auto header = headers.rbegin(); header != headers.rend() && left > 0; ++header) {
            const Bytes frame = bytes.subspan(header->at);
            left -= static_cast<std::int64_t>(frame.size());
            if (flac_frame_size(frame.first(until - header->at)) || flac_frame_size(frame)) {
                return std::optional{header->frame.end()};
            }
            until = header->at;
        }
        if (!headers.empty()) unsure = headers.back().frame.start;
        if (from == audio || window >= kMostTail) return unsure;
    }
}

}  // namespace

std::optional<std::int64_t> FlacPartInput::size() const noexcept {
    const auto end = end_ ? end_ : reader_->size();
    if (!end) return std::nullopt;
    return std::max<std::int64_t>(*end - begin_, 0);
}

// How many bytes in front are metadata for sure, or known to be none.
std::size_t FlacPartInput::follow_metadata(std::int64_t position, Bytes bytes) {
    constexpr std::string_view kMagic{"fLaC"};
    constexpr std::size_t kId3 = 10;
    while (!audio_) {
        const std::int64_t offset = next_block_ - position;
        if (offset >= static_cast<std::int64_t>(bytes.size())) return bytes.size();
        const Bytes rest =
            bytes.subspan(static_cast<std::size_t>(std::max<std::int64_t>(offset, 0)));
        if (offset < 0 || (offset == 0 && rest.size() < kId3)) {
            audio_ = position;  // what should be there is not
        } else if (rest.size() < kId3) {
            return bytes.size() - rest.size();
        } else if (begun_) {
            next_block_ += 4 + (std::int64_t{rest[1]} << 16 | rest[2] << 8 | rest[3]);
            if ((rest[0] & 0x80U) != 0) audio_ = next_block_;
        } else if (const auto length = id3v2_length(rest); length > 0) {
            next_block_ += length;
        } else if (std::string_view{reinterpret_cast<const char*>(rest.data()), 4} != kMagic) {
            audio_ = next_block_;
        } else if (offset > 0 && rest.size() < kFlacBeginBytes) {
            return static_cast<std::size_t>(offset);
        } else {
            info_ = parse_flac_begin(rest);
            begun_ = true;
            next_block_ += 4;
        }
    }
    return bytes.size();
}

Result<std::size_t> FlacPartInput::ahead() {
    const std::int64_t position = reader_->position();
    if (end_ && position >= *end_) return std::size_t{0};
    auto seen = reader_->peek(kFlacBeginBytes + 1);
    if (!seen) return std::move(seen).error();
    const Bytes bytes = seen.value();
    const bool is_rest = bytes.size() <= kFlacBeginBytes;
    const std::size_t known = follow_metadata(position, bytes);
    if (end_) return std::min(bytes.size(), static_cast<std::size_t>(*end_ - position));
    if (!audio_) return known;
    const std::string_view text{reinterpret_cast<const char*>(bytes.data()), bytes.size()};
    auto at = static_cast<std::size_t>(std::max<std::int64_t>(*audio_ - position, 0));
    for (at = text.find("fLaC", at); at != std::string_view::npos; at = text.find("fLaC", at + 1)) {
        if (!parse_flac_begin(bytes.subspan(at))) continue;
        end_ = position + static_cast<std::int64_t>(at);
        return at;
    }
    // The next part may begin in the last bytes.
    return is_rest ? bytes.size() : bytes.size() - (kFlacBeginBytes - 1);
}

Result<std::size_t> FlacPartInput::read(std::span<std::uint8_t> into) {
    auto there = ahead();
    if (there) {
        const std::size_t count = std::min(into.size(), there.value());
        exhausted_ = count == 0;
        if (count == 0) return count;
        there = reader_->read_some(into.first(count));
    }
    failed_ = !there.ok();
    return there;
}

Result<FlacIndexPtr> build_flac_index(ByteReader& reader, std::int64_t begin,
                                      const std::atomic<bool>& cancelled) {
    auto index = std::make_shared<FlacIndex>();
    Samples base{0};
    int empty = 0;
    for (std::optional<std::int64_t> next = begin; next && empty <= kMostEmptyParts;) {
        FlacPartInput input{reader, *next, std::nullopt};
        if (auto moved = input.seek(0); !moved) return std::move(moved).error();
        for (std::uint32_t turn = 0;; ++turn) {
            if (turn % 64 == 0 && cancelled.load(std::memory_order_relaxed)) {
                return Error{Errc::cancelled, 0, "indexing was given up"};
            }
            auto there = input.ahead();
            if (!there) return std::move(there).error();
            if (there.value() == 0) break;
            const auto step = static_cast<std::int64_t>(there.value());
            if (auto moved = reader.skip(step); !moved) return std::move(moved).error();
        }
        FlacPart part{.begin = input.begin(), .end = reader.position(), .base = base};
        if (const auto& info = input.info(); info && input.audio()) {
            auto last = last_sample(reader, *input.audio(), part.end, *info);
            if (!last) return std::move(last).error();
            const std::int64_t samples = last.value().value_or(0);
            part.length = Samples{av_rescale(samples, kSampleRate, info->rate)};
        }
        base += part.length;
        empty = part.length > Samples{0} ? 0 : empty + 1;
        index->parts.push_back(part);
        next = input.end();
    }
    return FlacIndexPtr{std::move(index)};
}

Result<FlacLook> look_for_joins(ByteReader& reader, const FlacPartInput& part, int places) {
    const auto size = reader.size();
    if (!part.info() || !part.audio() || !size) return FlacLook::unclear;
    const FlacInfo& info = *part.info();
    const std::int64_t window = window_of(info);
    const std::int64_t audio = *part.audio();
    // Numbers of frames rise in one stream, and no frame is larger than what it holds.
    FlacFrame before;
    std::int64_t before_at = audio;
    const auto follows = [&](std::int64_t at, std::int64_t sample) {
        return sample > before.start &&
               static_cast<double>(at - before_at) <=
                   info.most_bytes(sample - before.start) + static_cast<double>(window);
    };
    for (int i = 1; i <= places; ++i) {
        const std::int64_t from = audio + (*size - audio) / (places + 1) * i;
        auto seen = look_at(reader, from, std::min(*size, from + window));
        if (!seen) return std::move(seen).error();
        const auto found = next_header(seen.value(), 0, info);
        if (!found) continue;
        const std::int64_t at = from + static_cast<std::int64_t>(found->at);
        if (at == before_at) continue;
        if (!follows(at, found->frame.start)) return FlacLook::joined;
        before = found->frame;
        before_at = at;
    }
    auto seen = look_at(reader, std::max(audio, *size - window), *size);
    if (!seen) return std::move(seen).error();
    std::optional<FlacFrame> last;
    for (auto found = next_header(seen.value(), 0, info); found;
         found = next_header(seen.value(), found->at + 1, info)) {
        last = found->frame;
    }
    if (!last) {
        auto wide = look_at(reader, std::max(audio, *size - 4 * window), *size);
        if (!wide) return std::move(wide).error();
        return ends_with_frame(wide.value()) ? FlacLook::joined : FlacLook::unclear;
    }
    if (!follows(*size, last->end())) return FlacLook::joined;
    if (info.samples == 0 || last->end() == info.samples) return FlacLook::single;
    return last->end() > info.samples ? FlacLook::joined : FlacLook::unclear;
}

}  // namespace voicecore::codec
