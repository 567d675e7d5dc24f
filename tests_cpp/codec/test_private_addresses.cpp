// Private addresses behind public ones: redirects and the entries of playlists.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>
#include <mutex>

#include "http_server.hpp"
#include "media.hpp"

using namespace media;
using http_test::answer;
using http_test::Peer;
using http_test::Server;
using namespace std::chrono_literals;

namespace {

// A public address that leads to the test's own servers, whatever the machine's network is like.
constexpr const char* kPublic = "1.2.3.4";

}  // namespace

// Instead of libc's, for this program: what the library judged is what it asks for here.
extern "C" int connect(int fd, const sockaddr* address, socklen_t length) {
    sockaddr_in loopback{};
    if (address->sa_family == AF_INET) {
        std::memcpy(&loopback, address, sizeof loopback);
        if (loopback.sin_addr.s_addr == ::inet_addr(kPublic)) {
            loopback.sin_addr.s_addr = ::htonl(INADDR_LOOPBACK);
            address = reinterpret_cast<const sockaddr*>(&loopback);
            length = sizeof loopback;
        }
    }
    return static_cast<int>(::syscall(SYS_connect, fd, address, length));
}

namespace {

// What the server was asked for.
class Log {
  public:
    void add(const std::string& target) {
        const std::lock_guard lock{mutex_};
        all_ += target + " ";
    }
    [[nodiscard]] std::string take() {
        const std::lock_guard lock{mutex_};
        return std::exchange(all_, {});
    }

  private:
    std::mutex mutex_;
    std::string all_;
};

std::string at_public(const Server& server, const std::string& target) {
    return std::string{"http://"} + kPublic + ":" + std::to_string(server.port()) + target;
}

OpenRequest careful(const std::string& url) {
    auto out = request(url);
    out.timeout = 2s;
    out.max_reconnects = 1;
    out.allow_playlists = true;
    out.allow_private_addresses = false;
    return out;
}

Error open_error(const OpenRequest& wanted) {
    auto opened = codec::open_media(wanted, nullptr);
    REQUIRE_FALSE(opened.ok());
    INFO(opened.error().message);
    return opened.error();
}

std::vector<std::string> private_urls(int port, const std::string& target) {
    const std::string end = ":" + std::to_string(port) + target;
    return {
        "http://127.0.0.1" + end,         "http://localhost" + end, "http://[::1]" + end,
        "http://2130706433" + end,        "http://10.0.0.1" + end,  "http://169.254.169.254" + end,
        "http://[::ffff:127.0.0.1]" + end};
}

}  // namespace

TEST_CASE("a redirect from a public address to a private one is refused, and nobody connects") {
    const std::string body = http_test::file_bytes(path("short.mp3"));
    std::string to;
    Log log;
    const Server server{[&](const auto& asked, Peer& peer) {
        log.add(asked.target);
        if (asked.target == "/song") return answer(asked, peer, body);
        peer.send("HTTP/1.1 302 Found\r\nLocation: " + to + "\r\nContent-Length: 0\r\n\r\n");
    }};
    to = at_public(server, "/song");
    CHECK(read_pcm(*media::open(careful(at_public(server, "/")))).samples() == 1'440);
    CHECK(log.take().starts_with("/ /song "));
    for (const auto& url : private_urls(server.port(), "/song")) {
        INFO(url);
        to = url;
        CHECK(open_error(careful(at_public(server, "/"))).code == Errc::refused);
        CHECK(log.take() == "/ ");
    }
}

TEST_CASE("a private address in a public playlist is refused, also behind a redirect") {
    const std::string body = http_test::file_bytes(path("aac.aac"));
    std::string entry;
    std::string to;
    Log log;
    const Server server{[&](const auto& asked, Peer& peer) {
        log.add(asked.target);
        if (asked.target == "/song.aac") return answer(asked, peer, body);
        if (asked.target == "/list") {
            return answer(asked, peer,
                          "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:4\n" + entry +
                              "#EXT-X-ENDLIST\n");
        }
        peer.send("HTTP/1.1 302 Found\r\nLocation: " + to + "\r\nContent-Length: 0\r\n\r\n");
    }};
    const auto segment = [](const std::string& url) { return "#EXTINF:3.2,\n" + url + "\n"; };
    entry = segment(at_public(server, "/song.aac"));
    CHECK(read_pcm(*media::open(careful(at_public(server, "/list")))).samples() > 100'000);
    to = at_public(server, "/song.aac");
    entry = segment("moved.aac");
    CHECK(read_pcm(*media::open(careful(at_public(server, "/list")))).samples() > 100'000);
    (void)log.take();
    for (const auto& url : private_urls(server.port(), "/song.aac")) {
        INFO(url);
        to = url;
        const std::string map = "#EXT-X-MAP:URI=\"" + url + "\"\n";
        for (const auto& named : {segment(url), segment("moved.aac"), map + segment("moved.aac")}) {
            INFO(named);
            entry = named;
            CHECK(open_error(careful(at_public(server, "/list"))).code == Errc::refused);
            CHECK(log.take().find("song") == std::string::npos);
        }
    }
}
