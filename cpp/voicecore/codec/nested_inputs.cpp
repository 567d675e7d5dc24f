#include "voicecore/codec/nested_inputs.hpp"

#include <algorithm>
#include <cstdlib>

#include "voicecore/codec/http_input.hpp"
#include "voicecore/codec/native_error.hpp"
#include "voicecore/codec/playlist.hpp"

namespace voicecore::codec {
namespace {
constexpr int kMostOpens = 200;  // until the first audio; ten variants with renditions take 60
}

NestedInputs::NestedInputs(NestedRules rules) : rules_{std::move(rules)} {
    opening();
}

NestedInputs::~NestedInputs() = default;

void NestedInputs::opening() noexcept {
    opening_ = true;
    opens_ = 0;
    deadline_ = SteadyClock{}.now() + rules_.timeout;
    rules_.interrupter->set_limit(deadline_);
}

void NestedInputs::opened() noexcept {
    opening_ = false;
    rules_.interrupter->clear_limit();
}

int NestedInputs::interrupted(void* self) noexcept {
    auto& nested = *static_cast<NestedInputs*>(self);
    // Asked for in libavformat's waits for a live playlist to grow, which may be longer than the
    // time-out: a sign of life.
    nested.rules_.interrupter->touch();
    const bool late = nested.opening_ && SteadyClock{}.now() > nested.deadline_;
    return late || nested.rules_.interrupter->interrupted() ? 1 : 0;
}

Result<ByteReader> NestedInputs::begin(const std::string& url, ByteReader reader) {
    auto text = read_playlist(reader, url);
    if (!text) return std::move(text).error();
    if (!text.value()) return reader;
    first_ = url;
    return keep(url, *std::move(text).value());
}

ByteReader NestedInputs::begin_at(Samples position) {
    from_ = position;
    begin_.clear();
    failure_.reset();
    opening();
    return give(lists_[first_]);
}

Samples NestedInputs::nearest_begin(Samples near) const noexcept {
    const auto distance = [near](Samples place) { return std::abs((place - near).count()); };
    const auto nearest =
        std::min_element(begin_.begin(), begin_.end(),
                         [&distance](Samples a, Samples b) { return distance(a) < distance(b); });
    return nearest == begin_.end() ? Samples{0} : *nearest;
}

ByteReader NestedInputs::give(const List& list) {
    if (list.live || from_ <= Samples{0}) return text_reader(list.text);
    auto cut = cut_playlist(list.text, std::chrono::duration_cast<std::chrono::nanoseconds>(from_));
    if (cut.begins.count() > 0) {
        begin_.push_back(std::chrono::round<Samples>(cut.begins));
    }
    return text_reader(std::move(cut.text));
}

AVIOContext* NestedInputs::open(const std::string& url, std::int64_t offset) {
    auto reader = fetch(url);
    if (reader && offset > 0) {
        if (auto moved = reader.value().seek(offset); !moved) reader = std::move(moved).error();
    }
    if (!reader) {
        note(std::move(reader).error());
        return nullptr;
    }
    auto bridge = AvioBridge::create(std::move(reader).value());
    if (!bridge) {
        note(std::move(bridge).error());
        return nullptr;
    }
    bridges_.push_back(std::move(bridge).value());
    return bridges_.back()->io();
}

void NestedInputs::close(AVIOContext* io) {
    std::erase_if(bridges_, [&](const auto& bridge) {
        if (bridge->io() != io) return false;
        if (bridge->failure()) note(*bridge->failure());
        return true;
    });
}

// A playlist that names itself, or a server that makes up ever more of them, ends here.
Status NestedInputs::check_limits(const std::string& url) {
    if (!opening_) return Done{};
    if (SteadyClock{}.now() > deadline_) {
        return Error{Errc::timeout, 0,
                     url + ": there was no audio after " + std::to_string(rules_.timeout.count()) +
                         " ms of opening what the playlist names"};
    }
    if (++opens_ > kMostOpens) {
        return Error{Errc::corrupt, 0,
                     url + ": there was no audio in the first " + std::to_string(kMostOpens) +
                         " playlists and segments; does the playlist name itself?"};
    }
    return Done{};
}

Result<ByteReader> NestedInputs::fetch(const std::string& url) {
    if (auto checked = check_limits(url); !checked) return std::move(checked).error();
    const auto known = lists_.find(url);
    if (known != lists_.end() && !known->second.live) return give(known->second);
    auto reader = fetch_once(url, known == lists_.end());
    if (reader || known == lists_.end()) return reader;
    // Its last state stands in for it: libavformat finds nothing new there and comes again after
    // half a segment. An error would end the track.
    List& list = known->second;
    if (!worth_another_attempt(reader.error()) || list.failures >= rules_.max_failures) {
        return reader;
    }
    ++list.failures;
    rules_.interrupter->touch();
    return give(list);
}

Result<ByteReader> NestedInputs::fetch_once(const std::string& url, bool patient) {
    auto input = rules_.open(url, patient);
    if (!input) return std::move(input).error();
    ByteReader reader{std::move(input).value()};
    auto text = read_playlist(reader, url);
    if (!text) return std::move(text).error();
    if (text.value()) return keep(url, *std::move(text).value());
    failure_.reset();  // a segment: what was lost before it is counted
    return reader;
}

Result<ByteReader> NestedInputs::keep(const std::string& url, std::string text) {
    if (auto checked = check_playlist(text, url); !checked) return std::move(checked).error();
    List& list = lists_[url];
    list = List{.text = std::move(text)};
    list.live = is_live_playlist(list.text);
    return give(list);
}

void NestedInputs::note(Error error) {
    if (error.code == Errc::cancelled) return;  // by a seek
    ++failures_;
    // Out of time, everything fails; what took so long tells more.
    const bool late = opening_ && SteadyClock{}.now() > deadline_;
    if (!late || !failure_) failure_ = std::move(error);
}

}  // namespace voicecore::codec
