// What the transport tests share: a listener that remembers, a bare receiving socket, temporary
// files.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <array>
#include <condition_variable>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "catch.hpp"
#include "voicecore/audio/packet_sink.hpp"
#include "voicecore/transport/fd.hpp"

namespace voicecore_test {

using namespace std::chrono_literals;
using Bytes = std::vector<std::uint8_t>;

// Long enough that only a broken test meets it.
inline constexpr auto kPatience = 10s;

class Listener final : public voicecore::audio::SinkListener {
  public:
    void on_sink_finished(std::optional<voicecore::Error> error) noexcept override {
        const std::lock_guard lock{mutex_};
        ++calls_;
        error_ = std::move(error);
        told_.notify_all();
    }
    [[nodiscard]] bool wait() {
        std::unique_lock lock{mutex_};
        return told_.wait_for(lock, kPatience, [this] { return calls_ > 0; });
    }
    [[nodiscard]] int calls() const {
        const std::lock_guard lock{mutex_};
        return calls_;
    }
    [[nodiscard]] std::optional<voicecore::Error> error() const {
        const std::lock_guard lock{mutex_};
        return error_;
    }

  private:
    mutable std::mutex mutex_;
    std::condition_variable told_;
    int calls_ = 0;
    std::optional<voicecore::Error> error_;
};

// A UDP socket that receives on a port of the system's choice.
class Peer {
  public:
    explicit Peer(int family = AF_INET) : fd_{::socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0)} {
        sockaddr_storage storage{};
        storage.ss_family = static_cast<sa_family_t>(family);
        socklen_t size = family == AF_INET6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
        if (family == AF_INET6) {
            reinterpret_cast<sockaddr_in6&>(storage).sin6_addr = in6addr_loopback;
        } else {
            reinterpret_cast<sockaddr_in&>(storage).sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        }
        REQUIRE(::bind(fd_.get(), reinterpret_cast<sockaddr*>(&storage), size) == 0);
        REQUIRE(::getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&storage), &size) == 0);
        port_ = ntohs(family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(storage).sin6_port
                                         : reinterpret_cast<sockaddr_in&>(storage).sin_port);
    }
    [[nodiscard]] int port() const { return port_; }
    [[nodiscard]] int fd() const { return fd_.get(); }
    // The next datagram; loopback has it before send() returns.
    [[nodiscard]] std::optional<Bytes> receive() {
        Bytes out(4'096);
        const auto n = ::recv(fd_.get(), out.data(), out.size(), MSG_DONTWAIT);
        if (n < 0) return std::nullopt;
        out.resize(static_cast<std::size_t>(n));
        return out;
    }
    void close() { fd_.reset(); }

  private:
    voicecore::transport::Fd fd_;
    int port_ = 0;
};

class TemporaryDirectory {
  public:
    TemporaryDirectory() {
        std::string name = (std::filesystem::temp_directory_path() / "voicecore-XXXXXX").string();
        REQUIRE(::mkdtemp(name.data()) != nullptr);
        path_ = name;
    }
    ~TemporaryDirectory() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    TemporaryDirectory(const TemporaryDirectory&) = delete;
    TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
    [[nodiscard]] std::string file(const std::string& name) const {
        return (path_ / name).string();
    }

  private:
    std::filesystem::path path_;
};

inline Bytes read_file(const std::string& path) {
    std::ifstream in{path, std::ios::binary};
    return {std::istreambuf_iterator<char>{in}, {}};
}

// What a command prints, both streams, and its exit status.
struct CommandResult {
    int status = -1;
    std::string output;
};
inline CommandResult run_command(const std::string& command) {
    CommandResult out;
    FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
    REQUIRE(pipe != nullptr);
    std::array<char, 4'096> chunk;
    for (std::size_t n = 0; (n = std::fread(chunk.data(), 1, chunk.size(), pipe)) > 0;) {
        out.output.append(chunk.data(), n);
    }
    out.status = ::pclose(pipe);
    return out;
}

// A stereo CELT packet of 20 ms: the TOC byte and bytes that differ from packet to packet.
inline Bytes packet_of(unsigned number, std::size_t size = 100) {
    Bytes out(size);
    out[0] = 0xFC;
    for (std::size_t i = 1; i < size; ++i) {
        out[i] = static_cast<std::uint8_t>(number * 31 + i * 7);
    }
    return out;
}

inline voicecore::audio::OutgoingPacket outgoing(const Bytes& bytes, std::uint32_t ticks = 1,
                                                 std::uint16_t media = 960) {
    return {.opus = bytes, .ticks = ticks, .media_samples = media, .silence = false};
}
inline voicecore::audio::OutgoingPacket silence() {
    static const Bytes frame{0xF8, 0xFF, 0xFE};
    return {.opus = frame, .ticks = 1, .media_samples = 960, .silence = true};
}

inline Bytes from_hex(const std::string& hex) {
    Bytes out;
    for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
        out.push_back(static_cast<std::uint8_t>(std::stoi(hex.substr(i, 2), nullptr, 16)));
    }
    return out;
}

// 32 bytes that no other test of this process has used: nonce counters live as long as the process.
inline Bytes fresh_key() {
    static std::uint32_t serial = 0;
    ++serial;
    Bytes out(32, 0xA5);
    for (std::size_t i = 0; i < 4; ++i) out[i] = static_cast<std::uint8_t>(serial >> (8 * i));
    return out;
}

}  // namespace voicecore_test
