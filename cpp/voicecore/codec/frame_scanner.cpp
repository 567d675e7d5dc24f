#include "voicecore/codec/frame_scanner.hpp"

#include <algorithm>
#include <cstring>

#include "voicecore/codec/comments.hpp"

namespace voicecore::codec {
namespace {
constexpr int kConfirmations = 2;  // frames behind one found by searching that must follow in line
constexpr std::int64_t kMostJunk = 256 * 1024;  // bytes before the first frame
}  // namespace

// Do `more` further headers of the same stream follow where they should, or does the input end
// there?
Result<bool> FrameScanner::confirmed(const FrameHeader& header, int more) {
    std::size_t at = static_cast<std::size_t>(header.size);
    for (int i = 0; i < more; ++i) {
        auto seen = reader_->peek(at + kFrameHeaderBytes);
        if (!seen) return std::move(seen).error();
        const auto bytes = seen.value();
        // The end, exactly or in the middle of a frame that was preceded by others.
        if (bytes.size() < at + kFrameHeaderBytes) return i > 0 || bytes.size() == at;
        const auto next = parse_frame_header(bytes.subspan(at));
        if (!next || !next->same_stream(header)) {
            const auto rest = bytes.subspan(at);
            const bool tag = std::memcmp(rest.data(), "TAG", 3) == 0 ||
                             std::memcmp(rest.data(), "ID3", 3) == 0 ||
                             std::memcmp(rest.data(), "APETAG", 6) == 0;
            return tag;
        }
        at += static_cast<std::size_t>(next->size);
    }
    return true;
}

// Tags between frames, or behind the last one: ID3v2, ID3v1 and APE.
Result<std::int64_t> FrameScanner::tag_length() {
    auto seen = reader_->peek(32);
    if (!seen) return std::move(seen).error();
    const auto b = seen.value();
    if (const std::int64_t length = id3v2_length(b); length > 0) return length;
    if (b.size() >= 3 && std::memcmp(b.data(), "TAG", 3) == 0) {
        constexpr std::size_t kId3v1 = 128;
        auto whole = reader_->peek(kId3v1 + kFrameHeaderBytes);
        if (!whole) return std::move(whole).error();
        const auto bytes = whole.value();
        const bool ends = bytes.size() <= kId3v1 + 32;
        const bool goes_on =
            bytes.size() > kId3v1 + 3 && (parse_frame_header(bytes.subspan(kId3v1)).has_value() ||
                                          std::memcmp(bytes.data() + kId3v1, "ID3", 3) == 0);
        if (ends || goes_on) return static_cast<std::int64_t>(std::min(bytes.size(), kId3v1));
        return std::int64_t{0};
    }
    if (b.size() >= 32 && std::memcmp(b.data(), "APETAGEX", 8) == 0) {
        const std::int64_t size =
            std::int64_t{b[12]} | b[13] << 8 | b[14] << 16 | std::int64_t{b[15]} << 24;
        const bool is_header = (b[23] & 0x20U) != 0;
        return is_header ? size + 32 : 32;
    }
    return std::int64_t{0};
}

Result<std::optional<FrameHeader>> FrameScanner::here() {
    auto seen = reader_->peek(kFrameHeaderBytes);
    if (!seen) return std::move(seen).error();
    return parse_frame_header(seen.value());
}

Result<std::optional<FoundFrame>> FrameScanner::next() {
    if (auto moved = reader_->skip(pending_); !moved) return std::move(moved).error();
    pending_ = 0;
    std::int64_t skipped = 0;
    bool tagged = false;
    for (;;) {
        auto header = here();
        if (!header) return std::move(header).error();
        const bool in_line = skipped == 0 && last_ && !anywhere_;
        bool accepted = false;
        if (const auto& found = header.value()) {
            if (in_line && found->same_stream(*last_)) {
                accepted = true;
            } else {
                auto sure = confirmed(*found, in_line || tagged ? 1 : kConfirmations);
                if (!sure) return std::move(sure).error();
                accepted = sure.value();
            }
        }
        if (accepted) {
            const FrameHeader& found = *header.value();
            auto seen = reader_->peek(static_cast<std::size_t>(found.size));
            if (!seen) return std::move(seen).error();
            const auto size = static_cast<std::size_t>(found.size);
            if (seen.value().size() < size) return std::optional<FoundFrame>{};  // cut short
            FoundFrame frame{.header = found,
                             .offset = reader_->position(),
                             .bytes = seen.value().first(size),
                             .info = std::nullopt,
                             .skipped = anywhere_ ? 0 : skipped};
            frame.info = parse_info_frame(frame.bytes, found);
            if (skipped > 0 && !anywhere_) ++damage_;
            last_ = found;
            anywhere_ = false;
            pending_ = static_cast<std::int64_t>(size);
            return std::optional{frame};
        }
        if (skipped == 0) {
            auto tag = tag_length();
            if (!tag) return std::move(tag).error();
            if (tag.value() > 0) {
                tagged = true;
                if (auto moved = reader_->skip(tag.value()); !moved)
                    return std::move(moved).error();
                continue;
            }
        }
        auto seen = reader_->peek(2);
        if (!seen) return std::move(seen).error();
        const auto bytes = seen.value();
        if (bytes.size() < kFrameHeaderBytes || (anywhere_ && skipped > kMostJunk)) {
            if (skipped > 0 && !anywhere_) ++damage_;
            return std::optional<FoundFrame>{};
        }
        const void* at = std::memchr(bytes.data() + 1, 0xFF, bytes.size() - 1);
        const std::int64_t step = at == nullptr
                                      ? static_cast<std::int64_t>(bytes.size()) - 1
                                      : static_cast<const std::uint8_t*>(at) - bytes.data();
        skipped += std::max<std::int64_t>(step, 1);
        if (auto moved = reader_->skip(std::max<std::int64_t>(step, 1)); !moved) {
            return std::move(moved).error();
        }
    }
}

}  // namespace voicecore::codec
