#include "voicecore/codec/ogg_demuxer.hpp"

#include <algorithm>
#include <limits>

namespace voicecore::codec {
namespace {
constexpr std::int64_t kAnyDistance = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kMostJunk = 1 << 20;  // bytes before a page that is still looked for at open
constexpr std::size_t kMostHeaderBytes = 32 << 20;  // comment headers carry cover art
}  // namespace

DemuxStatus OggDemuxer::fail(Error error) {
    error_ = std::move(error);
    return DemuxStatus::failed;
}

Result<std::unique_ptr<OggDemuxer>> OggDemuxer::open(ByteReader reader) {
    auto demuxer = std::make_unique<OggDemuxer>(Key{}, std::move(reader));
    auto first = demuxer->read_link();
    if (!first) return std::move(first).error();
    demuxer->links_.push_back(std::move(first).value());
    if (auto surveyed = demuxer->survey(); !surveyed) return std::move(surveyed).error();
    const Link& link = *demuxer->links_.front();
    StreamFacts& facts = demuxer->facts_;
    facts.container = "ogg";
    facts.tags = link.codec->tags();
    facts.seekable = demuxer->surveyed_;
    std::int64_t bytes = 0;
    Samples total{0};
    for (const auto& each : demuxer->links_) {
        facts.segments.push_back(each->segment);
        total += Samples{av_rescale(each->ticks(), kSampleRate, each->segment->rate)};
        bytes += each->data_end - each->data_begin;
    }
    if (demuxer->surveyed_) {
        facts.duration = total;
        if (total.count() > 0) facts.bitrate = av_rescale(bytes * 8, kSampleRate, total.count());
    }
    demuxer->enter(*demuxer->links_.front());
    if (auto moved = demuxer->reader_.seek(link.data_begin); !moved)
        return std::move(moved).error();
    return demuxer;
}

// The reader stands at, or before, the pages that begin a chain's link: one for each logical
// stream.
Result<std::unique_ptr<OggDemuxer::Link>> OggDemuxer::read_link() {
    auto link = std::make_unique<Link>();
    for (;;) {
        auto found = find_page(reader_, kMostJunk);
        if (!found) return std::move(found).error();
        const auto& page = found.value().page;
        if (!page || !page->first) break;
        link->group.insert(page->serial);
        std::size_t size = 0;
        for (const std::uint8_t part : page->lacing) size += part;
        if (!link->codec) {
            link->codec = OggCodec::recognise(page->body.first(size));
            link->serial = page->serial;
        }
        if (auto moved = reader_.seek(page->offset + static_cast<std::int64_t>(page->size));
            !moved) {
            return std::move(moved).error();
        }
    }
    if (link->group.empty()) return Error{Errc::corrupt, 0, "an Ogg stream that does not begin"};
    if (!link->codec) {
        return Error{Errc::no_audio, 0, "the Ogg stream holds no Opus, Vorbis or FLAC audio"};
    }
    if (auto read = read_headers(*link); !read) return std::move(read).error();
    auto parameters = link->codec->parameters();
    if (!parameters) return std::move(parameters).error();
    link->segment = std::make_shared<Segment>();
    link->segment->parameters = std::move(parameters).value();
    link->segment->rate = link->codec->rate();
    link->segment->opus = link->codec->opus();
    link->data_begin = reader_.position();
    return link;
}

Status OggDemuxer::read_headers(Link& link) {
    std::vector<std::uint8_t> packet;
    while (!link.codec->complete()) {
        auto found = find_page(reader_, kMostJunk);
        if (!found) return std::move(found).error();
        const auto& page = found.value().page;
        if (!page || page->first) return Error{Errc::corrupt, 0, "the Ogg headers are cut short"};
        std::size_t at = 0;
        for (const std::uint8_t part : page->lacing) {
            if (page->serial != link.serial || link.codec->complete()) break;
            packet.insert(packet.end(), page->body.begin() + static_cast<std::ptrdiff_t>(at),
                          page->body.begin() + static_cast<std::ptrdiff_t>(at + part));
            at += part;
            if (packet.size() > kMostHeaderBytes) {
                return Error{Errc::corrupt, 0, "an Ogg header packet of more than 32 MiB"};
            }
            if (part == 255) continue;
            if (auto added = link.codec->add_header(packet); !added) return added;
            packet.clear();
        }
        const auto after = page->offset + static_cast<std::int64_t>(page->size);
        if (auto moved = reader_.seek(after); !moved) return moved;
    }
    return Done{};
}

void OggDemuxer::forget_packets() {
    page_size_ = 0;
    pieces_.clear();
    next_piece_ = 0;
    tail_ = {};
    carry_.clear();
    carrying_ = false;
    expected_sequence_.reset();
    running_.reset();
    wanted_ = kNoTick;
    at_end_ = false;
    links_[current_]->codec->reset();
}

void OggDemuxer::enter(Link& link) {
    for (std::size_t i = 0; i < links_.size(); ++i) {
        if (links_[i].get() == &link) current_ = i;
    }
    forget_packets();
    if (link.origin) running_ = link.first_granule;
}

DemuxStatus OggDemuxer::next(Packet& packet) {
    for (;;) {
        const DemuxStatus status = next_piece(packet);
        const bool passed = status == DemuxStatus::packet && wanted_ != kNoTick &&
                            packet.start + packet.duration <= wanted_;
        if (!passed) return status;
    }
}

DemuxStatus OggDemuxer::next_piece(Packet& packet) {
    while (next_piece_ == pieces_.size()) {
        if (at_end_) return DemuxStatus::end;
        if (page_size_ > 0) {
            if (tail_.size > 0) {
                auto seen = reader_.peek(page_size_);
                if (!seen) return fail(std::move(seen).error());
                const auto rest = seen.value().subspan(body_at_ + tail_.offset, tail_.size);
                carry_.insert(carry_.end(), rest.begin(), rest.end());
            }
            if (auto moved = reader_.skip(static_cast<std::int64_t>(page_size_)); !moved) {
                return fail(std::move(moved).error());
            }
            page_size_ = 0;
        }
        if (const auto status = load_page(); status != DemuxStatus::packet) return status;
    }
    auto seen = reader_.peek(page_size_);
    if (!seen) return fail(std::move(seen).error());
    const Piece& piece = pieces_[next_piece_++];
    packet.data = seen.value().subspan(body_at_ + piece.offset, piece.size);
    if (piece.joins_carry) {
        joined_.swap(carry_);
        carry_.clear();
        joined_.insert(joined_.end(), packet.data.begin(), packet.data.end());
        packet.data = joined_;
    }
    const Link& link = *links_[current_];
    packet.segment = link.segment;
    packet.start = piece.start - link.origin.value_or(0);
    packet.duration = piece.duration;
    packet.trim_end = piece.trim;
    return DemuxStatus::packet;
}

// Brings the next page of our stream in and its packets into pieces_ (perhaps none).
DemuxStatus OggDemuxer::load_page() {
    Link& link = *links_[current_];
    pieces_.clear();
    next_piece_ = 0;
    auto found = find_page(reader_, kAnyDistance);
    if (!found) return fail(std::move(found).error());
    if (found.value().skipped > 0) {
        ++damage_;
        expected_sequence_.reset();
        running_.reset();
        carrying_ = false;
    }
    if (!found.value().page) {
        at_end_ = true;
        return DemuxStatus::end;
    }
    const OggPage page = *found.value().page;
    if (page.first) return next_link();
    page_size_ = page.size;
    tail_ = {};
    if (page.serial != link.serial) return DemuxStatus::packet;  // of another stream: no pieces
    body_at_ = kOggHeaderBytes + page.lacing.size();
    if (expected_sequence_ && page.sequence != *expected_sequence_) {
        ++damage_;
        running_.reset();
        carrying_ = false;
    }
    expected_sequence_ = page.sequence + 1;
    split(page);
    const bool short_of_it = running_ && page.granule >= 0;
    bool final_page = page.last;
    if (short_of_it && !final_page) {
        std::int64_t total = 0;
        for (const Piece& piece : pieces_) total += piece.duration;
        if (page.granule < *running_ + total) {
            auto final_one = is_final(page);
            if (!final_one) return fail(std::move(final_one).error());
            final_page = final_one.value();
        }
    }
    place(page, final_page);
    return DemuxStatus::packet;
}

// Packets by the lacing values (RFC 3533 section 5), with their lengths.
void OggDemuxer::split(const OggPage& page) {
    OggCodec& codec = *links_[current_]->codec;
    std::size_t at = 0;
    std::size_t size = 0;
    bool head = page.continued;
    // A packet that began on a page we never saw is lost; one that never ends likewise.
    const bool joins = head && carrying_;
    if (!head && carrying_) {
        ++damage_;
        carry_.clear();
    }
    if (!joins) carry_.clear();
    bool open = false;
    for (const std::uint8_t part : page.lacing) {
        size += part;
        open = part == 255;
        if (open) continue;
        Piece piece{.offset = at, .size = size, .joins_carry = head && joins};
        // Empty packets mark an end in some files; nothing can be decoded from them.
        if ((!head || joins) && (size > 0 || joins)) {
            if (piece.joins_carry) {
                std::vector<std::uint8_t> whole = carry_;
                const auto rest = page.body.subspan(at, size);
                whole.insert(whole.end(), rest.begin(), rest.end());
                piece.duration = codec.duration(whole);
            } else {
                piece.duration = codec.duration(page.body.subspan(at, size));
            }
            pieces_.push_back(piece);
        }
        at += size;
        size = 0;
        head = false;
    }
    carrying_ = open && (!head || joins);
    if (carrying_) tail_ = {.offset = at, .size = size};
    if (!pieces_.empty() && !pieces_.front().joins_carry) carry_.clear();
}

// Gives every piece its place. The granule position is where the last packet ending here ends.
void OggDemuxer::place(const OggPage& page, bool final_page) {
    if (pieces_.empty()) return;
    Link& link = *links_[current_];
    std::int64_t total = 0;
    for (const Piece& piece : pieces_) total += piece.duration;
    std::int64_t start = running_.value_or(0);
    std::optional<std::int64_t> end;
    if (page.granule >= 0) {
        const std::int64_t from_end = page.granule - total;
        const bool begins = !running_ && !link.origin;
        if (begins) {
            // A first page may be cut at its end when it is also the last one; otherwise it is cut
            // at its beginning (the start is negative then). Opus has its pre-skip for that, but
            // what was cut out of a file without a new encoding often comes so all the same.
            start = final_page ? std::max<std::int64_t>(from_end, 0) : from_end;
            const int pre_skip = link.segment->opus ? link.segment->opus->pre_skip : 0;
            link.origin = std::max<std::int64_t>(start, 0) + pre_skip;
            link.first_granule = start;
        } else if (!running_ || page.granule > start + total || !final_page) {
            start = from_end;
        }
        if (page.granule < start + total) end = page.granule;
    }
    running_ = end.value_or(start + total);
    for (Piece& piece : pieces_) {
        piece.start = start;
        start += piece.duration;
        if (end && start > *end) piece.trim = std::min(piece.duration, start - *end);
    }
}

// Is there nothing of this link behind the page? Encoders that are killed leave no end mark.
Result<bool> OggDemuxer::is_final(const OggPage& page) {
    const std::size_t size = page.size;
    auto seen = reader_.peek(size + kOggHeaderBytes + 255);
    if (!seen) return std::move(seen).error();
    if (seen.value().size() < size + kOggHeaderBytes) return true;
    const auto behind = parse_page_header(seen.value().subspan(size));
    return behind && behind->first;
}

DemuxStatus OggDemuxer::next_link() {
    if (surveyed_) {
        if (current_ + 1 == links_.size()) {
            at_end_ = true;
            return DemuxStatus::end;
        }
        enter(*links_[current_ + 1]);
        if (auto moved = reader_.seek(links_[current_]->data_begin); !moved) {
            return fail(std::move(moved).error());
        }
        return load_page();
    }
    auto link = read_link();
    if (!link) return fail(std::move(link).error());
    links_[current_] = std::move(link).value();
    forget_packets();
    return load_page();
}

}  // namespace voicecore::codec
