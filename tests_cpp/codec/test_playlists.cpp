#include <chrono>
#include <functional>

#include "http_server.hpp"
#include "media.hpp"

using namespace media;
using http_test::answer;
using http_test::Peer;
using http_test::Server;
using namespace std::chrono_literals;

namespace {

constexpr const char* kHead =
    "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:0\n";

OpenRequest following(const std::string& url) {
    auto out = request(url);
    out.timeout = 2s;
    out.max_reconnects = 2;
    out.allow_playlists = true;
    return out;
}

Error open_error(const OpenRequest& wanted) {
    auto opened = codec::open_media(wanted, nullptr);
    REQUIRE_FALSE(opened.ok());
    return opened.error();
}

void refuse(Peer& peer, const std::string& status) {
    peer.send("HTTP/1.1 " + status + "\r\nContent-Length: 0\r\n\r\n");
}

// "/0.aac", "/1.aac", ...: the parts of one file of about 3.2 s.
struct Parts {
    std::string body = http_test::file_bytes(path("aac.aac"));
    int count = 4;
    [[nodiscard]] std::string part(int index) const {
        const std::size_t size = body.size() / static_cast<std::size_t>(count);
        const std::size_t from = size * static_cast<std::size_t>(index);
        return index == count - 1 ? body.substr(from) : body.substr(from, size);
    }
    [[nodiscard]] std::string list(bool ends = true) const {
        std::string out = kHead;
        for (int i = 0; i < count; ++i) out += "#EXTINF:0.8,\n" + std::to_string(i) + ".aac\n";
        return ends ? out + "#EXT-X-ENDLIST\n" : out;
    }
};

}  // namespace

TEST_CASE("HLS plays when playlists are allowed") {
    const Parts parts;
    const Server server{[&](const auto& asked, Peer& peer) {
        if (asked.target == "/list") return answer(asked, peer, parts.list());
        answer(asked, peer, parts.part(asked.target[1] - '0'));
    }};
    auto wanted = following(server.url("/list"));
    const auto pcm = read_pcm(*media::open(wanted));
    CHECK(pcm.last == ReadStatus::end);
    CHECK(pcm.samples() > length_of("aac.aac") * 9 / 10);
    wanted.allow_playlists = false;
    CHECK(open_error(wanted).code == Errc::refused);
}

TEST_CASE("a playlist that names what is not on the web is refused as a whole") {
    const Parts parts;
    std::string entry;
    const Server server{[&](const auto& asked, Peer& peer) {
        if (asked.target != "/list") return answer(asked, peer, parts.body);
        answer(asked, peer, kHead + entry + "#EXTINF:3.2,\n0.aac\n#EXT-X-ENDLIST\n");
    }};
    for (const std::string& named :
         {"file://" + path("a44.wav"), "concat:" + path("a44.wav") + "|0.aac",
          std::string{"data:audio/mpeg;base64,AAAA"}, "subfile,,start,0,end,0,,:" + path("a44.wav"),
          std::string{"HTTP://127.0.0.1/0.aac"}}) {
        for (const std::string& line :
             {"#EXTINF:3.2,\n" + named + "\n", "#EXT-X-MAP:URI=\"" + named + "\"\n"}) {
            INFO(line);
            entry = line;
            const Error error = open_error(following(server.url("/list")));
            CHECK(error.code == Errc::refused);
            CHECK(error.message.find(named) != std::string::npos);
        }
    }
    entry = "#EXTINF:3.2,\nhttp://127.0.0.1:" + std::to_string(server.port()) + "/a:b.aac?c=d:e\n";
    CHECK(read_pcm(*media::open(following(server.url("/list")))).last == ReadStatus::end);
}

TEST_CASE("encrypted playlists and local ones are told as such") {
    const Server server{[&](const auto& asked, Peer& peer) {
        answer(asked, peer,
               std::string{kHead} + "#EXT-X-KEY:METHOD=AES-128,URI=\"key\"\n" +
                   "#EXTINF:3.2,\n0.aac\n#EXT-X-ENDLIST\n");
    }};
    const Error error = open_error(following(server.url("/list")));
    CHECK(error.code == Errc::unsupported);
    CHECK(error.message.find("encrypted") != std::string::npos);
    const Error local = open_error(following(path("playlist.mp3")));
    CHECK(local.code == Errc::refused);
    CHECK(local.message.find("only from http:// and https://") != std::string::npos);
}

TEST_CASE("segments that are missing are counted, and the last one is no end") {
    const Parts parts;
    std::string missing;
    const Server server{[&](const auto& asked, Peer& peer) {
        if (asked.target == "/list") return answer(asked, peer, parts.list());
        if (missing.find(asked.target[1]) != std::string::npos) return refuse(peer, "404 None");
        answer(asked, peer, parts.part(asked.target[1] - '0'));
    }};
    missing = "1";
    auto source = media::open(following(server.url("/list")));
    CHECK(read_pcm(*source).last == ReadStatus::end);
    CHECK(source->decode_errors() >= 1);
    missing = "23";
    source = media::open(following(server.url("/list")));
    CHECK(read_pcm(*source).last == ReadStatus::failed);
    CHECK(source->decode_errors() >= 2);
    CHECK(source->error().code == Errc::not_found);
    missing = "0123";
    CHECK(open_error(following(server.url("/list"))).code == Errc::not_found);
}

TEST_CASE("a segment that a busy server refuses at first is asked for again") {
    const Parts parts;
    std::atomic<int> refusals{0};
    const Server server{[&](const auto& asked, Peer& peer) {
        if (asked.target == "/list") return answer(asked, peer, parts.list());
        if (asked.target == "/2.aac" && refusals++ < 2) return refuse(peer, "503 Busy");
        answer(asked, peer, parts.part(asked.target[1] - '0'));
    }};
    auto source = media::open(following(server.url("/list")));
    const auto pcm = read_pcm(*source);
    CHECK(pcm.last == ReadStatus::end);
    CHECK(pcm.samples() > length_of("aac.aac") * 9 / 10);
    CHECK(refusals == 3);
}

TEST_CASE("a live playlist that cannot be had for a moment goes on", "[slow]") {
    const Parts parts;
    std::atomic<int> asked_for_list{0};
    std::atomic<int> bad_from{1};
    std::atomic<int> bad_until{3};
    const Server server{[&](const auto& asked, Peer& peer) {
        if (asked.target != "/list") {
            return answer(asked, peer, parts.part(asked.target[1] - '0'));
        }
        const int number = asked_for_list++;
        if (number >= bad_from && number < bad_until) return refuse(peer, "503 Busy");
        answer(asked, peer, parts.list(number > 0));
    }};
    auto source = media::open(following(server.url("/list")));
    CHECK(read_pcm(*source).last == ReadStatus::end);
    CHECK(asked_for_list == 4);
    asked_for_list = 0;
    bad_until = 1'000;
    source = media::open(following(server.url("/list")));
    CHECK(read_pcm(*source).last == ReadStatus::failed);
    CHECK(source->error().native == 503);
    CHECK(asked_for_list >= 4);
    CHECK(asked_for_list < 10);
}

TEST_CASE("a playlist that names itself is given up") {
    const Server server{[&](const auto& asked, Peer& peer) {
        const std::string next = asked.target == "/list" ? "/0" : asked.target + "0";
        answer(asked, peer,
               std::string{"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n"} +
                   (asked.target.starts_with("/grow") ? asked.target + "0" : "list?" + next) +
                   "\n");
    }};
    for (const char* target : {"/list", "/grow"}) {
        const int before = server.requests();
        CHECK(open_error(following(server.url(target))).code == Errc::corrupt);
        CHECK(server.requests() - before < 300);
    }
}

TEST_CASE("opening a playlist takes no longer than the time-out in all") {
    const Server server{[&](const auto& asked, Peer& peer) {
        const timespec pause{0, 150'000'000};
        ::nanosleep(&pause, nullptr);
        answer(asked, peer, "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n" + asked.target + "0\n");
    }};
    auto wanted = following(server.url("/x"));
    wanted.timeout = 700ms;
    const auto begun = std::chrono::steady_clock::now();
    CHECK(open_error(wanted).code == Errc::timeout);
    CHECK(std::chrono::steady_clock::now() - begun < 1'500ms);
    CHECK(server.requests() < 8);
}

namespace {

// Segments of 20 whole frames of one AAC file, with their lengths in a list.
struct Segments {
    std::vector<std::string> bodies;
    std::string list = kHead;
    Segments() {
        constexpr int kFrames = 20;
        const std::string all = http_test::file_bytes(path("aac.aac"));
        int frames = 0;
        const auto finish = [&] {
            std::stringstream line;
            line.precision(12);
            line << "#EXTINF:" << frames * 1024 / 44'100.0 << ",\n"
                 << bodies.size() - 1 << ".aac\n";
            list += line.str();
            frames = 0;
        };
        for (std::size_t at = 0; at + 7 <= all.size();) {
            const auto byte = [&](std::size_t i) {
                return static_cast<std::size_t>(static_cast<unsigned char>(all[at + i]));
            };
            const std::size_t size = (byte(3) & 3U) << 11U | byte(4) << 3U | byte(5) >> 5U;
            if (frames == 0) bodies.emplace_back();
            bodies.back() += all.substr(at, size);
            at += size;
            if (++frames == kFrames) finish();
        }
        if (frames > 0) finish();
        list += "#EXT-X-ENDLIST\n";
    }
    void serve(const http_test::Request& asked, Peer& peer) const {
        if (asked.target == "/master") {
            return answer(asked, peer, "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nlist\n");
        }
        if (asked.target == "/list") return answer(asked, peer, list);
        answer(asked, peer, bodies.at(static_cast<std::size_t>(std::stoi(asked.target.substr(1)))));
    }
};

}  // namespace

TEST_CASE("a seek in a playlist is exact and asks only for the segments from there on") {
    const Segments segments;
    const Server server{[&](const auto& asked, Peer& peer) { segments.serve(asked, peer); }};
    for (const char* first : {"/list", "/master"}) {
        const auto wanted = following(server.url(first));
        const auto whole = read_pcm(*media::open(wanted));
        CHECK(whole.continuous);
        auto source = media::open(wanted);
        REQUIRE(source->info().seekable);
        for (const std::int64_t place : {100'000, 30'000, 22'291, 140'000, 1, 90'000, 0}) {
            INFO(first << " at " << place);
            source->seek(Samples{place});
            const auto part = read_pcm(*source, 4'000);
            CHECK(part.begin == place);
            CHECK(error_db(whole.values, place, part.values) < -60);
        }
        source->seek(Samples{*source->info().duration});
        CHECK(read_pcm(*source).samples() == 0);
        auto later = wanted;
        later.start = Samples{120'000};
        const int before = server.requests();
        const auto rest = read_pcm(*media::open(later));
        CHECK(rest.begin == 120'000);
        CHECK(rest.samples() == whole.samples() - 120'000);
        CHECK(server.requests() - before < 12);
    }
}

TEST_CASE("a seek that comes while another one opens the playlist anew is carried out") {
    const Segments segments;
    const Server server{[&](const auto& asked, Peer& peer) {
        const timespec pause{0, 20'000'000};
        ::nanosleep(&pause, nullptr);
        segments.serve(asked, peer);
    }};
    auto source = media::open(following(server.url("/list")));
    for (int i = 0; i < 10; ++i) {
        const timespec pause{0, 7'000'000};
        ::nanosleep(&pause, nullptr);
        source->seek(Samples{i % 2 == 0 ? 120'000 : 60'000});
    }
    source->seek(Samples{80'000});
    CHECK(read_pcm(*source, 1'000).begin == 80'000);
}

TEST_CASE("segments that are ranges of one file are read from their place") {
    const Segments segments;
    std::string list = kHead;
    std::string all;
    for (const std::string& body : segments.bodies) {
        list += "#EXTINF:0.464399,\n#EXT-X-BYTERANGE:" + std::to_string(body.size()) +
                (all.empty() ? "@0" : "") + "\nall.aac\n";
        all += body;
    }
    list += "#EXT-X-ENDLIST\n";
    const Server server{[&](const auto& asked, Peer& peer) {
        answer(asked, peer, asked.target == "/list" ? list : all);
    }};
    const Server plain{[&](const auto& asked, Peer& peer) { segments.serve(asked, peer); }};
    const auto whole = read_pcm(*media::open(following(plain.url("/list"))));
    auto source = media::open(following(server.url("/list")));
    CHECK(read_pcm(*source).values == whole.values);
    source->seek(Samples{100'000});
    const auto part = read_pcm(*source, 4'000);
    CHECK(part.begin == 100'000);
    CHECK(error_db(whole.values, 100'000, part.values) < -60);
}
