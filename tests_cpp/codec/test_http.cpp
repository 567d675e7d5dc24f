#include <chrono>
#include <filesystem>

#include "http_server.hpp"
#include "media.hpp"

using namespace media;
using http_test::answer;
using http_test::Peer;
using http_test::Server;
using namespace std::chrono_literals;

namespace {

// Short time-outs, so that faults show soon.
OpenRequest patient(const std::string& url) {
    auto out = request(url);
    out.timeout = 300ms;
    out.max_reconnects = 2;
    return out;
}

std::string body_of(const std::string& name) {
    return http_test::file_bytes(path(name));
}

Error open_error(const OpenRequest& wanted) {
    auto opened = codec::open_media(wanted, nullptr);
    REQUIRE_FALSE(opened.ok());
    INFO(opened.error().message);
    CHECK_FALSE(opened.error().message.empty());
    return opened.error();
}

Error status_error(const std::string& status) {
    const Server server{[&](const http_test::Request&, Peer& peer) {
        peer.send("HTTP/1.1 " + status + "\r\nContent-Length: 0\r\n\r\n");
    }};
    return open_error(patient(server.url("/a.mp3")));
}

}  // namespace

TEST_CASE("a URL plays like the file behind it, and seeks in it") {
    for (const char* name : {"cbr.mp3", "aac.m4a", "aac-front.m4a", "vorbis.ogg", "flac.flac",
                             "a44.wav", "vorbis.webm", "aac.aac"}) {
        INFO(name);
        const std::string body = body_of(name);
        const Server server{[&](const auto& asked, Peer& peer) { answer(asked, peer, body); }};
        const auto whole = read_pcm(*media::open(name));
        auto source = media::open(patient(server.url("/x")));
        CHECK(source->info().seekable);
        const auto pcm = read_pcm(*source);
        CHECK(pcm.last == ReadStatus::end);
        CHECK(std::abs(pcm.samples() - whole.samples()) < 50);
        CHECK(error_db(whole.values, 0, {pcm.values.begin(), pcm.values.begin() + 200'000}) < -60);
        source->seek(Samples{70'000});
        const auto part = read_pcm(*source, 5'000);
        CHECK(part.begin == 70'000);
        CHECK(error_db(whole.values, 70'000, part.values) < -60);
    }
}

TEST_CASE("Opus over HTTP comes as the same packets") {
    const std::string body = body_of("opus.opus");
    const Server server{[&](const auto& asked, Peer& peer) { answer(asked, peer, body); }};
    auto source = media::open(patient(server.url("/x")));
    CHECK(source->info().duration->count() == length_of("opus.opus"));
    CHECK(read_packets(*source).bytes == read_packets(*media::open("opus.opus")).bytes);
}

TEST_CASE("a chunked body without a length plays to its end") {
    const std::string body = body_of("cbr.mp3");
    const Server server{[&](const auto&, Peer& peer) {
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        for (std::size_t at = 0; at < body.size(); at += 1000) {
            const std::string part = body.substr(at, 1000);
            std::stringstream head;
            head << std::hex << part.size() << ";name=value\r\n";
            if (!peer.send(head.str() + part + "\r\n")) return;
        }
        peer.send("0\r\n\r\n");
    }};
    auto source = media::open(patient(server.url("/x")));
    CHECK_FALSE(source->info().seekable);
    const auto pcm = read_pcm(*source);
    CHECK(pcm.last == ReadStatus::end);
    CHECK(pcm.samples() == length_of("cbr.mp3"));
}

TEST_CASE("a chunked body that breaks off is not an end") {
    const std::string body = body_of("cbr.mp3");
    const Server broken{[&](const auto& asked, Peer& peer) {
        if (asked.number > 0) {
            peer.send("HTTP/1.1 500 Gone Mad\r\nContent-Length: 0\r\n\r\n");
            return;
        }
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4000\r\n" +
                  body.substr(0, 0x3000));
    }};
    auto source = media::open(patient(broken.url("/x")));
    const auto pcm = read_pcm(*source);
    CHECK(pcm.last == ReadStatus::failed);
    CHECK(source->error().code == Errc::http);
    CHECK(source->error().native == 500);
}

namespace {

// The body in chunks, without the last one unless `whole`.
void send_chunked(Peer& peer, const std::string& body, bool whole, const std::string& more = {}) {
    peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n" + more + "\r\n");
    for (std::size_t at = 0; at < body.size(); at += 4096) {
        const std::string part = body.substr(at, 4096);
        std::stringstream head;
        head << std::hex << part.size() << "\r\n";
        if (!peer.send(head.str() + part + "\r\n")) return;
    }
    if (whole) peer.send("0\r\n\r\n");
}

// The body with a title after every `interval` bytes, as radios send it.
std::string with_titles(const std::string& body, std::size_t interval) {
    std::string out;
    for (std::size_t at = 0; at < body.size(); at += interval) {
        out += body.substr(at, interval);
        if (at + interval > body.size()) break;
        std::string title = at % (2 * interval) == 0 ? "StreamTitle='A song';" : "";
        title.resize((title.size() + 15) / 16 * 16);
        out += static_cast<char>(title.size() / 16) + title;
    }
    return out;
}

}  // namespace

TEST_CASE("a file without a length that breaks off is not begun again, but fails") {
    const std::string body = body_of("cbr.mp3");
    const std::string front = body.substr(0, body.size() * 6 / 10);
    const Server server{[&](const auto& asked, Peer& peer) {
        send_chunked(peer, asked.number == 0 ? front : body, asked.number > 0);
    }};
    auto source = media::open(patient(server.url("/x")));
    const auto pcm = read_pcm(*source);
    CHECK(pcm.last == ReadStatus::failed);
    CHECK(pcm.samples() < length_of("cbr.mp3") * 7 / 10);
    CHECK(source->error().code == Errc::io);
    CHECK(source->error().message.find("broke off at byte") != std::string::npos);
    CHECK(server.requests() == 2);
}

TEST_CASE("a file without a length is continued by a server that has ranges") {
    const std::string body = body_of("flac.flac");
    const auto whole = read_pcm(*media::open("flac.flac"));
    for (const bool closes : {false, true}) {
        const Server server{[&](const auto& asked, Peer& peer) {
            const auto from = static_cast<std::size_t>(asked.range);
            if (from >= body.size()) {
                return (void)peer.send("HTTP/1.1 416 No\r\nContent-Length: 0\r\n\r\n");
            }
            const std::string part = body.substr(from, 60'000);
            const std::string length = std::to_string(part.size() + (closes ? 10'000 : 0));
            peer.send("HTTP/1.1 206 Part\r\nContent-Length: " + length +
                      "\r\nContent-Range: bytes " + std::to_string(from) + "-" +
                      std::to_string(from + part.size() - 1) + "/*\r\n\r\n" + part);
        }};
        auto source = media::open(patient(server.url("/x")));
        const auto pcm = read_pcm(*source);
        CHECK(pcm.last == ReadStatus::end);
        CHECK(pcm.values == whole.values);
    }
}

TEST_CASE("a radio that breaks off is connected again, but not for ever") {
    const std::string body = body_of("cbr.mp3");
    std::atomic<int> breaks{1};
    const Server server{[&](const auto& asked, Peer& peer) {
        send_chunked(peer, body, asked.number >= breaks, "icy-name: A radio\r\n");
    }};
    auto source = media::open(patient(server.url("/x")));
    auto pcm = read_pcm(*source);
    CHECK(pcm.last == ReadStatus::end);
    CHECK(pcm.samples() > length_of("cbr.mp3") * 18 / 10);
    CHECK(server.requests() == 2);
    breaks = 1'000'000;
    source = media::open(patient(server.url("/x")));
    pcm = read_pcm(*source);
    CHECK(pcm.last == ReadStatus::failed);
    CHECK(server.requests() == 2 + 3);
}

TEST_CASE("the titles that a radio sends between its bytes are not played") {
    const std::string body = body_of("cbr.mp3");
    const auto whole = read_pcm(*media::open("cbr.mp3"));
    for (const char* head : {"ICY 200 OK\r\n", "HTTP/1.1 200 OK\r\n"}) {
        const Server server{[&](const auto&, Peer& peer) {
            peer.send(head + std::string{"icy-metaint: 4096\r\n\r\n"} + with_titles(body, 4096));
        }};
        auto source = media::open(patient(server.url("/x")));
        const auto pcm = read_pcm(*source);
        CHECK(pcm.last == ReadStatus::end);
        CHECK(source->decode_errors() == 0);
        CHECK(pcm.values == whole.values);
    }
}

TEST_CASE("a server that closes early is asked for the rest, at the exact byte") {
    const std::string body = body_of("flac.flac");
    const Server server{[&](const auto& asked, Peer& peer) { answer(asked, peer, body, 30'000); }};
    const auto whole = read_pcm(*media::open("flac.flac"));
    auto source = media::open(patient(server.url("/x")));
    const auto pcm = read_pcm(*source);
    CHECK(pcm.last == ReadStatus::end);
    CHECK(pcm.values == whole.values);
    CHECK(server.requests() > 5);
}

TEST_CASE("a server that ignores ranges gives the stream uncorrupted") {
    const std::string body = body_of("flac.flac");
    std::atomic<std::size_t> limit{60'000};
    const Server server{[&](const auto&, Peer& peer) {
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n");
        peer.send(body.substr(0, limit));
        limit = limit + 60'000;
    }};
    const auto whole = read_pcm(*media::open("flac.flac"));
    auto source = media::open(patient(server.url("/x")));
    CHECK_FALSE(source->info().seekable);
    const auto pcm = read_pcm(*source);
    CHECK(pcm.last == ReadStatus::end);
    CHECK(pcm.values == whole.values);
}

TEST_CASE("an mp4 with its index at the end needs a server with ranges, and says so") {
    const std::string body = body_of("aac.m4a");
    const Server server{[&](const auto&, Peer& peer) {
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n");
        peer.send(body);
    }};
    const Error error = open_error(patient(server.url("/x")));
    CHECK(error.message.find("a server without ranges cannot go back") != std::string::npos);
}

TEST_CASE("a resource that changed meanwhile is an error, not other music") {
    const std::string body = body_of("flac.flac");
    const Server server{[&](const auto& asked, Peer& peer) {
        answer(asked, peer, asked.number == 0 ? body : body + "more", 150'000);
    }};
    auto source = media::open(patient(server.url("/x")));
    CHECK(read_pcm(*source).last == ReadStatus::failed);
    CHECK(source->error().message.find("changed") != std::string::npos);
}

TEST_CASE("a server that stops talking is a time-out, after as many attempts as allowed") {
    const std::string body = body_of("flac.flac");
    const Server server{[&](const auto& asked, Peer& peer) {
        if (asked.number == 0) answer(asked, peer, body, 150'000);
        peer.stall();
    }};
    auto source = media::open(patient(server.url("/x")));
    const auto pcm = read_pcm(*source);
    CHECK(pcm.last == ReadStatus::failed);
    CHECK(source->error().code == Errc::timeout);
    CHECK(pcm.samples() > 5'000);
    CHECK(server.requests() == 3);
}

TEST_CASE("a server that never answers is a time-out at open") {
    const Server server{[](const auto&, Peer& peer) { peer.stall(); }};
    CHECK(open_error(patient(server.url("/x"))).code == Errc::timeout);
}

TEST_CASE("a stalled transfer that is resumed loses nothing") {
    const std::string body = body_of("flac.flac");
    const Server server{[&](const auto& asked, Peer& peer) {
        answer(asked, peer, body, asked.number == 0 ? 100'000 : std::string::npos);
        if (asked.number == 0) peer.stall();
    }};
    auto source = media::open(patient(server.url("/x")));
    CHECK(read_pcm(*source).values == read_pcm(*media::open("flac.flac")).values);
}

TEST_CASE("statuses are told apart") {
    CHECK(status_error("404 Not Found").code == Errc::not_found);
    CHECK(status_error("410 Gone").code == Errc::not_found);
    CHECK(status_error("403 Forbidden").code == Errc::permission);
    const Error teapot = status_error("418 I'm a teapot");
    CHECK(teapot.code == Errc::http);
    CHECK(teapot.native == 418);
    CHECK(teapot.message.find("teapot") != std::string::npos);
}

TEST_CASE("redirects are followed, but not for ever, and not away from the web") {
    const std::string body = body_of("short.mp3");
    const Server server{[&](const auto& asked, Peer& peer) {
        const auto to = [&](const std::string& place) {
            peer.send("HTTP/1.1 302 Found\r\nLocation: " + place + "\r\nContent-Length: 0\r\n\r\n");
        };
        if (asked.target == "/a/b") return to("../c?d=1");
        if (asked.target == "/file") return to("file:///etc/passwd");
        if (asked.target == "/loop") return to("/loop");
        if (asked.target != "/c?d=1") return (void)peer.send("HTTP/1.1 404 No\r\n\r\n");
        answer(asked, peer, body);
    }};
    CHECK(read_pcm(*media::open(patient(server.url("/a/b")))).samples() == 1'440);
    CHECK(open_error(patient(server.url("/loop"))).code == Errc::http);
    CHECK(open_error(patient(server.url("/file"))).code == Errc::refused);
}

TEST_CASE("headers are sent; credentials stay with the server that they are for") {
    std::string seen;
    const Server other{[&](const auto& asked, Peer& peer) {
        seen = asked.head;
        answer(asked, peer, body_of("short.mp3"));
    }};
    std::string first;
    const Server server{[&](const auto& asked, Peer& peer) {
        first = asked.head;
        peer.send("HTTP/1.1 307 There\r\nLocation: " + other.url("/x") + "\r\n\r\n");
    }};
    auto wanted = patient("http://me:secret@127.0.0.1:" + std::to_string(server.port()) + "/");
    wanted.headers = {{"X-Room", "7"}, {"Cookie", "a=b"}};
    media::open(wanted);
    CHECK(first.find("Authorization: Basic bWU6c2VjcmV0") != std::string::npos);
    CHECK(first.find("Cookie: a=b") != std::string::npos);
    CHECK(first.find("User-Agent: voicecore/") != std::string::npos);
    CHECK(seen.find("X-Room: 7") != std::string::npos);
    CHECK(seen.find("Authorization") == std::string::npos);
    CHECK(seen.find("Cookie") == std::string::npos);
}

TEST_CASE("a refused connection and an unknown host are told apart from silence") {
    int port = 0;
    {
        port = Server{[](const auto&, Peer&) {}}.port();
    }
    const Error refused = open_error(patient("http://127.0.0.1:" + std::to_string(port) + "/"));
    CHECK(refused.code == Errc::io);
    CHECK(refused.native == ECONNREFUSED);
    CHECK(open_error(patient("http://no-such-host.invalid/")).code == Errc::io);
}

TEST_CASE("private addresses are refused when asked, however they are written") {
    const Server server{[](const auto&, Peer& peer) { peer.stall(); }};
    auto wanted = patient(server.url("/"));
    wanted.allow_private_addresses = false;
    CHECK(open_error(wanted).code == Errc::refused);
    wanted.location = "http://localhost:" + std::to_string(server.port()) + "/";
    CHECK(open_error(wanted).code == Errc::refused);
    wanted.location = "http://[::ffff:127.0.0.1]:" + std::to_string(server.port()) + "/";
    CHECK(open_error(wanted).code == Errc::refused);
    wanted.location = "http://2130706433:" + std::to_string(server.port()) + "/";  // 127.0.0.1
    CHECK(open_error(wanted).code == Errc::refused);
    CHECK(server.requests() == 0);
}

TEST_CASE("a certificate that nobody vouches for is refused; one in ca_file is accepted") {
    const auto file = std::filesystem::temp_directory_path() /
                      ("voicecore-ca-" + std::to_string(::getpid()) + ".pem");
    const std::string body = body_of("cbr.mp3");
    {
        const Server server{[&](const auto& asked, Peer& peer) { answer(asked, peer, body); },
                            http_test::self_signed(file.string())};
        auto wanted = request(server.url("/x"));
        const Error refused = open_error(wanted);
        CHECK(refused.code == Errc::tls);
        CHECK(refused.message.find("certificate") != std::string::npos);
        wanted.ca_file = file.string();
        CHECK(read_pcm(*media::open(wanted)).samples() == length_of("cbr.mp3"));
        wanted.location = "https://localhost:" + std::to_string(server.port()) + "/x";
        CHECK(read_pcm(*media::open(wanted)).samples() == length_of("cbr.mp3"));
        wanted.ca_file = path("text.mp3");
        CHECK(open_error(wanted).code == Errc::tls);
    }
    std::filesystem::remove(file);
}

TEST_CASE("HTML instead of audio is told as what it is") {
    const Server server{[](const auto&, Peer& peer) {
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 26\r\n\r\n<html><p>sign in</p></html>");
    }};
    CHECK(open_error(patient(server.url("/"))).code == Errc::unsupported);
}
