#include "native_call.hpp"

#include <pthread.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "bind.hpp"

namespace voicecore::bindings {
namespace {

std::atomic<int> inside{0};
std::atomic<bool> shut{false};
std::atomic<unsigned> generation{0};

}  // namespace

namespace door {

bool enter() noexcept {
    // Count first, look second: the closing side does it the other way round.
    inside.fetch_add(1, std::memory_order_seq_cst);
    if (!shut.load(std::memory_order_seq_cst)) return true;
    inside.fetch_sub(1, std::memory_order_seq_cst);
    return false;
}

void leave() noexcept {
    inside.fetch_sub(1, std::memory_order_seq_cst);
}

bool closed() noexcept {
    return shut.load(std::memory_order_seq_cst);
}

}  // namespace door

unsigned fork_generation() noexcept {
    return generation.load(std::memory_order_relaxed);
}

py::str to_text(const std::string& text) {
    PyObject* decoded =
        PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "backslashreplace");
    if (decoded == nullptr) throw py::error_already_set();
    return py::reinterpret_steal<py::str>(decoded);
}

namespace {

[[noreturn]] void raise_from(const Error& error, bool sink) {
    const py::object make = py::module_::import("voicecore.errors").attr("from_native");
    const py::object exception = make(std::string{to_string(error.code)}, error.native,
                                      to_text(error.message), py::arg("sink") = sink);
    PyErr_SetObject(py::type::of(exception).ptr(), exception.ptr());
    throw py::error_already_set();
}

}  // namespace

void raise(const Error& error) {
    raise_from(error, false);
}
void raise_sink(const Error& error) {
    raise_from(error, true);
}

void bind_lifetime(py::module_& module) {
    ::pthread_atfork(nullptr, nullptr, [] {
        generation.fetch_add(1, std::memory_order_relaxed);
        inside.store(0, std::memory_order_relaxed);  // the threads that were inside are not here
    });
    module.def(
        "_shut_door",
        [](double patience) {
            shut.store(true, std::memory_order_seq_cst);
            const py::gil_scoped_release released;
            const auto deadline =
                std::chrono::steady_clock::now() + std::chrono::duration<double>{patience};
            while (inside.load(std::memory_order_seq_cst) != 0 &&
                   std::chrono::steady_clock::now() < deadline) {
                std::this_thread::sleep_for(std::chrono::milliseconds{1});
            }
            return inside.load(std::memory_order_seq_cst) == 0;
        },
        py::arg("patience"),
        "Refuse further native calls; wait for those under way. Called once, at exit.");
    module.def("_fork_generation", &fork_generation);
}

}  // namespace voicecore::bindings
