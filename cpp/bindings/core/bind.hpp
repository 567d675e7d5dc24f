// One function per area; module.cpp calls them in this order.
#pragma once

#include <pybind11/pybind11.h>

namespace voicecore::bindings {

namespace py = pybind11;

void bind_lifetime(py::module_& module);
void bind_events(py::module_& module);
void bind_sources(py::module_& module);
void bind_sinks(py::module_& module);
void bind_playback(py::module_& module);
void bind_receiver(py::module_& module);
void bind_transcode(py::module_& module);
void bind_queue(py::module_& module);
void bind_scheduler(py::module_& module);
void bind_doctor(py::module_& module);

}  // namespace voicecore::bindings
