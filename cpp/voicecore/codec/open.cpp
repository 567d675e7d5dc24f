#include "voicecore/codec/open.hpp"

#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <mutex>

#include "voicecore/codec/file_input.hpp"
#include "voicecore/codec/http_input.hpp"
#include "voicecore/codec/native_error.hpp"
#include "voicecore/codec/open_demuxer.hpp"
#include "voicecore/codec/opus_source.hpp"
#include "voicecore/codec/pcm_source.hpp"
#include "voicecore/codec/thread_feed.hpp"
#include "voicecore/codec/unexpected.hpp"

namespace voicecore::codec {
namespace {

using audio::MediaKind;
using audio::OpenRequest;
using audio::ReadStatus;
using CancelPtr = std::shared_ptr<CancelToken>;

// libavformat and libavcodec would write to standard error.
void silence_ffmpeg() {
    static std::once_flag once;
    std::call_once(once, [] { av_log_set_callback([](void*, int, const char*, va_list) {}); });
}

// The caller's input, with signs of life around its blocking calls.
class WatchedInput final : public audio::ByteInput {
  public:
    WatchedInput(std::shared_ptr<ByteInput> input, std::shared_ptr<Interrupter> interrupter)
        : input_{std::move(input)}, interrupter_{std::move(interrupter)} {}
    [[nodiscard]] Result<std::size_t> read(std::span<std::uint8_t> into) override {
        interrupter_->touch();
        auto got = input_->read(into);
        interrupter_->touch();
        return got;
    }
    [[nodiscard]] Status seek(std::int64_t offset) override {
        interrupter_->touch();
        return input_->seek(offset);
    }
    [[nodiscard]] bool seekable() const noexcept override { return input_->seekable(); }
    [[nodiscard]] std::optional<std::int64_t> size() const noexcept override {
        return input_->size();
    }
    [[nodiscard]] bool can_block() const noexcept override { return input_->can_block(); }
    void interrupt() noexcept override { input_->interrupt(); }

  private:
    std::shared_ptr<ByteInput> input_;  // the caller's, interrupted from another thread
    std::shared_ptr<Interrupter> interrupter_;
};

Error cancelled_error(const std::string& name) {
    return {Errc::cancelled, 0, name + ": opening was cancelled"};
}

// Why packets cannot be copied; empty when they can. `kind` becomes opus where units are packets.
std::string judge_passthrough(const StreamFacts& facts, MediaKind& kind) {
    const Segment& first = *facts.segments.front();
    const auto is_opus = [](const SegmentPtr& segment) { return segment->opus.has_value(); };
    if (!std::all_of(facts.segments.begin(), facts.segments.end(), is_opus)) {
        if (is_opus(facts.segments.front())) return "a later part of the chain is not Opus";
        return std::string{"the codec is "} + avcodec_get_name(first.parameters->codec_id) +
               ", not Opus";
    }
    for (const SegmentPtr& segment : facts.segments) {
        if (segment->opus->mapping_family != 0 || segment->opus->channels > 2) {
            return "it is Opus with " + std::to_string(segment->opus->channels) +
                   " channels in mapping family " + std::to_string(segment->opus->mapping_family) +
                   "; only family 0 is copied";
        }
        if (segment->opus->gain_q8 != first.opus->gain_q8) {
            return "the parts of the chain have different header gains";
        }
    }
    kind = MediaKind::opus;
    if (first.opus->gain_q8 == 0) return {};
    return "the header asks for a gain of " + std::to_string(first.opus->gain_q8 / 256.0) + " dB";
}

audio::SourceInfo describe(const StreamFacts& facts) {
    audio::SourceInfo info;
    const Segment& first = *facts.segments.front();
    info.container = facts.container;
    info.codec = avcodec_get_name(first.parameters->codec_id);
    info.sample_rate = first.parameters->sample_rate;
    info.channels = first.parameters->ch_layout.nb_channels;
    info.duration = facts.duration;
    info.bitrate = facts.bitrate;
    info.tags = facts.tags;
    info.seekable = facts.seekable;
    info.no_passthrough = judge_passthrough(facts, info.kind);
    if (info.kind == MediaKind::opus) {
        info.pre_skip = Samples{first.opus->pre_skip};
        info.header_gain = static_cast<float>(std::pow(10.0, first.opus->gain_q8 / (20.0 * 256.0)));
    }
    return info;
}

// Waits for the first audio of a source whose input may block.
template <class Source>
ReadStatus wait_for_first(Source& source, const CancelPtr& cancel) {
    struct Bell {
        std::mutex mutex;
        std::condition_variable rung;
        bool ringing = false;
    };
    constexpr std::chrono::milliseconds kCancelPoll{5};
    const auto bell = std::make_shared<Bell>();  // with the hook, which may be running as we leave
    source.set_ready_hook([bell] {
        {
            const std::lock_guard lock{bell->mutex};
            bell->ringing = true;
        }
        bell->rung.notify_one();
    });
    ReadStatus status = source.prime();
    while (status == ReadStatus::would_block && !(cancel && cancel->cancelled())) {
        std::unique_lock lock{bell->mutex};
        bell->rung.wait_for(lock, kCancelPoll, [&bell] { return bell->ringing; });
        bell->ringing = false;
        lock.unlock();
        status = source.prime();
    }
    source.set_ready_hook({});
    return status;
}

// Nothing is called open before it has given its first audio: bytes that only look like audio fail
// here.
template <class Source>
Result<std::unique_ptr<audio::MediaSource>> finish(std::unique_ptr<Source> source,
                                                   const std::string& name, Samples start,
                                                   const CancelPtr& cancel) {
    switch (wait_for_first(*source, cancel)) {
        case ReadStatus::ok:
            break;
        case ReadStatus::would_block:
            return cancelled_error(name);
        case ReadStatus::end:
            if (source->decode_errors() > 0) {
                return Error{Errc::corrupt, 0, name + ": nothing in it could be decoded"};
            }
            return Error{Errc::no_audio, 0, name + ": there is no audio in it, only a header"};
        case ReadStatus::failed: {
            Error error = source->error();
            if (!error.message.starts_with(name)) error.message = name + ": " + error.message;
            return error;
        }
    }
    if (start > Samples{0}) {
        if (source->info().seekable) {
            source->seek(start);
        } else {
            source->drop_until(start);
        }
    }
    return std::unique_ptr<audio::MediaSource>{std::move(source)};
}

Result<std::unique_ptr<audio::MediaSource>> make_source(std::unique_ptr<PacketFeed> feed,
                                                        const std::string& name, Samples start,
                                                        const CancelPtr& cancel) {
    auto info = describe(feed->facts());
    if (info.kind == MediaKind::opus) {
        return finish(std::make_unique<OpusSource>(std::move(info), std::move(feed)), name, start,
                      cancel);
    }
    return finish(std::make_unique<PcmSource>(std::move(info), std::move(feed)), name, start,
                  cancel);
}

HttpOptions http_options(const OpenRequest& request, std::shared_ptr<Interrupter> interrupter) {
    return {.connect = {.interrupter = std::move(interrupter),
                        .timeout = request.timeout,
                        .allow_private = request.allow_private_addresses},
            .headers = request.headers,
            .max_reconnects = request.max_reconnects,
            .ca_file = request.ca_file};
}

// Entries of a playlist are opened under the rules of the request itself, and only over the web.
NestedRules playlist_rules(const OpenRequest& request,
                           const std::shared_ptr<Interrupter>& interrupter) {
    if (!request.allow_playlists) return {};
    auto open = [options = http_options(request, interrupter), first = request.location](
                    const std::string& address,
                    bool patient) -> Result<std::shared_ptr<audio::ByteInput>> {
        auto url = parse_url(address);
        if (!url) return std::move(url).error();
        HttpOptions own = options;
        own.patient = patient;
        // Headers were meant for the server that the caller named.
        const auto named = parse_url(first);
        if (!named || !url.value().same_origin(named.value())) own.headers.clear();
        auto input = HttpInput::open(url.value(), std::move(own));
        if (!input) return std::move(input).error();
        return std::shared_ptr<audio::ByteInput>{std::move(input).value()};
    };
    return {.open = std::move(open),
            .interrupter = interrupter,
            .timeout = request.timeout,
            .max_failures = request.max_reconnects};
}

Result<std::unique_ptr<audio::MediaSource>> open_direct(std::shared_ptr<audio::ByteInput> input,
                                                        const OpenRequest& request,
                                                        const std::string& name,
                                                        const CancelPtr& cancel) {
    auto demuxer =
        open_demuxer(ByteReader{std::move(input)},
                     {.name = name, .base = {}, .playlists = {}, .asked = request.allow_playlists});
    if (!demuxer) return std::move(demuxer).error();
    if (cancel && cancel->cancelled()) return cancelled_error(name);
    return make_source(make_direct_feed(std::move(demuxer).value()), name, request.start, cancel);
}

// Everything that can block: header and all run on the thread, since opening may block too.
Result<std::unique_ptr<audio::MediaSource>> open_threaded(OpenDemuxer open,
                                                          ThreadFeedOptions options,
                                                          Samples start) {
    const std::string name = options.name;
    const CancelPtr cancel = options.cancel;
    auto feed = make_thread_feed(std::move(open), std::move(options));
    if (!feed) return std::move(feed).error();
    return make_source(std::move(feed).value(), name, start, cancel);
}

Result<std::unique_ptr<audio::MediaSource>> open_url(const OpenRequest& request, CancelPtr cancel) {
    auto url = parse_url(request.location);
    if (!url) return std::move(url).error();
    if (auto checked = check_headers(request.headers); !checked) return std::move(checked).error();
    auto interrupter = Interrupter::create();
    if (!interrupter) return std::move(interrupter).error();
    const auto stop = interrupter.value();
    const std::string name = url.value().text();
    OpenDemuxer open = [url = url.value(), options = http_options(request, stop), name,
                        playlists =
                            playlist_rules(request, stop)]() -> Result<std::unique_ptr<Demuxer>> {
        auto input = HttpInput::open(url, options);
        if (!input) return std::move(input).error();
        const std::string base = input.value()->final_url().text();
        return open_demuxer(ByteReader{std::move(input).value()},
                            {.name = name, .base = base, .playlists = playlists});
    };
    return open_threaded(std::move(open),
                         {.name = name,
                          .interrupter = stop,
                          .input = nullptr,
                          .timeout = request.timeout,
                          .cancel = std::move(cancel)},
                         request.start);
}

Result<std::unique_ptr<audio::MediaSource>> open_blocking(
    const std::shared_ptr<audio::ByteInput>& input, std::shared_ptr<Interrupter> stop,
    const OpenRequest& request, const std::string& name, CancelPtr cancel) {
    OpenDemuxer open = [input, name,
                        asked = request.allow_playlists]() -> Result<std::unique_ptr<Demuxer>> {
        return open_demuxer(ByteReader{input},
                            {.name = name, .base = {}, .playlists = {}, .asked = asked});
    };
    return open_threaded(std::move(open),
                         {.name = name,
                          .interrupter = std::move(stop),
                          .input = input,
                          .timeout = request.timeout,
                          .cancel = std::move(cancel)},
                         request.start);
}

Result<std::unique_ptr<audio::MediaSource>> open_path(const OpenRequest& request,
                                                      CancelPtr cancel) {
    auto file = open_file(request.location);
    if (!file) return std::move(file).error();
    if (file.value().regular) {
        auto shared = std::make_shared<const OpenedFile>(std::move(file).value());
        return open_direct(std::make_shared<RegularFile>(std::move(shared), request.location),
                           request, request.location, cancel);
    }
    auto stop = Interrupter::create();
    if (!stop) return std::move(stop).error();
    auto pipe = std::make_shared<PipeInput>(std::move(file).value().fd, request.location,
                                            stop.value(), request.timeout);
    return open_blocking(std::move(pipe), stop.value(), request, request.location,
                         std::move(cancel));
}

Result<std::unique_ptr<audio::MediaSource>> open_any(const OpenRequest& request, CancelPtr cancel) {
    if (request.timeout <= std::chrono::milliseconds::zero()) {
        return Error{Errc::invalid_argument, 0,
                     "a timeout of " + std::to_string(request.timeout.count()) +
                         " ms; more than 0 was expected"};
    }
    if (request.start < Samples{0}) {
        return Error{Errc::invalid_argument, 0, "a negative start; 0 or more was expected"};
    }
    if (cancel && cancel->cancelled()) return cancelled_error(request.location);
    if (request.input) {
        const std::string name = request.location.empty() ? "the input" : request.location;
        if (!request.input->can_block()) {
            return open_direct(request.input, request, name, cancel);
        }
        auto stop = Interrupter::create();
        if (!stop) return std::move(stop).error();
        auto watched = std::make_shared<WatchedInput>(request.input, stop.value());
        return open_blocking(std::move(watched), stop.value(), request, name, std::move(cancel));
    }
    if (request.location.empty() || request.location.find('\0') != std::string::npos) {
        return Error{Errc::invalid_argument, 0, "an empty location; a path or a URL was expected"};
    }
    if (!url_scheme(request.location).empty()) return open_url(request, std::move(cancel));
    return open_path(request, std::move(cancel));
}

}  // namespace

Result<std::unique_ptr<audio::MediaSource>> open_media(const OpenRequest& request,
                                                       CancelPtr cancel) {
    silence_ffmpeg();
    Result<std::unique_ptr<audio::MediaSource>> opened = [&] {
        try {
            return open_any(request, std::move(cancel));
        } catch (const std::exception& thrown) {
            return Result<std::unique_ptr<audio::MediaSource>>{
                unexpected(thrown, request.location)};
        }
    }();
    // Whoever delivers its bytes is let go, however far this came.
    if (!opened && request.input) request.input->interrupt();
    return opened;
}

}  // namespace voicecore::codec
