#include "voicecore/codec/playlist.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "voicecore/codec/url.hpp"

namespace voicecore::codec {
namespace {

constexpr std::string_view kBeginning = "#EXTM3U";
constexpr std::size_t kMostBytes = 16 << 20;

class TextInput final : public audio::ByteInput {
  public:
    explicit TextInput(std::string text) : text_{std::move(text)} {}
    [[nodiscard]] Result<std::size_t> read(std::span<std::uint8_t> into) override {
        const std::size_t count = std::min(into.size(), text_.size() - at_);
        std::memcpy(into.data(), text_.data() + at_, count);
        at_ += count;
        return count;
    }
    [[nodiscard]] Status seek(std::int64_t offset) override {
        at_ = std::min(static_cast<std::size_t>(offset), text_.size());
        return Done{};
    }
    [[nodiscard]] bool seekable() const noexcept override { return true; }
    [[nodiscard]] std::optional<std::int64_t> size() const noexcept override {
        return static_cast<std::int64_t>(text_.size());
    }
    [[nodiscard]] bool can_block() const noexcept override { return false; }
    void interrupt() noexcept override {}

  private:
    std::string text_;
    std::size_t at_ = 0;
};

std::string_view trimmed(std::string_view text) noexcept {
    constexpr std::string_view kBlank = " \t\r";
    const auto first = text.find_first_not_of(kBlank);
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

// The value of an attribute that stands in quotes; empty when it is not there.
std::string_view quoted(std::string_view line, std::string_view attribute) noexcept {
    const auto at = line.find(attribute);
    if (at == std::string_view::npos) return {};
    line.remove_prefix(at + attribute.size());
    return line.substr(0, line.find('"'));
}

// RFC 3986 section 3.1, and what libavformat takes for a protocol besides; it knows "http" in small
// letters only.
bool leaves_the_web(std::string_view address) noexcept {
    if (address.starts_with("subfile,")) return true;
    const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
    const auto end = address.find_first_of(":/?#");
    if (end == std::string_view::npos || address[end] != ':') return false;
    const std::string_view scheme = address.substr(0, end);
    const bool valid =
        !scheme.empty() && letter(scheme.front()) &&
        std::all_of(scheme.begin(), scheme.end(), [letter](char c) {
            return letter(c) || (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.';
        });
    return valid && scheme != "http" && scheme != "https";
}

}  // namespace

Status check_playlist(std::string_view text, const std::string& name) {
    constexpr std::array<std::string_view, 2> kNaming{"#EXT-X-MAP:", "#EXT-X-MEDIA:"};
    while (!text.empty()) {
        const auto end = std::min(text.find('\n'), text.size());
        const std::string_view line = trimmed(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
        if (line.starts_with("#EXT-X-KEY:") && line.find("METHOD=NONE") == std::string_view::npos) {
            return Error{Errc::unsupported, 0,
                         name + " is a playlist of encrypted segments; they are not supported"};
        }
        std::string_view address = line;
        if (line.starts_with('#')) {
            const bool naming =
                std::any_of(kNaming.begin(), kNaming.end(),
                            [line](std::string_view tag) { return line.starts_with(tag); });
            address = naming ? quoted(line, "URI=\"") : std::string_view{};
        }
        if (leaves_the_web(address)) {
            return Error{Errc::refused, 0,
                         name + " is a playlist that names \"" +
                             std::string{address.substr(0, 200)} +
                             "\"; only http:// and https:// addresses are opened"};
        }
    }
    return Done{};
}

Result<std::optional<std::string>> read_playlist(ByteReader& reader, const std::string& name) {
    std::size_t wanted = kBeginning.size();
    for (;;) {
        auto seen = reader.peek(wanted);
        if (!seen) return std::move(seen).error();
        const std::string_view text{reinterpret_cast<const char*>(seen.value().data()),
                                    seen.value().size()};
        if (!text.starts_with(kBeginning)) return std::optional<std::string>{};
        if (text.size() < wanted) return std::optional{std::string{text}};
        if (text.size() > kMostBytes) {
            return Error{Errc::unsupported, 0, name + " is a playlist of more than 16 MiB"};
        }
        wanted = text.size() * 2;
    }
}

CutPlaylist cut_playlist(std::string_view text, std::chrono::nanoseconds position) {
    constexpr std::string_view kLength = "#EXTINF:";
    constexpr std::string_view kRange = "#EXT-X-BYTERANGE:";
    CutPlaylist out;
    std::chrono::nanoseconds length{0};  // of the segment whose lines these are
    std::string own;                     // lines that go with it
    std::int64_t next_byte = 0;  // behind the range before, where one without a place goes on
    bool kept = false;
    std::string last;  // of what was left out
    std::chrono::nanoseconds last_length{0};
    while (!text.empty()) {
        const auto end = std::min(text.find('\n'), text.size());
        const std::string_view line = trimmed(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
        std::string words{line};
        if (line.starts_with(kLength)) {
            const double seconds = std::strtod(words.c_str() + kLength.size(), nullptr);
            const bool sane = seconds >= 0 && seconds < 1e6;
            length = std::chrono::nanoseconds{sane ? std::llround(seconds * 1e9) : 0};
        } else if (line.starts_with(kRange)) {
            char* stop = nullptr;
            const std::int64_t size = std::strtoll(words.c_str() + kRange.size(), &stop, 10);
            const bool placed = *stop == '@';
            const std::int64_t from = placed ? std::strtoll(stop + 1, nullptr, 10) : next_byte;
            if (!placed) words += "@" + std::to_string(from);
            next_byte = from + size;
        } else if (line.starts_with('#') || line.empty()) {
            out.text += words + "\n";
            continue;
        }
        own += words + "\n";
        if (line.starts_with('#')) continue;
        kept = kept || out.begins + length > position || length.count() == 0;
        if (kept) {
            out.text += own;
        } else {
            out.begins += length;
            last = own;
            last_length = length;
        }
        length = {};
        own.clear();
    }
    if (!kept && !last.empty()) {
        out.text += last;  // a list without any is no list
        out.begins -= last_length;
    }
    return out;
}

bool is_live_playlist(std::string_view text) noexcept {
    return text.find("#EXTINF") != std::string_view::npos &&
           text.find("#EXT-X-ENDLIST") == std::string_view::npos;
}

ByteReader text_reader(std::string text) {
    return ByteReader{std::make_shared<TextInput>(std::move(text))};
}

}  // namespace voicecore::codec
