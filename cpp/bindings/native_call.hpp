// How Python calls into native code that takes time, and what keeps that safe at interpreter exit.
#pragma once

#include <pybind11/pybind11.h>

#include <stdexcept>
#include <string>

#include "voicecore/base/result.hpp"

namespace voicecore::bindings {

namespace py = pybind11;

// Counts the threads that are inside native code without the GIL. An atexit hook closes the door
// and waits for the count to reach zero: a thread that asked for the GIL after finalization began
// would be unwound through native frames. The count is therefore taken before the GIL is released
// and given back after it is held again.
namespace door {
[[nodiscard]] bool enter() noexcept;  // false once shutdown began
void leave() noexcept;
[[nodiscard]] bool closed() noexcept;
}  // namespace door

// Text for Python. File names are bytes: what is not UTF-8 shows as backslashed escapes.
[[nodiscard]] py::str to_text(const std::string& text);

// Raises the one Python exception that stands for the error. GIL held.
[[noreturn]] void raise(const Error& error);
// The same for what a sink or a receiver does: OS failures become SinkError.
[[noreturn]] void raise_sink(const Error& error);

// Runs `work` with the GIL released.
template <class Work>
auto without_gil(Work&& work) {
    if (!door::enter()) raise(Error{Errc::closed, 0, "the interpreter is shutting down"});
    struct Leave {
        ~Leave() { door::leave(); }
    } leave;
    const py::gil_scoped_release released;
    return work();
}

// Like without_gil, for destructors: holds on to the GIL when it can no longer be released safely.
// No native thread ever wants the GIL, so joining one with it held cannot dead-lock.
template <class Work>
void without_gil_if_possible(Work&& work) noexcept {
    if (!door::enter()) {
        work();
        return;
    }
    {
        const py::gil_scoped_release released;
        work();
    }
    door::leave();
}

template <class T>
T unwrap(Result<T> result) {
    if (!result) raise(result.error());
    return std::move(result).value();
}
template <class T>
T unwrap_sink(Result<T> result) {
    if (!result) raise_sink(result.error());
    return std::move(result).value();
}
inline void unwrap(Status status) {
    if (!status) raise(status.error());
}

// fork() leaves the child without our threads: what was made before it must not be used there.
[[nodiscard]] unsigned fork_generation() noexcept;

// Holds a native object for Python; refuses to be used in a forked child, and leaks there rather
// than joining threads that do not exist.
template <class T>
class Forkable {
  public:
    explicit Forkable(std::shared_ptr<T> object) noexcept : object_{std::move(object)} {}
    Forkable(Forkable&&) noexcept = default;
    Forkable& operator=(Forkable&&) = delete;
    ~Forkable() {
        if (object_ == nullptr) return;
        if (generation_ != fork_generation()) {
            [[maybe_unused]] auto* leaked = new std::shared_ptr<T>{std::move(object_)};  // NOLINT
            return;
        }
        without_gil_if_possible([this] { object_.reset(); });
    }
    [[nodiscard]] T& get() const {
        check();
        return *object_;
    }
    [[nodiscard]] const std::shared_ptr<T>& shared() const {
        check();
        return object_;
    }

  private:
    void check() const {
        if (generation_ != fork_generation()) {
            raise(Error{Errc::closed, 0,
                        "this object was made before fork(); make a new one in the child"});
        }
    }
    std::shared_ptr<T> object_;
    unsigned generation_ = fork_generation();
};

}  // namespace voicecore::bindings
