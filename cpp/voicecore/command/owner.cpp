// Names of owners: whose lease it is, in words that tell whether that process still lives.
#include <signal.h>
#include <sys/types.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <fstream>
#include <string>
#include <vector>

#include "voicecore/command/store.hpp"

namespace voicecore::command {
namespace {

// When the process began, in clock ticks since the boot: tells a process from another that was
// given its number later. Empty when there is no such process.
std::string start_of(std::int64_t pid) {
    std::ifstream file{"/proc/" + std::to_string(pid) + "/stat"};
    std::string text{std::istreambuf_iterator<char>{file}, {}};
    const auto name_ends = text.rfind(')');
    if (name_ends == std::string::npos) return {};
    std::size_t at = name_ends + 2;
    // Field 22 of proc(5); the state, right behind the name, is the third.
    for (int field = 3; field < 22; ++field) {
        at = text.find(' ', at);
        if (at == std::string::npos) return {};
        ++at;
    }
    return text.substr(at, text.find(' ', at) - at);
}

std::string boot() {
    std::ifstream file{"/proc/sys/kernel/random/boot_id"};
    std::string id;
    file >> id;
    return id.substr(0, 8);
}

std::string host() {
    std::array<char, 256> name{};
    if (::gethostname(name.data(), name.size() - 1) != 0) return "localhost";
    std::string text{name.data()};
    for (char& letter : text) {
        if (letter == ':') letter = '_';
    }
    return text;
}

std::vector<std::string_view> split(std::string_view text) {
    std::vector<std::string_view> parts;
    while (true) {
        const auto colon = text.find(':');
        parts.push_back(text.substr(0, colon));
        if (colon == std::string_view::npos) return parts;
        text.remove_prefix(colon + 1);
    }
}

}  // namespace

std::string make_owner() {
    static std::atomic<unsigned> count{0};
    const std::int64_t pid = ::getpid();
    return host() + ":" + boot() + ":" + std::to_string(pid) + ":" + start_of(pid) + ":" +
           std::to_string(count.fetch_add(1) + 1);
}

bool owner_may_live(std::string_view owner) {
    const auto parts = split(owner);
    if (parts.size() != 5 || parts[0] != host()) return true;  // not ours to judge
    if (parts[1] != boot()) return false;
    std::int64_t pid = 0;
    const auto read = std::from_chars(parts[2].data(), parts[2].data() + parts[2].size(), pid);
    if (read.ec != std::errc{}) return true;
    if (::kill(static_cast<pid_t>(pid), 0) != 0 && errno == ESRCH) return false;
    const std::string start = start_of(pid);
    return start.empty() || start == parts[3];
}

}  // namespace voicecore::command
