// The native objects that Python holds, and how.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "native_call.hpp"
#include "voicecore/audio/packet_sink.hpp"
#include "voicecore/engine/engine.hpp"
#include "voicecore/engine/event_channel.hpp"
#include "voicecore/pipeline/program.hpp"

namespace voicecore::bindings {

using ChannelHandle = Forkable<engine::EventChannel>;
using EngineHandle = Forkable<engine::Engine>;

// A source until a player takes it. Not polymorphic on purpose: Python never sees the port itself.
class SourceBox {
  public:
    explicit SourceBox(std::unique_ptr<audio::MediaSource> source, Samples start = Samples{0})
        : info_{source->info()}, start_{start}, source_{std::move(source)} {}

    // Where it was told to start when it was opened.
    [[nodiscard]] Samples start() const noexcept { return start_; }

    [[nodiscard]] const audio::SourceInfo& info() const noexcept { return info_; }
    // The source, once; a second call is the caller's mistake.
    [[nodiscard]] Result<std::unique_ptr<audio::MediaSource>> take() {
        const std::lock_guard lock{mutex_};
        if (source_ != nullptr) {
            taken_ = true;
            return std::move(source_);
        }
        if (taken_) {
            return Error{
                Errc::already_playing, 0,
                "this source was given to a player already; open it again to play it again"};
        }
        return Error{Errc::closed, 0, "this source is closed"};
    }
    // After a take() that came to nothing.
    void give_back(std::unique_ptr<audio::MediaSource> source) noexcept {
        const std::lock_guard lock{mutex_};
        source_ = std::move(source);
        taken_ = false;
    }
    void close() noexcept {
        std::unique_ptr<audio::MediaSource> doomed;  // destroyed after the lock is gone
        const std::lock_guard lock{mutex_};
        doomed = std::move(source_);
    }

  private:
    const audio::SourceInfo info_;
    const Samples start_;
    std::mutex mutex_;
    std::unique_ptr<audio::MediaSource> source_;
    bool taken_ = false;
};
using SourceHandle = Forkable<SourceBox>;

// A player keeps its engine: controls stay valid whatever Python lets go of first.
struct PlayerBox {
    std::shared_ptr<engine::Engine> engine;
    std::shared_ptr<playback::Player> player;
    ~PlayerBox() {
        player.reset();
        engine.reset();
    }
};
using PlayerHandle = Forkable<PlayerBox>;

// What play() needs of a sink, and how its own counters are read.
struct SinkBox {
    SinkBox(std::shared_ptr<audio::PacketSink> target, std::function<py::dict()> counters)
        : sink{std::move(target)}, statistics{std::move(counters)} {}
    std::shared_ptr<audio::PacketSink> sink;
    std::function<py::dict()> statistics;
    std::mutex starting;  // from the look whether it is free to the start of the player
};
using SinkHandle = Forkable<SinkBox>;

// Sources taken from Python for a play or a transcode: all of them, or none when one is taken
// already. Until they are released, they go back when what they were taken for comes to nothing.
class TakenSources {
  public:
    explicit TakenSources(const py::list& sources);
    TakenSources(const TakenSources&) = delete;
    TakenSources& operator=(const TakenSources&) = delete;
    ~TakenSources();

    // Where one was told to start; 0 when there is none.
    [[nodiscard]] Samples start(std::size_t index) const noexcept {
        return index < boxes_.size() ? boxes_[index]->start() : Samples{0};
    }
    [[nodiscard]] std::vector<std::unique_ptr<audio::MediaSource>> release() noexcept {
        return std::exchange(taken_, {});
    }

  private:
    void give_back() noexcept;
    std::vector<std::shared_ptr<SourceBox>> boxes_;
    std::vector<std::unique_ptr<audio::MediaSource>> taken_;  // of the first so many boxes
};

// How a play or a transcode makes its program.
struct ProgramSettings {
    float volume = 1.0F;
    std::int64_t gap = 0;  // samples
    std::uint32_t loops = 1;
    opus::EncoderOptions encoder;
    bool passthrough = true;
    bool keep_open = false;
    std::uint64_t history = kDefaultDepth;
    static constexpr std::uint64_t kDefaultDepth = 20;
};
[[nodiscard]] std::unique_ptr<pipeline::Program> make_program(TakenSources& sources,
                                                              const ProgramSettings& settings);
// The samples that a player of the resulting Ogg file has to skip: the first source's own pre-skip
// when it is Opus, else the encoder's look-ahead.
[[nodiscard]] Samples pre_skip_of(const py::list& sources, const opus::EncoderOptions& encoder);
// Percentiles and non-empty buckets of a histogram, in milliseconds.
template <class Kind>
[[nodiscard]] py::dict histogram_dict(const typename Kind::Snapshot& snapshot) {
    const auto to_ms = [](Nanoseconds value) { return static_cast<double>(value.count()) / 1e6; };
    py::dict out;
    out["p50"] = to_ms(snapshot.quantile(0.5));
    out["p90"] = to_ms(snapshot.quantile(0.9));
    out["p99"] = to_ms(snapshot.quantile(0.99));
    out["p99_9"] = to_ms(snapshot.quantile(0.999));
    out["max"] = to_ms(snapshot.max);
    out["count"] = snapshot.total;
    py::list buckets;
    for (std::size_t i = 0; i < snapshot.counts.size(); ++i) {
        if (snapshot.counts[i] == 0) continue;
        buckets.append(py::make_tuple(to_ms(Kind::upper_edge(i)), snapshot.counts[i]));
    }
    out["histogram"] = py::tuple{buckets};
    return out;
}

}  // namespace voicecore::bindings
