#include "voicecore/pipeline/program.hpp"

#include <algorithm>
#include <cmath>
#include <exception>
#include <new>
#include <string>
#include <utility>

#include "voicecore/base/clock.hpp"

namespace voicecore::pipeline {
namespace {

TimelineOptions timeline_options(const ProgramOptions& options) noexcept {
    return {.reach = options.history + EncodeStage::reach(),
            .pcm_reach = options.history + EncodeStage::pcm_reach(),
            .lookahead = lookahead_of(options.encoder.application),
            .gap = options.gap,
            .passthrough = options.passthrough};
}

bool valid(Gain gain) noexcept {
    return gain.linear() >= 0.0F && gain.linear() <= kMaxGain;
}

}  // namespace

Result<std::unique_ptr<Program>> Program::create(const ProgramOptions& options) {
    if (auto status = opus::check(options.encoder); !status) return std::move(status).error();
    const auto refuse = [](std::string message) {
        return Error{.code = Errc::invalid_argument, .native = 0, .message = std::move(message)};
    };
    if (!valid(options.gain)) {
        return refuse("gain " + std::to_string(options.gain.linear()) + ": expected 0 to 4");
    }
    constexpr std::uint64_t kMostHistory = 1'000;
    if (options.history > kMostHistory) {
        return refuse("history of " + std::to_string(options.history) +
                      " frames: expected 0 to 1000");
    }
    if (options.gap < Samples{0}) {
        return refuse("gap of " + std::to_string(to_seconds(options.gap)) +
                      " s: expected 0 or more");
    }
    if (options.start < Samples{0}) {
        return refuse("start at " + std::to_string(to_seconds(options.start)) +
                      " s: expected 0 or more");
    }
    return std::unique_ptr<Program>{new Program{options}};  // NOLINT: the constructor is private
}

Program::Program(const ProgramOptions& options)
    : options_{options},
      timeline_{playlist_, timeline_options(options)},
      stage_{options.encoder, options.history, timeline_},
      gains_{options.gain} {
    playlist_.set_loops(options.loops);
    const bool clean = options.start == Samples{0};
    timeline_.start(0, options.start, !clean, clean);
    stage_.start(clean, false, options.gain);
}

Program::~Program() = default;

void Program::append(std::unique_ptr<audio::MediaSource> track, Samples start) {
    playlist_.append(std::move(track), start);
}
void Program::close_playlist() noexcept {
    playlist_.close();
}
void Program::set_loops(std::uint32_t loops) noexcept {
    playlist_.set_loops(loops);
}
std::vector<TrackError> Program::take_track_errors() {
    return playlist_.take_errors();
}
void Program::set_ready_hook(std::function<void()> hook) {
    playlist_.set_ready_hook(std::move(hook));
}

audio::ReadStatus Program::fail(Error error) noexcept {
    error_.emplace(std::move(error));
    return audio::ReadStatus::failed;
}

audio::ReadStatus Program::next(audio::PlayablePacket& packet) noexcept {
    if (error_) return audio::ReadStatus::failed;
    try {
        return produce(packet);
    } catch (const std::bad_alloc&) {
        return fail({.code = Errc::no_memory, .native = 0, .message = {}});
    } catch (const std::exception&) {
        return fail({.code = Errc::internal, .native = 0, .message = {}});
    }
}

audio::ReadStatus Program::place(std::int64_t frame, Gain gain) {
    const Place end = (frame + 1) * kFrameSamples;
    timeline_.set_copying(gain.neutral());
    if (auto status = timeline_.place_until(end); status == audio::ReadStatus::would_block) {
        return status;
    }
    if (const auto length = timeline_.length(); length && frame >= *length) {
        return audio::ReadStatus::end;
    }
    if (stage_.copies(frame, gain)) return audio::ReadStatus::ok;
    const Samples lookahead = lookahead_of(options_.encoder.application);
    const auto status = timeline_.place_until(end + lookahead.count());
    if (status == audio::ReadStatus::would_block) return status;
    // Here rather than in the stage, so that it counts as decoding.
    if (stage_.encoding()) timeline_.prepare(frame, frame + 2);
    return audio::ReadStatus::ok;
}

audio::ReadStatus Program::produce(audio::PlayablePacket& packet) {
    const unsigned every = stage_.encoding() ? kSampleEncoded : kSampleCopied;
    const bool sampled = calls_++ % every == 0;
    const auto begun = sampled ? thread_cpu_time() : Nanoseconds{0};
    const std::uint64_t index = base_ + static_cast<std::uint64_t>(cursor_);
    const Gain gain = gains_.at(index);
    auto status = place(cursor_, gain);
    if (status == audio::ReadStatus::end) {
        if (playlist_.has(timeline_.play())) {  // appended after the run had ended
            start_run(index, timeline_.play(), Samples{0}, false);
            resumed_ = true;
            status = place(cursor_, gain);
        }
        if (status == audio::ReadStatus::end) {
            if (!playlist_.closed()) return audio::ReadStatus::would_block;
            return timeline_.last_error() ? audio::ReadStatus::failed : audio::ReadStatus::end;
        }
    }
    if (status != audio::ReadStatus::ok) return status;
    const auto placed = sampled ? thread_cpu_time() : Nanoseconds{0};
    EncodeStage::Output output{.packet = &packet.opus};
    if (auto done = stage_.produce(cursor_, gain, output); !done) {
        return fail(std::move(done).error());
    }
    if (sampled) {
        times_.decode += (placed - begun) * every;
        times_.encode += (thread_cpu_time() - placed) * every;
    }
    const TimelineFrame& frame = timeline_.frame(cursor_);
    packet.index = index;
    packet.position = frame.position;
    packet.track = frame.track;
    packet.media_samples = frame.media_samples;
    packet.passthrough = output.copied;
    ++cursor_;
    produced_ = std::max(produced_, cursor_);
    if (const std::int64_t oldest = oldest_kept(); oldest > 0 && cursor_ == produced_) {
        const auto reach = static_cast<std::int64_t>(EncodeStage::reach());
        gains_.forget_before(base_ +
                             static_cast<std::uint64_t>(std::max(oldest - reach, Place{0})));
        // The frame before is the one that the listener may have heard last.
        playlist_.release_before(timeline_.frame(oldest - 1).track);
    }
    return audio::ReadStatus::ok;
}

std::int64_t Program::oldest_kept() const noexcept {
    return std::max(produced_ - static_cast<std::int64_t>(options_.history), std::int64_t{0});
}

std::int64_t Program::frame_of(std::uint64_t index) const noexcept {
    const std::int64_t frame = index < base_ ? 0 : static_cast<std::int64_t>(index - base_);
    return std::min(frame, cursor_);
}

std::uint64_t Program::set_gain(Gain gain, std::uint64_t index) noexcept {
    if (!valid(gain) || error_) return base_ + static_cast<std::uint64_t>(cursor_);
    try {
        index = std::max(index, base_ + static_cast<std::uint64_t>(oldest_kept()));
        gains_.set(gain, index);
        const std::int64_t frame = frame_of(index);
        if (frame < cursor_) {
            auto status = stage_.rewind(frame, [this](std::int64_t i) {
                return gains_.at(base_ + static_cast<std::uint64_t>(i));
            });
            if (status) {
                cursor_ = frame;
            } else {
                (void)fail(std::move(status).error());
            }
        }
    } catch (const std::exception&) {
        (void)fail({.code = Errc::no_memory, .native = 0, .message = {}});
    }
    return base_ + static_cast<std::uint64_t>(cursor_);
}

std::uint64_t Program::start_afresh(std::uint64_t index) noexcept {
    const std::int64_t frame = frame_of(index);
    if (index == base_ + static_cast<std::uint64_t>(frame) && frame >= oldest_kept()) {
        stage_.go_on_after_silence(frame, frame < cursor_);
        cursor_ = frame;
    }
    return base_ + static_cast<std::uint64_t>(cursor_);
}

// The listener's, when `frame` is heard next. What of it the feeder has reached by now makes no
// difference.
std::uint32_t Program::track_before(std::int64_t frame, bool waits) {
    if (frame == entered_) return timeline_.frame(frame).track;
    if (frame == 0) {
        const bool nothing_there = !playlist_.has(first_) && !playlist_.closed();
        return (resumed_ && !waits) || nothing_there ? previous_ : first_;
    }
    const auto length = timeline_.length();
    if (waits && length && frame >= *length && playlist_.has(timeline_.play())) {
        return timeline_.play();
    }
    return timeline_.frame(std::max(frame - 1, timeline_.oldest())).track;
}

void Program::start_run(std::uint64_t base, std::uint32_t play, Samples position, bool resume) {
    previous_ = track_before(frame_of(base), false);
    first_ = play;
    resumed_ = false;
    entered_ = -1;
    base_ = base;
    cursor_ = 0;
    produced_ = 0;
    // A change that was planned for frames which will not be heard holds at once.
    gains_.set(gains_.latest(), base);
    timeline_.start(play, position, resume, false);
    stage_.start(false, base != 0, gains_.at(base));
}

bool Program::seek(Samples position, audio::ListenerPlace place) noexcept {
    const std::int64_t frame = frame_of(place.next);
    const std::uint32_t play = track_before(frame, place.waits);
    position = std::max(position, Samples{0});
    if (error_ || !playlist_.seek(play, position)) return false;
    start_run(base_ + static_cast<std::uint64_t>(frame), play, position, true);
    return true;
}

void Program::skip_track(audio::ListenerPlace place) noexcept {
    const std::int64_t frame = frame_of(place.next);
    const std::uint32_t play = track_before(frame, place.waits);
    if (frame < timeline_.opened() && frame >= timeline_.oldest() &&
        timeline_.frame(frame).track > play) {
        // The track has ended by itself: what comes next is the next one already.
        entered_ = frame;
        (void)set_gain(gains_.latest(), place.next);
        return;
    }
    // A track that is still to be appended cannot be skipped.
    const std::uint32_t next = playlist_.has(play) ? play + 1 : play;
    start_run(base_ + static_cast<std::uint64_t>(frame), next, Samples{0}, false);
}

Error Program::error() const {
    if (error_) return *error_;
    if (const auto& last = timeline_.last_error()) return *last;
    return Error{.code = Errc::internal, .native = 0, .message = "nothing has failed"};
}

std::uint64_t Program::decode_errors() const noexcept {
    return playlist_.decode_errors() + timeline_.decode_errors();
}

audio::StageTimes Program::stage_times() const noexcept {
    return times_;
}

bool Program::caller_paced() const noexcept {
    const audio::MediaSource* source = timeline_.source();
    return source == nullptr || source->caller_paced();
}

}  // namespace voicecore::pipeline
