#include "voicecore/codec/probe.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstring>
#include <string_view>

#include "voicecore/codec/allow_list.hpp"
#include "voicecore/codec/comments.hpp"
#include "voicecore/codec/frame_scanner.hpp"

namespace voicecore::codec {
namespace {

using Bytes = std::span<const std::uint8_t>;
using namespace std::string_view_literals;

// Bytes to look at, growing while libavformat is not sure.
constexpr std::array<std::size_t, 5> kSizes{4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20};

std::string_view as_text(Bytes bytes) noexcept {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Text that refers to other files or addresses, whatever else it might pass for.
bool names_others(Bytes bytes) noexcept {
    std::string_view text = as_text(bytes);
    if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
    while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front())) != 0) {
        text.remove_prefix(1);
    }
    constexpr std::array kBeginnings{"#EXTM3U"sv,    "#EXTINF"sv,    "#EXT-X-"sv,    "ffconcat"sv,
                                     "[playlist]"sv, "[Playlist]"sv, "v=0\r\n"sv,    "v=0\n"sv,
                                     "<asx"sv,       "<ASX"sv,       "[Reference]"sv};
    if (std::any_of(kBeginnings.begin(), kBeginnings.end(),
                    [text](std::string_view begins) { return text.starts_with(begins); })) {
        return true;
    }
    const std::string_view front = text.substr(0, 1024);
    return front.find("<MPD") != std::string_view::npos ||
           front.find("<SmoothStreamingMedia") != std::string_view::npos ||
           front.find("<playlist") != std::string_view::npos;
}

bool is_text(Bytes bytes) noexcept {
    const Bytes front = bytes.first(std::min<std::size_t>(bytes.size(), 512));
    return std::all_of(front.begin(), front.end(), [](std::uint8_t byte) {
        return byte >= 0x20 ? byte != 0x7F : byte == '\n' || byte == '\r' || byte == '\t';
    });
}

struct Guess {
    const AVInputFormat* format = nullptr;
    int score = 0;
};

Guess guess(Bytes bytes) {
    std::vector<std::uint8_t> padded(bytes.size() + AVPROBE_PADDING_SIZE);
    std::memcpy(padded.data(), bytes.data(), bytes.size());
    AVProbeData data{};
    data.filename = "";  // the name must not count
    data.buf = padded.data();
    data.buf_size = static_cast<int>(bytes.size());
    Guess out;
    out.format = av_probe_input_format3(&data, 1, &out.score);
    return out;
}

// libavformat's demuxers that open what a file names.
constexpr const char* kFollowers = "hls,dash,concat,sdp,rtsp,imf,rtp,webm_dash_manifest,redir";
constexpr const char* kFramed = "mp3,aac";

// Our own scanner asks for three headers in a row, which chance does not give.
Result<bool> has_frames(ByteReader& reader) {
    const std::int64_t begin = reader.position();
    reader.pin();
    FrameScanner scanner{reader};
    auto found = scanner.next();
    reader.unpin();
    if (!found) return std::move(found).error();
    if (auto moved = reader.seek(begin); !moved) return std::move(moved).error();
    return found.value().has_value();
}

Result<ProbeResult> look(ByteReader& reader, Bytes front) {
    if (as_text(front).starts_with("OggS")) return ProbeResult{.looks = Looks::ogg, .words = {}};
    if (names_others(front)) {
        const Guess seen = guess(front);
        return ProbeResult{.looks = Looks::playlist,
                           .format = seen.format,
                           .words = seen.format != nullptr ? seen.format->name : "playlist"};
    }
    Guess best;
    for (const std::size_t size : kSizes) {
        auto seen = reader.peek(size);
        if (!seen) return std::move(seen).error();
        const Bytes bytes = seen.value().first(std::min(size, seen.value().size()));
        best = guess(bytes);
        if (best.score > AVPROBE_SCORE_RETRY || bytes.size() < size) break;
    }
    const bool sure = best.format != nullptr && best.score > AVPROBE_SCORE_RETRY;
    if (best.format != nullptr && allowed(best.format->name, kFollowers) && best.score > 1) {
        return ProbeResult{
            .looks = Looks::playlist, .format = best.format, .words = best.format->name};
    }
    const bool container = best.format != nullptr && allowed(best.format->name, kDemuxers) &&
                           !allowed(best.format->name, kFramed);
    if (sure && container) {
        return ProbeResult{.looks = Looks::container, .format = best.format, .words = {}};
    }
    auto frames = has_frames(reader);
    if (!frames) return std::move(frames).error();
    if (frames.value() && (!sure || allowed(best.format->name, kFramed))) {
        return ProbeResult{.looks = Looks::frames, .words = {}};
    }
    if (sure && !allowed(best.format->name, kDemuxers)) {
        const char* words = best.format->long_name;
        return ProbeResult{.looks = Looks::foreign,
                           .words = words != nullptr ? words : best.format->name};
    }
    auto again = reader.peek(512);
    if (!again) return std::move(again).error();
    return ProbeResult{.looks = Looks::unknown,
                       .words = is_text(again.value()) ? "plain text" : "unknown data"};
}

// An ID3 tag says nothing about what follows: mp3 mostly, but ADTS and FLAC carry them too.
Result<ProbeResult> look_behind_tags(ByteReader& reader) {
    for (int tags = 0;; ++tags) {
        auto seen = reader.peek(kSizes.front());
        if (!seen) return std::move(seen).error();
        if (seen.value().empty() && tags == 0)
            return ProbeResult{.looks = Looks::empty, .words = {}};
        const std::int64_t length = id3v2_length(seen.value());
        if (length == 0) return look(reader, seen.value());
        if (auto moved = reader.skip(length); !moved) return std::move(moved).error();
    }
}

}  // namespace

Result<ProbeResult> probe(ByteReader& reader) {
    const std::int64_t begin = reader.position();
    // What cannot be read twice is kept until the end of the look.
    reader.pin();
    auto result = look_behind_tags(reader);
    auto moved = reader.seek(begin);
    reader.unpin();
    if (!moved) return std::move(moved).error();
    return result;
}

}  // namespace voicecore::codec
