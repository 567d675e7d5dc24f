#include <pybind11/stl.h>

#include <chrono>

#include "bind.hpp"
#include "native_call.hpp"
#include "objects.hpp"
#include "voicecore/engine/transcode.hpp"

namespace voicecore::bindings {

void bind_transcode(py::module_& module) {
    using TranscodeHandle = Forkable<engine::Transcode>;
    py::class_<TranscodeHandle>(module, "Transcode")
        .def_property_readonly("id", [](const TranscodeHandle& self) { return self.get().id(); })
        .def_property_readonly("running",
                               [](const TranscodeHandle& self) { return self.get().running(); })
        .def_property_readonly(
            "position", [](const TranscodeHandle& self) { return self.get().position().count(); })
        .def("cancel", [](const TranscodeHandle& self) { self.get().cancel(); })
        .def(
            "result",
            [](const TranscodeHandle& self) {
                const auto failure = self.get().failure();
                if (failure && failure->sink) raise_sink(failure->error);
                if (failure) raise(failure->error);
                const auto totals = self.get().totals();
                py::dict out;
                out["duration_s"] = to_seconds(totals.written);
                out["frames"] = totals.frames;
                out["passthrough"] = totals.passthrough;
                out["decode_errors"] = totals.decode_errors;
                out["elapsed_s"] = std::chrono::duration<double>{totals.elapsed}.count();
                return out;
            },
            "The totals, or the failure as an exception. Once it no longer runs.");

    module.def(
        "transcode",
        [](const ChannelHandle& channel, const py::list& sources, const std::string& path,
           std::vector<std::pair<std::string, std::string>> comments, std::uint32_t serial,
           float volume, std::int64_t gap, const opus::EncoderOptions& encoder, bool passthrough) {
            const std::shared_ptr<engine::EventChannel> events = channel.shared();
            transport::OggOptions ogg;
            ogg.path = path;
            ogg.comments = std::move(comments);
            ogg.serial = serial;
            ogg.vendor = std::string{"voicecore "} + VOICECORE_VERSION;
            ogg.pre_skip = pre_skip_of(sources, encoder);
            // In this order nothing is touched by a call that is refused: the sources go back when
            // the file cannot be made, and no file is made for sources that are not to be had.
            TakenSources taken{sources};
            auto writer = unwrap_sink(
                without_gil([&] { return transport::OggWriter::open(std::move(ogg)); }));
            auto program = make_program(taken, {.volume = volume,
                                                .gap = gap,
                                                .loops = 1,
                                                .encoder = encoder,
                                                .passthrough = passthrough,
                                                .keep_open = false});
            return TranscodeHandle{unwrap(without_gil([&] {
                return engine::Transcode::start(std::move(program), std::move(writer), events);
            }))};
        },
        py::arg("channel"), py::arg("sources"), py::arg("path"), py::arg("comments"),
        py::arg("serial"), py::arg("volume"), py::arg("gap"), py::arg("encoder"),
        py::arg("passthrough"));
}

}  // namespace voicecore::bindings
