#include "voicecore/codec/ogg_page.hpp"

#include <array>
#include <cstring>

extern "C" {
#include <libavutil/bswap.h>
#include <libavutil/crc.h>
}

namespace voicecore::codec {
namespace {

constexpr std::array<std::uint8_t, 4> kCapture{'O', 'g', 'g', 'S'};
constexpr std::size_t kChecksumAt = 22;

std::uint64_t little(const std::uint8_t* at, int bytes) noexcept {
    std::uint64_t value = 0;
    for (int i = bytes; i-- > 0;) value = value << 8U | at[i];
    return value;
}

// The checksum covers the page with its own field as zeros.
bool checksum_holds(std::span<const std::uint8_t> page) noexcept {
    const AVCRC* table = av_crc_get_table(AV_CRC_32_IEEE);
    constexpr std::array<std::uint8_t, 4> kZeros{};
    std::uint32_t crc = av_crc(table, 0, page.data(), kChecksumAt);
    crc = av_crc(table, crc, kZeros.data(), kZeros.size());
    crc = av_crc(table, crc, page.data() + kChecksumAt + 4, page.size() - kChecksumAt - 4);
    // FFmpeg keeps the sum of a most-significant-bit-first polynomial in swapped order.
    return av_bswap32(crc) == static_cast<std::uint32_t>(little(page.data() + kChecksumAt, 4));
}

}  // namespace

std::optional<OggPage> parse_page_header(std::span<const std::uint8_t> bytes) noexcept {
    if (bytes.size() < kOggHeaderBytes) return std::nullopt;
    if (std::memcmp(bytes.data(), kCapture.data(), kCapture.size()) != 0 || bytes[4] != 0) {
        return std::nullopt;
    }
    const std::size_t segments = bytes[26];
    if (bytes.size() < kOggHeaderBytes + segments) return std::nullopt;
    OggPage page;
    page.continued = (bytes[5] & 1U) != 0;
    page.first = (bytes[5] & 2U) != 0;
    page.last = (bytes[5] & 4U) != 0;
    page.granule = static_cast<std::int64_t>(little(bytes.data() + 6, 8));
    page.serial = static_cast<std::uint32_t>(little(bytes.data() + 14, 4));
    page.sequence = static_cast<std::uint32_t>(little(bytes.data() + 18, 4));
    page.lacing = bytes.subspan(kOggHeaderBytes, segments);
    page.size = kOggHeaderBytes + segments;
    for (const std::uint8_t length : page.lacing) page.size += length;
    return page;
}

Result<FoundPage> find_page(ByteReader& reader, std::int64_t limit) {
    FoundPage found;
    while (found.skipped <= limit) {
        auto seen = reader.peek(kOggHeaderBytes + 255);
        if (!seen) return std::move(seen).error();
        if (auto header = parse_page_header(seen.value())) {
            auto whole = reader.peek(header->size);
            if (!whole) return std::move(whole).error();
            if (whole.value().size() < header->size) {
                // Cut short, or a false capture near the end: look for another one behind it.
                if (auto moved = reader.skip(1); !moved) return std::move(moved).error();
                ++found.skipped;
                continue;
            }
            const auto bytes = whole.value().first(header->size);
            if (checksum_holds(bytes)) {
                OggPage page = *parse_page_header(bytes);
                page.offset = reader.position();
                page.body = bytes.subspan(kOggHeaderBytes + page.lacing.size());
                found.page = page;
                return found;
            }
        }
        // Looked at anew: the longer look above may have moved the buffer.
        seen = reader.peek(kOggHeaderBytes);
        if (!seen) return std::move(seen).error();
        const auto bytes = seen.value();
        if (bytes.size() < kOggHeaderBytes) return found;
        // On to the next capital O that is not the first byte.
        const void* next = std::memchr(bytes.data() + 1, kCapture[0], bytes.size() - 1);
        const std::int64_t step = next == nullptr
                                      ? static_cast<std::int64_t>(bytes.size())
                                      : static_cast<const std::uint8_t*>(next) - bytes.data();
        found.skipped += step;
        if (auto moved = reader.skip(step); !moved) return std::move(moved).error();
    }
    return found;
}

}  // namespace voicecore::codec
