#include "bind.hpp"

PYBIND11_MODULE(_core, module) {
    namespace bindings = voicecore::bindings;
    module.doc() = "The native core of voicecore. Private: use the voicecore package.";
    module.attr("__version__") = VOICECORE_VERSION;
    bindings::bind_lifetime(module);
    bindings::bind_events(module);
    bindings::bind_sources(module);
    bindings::bind_sinks(module);
    bindings::bind_playback(module);
    bindings::bind_receiver(module);
    bindings::bind_transcode(module);
    bindings::bind_queue(module);
    bindings::bind_scheduler(module);
    bindings::bind_doctor(module);
}
