// Ogg pages (RFC 3533 section 6), verified by their checksum.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "voicecore/base/result.hpp"
#include "voicecore/codec/byte_reader.hpp"

namespace voicecore::codec {

struct OggPage {
    std::int64_t offset = 0;  // of its first byte in the input
    std::size_t size = 0;     // header and body
    bool continued = false;   // its first packet began on an earlier page
    bool first = false;       // of its logical stream
    bool last = false;
    std::int64_t granule = -1;  // of the last packet that ends here; -1 when none does
    std::uint32_t serial = 0;
    std::uint32_t sequence = 0;
    std::span<const std::uint8_t> lacing;
    std::span<const std::uint8_t> body;
};

inline constexpr std::size_t kOggHeaderBytes = 27;
inline constexpr std::size_t kMaxOggPageBytes = kOggHeaderBytes + 255 + 255 * 255;

struct FoundPage {
    std::optional<OggPage> page;  // null at the end of the input
    std::int64_t skipped = 0;     // bytes of something else before it
};

// The page at the reader's position or the first one after it, left unconsumed: skip page.size
// bytes past page.offset to go on. The views are valid until the next call on the reader. Gives up
// after `limit` bytes of something else.
Result<FoundPage> find_page(ByteReader& reader, std::int64_t limit);

// The header alone, without a checksum: for walking from page to page.
[[nodiscard]] std::optional<OggPage> parse_page_header(
    std::span<const std::uint8_t> bytes) noexcept;

}  // namespace voicecore::codec
