// _codec: FFmpeg, and nothing else. Loading it announces its opener to the core.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "voicecore/audio/media_source.hpp"
#include "voicecore/codec/open.hpp"

PYBIND11_MODULE(_codec, module) {
    namespace py = pybind11;
    // The core first: it brings the shared base library and the exceptions' home.
    py::module_::import("voicecore._core");
    module.doc() = "The FFmpeg half of voicecore's core. Private: loaded by voicecore on first use.";
    voicecore::audio::register_opener(&voicecore::codec::open_media);
}
