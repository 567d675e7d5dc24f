// Tags: Vorbis comments (Ogg, FLAC) and ID3v2 (mp3, ADTS).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace voicecore::codec {

using Tags = std::vector<std::pair<std::string, std::string>>;

// The comment list behind its magic ("OpusTags", "\3vorbis", a FLAC block header). Keys in lower
// case; pictures and overlong values are left out; stops quietly where the bytes do.
[[nodiscard]] Tags parse_vorbis_comments(std::span<const std::uint8_t> bytes);

// Whole length of the ID3v2 tag that starts here, header included; 0 when none does.
[[nodiscard]] std::int64_t id3v2_length(std::span<const std::uint8_t> bytes) noexcept;
// Text frames as UTF-8, under the names that Vorbis comments use.
[[nodiscard]] Tags parse_id3v2(std::span<const std::uint8_t> tag);

}  // namespace voicecore::codec
