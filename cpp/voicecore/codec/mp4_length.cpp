#include "voicecore/codec/mp4_length.hpp"

#include <string_view>

namespace voicecore::codec {
namespace {

using Bytes = std::span<const std::uint8_t>;

constexpr int kMostBoxes = 4'096;  // looked at in all

std::uint64_t big(Bytes bytes) noexcept {
    std::uint64_t value = 0;
    for (const std::uint8_t byte : bytes) value = value << 8U | byte;
    return value;
}

struct Track {
    bool audio = false;
    int edits = 0;
    std::int64_t edit_start = 0;
    Mp4Length length;
};

// ISO/IEC 14496-12 section 4.2: boxes inside boxes.
class Walker {
  public:
    explicit Walker(ByteReader& reader) noexcept : reader_{&reader} {}

    Status walk(std::int64_t end, Track* track) {
        while (!found_ && reader_->position() + 8 <= end && ++boxes_ <= kMostBoxes) {
            const std::int64_t begin = reader_->position();
            auto seen = reader_->peek(16);
            if (!seen) return std::move(seen).error();
            const Bytes head = seen.value();
            if (head.size() < 16) break;
            const std::string_view type{reinterpret_cast<const char*>(head.data()) + 4, 4};
            auto size = static_cast<std::int64_t>(big(head.first(4)));
            std::int64_t header = 8;
            if (size == 1) {
                size = static_cast<std::int64_t>(big(head.subspan(8, 8)));
                header = 16;
            } else if (size == 0) {
                size = end - begin;
            }
            if (size < header || size > end - begin) break;
            const std::string name{type};
            if (auto moved = reader_->skip(header); !moved) return moved;
            if (auto read = enter(name, begin + size, track); !read) return read;
            if (auto moved = reader_->seek(begin + size); !moved) return moved;
        }
        return Done{};
    }
    [[nodiscard]] const std::optional<Mp4Length>& found() const noexcept { return found_; }

  private:
    Status enter(std::string_view type, std::int64_t end, Track* track) {
        if (type == "trak" && track == nullptr) {
            Track own;
            if (auto walked = walk(end, &own); !walked) return walked;
            finish(own);
            return Done{};
        }
        if (type == "moov" || type == "mdia" || type == "edts") return walk(end, track);
        if (track == nullptr) return Done{};
        auto seen = reader_->peek(48);
        if (!seen) return std::move(seen).error();
        const Bytes body = seen.value();
        if (body.size() < 48) return Done{};
        const bool wide = body[0] == 1;
        if (type == "hdlr") {
            track->audio =
                std::string_view{reinterpret_cast<const char*>(body.data()) + 8, 4} == "soun";
        } else if (type == "mdhd") {
            track->length.timescale =
                static_cast<std::int64_t>(big(body.subspan(wide ? 20 : 12, 4)));
            track->length.ticks = static_cast<std::int64_t>(wide ? big(body.subspan(24, 8))
                                                                 : big(body.subspan(16, 4)));
        } else if (type == "elst") {
            track->edits = static_cast<int>(big(body.subspan(4, 4)) & 0xFFFF);
            const std::uint64_t start = wide ? big(body.subspan(16, 8)) : big(body.subspan(12, 4));
            // -1 is an empty edit: a pause in front.
            track->edit_start = wide ? static_cast<std::int64_t>(start)
                                     : static_cast<std::int32_t>(static_cast<std::uint32_t>(start));
        }
        return Done{};
    }

    void finish(const Track& track) {
        if (!track.audio || track.edits > 1 || track.edit_start < 0) return;
        const std::int64_t ticks = track.length.ticks - track.edit_start;
        if (ticks > 0 && track.length.timescale > 0) {
            found_ = Mp4Length{.ticks = ticks, .timescale = track.length.timescale};
        }
    }

    ByteReader* reader_;
    int boxes_ = 0;
    std::optional<Mp4Length> found_;
};

}  // namespace

Result<std::optional<Mp4Length>> mp4_length(ByteReader& reader) {
    const std::int64_t begin = reader.position();
    Walker walker{reader};
    auto walked = walker.walk(reader.size().value_or(0), nullptr);
    if (auto moved = reader.seek(begin); !moved) return std::move(moved).error();
    if (!walked) return std::move(walked).error();
    return walker.found();
}

}  // namespace voicecore::codec
