#include "voicecore/codec/comments.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>

namespace voicecore::codec {
namespace {

constexpr std::size_t kLongestValue =
    4'096;  // bytes; lyrics and pictures are not for a status line
constexpr std::size_t kMostTags = 256;

using Bytes = std::span<const std::uint8_t>;

std::optional<Bytes> take(Bytes& rest, std::size_t count) noexcept {
    if (rest.size() < count) return std::nullopt;
    const Bytes taken = rest.first(count);
    rest = rest.subspan(count);
    return taken;
}

std::optional<std::size_t> take_little32(Bytes& rest) noexcept {
    const auto taken = take(rest, 4);
    if (!taken) return std::nullopt;
    const auto& b = *taken;
    return std::size_t{b[0]} | std::size_t{b[1]} << 8U | std::size_t{b[2]} << 16U |
           std::size_t{b[3]} << 24U;
}

std::string_view as_text(Bytes bytes) noexcept {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string lower(std::string_view text) {
    std::string out{text};
    std::transform(out.begin(), out.end(), out.begin(), [](char c) {
        return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    });
    return out;
}

void append_utf8(std::string& out, std::uint32_t code) {
    const auto add = [&out](std::uint32_t byte) { out.push_back(static_cast<char>(byte)); };
    if (code < 0x80) {
        add(code);
    } else if (code < 0x800) {
        add(0xC0 | code >> 6U);
        add(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
        add(0xE0 | code >> 12U);
        add(0x80 | (code >> 6U & 0x3F));
        add(0x80 | (code & 0x3F));
    } else {
        add(0xF0 | code >> 18U);
        add(0x80 | (code >> 12U & 0x3F));
        add(0x80 | (code >> 6U & 0x3F));
        add(0x80 | (code & 0x3F));
    }
}

std::string from_utf16(Bytes bytes, bool big) {
    if (bytes.size() >= 2 &&
        ((bytes[0] == 0xFF && bytes[1] == 0xFE) || (bytes[0] == 0xFE && bytes[1] == 0xFF))) {
        big = bytes[0] == 0xFE;
        bytes = bytes.subspan(2);
    }
    const auto unit = [&](std::size_t i) {
        return static_cast<std::uint32_t>(big ? bytes[i] << 8U | bytes[i + 1]
                                              : bytes[i + 1] << 8U | bytes[i]);
    };
    std::string out;
    for (std::size_t i = 0; i + 1 < bytes.size(); i += 2) {
        std::uint32_t code = unit(i);
        if (code == 0) break;
        if (code >= 0xD800 && code < 0xDC00 && i + 3 < bytes.size()) {
            const std::uint32_t low = unit(i + 2);
            if (low >= 0xDC00 && low < 0xE000) {
                code = 0x10000 + ((code - 0xD800) << 10U) + (low - 0xDC00);
                i += 2;
            }
        }
        if (code >= 0xD800 && code < 0xE000) code = 0xFFFD;  // half of a pair
        append_utf8(out, code);
    }
    return out;
}

// ID3v2.4 section 4: the first byte of a text frame names its encoding.
std::string id3_text(Bytes frame) {
    if (frame.empty()) return {};
    const std::uint8_t encoding = frame[0];
    frame = frame.subspan(1);
    if (encoding == 1 || encoding == 2) return from_utf16(frame, encoding == 2);
    std::string out;
    for (const std::uint8_t byte : frame) {
        if (byte == 0) break;
        if (encoding == 3) {
            out.push_back(static_cast<char>(byte));
        } else {
            append_utf8(out, byte);
        }
    }
    return out;
}

std::string_view id3_name(std::string_view id) noexcept {
    struct Name {
        std::string_view v22, v23, name;
    };
    static constexpr std::array<Name, 10> kNames{{{"TT2", "TIT2", "title"},
                                                  {"TP1", "TPE1", "artist"},
                                                  {"TAL", "TALB", "album"},
                                                  {"TP2", "TPE2", "album_artist"},
                                                  {"TCO", "TCON", "genre"},
                                                  {"TRK", "TRCK", "track"},
                                                  {"TYE", "TYER", "date"},
                                                  {"   ", "TDRC", "date"},
                                                  {"TCM", "TCOM", "composer"},
                                                  {"TSS", "TSSE", "encoder"}}};
    for (const Name& known : kNames) {
        if (id == known.v22 || id == known.v23) return known.name;
    }
    return {};
}

std::size_t synchsafe(Bytes b) noexcept {
    return std::size_t{b[0] & 0x7FU} << 21U | std::size_t{b[1] & 0x7FU} << 14U |
           std::size_t{b[2] & 0x7FU} << 7U | std::size_t{b[3] & 0x7FU};
}

std::size_t big(Bytes bytes) noexcept {
    std::size_t value = 0;
    for (const std::uint8_t byte : bytes) value = value << 8U | byte;
    return value;
}

}  // namespace

Tags parse_vorbis_comments(Bytes rest) {
    Tags tags;
    const auto vendor = take_little32(rest);
    if (!vendor || !take(rest, *vendor)) return tags;
    const auto count = take_little32(rest);
    for (std::size_t i = 0; count && i < *count && tags.size() < kMostTags; ++i) {
        const auto length = take_little32(rest);
        if (!length) break;
        const auto entry = take(rest, *length);
        if (!entry) break;
        const std::string_view text = as_text(*entry);
        const std::size_t equals = text.find('=');
        if (equals == std::string_view::npos || text.size() > kLongestValue) continue;
        std::string key = lower(text.substr(0, equals));
        if (key != "metadata_block_picture")
            tags.emplace_back(std::move(key), text.substr(equals + 1));
    }
    return tags;
}

std::int64_t id3v2_length(Bytes bytes) noexcept {
    if (bytes.size() < 10 || as_text(bytes.first(3)) != "ID3" || bytes[3] == 0xFF ||
        bytes[4] == 0xFF) {
        return 0;
    }
    for (std::size_t i = 6; i < 10; ++i) {
        if ((bytes[i] & 0x80U) != 0) return 0;
    }
    constexpr unsigned kFooter = 0x10;
    return static_cast<std::int64_t>(10 + synchsafe(bytes.subspan(6)) +
                                     ((bytes[5] & kFooter) != 0 ? 10U : 0U));
}

Tags parse_id3v2(Bytes tag) {
    Tags tags;
    if (tag.size() < 10) return tags;
    const unsigned version = tag[3];
    const std::size_t id_size = version == 2 ? 3 : 4;
    const std::size_t header = version == 2 ? 6 : 10;
    Bytes rest = tag.subspan(10);
    constexpr unsigned kExtended = 0x40;
    if (version >= 3 && (tag[5] & kExtended) != 0 && rest.size() >= 4) {
        const std::size_t size = version == 4 ? synchsafe(rest) : big(rest.first(4)) + 4;
        if (!take(rest, size)) return tags;
    }
    while (rest.size() >= header && rest[0] != 0 && tags.size() < kMostTags) {
        const std::string_view id = as_text(rest.first(id_size));
        const Bytes length = rest.subspan(id_size, version == 2 ? 3 : 4);
        const std::size_t size = version == 4 ? synchsafe(length) : big(length);
        rest = rest.subspan(header);
        const auto frame = take(rest, size);
        if (!frame) break;
        const std::string_view name = id3_name(id);
        if (name.empty() || frame->size() > kLongestValue) continue;
        if (std::string value = id3_text(*frame); !value.empty()) {
            tags.emplace_back(name, std::move(value));
        }
    }
    return tags;
}

}  // namespace voicecore::codec
