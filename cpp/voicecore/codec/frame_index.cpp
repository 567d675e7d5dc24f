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
            if (ticks > 0) stretch.end = ticks;
        }
    }
    return stretch;
}

std::int64_t lost_frames(const FoundFrame& frame) noexcept {
    // Damage covers frames of about the size of the one behind it.
    return (frame.skipped + frame.header.size / 2) / std::max(frame.header.size, 1);
}

Result<FrameIndexPtr> build_index(ByteReader& reader, const std::atomic<bool>& cancelled) {
    auto index = std::make_shared<FrameIndex>();
    FrameScanner scanner{reader};
    std::optional<FrameHeader> before;
    const auto close_last = [&index] {
        if (index->stretches.empty()) return Samples{0};
        return index->duration();
    };
    for (std::uint32_t turn = 0;; ++turn) {
        if (turn % 1024 == 0 && cancelled.load(std::memory_order_relaxed)) {
            return Error{Errc::cancelled, 0, "indexing was given up"};
        }
        auto found = scanner.next();
        if (!found) return std::move(found).error();
        if (!found.value()) break;
        const FoundFrame& frame = *found.value();
        if (auto begun = stretch_from(frame, before)) {
            begun->base = close_last();
            index->stretches.push_back(*std::move(begun));
        }
        before = frame.header;
        if (frame.info) continue;
        Stretch& stretch = index->stretches.back();
        stretch.frames += lost_frames(frame);
        // A mark that fell into damage leads to the first frame behind it.
        while (static_cast<std::int64_t>(stretch.marks.size()) * Stretch::kEvery <=
               stretch.frames) {
            stretch.marks.push_back(frame.offset);
        }
        ++stretch.frames;
    }
    return FrameIndexPtr{std::move(index)};
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
