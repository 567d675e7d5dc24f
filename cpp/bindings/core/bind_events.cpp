#include <pybind11/native_enum.h>
#include <pybind11/stl.h>

#include "bind.hpp"
#include "native_call.hpp"
#include "objects.hpp"

namespace voicecore::bindings {

void bind_events(py::module_& module) {
    using playback::EventKind;
    py::native_enum<EventKind>(module, "EventKind", "enum.IntEnum")
        .value("STARTED", EventKind::started)
        .value("PAUSED", EventKind::paused)
        .value("RESUMED", EventKind::resumed)
        .value("SEEKED", EventKind::seeked)
        .value("UNDERRUN", EventKind::underrun)
        .value("RECOVERED", EventKind::recovered)
        .value("TRACK_STARTED", EventKind::track_started)
        .value("TRACK_FAILED", EventKind::track_failed)
        .value("FINISHED", EventKind::finished)
        .value("OPENED", EventKind::opened)
        .value("COMPLETED", EventKind::completed)
        .value("TICKED", EventKind::ticked)
        .value("COMMANDS", EventKind::commands)
        .value("STEERED", EventKind::steered)
        .value("TROUBLE", EventKind::trouble)
        .value("WRITABLE", EventKind::writable)
        .finalize();

    py::class_<ChannelHandle>(module, "EventChannel")
        .def(py::init([] { return ChannelHandle{unwrap(engine::EventChannel::create())}; }))
        .def("fileno", [](const ChannelHandle& self) { return self.get().fd(); })
        .def(
            "drain",
            [](const ChannelHandle& self) {
                const auto drained = self.get().drain();
                py::list events{drained.events.size()};
                for (std::size_t i = 0; i < drained.events.size(); ++i) {
                    const auto& event = drained.events[i];
                    events[i] =
                        py::make_tuple(event.subject, static_cast<int>(event.kind), event.value);
                }
                return py::make_tuple(std::move(events), drained.overflowed);
            },
            "Everything since the last drain: ([(subject, kind, value), ...], overflowed).")
        .def_property_readonly("wakes",
                               [](const ChannelHandle& self) { return self.get().wakes(); });
}

}  // namespace voicecore::bindings
