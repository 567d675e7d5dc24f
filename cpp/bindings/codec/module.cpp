// _codec: FFmpeg, and nothing else. Loading it announces its opener to the core.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <map>
#include <string>

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
            const voicecore::codec::LibraryVersions found = voicecore::codec::library_versions();
            return std::map<std::string, std::string>{{"ffmpeg", found.ffmpeg},
                                                      {"avformat", found.avformat},
                                                      {"avcodec", found.avcodec},
                                                      {"avutil", found.avutil},
                                                      {"swresample", found.swresample},
                                                      {"license", found.license},
                                                      {"configuration", found.configuration},
                                                      {"tls", found.tls}};
        },
        "Of the libraries as they are loaded now.");
}
