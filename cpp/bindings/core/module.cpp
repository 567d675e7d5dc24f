#include "bind.hpp"

namespace voicecore::bindings {
namespace {

// Everything that Python finds in the module. Making a hundred types takes as long as the rest of
// `import voicecore`, so that they are made when the first of them is asked for (PEP 562).
void bind_everything(py::module_& module) {
    bind_events(module);
    bind_sources(module);
    bind_sinks(module);
    bind_playback(module);
    bind_receiver(module);
    bind_transcode(module);
    bind_queue(module);
    bind_scheduler(module);
    bind_doctor(module);
}

void bind_when_asked(py::module_& module) {
    module.def("__getattr__", [bound = false](const py::str& name) mutable -> py::object {
        auto self = py::module_::import("voicecore._core");
        // The import system itself asks for __path__ and the like.
        const bool special = name.cast<std::string>().starts_with("__");
        if (!bound && !special) {
            bound = true;
            bind_everything(self);
        }
        const py::dict names = self.attr("__dict__");
        if (names.contains(name)) return names[name];
        throw py::attribute_error("module 'voicecore._core' has no attribute '" +
                                  name.cast<std::string>() + "'");
    });
}

}  // namespace
}  // namespace voicecore::bindings

// Called by PyInit__core below, once it is the right interpreter that asks.
#define PyInit__core init_in_main_interpreter
PYBIND11_MODULE(_core, module) {
    namespace bindings = voicecore::bindings;
    module.doc() = "The native core of voicecore. Private: use the voicecore package.";
    module.attr("__version__") = VOICECORE_VERSION;
    bindings::bind_lifetime(module);
    bindings::bind_when_asked(module);
}
#undef PyInit__core

// Threads, atexit hooks and the locks around fork() are the process's, and so the main
// interpreter's. pybind11 would take the GIL by way of PyGILState in any other, which waits for
// ever before 3.12.
extern "C" PYBIND11_EXPORT PyObject* PyInit__core() {  // NOLINT: the name is Python's
    if (PyInterpreterState_Get() != PyInterpreterState_Main()) {
        PyErr_SetString(PyExc_ImportError,
                        "voicecore works in the main interpreter only, not in a sub-interpreter");
        return nullptr;
    }
    return init_in_main_interpreter();
}
