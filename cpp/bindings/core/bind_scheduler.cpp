// The tick scheduler, as Python sees it.
#include <pybind11/stl.h>

#include <chrono>

#include "bind.hpp"
#include "native_call.hpp"
#include "objects.hpp"
#include "queue_objects.hpp"
#include "voicecore/command/tick_scheduler.hpp"
#include "voicecore/engine/player_control.hpp"

namespace voicecore::bindings {
namespace {

using command::Millis;
using command::TickScheduler;
using playback::EventKind;

// Time that tests move: a monotonic clock and a wall clock that can be stepped. Thread-safe.
class VirtualTime {
  public:
    explicit VirtualTime(Millis wall) noexcept : wall_at_zero_{wall} {}
    void advance(Nanoseconds by) noexcept { clock_.set(clock_.now() + by); }
    void set(TimePoint time) noexcept { clock_.set(time); }
    void step_wall(Millis by) noexcept { wall_at_zero_.fetch_add(by); }
    [[nodiscard]] TimePoint now() const noexcept { return clock_.now(); }
    [[nodiscard]] Millis wall() const noexcept {
        return wall_at_zero_.load() + clock_.now().time_since_epoch().count() / 1'000'000;
    }
    [[nodiscard]] const Clock& clock() const noexcept { return clock_; }

  private:
    ManualClock clock_;
    std::atomic<Millis> wall_at_zero_;
};

class EmittingListener final : public command::SchedulerListener {
  public:
    explicit EmittingListener(std::shared_ptr<engine::EventChannel> events) noexcept
        : events_{std::move(events)} {}
    void on_tick(std::uint64_t missed) noexcept override {
        emit(EventKind::ticked, static_cast<std::int64_t>(missed));
    }
    void on_commands(command::Rung rung) noexcept override {
        emit(EventKind::commands, static_cast<std::int64_t>(rung));
    }
    void on_steered() noexcept override { emit(EventKind::steered, 0); }
    void on_trouble() noexcept override { emit(EventKind::trouble, 0); }
    [[nodiscard]] std::uint64_t id() const noexcept { return id_; }
    // The channel's descriptor lives no longer than its loop needs it.
    void let_go() noexcept {
        const std::lock_guard lock{mutex_};
        events_.reset();
    }

  private:
    void emit(EventKind kind, std::int64_t value) noexcept {
        const std::lock_guard lock{mutex_};
        if (events_ != nullptr) {
            events_->emit({.subject = id_, .value = value, .kind = kind});
        }
    }
    const std::uint64_t id_ = playback::next_id();
    std::mutex mutex_;
    std::shared_ptr<engine::EventChannel> events_;
};

struct SchedulerBox {
    std::shared_ptr<VirtualTime> time;  // outlives the scheduler that reads it
    std::unique_ptr<EmittingListener> listener;
    std::unique_ptr<TickScheduler> scheduler;
};
using SchedulerHandle = Forkable<SchedulerBox>;

// A player's control, and the player's engine, for as long as commands may come.
struct ControlBox {
    std::shared_ptr<engine::Engine> engine;
    std::shared_ptr<engine::PlayerControl> control;
};

Nanoseconds from_seconds(double seconds) {
    return Nanoseconds{static_cast<std::int64_t>(seconds * 1e9 + 0.5)};
}

Millis system_wall() {
    return std::chrono::duration_cast<std::chrono::milliseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
}

SchedulerHandle make_scheduler(const py::dict& store, const ChannelHandle& channel, double period,
                               double poll, Millis lease, int budget, bool claims, bool rings,
                               std::optional<Millis> started_at,
                               const std::shared_ptr<VirtualTime>& time) {
    auto box = std::make_shared<SchedulerBox>();
    box->time = time;
    box->listener = std::make_unique<EmittingListener>(channel.shared());
    const command::SchedulerOptions options{.period = from_seconds(period),
                                            .poll = from_seconds(poll),
                                            .lease = lease,
                                            .budget = budget,
                                            .claims = claims,
                                            .rings = rings,
                                            .started_at = started_at};
    command::StoreOptions store_settings = store_options(store);
    box->scheduler = unwrap(without_gil([&]() -> Result<std::unique_ptr<TickScheduler>> {
        auto own = command::Store::open(store_settings);
        if (!own) return std::move(own).error();
        auto watched = command::Store::open(store_settings);
        if (!watched) return std::move(watched).error();
        command::WallClock wall = system_wall;
        const Clock* manual = nullptr;
        if (time != nullptr) {
            wall = [moved = time.get()] { return moved->wall(); };
            manual = &time->clock();
        }
        return TickScheduler::create(std::move(own).value(), std::move(watched).value(),
                                     *box->listener, options, std::move(wall), manual);
    }));
    return SchedulerHandle{std::move(box)};
}

py::dict report_to_python(const command::SchedulerReport& report) {
    py::dict out;
    out["ticks"] = report.ticks;
    out["missed"] = report.missed;
    out["claimed"] = report.claimed;
    out["steered"] = report.steered;
    out["troubles"] = report.troubles;
    out["lost_leases"] = report.lost_claims;
    py::dict wakes;
    for (std::size_t i = 0; i < command::kRungs; ++i) {
        wakes[py::str{std::string{to_string(static_cast<command::Rung>(i))}}] = report.wakes[i];
    }
    out["wakes"] = wakes;
    out["lateness_ms"] = histogram_dict<Histogram>(report.lateness);
    return out;
}

}  // namespace

void bind_scheduler(py::module_& module) {
    py::class_<VirtualTime, std::shared_ptr<VirtualTime>>(module, "VirtualTime")
        .def(py::init<Millis>(), py::arg("wall"))
        .def(
            "advance", [](VirtualTime& self, double by) { self.advance(from_seconds(by)); },
            py::arg("seconds"))
        .def("step_wall", &VirtualTime::step_wall, py::arg("milliseconds"))
        .def("monotonic",
             [](const VirtualTime& self) {
                 return static_cast<double>(self.now().time_since_epoch().count()) / 1e9;
             })
        .def("wall", &VirtualTime::wall);

    py::class_<ControlBox>(module, "PlayerControl")
        .def(py::init([](const PlayerHandle& player, float volume, bool seekable) {
                 return ControlBox{player.get().engine, std::make_shared<engine::PlayerControl>(
                                                            player.get().player, volume, seekable)};
             }),
             py::arg("player"), py::arg("volume"), py::arg("seekable"))
        .def_property_readonly(
            "stop_requested", [](const ControlBox& self) { return self.control->stop_requested(); })
        .def_property(
            "gain", [](const ControlBox& self) { return self.control->gain(); },
            [](const ControlBox& self, float gain) { self.control->note_gain(gain); });

    py::class_<SchedulerHandle>(module, "Scheduler")
        .def(py::init(&make_scheduler), py::arg("store"), py::arg("channel"), py::arg("period"),
             py::arg("poll"), py::arg("lease"), py::arg("budget"), py::arg("claims"),
             py::arg("rings"), py::arg("started_at"), py::arg("time"))
        .def_property_readonly(
            "id", [](const SchedulerHandle& self) { return self.get().listener->id(); })
        .def("start", [](const SchedulerHandle& self) { unwrap(self.get().scheduler->start()); })
        .def("stop",
             [](const SchedulerHandle& self) {
                 SchedulerBox& box = self.get();
                 without_gil([&] {
                     box.scheduler->stop();
                     box.listener->let_go();
                 });
             })
        .def("close_admission",
             [](const SchedulerHandle& self) { self.get().scheduler->close_admission(); })
        .def("nudge", [](const SchedulerHandle& self) { self.get().scheduler->nudge(); })
        .def("take",
             [](const SchedulerHandle& self) {
                 return commands_to_python(self.get().scheduler->take());
             })
        .def(
            "forget",
            [](const SchedulerHandle& self, std::int64_t id) { self.get().scheduler->forget(id); },
            py::arg("id"))
        .def(
            "attach",
            [](const SchedulerHandle& self, const std::string& key, std::int64_t attempt,
               const ControlBox* control) {
                self.get().scheduler->attach(key, attempt,
                                             control == nullptr ? nullptr : control->control);
            },
            py::arg("key"), py::arg("attempt"), py::arg("control").none(true))
        .def(
            "detach",
            [](const SchedulerHandle& self, const std::string& key, std::int64_t attempt) {
                self.get().scheduler->detach(key, attempt);
            },
            py::arg("key"), py::arg("attempt"))
        .def(
            "leave_to_owner",
            [](const SchedulerHandle& self, const std::string& verb) {
                self.get().scheduler->leave_to_owner(command::verb_of(verb));
            },
            py::arg("verb"))
        .def(
            "set_period",
            [](const SchedulerHandle& self, double period) {
                self.get().scheduler->set_period(from_seconds(period));
            },
            py::arg("seconds"))
        .def(
            "holds",
            [](const SchedulerHandle& self, std::int64_t id, std::int64_t attempt) {
                return self.get().scheduler->holds(id, attempt);
            },
            py::arg("id"), py::arg("attempt"))
        .def_property_readonly(
            "condemned",
            [](const SchedulerHandle& self) { return self.get().scheduler->condemned(); })
        .def("lost_sessions",
             [](const SchedulerHandle& self) { return self.get().scheduler->lost_sessions(); })
        .def("turn",
             [](const SchedulerHandle& self) {
                 TickScheduler& scheduler = *self.get().scheduler;
                 without_gil([&] { scheduler.turn(); });
             })
        .def("next_deadline",
             [](const SchedulerHandle& self) {
                 return static_cast<double>(
                            self.get().scheduler->next_deadline().time_since_epoch().count()) /
                        1e9;
             })
        .def("trouble",
             [](const SchedulerHandle& self) -> py::object {
                 const auto error = self.get().scheduler->trouble();
                 if (!error) return py::none();
                 return py::make_tuple(std::string{to_string(error->code)}, error->native,
                                       to_text(error->message));
             })
        .def("report", [](const SchedulerHandle& self) {
            return report_to_python(self.get().scheduler->report());
        });
}

}  // namespace voicecore::bindings
