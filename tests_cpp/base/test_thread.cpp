// What a punctual thread asks of the system.
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <thread>

#include "catch.hpp"
#include "voicecore/base/thread.hpp"

using namespace voicecore;

namespace {

// The kernel's struct sched_attr, as numbers of 32 bits; the slice begins at the seventh.
using Attributes = std::array<std::uint32_t, 12>;

std::uint64_t slice_of_this_thread() {
    Attributes found{};
    if (::syscall(SYS_sched_getattr, 0, found.data(), sizeof found, 0) != 0) return 0;
    std::uint64_t slice = 0;
    std::memcpy(&slice, &found[6], sizeof slice);
    return slice;
}

bool knows_slices() {
    utsname system{};
    ::uname(&system);
    int major = 0;
    int minor = 0;
    REQUIRE(std::sscanf(system.release, "%d.%d", &major, &minor) == 2);
    return major > 6 || (major == 6 && minor >= 12);
}

}  // namespace

TEST_CASE("a punctual thread has short turns where Linux has them") {
    std::uint64_t before = 0;
    std::uint64_t after = 0;
    std::thread{[&] {
        before = slice_of_this_thread();
        raise_thread_niceness();
        after = slice_of_this_thread();
    }}.join();
    if (knows_slices()) {
        REQUIRE(before > 100'000);
        REQUIRE(after == 100'000);
    } else {
        REQUIRE(after == before);
    }
}
