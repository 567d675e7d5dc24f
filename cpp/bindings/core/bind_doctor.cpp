// What `voicecore doctor` asks, and the loading of libraries without the GIL.
#include <dlfcn.h>
#include <opus/opus.h>
#include <pybind11/stl.h>
#include <sodium.h>
#include <sys/prctl.h>
#include <time.h>

#include <algorithm>
#include <string>
#include <thread>
#include <vector>

#include "bind.hpp"
#include "native_call.hpp"
#include "voicecore/base/clock.hpp"
#include "voicecore/base/thread.hpp"
#include "voicecore/command/sqlite_copy.hpp"
#include "voicecore/transport/cipher.hpp"

namespace voicecore::bindings {
namespace {

// Maps a library and everything it needs. The GIL is free meanwhile: dlopen holds the loader's lock
// for up to a quarter of a second, and under the GIL every Python thread would wait for it.
void map_library(const std::string& path) {
    const std::string failure = without_gil([&path]() -> std::string {
        // Never closed: the import that follows finds it in place.
        if (::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL) != nullptr) return {};
        const char* why = ::dlerror();
        return why != nullptr ? why : "dlopen failed";
    });
    if (!failure.empty()) raise(Error{Errc::internal, 0, "cannot load " + path + ": " + failure});
}

// How late an absolute sleep ends here, in microseconds, sorted. On a thread like the clock's.
py::tuple measure_sleep(int rounds, bool raise_priority) {
    std::vector<double> late;
    Priority priority = Priority::normal;
    unwrap(without_gil([&]() -> Status {
        auto thread = start_thread("to measure sleep", [&] {
            enter_native_thread("vc-measure");
            tighten_timer_slack();
            if (raise_priority) priority = raise_thread_priority();
            const SteadyClock clock;
            WakeSignal never;
            TimePoint deadline = clock.now();
            for (int i = 0; i < rounds; ++i) {
                deadline += std::chrono::milliseconds{2};
                never.wait_until(deadline);
                late.push_back(static_cast<double>((clock.now() - deadline).count()) / 1e3);
            }
        });
        if (!thread) return std::move(thread).error();
        thread->join();
        return Done{};
    }));
    std::sort(late.begin(), late.end());
    constexpr const char* kNames[] = {"normal", "nice", "realtime"};
    return py::make_tuple(kNames[static_cast<int>(priority)], late);
}

double clock_resolution() {
    timespec ts{};
    ::clock_getres(CLOCK_MONOTONIC, &ts);
    return static_cast<double>(ts.tv_sec) + static_cast<double>(ts.tv_nsec) / 1e9;
}

py::list cipher_modes() {
    py::list names;
    for (const auto mode : transport::available_cipher_modes()) {
        names.append(std::string{transport::to_string(mode)});
    }
    return names;
}

}  // namespace

void bind_doctor(py::module_& module) {
    module.def("map_library", &map_library, py::arg("path"));
    module.def("opus_version", [] { return std::string{::opus_get_version_string()}; });
    // libogg does not tell its version: the one that we were built with.
    module.def("ogg_version", [] { return std::string{VOICECORE_OGG_VERSION}; });
    module.def("sodium_version", [] { return std::string{::sodium_version_string()}; });
    module.def("sqlite_version", &command::sqlite_version);
    module.def("cipher_modes", &cipher_modes);
    module.def("clock_resolution", &clock_resolution);
    module.def("measure_sleep", &measure_sleep, py::arg("rounds"), py::arg("raise_priority"));
    py::class_<command::CopyProbe>(
        module, "SqliteCopyProbe",
        "While it lives, our SQLite's connections know voicecore_copy().")
        .def(py::init<>());
}

}  // namespace voicecore::bindings
