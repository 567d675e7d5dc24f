// Engine and Player, as Python sees them.
#include <pybind11/stl.h>

#include "bind.hpp"
#include "native_call.hpp"
#include "objects.hpp"
#include "voicecore/engine/open_operation.hpp"
#include "voicecore/transport/ogg_sink.hpp"

namespace voicecore::bindings {
namespace {

constexpr double to_ms(Nanoseconds value) {
    return static_cast<double>(value.count()) / 1e6;
}

py::tuple error_tuple(const Error& error) {
    return py::make_tuple(std::string{to_string(error.code)}, error.native, to_text(error.message));
}

py::dict player_statistics(const playback::Player& player) {
    const playback::StreamCounters& counters = player.counters();
    const auto load = [](const std::atomic<std::uint64_t>& counter) {
        return counter.load(std::memory_order_relaxed);
    };
    py::dict out;
    out["frames_sent"] = load(counters.frames_sent);
    out["passthrough"] = load(counters.passthrough);
    out["silence_frames"] = load(counters.silence_frames);
    out["skipped"] = load(counters.skipped);
    out["late"] = load(counters.late);
    out["dropped"] = load(counters.dropped);
    out["overflow"] = load(counters.overflow);
    out["ticks"] = load(counters.ticks);
    out["seek_ticks"] = load(counters.seek_ticks);
    py::list underruns;
    for (const auto& counter : counters.underruns) underruns.append(load(counter));
    out["underruns"] = underruns;
    out["decode_errors"] = player.decode_errors();
    const auto first = counters.first_frame_ns.load(std::memory_order_relaxed);
    out["first_frame_ms"] =
        first < 0 ? py::object{py::none()} : py::object{py::float_{to_ms(Nanoseconds{first})}};
    out["duration_s"] = static_cast<double>(load(counters.frames_sent)) / kFramesPerSecond;
    out["position_s"] = to_seconds(player.position());
    out["lateness_ms"] = histogram_dict<Histogram>(counters.lateness.snapshot());
    const audio::StageTimes times = player.stage_times();
    py::dict cpu;
    cpu["decode"] = to_ms(times.decode);
    cpu["encode"] = to_ms(times.encode);
    cpu["send"] = to_ms(Nanoseconds{counters.send_cpu_ns.load(std::memory_order_relaxed)});
    out["cpu_ms"] = cpu;
    return out;
}

py::dict engine_report(const engine::Engine& engine) {
    const engine::EngineReport report = engine.report();
    constexpr const char* kPriorities[] = {"normal", "nice", "realtime"};
    py::dict out;
    out["priority"] = kPriorities[static_cast<int>(report.priority)];
    out["feeders"] = report.feeders;
    out["players"] = report.streams;
    out["clock_turns"] = report.turns;
    out["clock_cpu_ms"] = to_ms(report.clock_cpu);
    out["lateness_ms"] = histogram_dict<Histogram>(report.lateness);
    return out;
}

PlayerHandle play(const EngineHandle& self, const py::list& sources, const SinkHandle& sink,
                  float volume, std::int64_t gap, std::uint32_t loops, std::uint64_t limit_ticks,
                  const opus::EncoderOptions& encoder, bool passthrough, bool paused,
                  bool keep_open) {
    const std::shared_ptr<engine::Engine> engine = self.shared();
    const Samples pre_skip = pre_skip_of(sources, encoder);
    const std::shared_ptr<SinkBox> target = sink.shared();
    // One player at a time: from here on nobody else can start on this sink, so that one who finds
    // it busy takes no source and changes nothing about what plays there. Waited for without the
    // GIL, which whoever holds the lock needs.
    const std::unique_lock turn = without_gil([&] { return std::unique_lock{target->starting}; });
    unwrap(target->sink->available());
    TakenSources taken{sources};
    std::unique_ptr<pipeline::Program> program = make_program(taken, {.volume = volume,
                                                                      .gap = gap,
                                                                      .loops = loops,
                                                                      .encoder = encoder,
                                                                      .passthrough = passthrough,
                                                                      .keep_open = keep_open});
    playback::Player::Options options;
    options.depth = ProgramSettings::kDefaultDepth;
    options.gain = Gain{volume};
    options.start_paused = paused;
    options.limit_ticks = limit_ticks;
    if (auto* file = dynamic_cast<transport::OggSink*>(target->sink.get()); file != nullptr) {
        file->set_pre_skip(pre_skip);
    }
    auto player =
        without_gil([&] { return engine->play(std::move(program), target->sink, options); });
    return PlayerHandle{std::make_shared<PlayerBox>(PlayerBox{engine, unwrap(std::move(player))})};
}

pipeline::Program& program_of(audio::PacketSource& source) {
    return static_cast<pipeline::Program&>(source);  // play() gives nothing else
}

void append(const PlayerHandle& self, const SourceHandle& source) {
    // A std::function must be copyable; the source travels in a shared box.
    auto travelling =
        std::make_shared<std::unique_ptr<audio::MediaSource>>(unwrap(source.get().take()));
    self.get().player->post(
        [travelling, start = source.get().start()](audio::PacketSource& target) {
            program_of(target).append(std::move(*travelling), start);
        });
}

const char* state_name(playback::PlayerState state) {
    switch (state) {
        case playback::PlayerState::priming:
            return "priming";
        case playback::PlayerState::playing:
            return "playing";
        case playback::PlayerState::paused:
            return "paused";
        case playback::PlayerState::finished:
            return "finished";
    }
    return "finished";
}

void bind_engine(py::module_& module) {
    py::class_<CancelToken, std::shared_ptr<CancelToken>>(module, "CancelToken")
        .def(py::init<>())
        .def("cancel", &CancelToken::cancel);

    py::class_<EngineHandle>(module, "Engine")
        .def(py::init([](const ChannelHandle& channel, int feeders, bool realtime, bool manual) {
                 const std::shared_ptr<engine::EventChannel> events = channel.shared();
                 return EngineHandle{unwrap(without_gil([&] {
                     return engine::Engine::create(
                         {.feeders = feeders, .raise_priority = realtime, .manual_clock = manual},
                         events);
                 }))};
             }),
             py::arg("channel"), py::arg("feeders"), py::arg("realtime"), py::arg("manual"))
        .def("play", &play, py::arg("sources"), py::arg("sink"), py::arg("volume"), py::arg("gap"),
             py::arg("loops"), py::arg("limit_ticks"), py::arg("encoder"), py::arg("passthrough"),
             py::arg("paused"), py::arg("keep_open"))
        .def(
            "advance",
            [](const EngineHandle& self, double seconds,
               const std::shared_ptr<CancelToken>& cancel) {
                engine::Engine& engine = self.get();
                const Nanoseconds by{static_cast<std::int64_t>(seconds * 1e9 + 0.5)};
                without_gil([&] { engine.advance(by, cancel.get()); });
            },
            py::arg("seconds"), py::arg("cancel"))
        .def("now",
             [](const EngineHandle& self) {
                 return static_cast<double>(self.get().now().time_since_epoch().count()) / 1e9;
             })
        .def_property_readonly("streams",
                               [](const EngineHandle& self) { return self.get().streams(); })
        .def(
            "close",
            [](const EngineHandle& self, double patience) {
                engine::Engine& engine = self.get();
                const Nanoseconds wait{static_cast<std::int64_t>(patience * 1e9)};
                without_gil([&] { engine.close(wait); });
            },
            py::arg("patience"))
        .def("report", [](const EngineHandle& self) { return engine_report(self.get()); });

    module.def(
        "cancel_opens",
        [](double patience) {
            const Nanoseconds wait{static_cast<std::int64_t>(patience * 1e9)};
            without_gil([&] { engine::OpenOperation::cancel_all(wait); });
        },
        py::arg("patience"));
}

void bind_player(py::module_& module) {
    // The controls take a feeder's lock for moments only; the GIL is released for it all the same,
    // so that no Python thread ever waits behind a native one.
    const auto control = [](auto action) {
        return [action](const PlayerHandle& self) {
            playback::Player& player = *self.get().player;
            without_gil([&] { action(player); });
        };
    };
    using playback::Player;
    py::class_<PlayerHandle>(module, "Player")
        .def_property_readonly("id",
                               [](const PlayerHandle& self) { return self.get().player->id(); })
        .def("pause", control([](Player& player) { player.pause(); }))
        .def("resume", control([](Player& player) { player.resume(); }))
        .def("stop", control([](Player& player) { player.stop(); }))
        .def("skip_track", control([](Player& player) { player.skip_track(); }))
        .def("close_playlist", control([](Player& player) {
                 player.post(
                     [](audio::PacketSource& source) { program_of(source).close_playlist(); });
             }))
        .def(
            "seek",
            [](const PlayerHandle& self, std::int64_t samples) {
                Player& player = *self.get().player;
                without_gil([&] { player.seek(Samples{samples}); });
            },
            py::arg("samples"))
        .def(
            "set_volume",
            [](const PlayerHandle& self, float volume) {
                Player& player = *self.get().player;
                without_gil([&] { player.set_gain(Gain{volume}); });
            },
            py::arg("volume"))
        .def("append", &append, py::arg("source"))
        .def_property_readonly(
            "state",
            [](const PlayerHandle& self) { return state_name(self.get().player->state()); })
        .def_property_readonly(
            "position",
            [](const PlayerHandle& self) { return self.get().player->position().count(); })
        .def_property_readonly("track",
                               [](const PlayerHandle& self) { return self.get().player->track(); })
        .def_property_readonly("waits",
                               [](const PlayerHandle& self) { return self.get().player->waits(); })
        .def_property_readonly(
            "buffered", [](const PlayerHandle& self) { return self.get().player->buffered(); })
        .def_property_readonly(
            "sink_failed",
            [](const PlayerHandle& self) { return self.get().player->sink_failed(); })
        .def_property_readonly("finish_reason",
                               [](const PlayerHandle& self) -> std::optional<int> {
                                   const auto reason = self.get().player->finish_reason();
                                   return reason ? std::optional{static_cast<int>(*reason)}
                                                 : std::nullopt;
                               })
        .def("error",
             [](const PlayerHandle& self) -> py::object {
                 const auto error = self.get().player->error();
                 return error ? py::object{error_tuple(*error)} : py::none();
             })
        .def("track_errors",
             [](const PlayerHandle& self) {
                 py::list out;
                 for (const auto& failure : self.get().player->take_track_errors()) {
                     out.append(py::make_tuple(failure.track, error_tuple(failure.error)));
                 }
                 return out;
             })
        .def("statistics",
             [](const PlayerHandle& self) { return player_statistics(*self.get().player); });
}

}  // namespace

void bind_playback(py::module_& module) {
    bind_engine(module);
    bind_player(module);
}

}  // namespace voicecore::bindings
