// _codec: FFmpeg, and nothing else. Loading it announces its opener to the core.
#include <pybind11/pybind11.h>

#include "voicecore/audio/media_source.hpp"
#include "voicecore/codec/open.hpp"

PYBIND11_MODULE(_codec, module) {
    namespace py = pybind11;
    // The core first: it brings the shared base library and the exceptions' home.
    py::module_::import("voicecore._core");
    module.doc() =
        "The FFmpeg half of voicecore's core. Private: loaded by voicecore on first use.";
    voicecore::audio::register_opener(&voicecore::codec::open_media);
    module.def(
        "versions",
        [] {
            const auto versions = voicecore::codec::library_versions();
            py::dict out;
            out["avformat"] = versions.avformat;
            out["avcodec"] = versions.avcodec;
            out["avutil"] = versions.avutil;
            out["swresample"] = versions.swresample;
            out["ffmpeg"] = versions.ffmpeg;
            out["license"] = versions.license;
            out["configuration"] = versions.configuration;
            out["tls"] = versions.tls;
            return out;
        },
        "Versions, licence and configuration of the FFmpeg libraries, by name.");
}
