// The text of an HLS playlist: may all that it names be opened?
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "voicecore/codec/byte_reader.hpp"

namespace voicecore::codec {

// Says what stands in the way: libavformat passes such entries over without a word. `name` is for
// messages.
[[nodiscard]] Status check_playlist(std::string_view text, const std::string& name);

// All of a playlist; nothing when the input holds something else, which can then still be read from
// where it stood.
[[nodiscard]] Result<std::optional<std::string>> read_playlist(ByteReader& reader,
                                                               const std::string& name);

// The playlist without the segments that end at or before `position`, and where the first one that
// is left begins. Unchanged when it is no list of segments.
struct CutPlaylist {
    std::string text;
    std::chrono::nanoseconds begins{0};
};
[[nodiscard]] CutPlaylist cut_playlist(std::string_view text, std::chrono::nanoseconds position);

// Will it change? Then libavformat opens it again and again.
[[nodiscard]] bool is_live_playlist(std::string_view text) noexcept;

// A reader of such a text.
[[nodiscard]] ByteReader text_reader(std::string text);

}  // namespace voicecore::codec
