#include "voicecore/pipeline/playlist.hpp"

#include <utility>

namespace voicecore::pipeline {

void Playlist::append(std::unique_ptr<audio::MediaSource> track, Samples start) {
    // The source is destroyed before this object and calls no hook after its end.
    track->set_ready_hook([this] { notify(); });
    {
        const std::lock_guard lock{inbox_mutex_};
        inbox_.push_back({.source = std::move(track), .start = start});
    }
    notify();
}

void Playlist::close() noexcept {
    {
        const std::lock_guard lock{inbox_mutex_};
        closing_ = true;
    }
    notify();
}

void Playlist::set_loops(std::uint32_t loops) noexcept {
    loops_.store(loops, std::memory_order_relaxed);
}

void Playlist::set_ready_hook(std::function<void()> hook) {
    const std::lock_guard lock{hook_mutex_};
    hook_ = std::move(hook);
}

void Playlist::notify() noexcept {
    const std::lock_guard lock{hook_mutex_};
    if (hook_) hook_();
}

std::vector<TrackError> Playlist::take_errors() {
    const std::lock_guard lock{inbox_mutex_};
    return std::exchange(errors_, {});
}

void Playlist::report(std::uint32_t play, Error error) {
    const std::lock_guard lock{inbox_mutex_};
    errors_.push_back({.track = play, .error = std::move(error)});
}

void Playlist::take_in() {
    const std::lock_guard lock{inbox_mutex_};
    for (Arrival& one : inbox_) {
        tracks_.push_back({.source = std::move(one.source), .start = one.start});
    }
    inbox_.clear();
    closed_ = closing_;
}

Playlist::Track* Playlist::track_of(std::uint32_t play) noexcept {
    if (play < tracks_.size()) return &tracks_[play];
    if (!closed_ || tracks_.empty()) return nullptr;
    const std::uint32_t loops = loops_.load(std::memory_order_relaxed);
    if (loops != 0 && play >= std::uint64_t{loops} * tracks_.size()) return nullptr;
    return &tracks_[play % tracks_.size()];
}

Playlist::Opened Playlist::open(std::uint32_t play, bool restart) {
    take_in();
    Track* track = track_of(play);
    if (track == nullptr) {
        return {.turn = closed_ ? Turn::over : Turn::empty};
    }
    Opened opened{.turn = Turn::ready, .source = track->source.get()};
    if (opened.source == nullptr) {
        opened.error = Error{.code = Errc::closed,
                             .native = 0,
                             .message =
                                 "the track was played to its end and let go before the loop "
                                 "was asked for"};
        return opened;
    }
    const Samples start = play < tracks_.size() ? track->start : Samples{0};
    if (!track->touched) opened.start = start;
    if (track->touched && restart) {
        if (opened.source->info().seekable) {
            opened.source->seek(start);
            opened.start = start;
        } else if (play >= tracks_.size()) {
            opened.error = Error{.code = Errc::unsupported,
                                 .native = 0,
                                 .message = "a track that cannot seek cannot be played again"};
        }
        // Otherwise a track that was read ahead goes on where it stands.
    }
    track->touched = true;
    return opened;
}

bool Playlist::seek(std::uint32_t play, Samples position) {
    take_in();  // nobody may have asked for the track yet
    Track* track = track_of(play);
    if (track == nullptr || !track->source || !track->source->info().seekable) return false;
    track->source->seek(position);
    track->touched = true;
    return true;
}

void Playlist::release_before(std::uint32_t oldest) noexcept {
    if (loops_.load(std::memory_order_relaxed) != 1) return;
    for (; released_ < oldest && released_ < tracks_.size(); ++released_) {
        auto& source = tracks_[released_].source;
        if (!source) continue;
        gone_errors_ += source->decode_errors();
        source.reset();
    }
}

std::uint64_t Playlist::decode_errors() const noexcept {
    std::uint64_t sum = gone_errors_;
    for (const auto& track : tracks_) {
        if (track.source) sum += track.source->decode_errors();
    }
    return sum;
}

bool Playlist::has(std::uint32_t play) noexcept {
    take_in();
    return track_of(play) != nullptr;
}

}  // namespace voicecore::pipeline
