#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "media.hpp"

using namespace media;

namespace {

void check_error(const std::string& name, Errc code, const std::string& words) {
    INFO(name);
    auto opened = try_open(name);
    REQUIRE_FALSE(opened.ok());
    INFO(opened.error().message);
    CHECK(opened.error().code == code);
    CHECK(opened.error().message.find(words) != std::string::npos);
    CHECK(opened.error().message.find(path(name)) != std::string::npos);
}

}  // namespace

TEST_CASE("what cannot be opened says in one sentence why") {
    check_error("no-such-file.mp3", Errc::not_found, "No such file");
    check_error("empty.mp3", Errc::unsupported, "empty");
    check_error("text.mp3", Errc::unsupported, "plain text");
    check_error("picture.mp3", Errc::unsupported, "png");
    check_error("video-only.mp4", Errc::no_audio, "no audio stream");
    check_error("silence-header.wav", Errc::no_audio, "only a header");
    check_error("zero.ogg", Errc::no_audio, "only a header");
    for (int i = 0; i < 4; ++i) {
        check_error("random" + std::to_string(i) + ".mp3", Errc::unsupported, "not audio");
    }
    check_error("", Errc::is_directory, "directory");
}

TEST_CASE("a file that may not be read is a matter of permission") {
    if (::geteuid() == 0) return;  // root may read everything
    const auto name = std::filesystem::temp_directory_path() / "voicecore-unreadable.mp3";
    { std::ofstream{name} << "x"; }
    ::chmod(name.c_str(), 0);
    const auto opened = codec::open_media(request(name.string()), nullptr);
    std::filesystem::remove(name);
    REQUIRE_FALSE(opened.ok());
    CHECK(opened.error().code == Errc::permission);
}

TEST_CASE("playlists and scripts that name other files are refused, whatever they are called") {
    for (const char* name : {"playlist.mp3", "simple-playlist.mp3", "concat.mp3", "session.mp3"}) {
        check_error(name, Errc::refused, "playlist");
    }
}

TEST_CASE("a playlist on disk opens no file even when playlists are allowed") {
    auto wanted = request(path("playlist.mp3"));
    wanted.allow_playlists = true;
    const auto opened = codec::open_media(wanted, nullptr);
    REQUIRE_FALSE(opened.ok());
    CHECK(opened.error().code == Errc::refused);
}

TEST_CASE("only http and https are addresses; everything else is a file name or refused") {
    for (const char* location : {"file:///etc/passwd", "ftp://example.org/a.mp3", "rtmp://x/y",
                                 "tcp://127.0.0.1:1", "crypto+file:///x", "hls+http://x/y"}) {
        INFO(location);
        const auto opened = codec::open_media(request(location), nullptr);
        REQUIRE_FALSE(opened.ok());
        CHECK(opened.error().code == Errc::refused);
        CHECK(opened.error().message.find("http://") != std::string::npos);
    }
    const std::string real = path("a44.wav");
    for (const std::string& location : std::vector<std::string>{
             "concat:" + real, "subfile,,start,0,end,0,,:" + real, "file:" + real, "lavfi:sine",
             "data:audio/wav;base64,UklGRg==", "pipe:0"}) {
        INFO(location);
        const auto opened = codec::open_media(request(location), nullptr);
        REQUIRE_FALSE(opened.ok());
        CHECK(opened.error().code == Errc::not_found);
    }
}

TEST_CASE("arguments out of range are named") {
    auto wanted = request(path("a44.wav"));
    wanted.timeout = std::chrono::milliseconds{0};
    CHECK(codec::open_media(wanted, nullptr).error().code == Errc::invalid_argument);
    wanted = request(path("a44.wav"));
    wanted.start = Samples{-1};
    CHECK(codec::open_media(wanted, nullptr).error().code == Errc::invalid_argument);
    CHECK(codec::open_media(request(""), nullptr).error().code == Errc::invalid_argument);
    wanted = request("http://127.0.0.1/");
    wanted.headers = {{"X", "a\r\nHost: b"}};
    CHECK(codec::open_media(wanted, nullptr).error().code == Errc::invalid_argument);
    wanted.headers = {{"Range", "bytes=0-"}};
    CHECK(codec::open_media(wanted, nullptr).error().code == Errc::invalid_argument);
}

TEST_CASE("a cancelled token opens nothing") {
    const auto cancel = std::make_shared<CancelToken>();
    cancel->cancel();
    CHECK(codec::open_media(request(path("a44.wav")), cancel).error().code == Errc::cancelled);
}

TEST_CASE("a truncated file plays as far as it goes") {
    for (const char* name : {"cbr.mp3", "aac-front.m4a", "flac.flac", "a44.wav", "aac.aac"}) {
        INFO(name);
        const auto whole = read_pcm(*media::open(name));
        const auto pcm = read_pcm(*media::open(std::string{"truncated-"} + name));
        CHECK(pcm.last == ReadStatus::end);
        CHECK(pcm.samples() > length_of(name) * 5 / 10);
        CHECK(pcm.samples() < length_of(name) * 7 / 10);
        CHECK(error_db(whole.values, 0,
                       {pcm.values.begin(), pcm.values.begin() + 50'000 * kChannels}) < -60);
    }
    CHECK(read_packets(*media::open("truncated-opus.opus")).units.size() > 40);
    CHECK(read_pcm(*media::open("truncated-vorbis.ogg")).samples() > 40'000);
}

TEST_CASE("damage in the middle is counted, and what follows keeps its place") {
    for (const char* name : {"cbr.mp3", "aac-front.m4a", "flac.flac", "vorbis.ogg", "aac.aac"}) {
        INFO(name);
        const auto whole = read_pcm(*media::open(name));
        auto source = media::open(std::string{"corrupt-"} + name);
        const auto pcm = read_pcm(*source);
        CHECK(pcm.last == ReadStatus::end);
        CHECK(source->decode_errors() > 0);
        CHECK(pcm.continuous);
        CHECK(pcm.samples() == whole.samples());
        const std::int64_t late = whole.samples() - 20'000;
        CHECK(error_db(whole.values, late,
                       {pcm.values.begin() + late * kChannels, pcm.values.end()}) < -60);
    }
}

TEST_CASE("a lost page of Opus leaves a hole in the positions, not a shift") {
    auto source = media::open("corrupt-opus.opus");
    const auto packets = read_packets(*source);
    CHECK(source->decode_errors() > 0);
    const MediaUnit& last = packets.units.back();
    CHECK((last.position + last.duration - last.trim_end).count() == length_of("opus.opus"));
}
