#include "voicecore/codec/frame_index.hpp"

#include <list>
#include <mutex>
#include <utility>

namespace voicecore::codec {
namespace {

// Newest first. Owned jointly with calls in progress, since threads may outlive static objects.
struct Cache {
    std::mutex mutex;
    std::list<std::pair<FileIdentity, FrameIndexPtr>> entries;
    static constexpr std::size_t kMost = 128;
};

std::shared_ptr<Cache> cache() {
    static const auto shared = std::make_shared<Cache>();
    return shared;
}

}  // namespace

Samples FrameIndex::duration() const noexcept {
    if (stretches.empty()) return Samples{0};
    const Stretch& last = stretches.back();
    return last.base + Samples{av_rescale(last.ticks(), kSampleRate, last.header.rate)};
}

std::optional<Stretch> stretch_from(const FoundFrame& frame,
                                    const std::optional<FrameHeader>& before) {
    if (!frame.info && before && frame.header.same_stream(*before)) return std::nullopt;
    Stretch stretch;
    stretch.header = frame.header;
    if (frame.info && frame.info->trims) {
        stretch.skip = frame.info->delay + kMp3DecoderDelay;
        if (frame.info->frames) {
            const std::int64_t ticks = *frame.info->frames * frame.header.samples -
                                       frame.info->delay - frame.info->padding;
            if (ticks > 0) {
                stretch.end = ticks;
                stretch.counted = frame.info->frames;
                if (frame.info->bytes) stretch.told_end = frame.offset + *frame.info->bytes;
            }
        }
    }
    return stretch;
}

bool joined_there(const Stretch& stretch, std::int64_t counted_end,
                  std::span<const std::uint8_t> frame) {
    // Some writers count the bytes without the describing frame.
    const bool ends = stretch.told_end && counted_end >= *stretch.told_end &&
                      counted_end <= *stretch.told_end + stretch.header.size;
    return ends && stands_alone(frame);
}

std::int64_t lost_frames(const FoundFrame& frame) noexcept {
    // Damage covers frames of about the size of the one behind it.
    return (frame.skipped + frame.header.size / 2) / std::max(frame.header.size, 1);
}

void IndexBuilder::add(const std::optional<FoundFrame>& found) {
    if (!found) {
        complete_ = true;
        return;
    }
    const FoundFrame& frame = *found;
    auto begun = stretch_from(frame, before_);
    if (!begun) {
        Stretch& stretch = index_->stretches.back();
        if (stretch.counted && stretch.frames >= *stretch.counted) {
            if (joined_there(stretch, next_, frame.bytes)) {
                begun = stretch_from(frame, std::nullopt);
            } else {
                stretch.end.reset();
                stretch.counted.reset();
            }
        }
    }
    if (begun) {
        begun->base = index_->duration();
        index_->stretches.push_back(*std::move(begun));
    }
    before_ = frame.header;
    next_ = frame.offset + frame.header.size;
    if (frame.info) return;
    Stretch& stretch = index_->stretches.back();
    stretch.frames += lost_frames(frame);
    // A mark that fell into damage leads to the first frame behind it.
    while (static_cast<std::int64_t>(stretch.marks.size()) * Stretch::kEvery <= stretch.frames) {
        stretch.marks.push_back(frame.offset);
    }
    ++stretch.frames;
}

Status IndexBuilder::walk(ByteReader& reader, Samples position,
                          const std::atomic<bool>& cancelled) {
    if (complete_ || index_->duration() > position) return Done{};
    if (auto moved = reader.seek(next_); !moved) return moved;
    FrameScanner scanner{reader};
    scanner.restart(before_);
    for (std::uint32_t turn = 0; !complete_ && index_->duration() <= position; ++turn) {
        if (turn % 1024 == 0 && cancelled.load(std::memory_order_relaxed)) {
            return Error{Errc::cancelled, 0, "indexing was given up"};
        }
        auto found = scanner.next();
        if (!found) return std::move(found).error();
        add(found.value());
    }
    return Done{};
}

Result<FrameIndexPtr> build_index(ByteReader& reader, std::int64_t begin,
                                  const std::atomic<bool>& cancelled) {
    IndexBuilder builder{begin};
    if (auto walked = builder.walk(reader, Samples::max(), cancelled); !walked) {
        return std::move(walked).error();
    }
    return builder.index();
}

FrameIndexPtr cached_index(const FileIdentity& file) {
    const auto shared = cache();
    const std::lock_guard lock{shared->mutex};
    for (auto entry = shared->entries.begin(); entry != shared->entries.end(); ++entry) {
        if (entry->first != file) continue;
        shared->entries.splice(shared->entries.begin(), shared->entries, entry);
        return entry->second;
    }
    return nullptr;
}

void cache_index(const FileIdentity& file, FrameIndexPtr index) {
    const auto shared = cache();
    const std::lock_guard lock{shared->mutex};
    shared->entries.emplace_front(file, std::move(index));
    if (shared->entries.size() > Cache::kMost) shared->entries.pop_back();
}

}  // namespace voicecore::codec
