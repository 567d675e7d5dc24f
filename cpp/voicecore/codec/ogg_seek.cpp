// The part of OggDemuxer that jumps about in a seekable input: survey at open, and seeking.
#include <algorithm>
#include <limits>

#include "voicecore/codec/ogg_demuxer.hpp"

namespace voicecore::codec {
namespace {

constexpr std::int64_t kAnyDistance = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kSmall = 256 * 1024;       // bytes; a file up to this is walked page by page
constexpr std::int64_t kCloseEnough = 48 * 1024;  // bytes; a range this narrow is read through
constexpr int kProbes = 8;

std::int64_t behind(const OggPage& page) {
    return page.offset + static_cast<std::int64_t>(page.size);
}

}  // namespace

// Finds out how long the media is and whether it is a chain. The reader is left anywhere.
Status OggDemuxer::survey() {
    const auto size = reader_.size();
    if (!reader_.seekable() || !size) return Done{};
    Link& link = *links_.front();
    const bool may_walk = !reader_.input().can_block();
    if (may_walk && *size - link.data_begin <= kSmall) return walk_chain();
    auto tail = last_page(link);
    if (!tail) return std::move(tail).error();
    bool chained = !tail.value();
    if (!chained && may_walk) {
        auto looks = looks_chained(link, *tail.value());
        if (!looks) return std::move(looks).error();
        chained = looks.value();
    }
    // Walking a chain over the network would cost more than it gives: it plays, but does not seek.
    if (chained) return may_walk ? walk_chain() : Status{Done{}};
    link.end_granule = tail.value()->granule;
    link.data_end = behind(*tail.value());
    link.segment->base = Samples{0};
    surveyed_ = true;
    return measure(link);
}

// Learns the link's origin from its first page.
Status OggDemuxer::measure(Link& link) {
    if (auto moved = reader_.seek(link.data_begin); !moved) return moved;
    enter(link);
    while (!link.origin && reader_.position() < link.data_end) {
        Packet ignored;
        const auto at = reader_.peek(kOggHeaderBytes + 255);
        if (!at) return at.error();
        const auto header = parse_page_header(at.value());
        if (header && header->first) break;  // a link without data
        const DemuxStatus status = next(ignored);
        if (status == DemuxStatus::failed) return error_;
        if (status == DemuxStatus::end) break;
    }
    damage_ = 0;
    return Done{};
}

// The last page of the link's stream that carries a granule position; null when the input ends with
// pages of a stream that does not belong to the link.
Result<std::optional<OggPage>> OggDemuxer::last_page(const Link& link) {
    const std::int64_t size = reader_.size().value_or(0);
    for (std::int64_t window = 16 * 1024;; window *= 8) {
        const std::int64_t from = std::max(link.data_begin, size - window);
        if (auto moved = reader_.seek(from); !moved) return std::move(moved).error();
        std::optional<OggPage> last;
        bool stranger = false;
        for (;;) {
            auto found = find_page(reader_, kAnyDistance);
            if (!found) return std::move(found).error();
            if (!found.value().page) break;
            const OggPage& page = *found.value().page;
            stranger = page.first || !link.group.contains(page.serial);
            if (page.serial == link.serial && page.granule >= 0) last = page;
            if (auto moved = reader_.seek(behind(page)); !moved) return std::move(moved).error();
        }
        if (stranger) return std::optional<OggPage>{};
        if (last || from == link.data_begin) return last;
    }
}

// A chain whose links share one serial number shows in granules or page numbers that go back.
Result<bool> OggDemuxer::looks_chained(const Link& link, const OggPage& tail) {
    std::int64_t granule = 0;
    std::uint32_t sequence = 0;
    for (int i = 1; i < kProbes; ++i) {
        const std::int64_t at = link.data_begin + (tail.offset - link.data_begin) / kProbes * i;
        if (auto moved = reader_.seek(at); !moved) return std::move(moved).error();
        auto found = find_page(reader_, kAnyDistance);
        if (!found) return std::move(found).error();
        if (!found.value().page) return false;
        const OggPage& page = *found.value().page;
        if (page.first || !link.group.contains(page.serial)) return true;
        if (page.serial != link.serial || page.granule < 0) continue;
        if (page.granule < granule || page.granule > tail.granule || page.sequence < sequence ||
            page.sequence > tail.sequence) {
            return true;
        }
        granule = page.granule;
        sequence = page.sequence;
    }
    return false;
}

// From page to page through one link (or through a stretch that is none of ours). True when another
// link follows.
Result<bool> OggDemuxer::walk_link(Link* link) {
    for (;;) {
        auto seen = reader_.peek(kOggHeaderBytes + 255);
        if (!seen) return std::move(seen).error();
        auto page = parse_page_header(seen.value());
        if (page) {
            page->offset = reader_.position();
        } else {
            auto found = find_page(reader_, kAnyDistance);
            if (!found) return std::move(found).error();
            page = found.value().page;
        }
        if (!page) return false;
        if (page->first) return true;
        if (behind(*page) > reader_.size().value_or(0)) return false;  // cut short
        if (link != nullptr) {
            link->data_end = behind(*page);
            if (page->serial == link->serial && page->granule >= 0) {
                link->end_granule = page->granule;
            }
        }
        if (auto moved = reader_.seek(behind(*page)); !moved) return std::move(moved).error();
    }
}

Status OggDemuxer::walk_chain() {
    if (auto moved = reader_.seek(0); !moved) return moved;
    std::vector<std::unique_ptr<Link>> links;
    for (bool more = true; more;) {
        auto link = read_link();
        // A link that is not audio, or is damaged, is passed over; the first one was fine.
        Link* walked_link = nullptr;
        if (link) walked_link = links.emplace_back(std::move(link).value()).get();
        auto walked = walk_link(walked_link);
        if (!walked) return std::move(walked).error();
        more = walked.value();
    }
    links_ = std::move(links);
    surveyed_ = true;
    Samples base{0};
    for (const auto& link : links_) {
        if (auto measured = measure(*link); !measured) return measured;
        link->segment->base = base;
        base += Samples{av_rescale(link->ticks(), kSampleRate, link->segment->rate)};
    }
    current_ = 0;
    return Done{};
}

// The offset of a page that ends at or before the granule, near it; -1 when the first page is past
// it.
Result<std::int64_t> OggDemuxer::bisect(const Link& link, std::int64_t granule) {
    std::int64_t low = link.data_begin;
    std::int64_t high = link.data_end;
    std::int64_t low_granule = link.first_granule;
    std::int64_t high_granule = link.end_granule.value_or(granule);
    std::int64_t best = -1;
    for (int turn = 0; high - low > kCloseEnough; ++turn) {
        // By proportion, since most streams are nearly even; every third time in the middle.
        const std::int64_t span = std::max<std::int64_t>(high_granule - low_granule, 1);
        std::int64_t at = turn % 3 == 2 ? low + (high - low) / 2
                                        : low + av_rescale(high - low, granule - low_granule, span);
        at = std::clamp(at - kCloseEnough / 2, low + 1, high - kCloseEnough / 2);
        std::int64_t looked_from = at;
        if (auto moved = reader_.seek(at); !moved) return std::move(moved).error();
        std::optional<OggPage> page;
        for (;;) {
            auto found = find_page(reader_, kAnyDistance);
            if (!found) return std::move(found).error();
            page = found.value().page;
            if (!page || page->offset >= high) break;
            if (page->serial == link.serial && page->granule >= 0) break;
            if (auto moved = reader_.seek(behind(*page)); !moved) return std::move(moved).error();
        }
        if (page && page->offset < high && page->granule <= granule) {
            low = best = page->offset;
            low_granule = page->granule;
        } else {
            if (page && page->offset < high) high_granule = page->granule;
            high = looked_from;
        }
    }
    if (auto moved = reader_.seek(best >= 0 ? best : link.data_begin); !moved) {
        return std::move(moved).error();
    }
    for (;;) {
        auto found = find_page(reader_, kAnyDistance);
        if (!found) return std::move(found).error();
        const auto& page = found.value().page;
        if (!page || page->offset >= link.data_end) return best;
        if (page->serial == link.serial && page->granule >= 0) {
            if (page->granule > granule) return best;
            best = page->offset;
        }
        if (auto moved = reader_.seek(behind(*page)); !moved) return std::move(moved).error();
    }
}

Status OggDemuxer::seek(Samples position) {
    if (!surveyed_) return Error{Errc::io, 0, "this Ogg stream cannot seek"};
    error_ = {};
    std::size_t index = 0;
    while (index + 1 < links_.size() && *links_[index + 1]->segment->base <= position) ++index;
    Link& link = *links_[index];
    const std::int64_t origin = link.origin.value_or(0);
    const Samples inside = position - *link.segment->base;
    const std::int64_t granule =
        origin + av_rescale(inside.count(), link.segment->rate, kSampleRate);
    if (position <= Samples{0} || granule <= link.first_granule) {
        enter(link);
        return reader_.seek(link.data_begin);
    }
    if (link.end_granule && granule >= *link.end_granule && index + 1 == links_.size()) {
        enter(link);
        at_end_ = true;
        return reader_.seek(link.data_end);
    }
    auto page = bisect(link, granule);
    if (!page) return std::move(page).error();
    enter(link);
    wanted_ = granule - origin;
    if (page.value() < 0) return reader_.seek(link.data_begin);
    running_.reset();  // the page's granule tells
    return reader_.seek(page.value());
}

}  // namespace voicecore::codec
