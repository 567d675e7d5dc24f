#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <thread>

#include "catch.hpp"
#include "rig.hpp"
#include "voicecore/transport/ogg_sink.hpp"

using namespace voicecore;
using namespace voicecore::transport;
using namespace voicecore_test;
using audio::SendStatus;

namespace {

OggOptions options_for(const std::string& path) {
    OggOptions out;
    out.path = path;
    return out;
}

// Real Opus: digital silence that does not count as a silence frame.
Bytes real_packet() {
    return {0xFC, 0xFF, 0xFE};
}

OggWriter open_writer(const OggOptions& options) {
    auto writer = OggWriter::open(options);
    if (!writer) FAIL(writer.error().message);
    return std::move(writer).value();
}

// One file of packets with so many media samples each.
void write_file(const OggOptions& options, const std::vector<int>& media) {
    auto writer = open_writer(options);
    for (const int samples : media) REQUIRE(writer.write(real_packet(), samples));
    REQUIRE(writer.finish());
}

void require_valid(const std::string& path) {
    const auto info = run_command("opusinfo '" + path + "'");
    INFO(info.output);
    REQUIRE(info.status == 0);
    REQUIRE(info.output.find("WARNING") == std::string::npos);
    REQUIRE(info.output.find("ERROR") == std::string::npos);
    REQUIRE(info.output.find("stream 1 ended") != std::string::npos);
}

// Samples for each channel that a decoder gives, by two decoders.
std::int64_t decoded_samples(const std::string& path) {
    const std::string raw = path + ".raw";
    const auto dec =
        run_command("opusdec --quiet --rate 48000 --force-stereo '" + path + "' '" + raw + "'");
    INFO(dec.output);
    REQUIRE(dec.status == 0);
    return static_cast<std::int64_t>(read_file(raw).size()) / 4;
}
std::int64_t ffmpeg_samples(const std::string& path) {
    const std::string raw = path + ".ff.raw";
    const auto dec =
        run_command("ffmpeg -v error -y -i '" + path + "' -f s16le -ac 2 '" + raw + "'");
    INFO(dec.output);
    REQUIRE(dec.status == 0);
    return static_cast<std::int64_t>(read_file(raw).size()) / 4;
}

// The pages of a file, by their capture pattern and segment tables (RFC 3533 section 6).
struct Page {
    int flags = 0;
    std::int64_t granule = 0;
    std::uint32_t serial = 0;
    std::uint32_t number = 0;
    int packets = 0;  // that end on it
};
std::vector<Page> pages_of(const Bytes& file) {
    std::vector<Page> out;
    const auto little = [&](std::size_t at, int bytes) {
        std::uint64_t value = 0;
        for (int i = bytes; i-- > 0;)
            value = (value << 8U) | file[at + static_cast<std::size_t>(i)];
        return value;
    };
    for (std::size_t at = 0; at < file.size();) {
        REQUIRE(at + 27 <= file.size());
        REQUIRE(std::string(file.begin() + static_cast<std::ptrdiff_t>(at),
                            file.begin() + static_cast<std::ptrdiff_t>(at) + 4) == "OggS");
        Page page{.flags = file[at + 5],
                  .granule = static_cast<std::int64_t>(little(at + 6, 8)),
                  .serial = static_cast<std::uint32_t>(little(at + 14, 4)),
                  .number = static_cast<std::uint32_t>(little(at + 18, 4))};
        const std::size_t segments = file[at + 26];
        std::size_t body = 0;
        REQUIRE(at + 27 + segments <= file.size());
        for (std::size_t i = 0; i < segments; ++i) {
            const auto lacing = file[at + 27 + i];
            body += lacing;
            if (lacing < 255) ++page.packets;
        }
        at += 27 + segments + body;
        REQUIRE(at <= file.size());
        out.push_back(page);
    }
    return out;
}

}  // namespace

TEST_CASE("a recording is valid, has its header values and ends with an end mark") {
    TemporaryDirectory dir;
    auto options = options_for(dir.file("a.ogg"));
    options.serial = 77;
    options.comments = {{"TITLE", "Grüße, 日本"}, {"ARTIST", ""}};
    options.vendor = "voicecore test";
    write_file(options, std::vector<int>(175, 960));
    require_valid(options.path);
    const auto info = run_command("opusinfo '" + options.path + "'").output;
    REQUIRE(info.find("Pre-skip: 312") != std::string::npos);
    REQUIRE(info.find("Channels: 2") != std::string::npos);
    REQUIRE(info.find("voicecore test") != std::string::npos);
    REQUIRE(info.find("TITLE=Grüße, 日本") != std::string::npos);
    const auto pages = pages_of(read_file(options.path));
    REQUIRE(pages.size() == 2 + 4);  // two headers, then pages of 50, 50, 50 and 25 packets
    REQUIRE(pages.front().flags == 2);
    REQUIRE(pages.back().flags == 4);
    REQUIRE(pages.back().granule == 175 * 960);
    for (std::size_t i = 0; i < pages.size(); ++i) {
        REQUIRE(pages[i].serial == 77);
        REQUIRE(pages[i].number == i);
        REQUIRE(pages[i].packets <= 50);
    }
}

TEST_CASE("N media samples decode to exactly N samples, wherever in a frame they end") {
    TemporaryDirectory dir;
    for (const int total :
         {1, 311, 312, 647, 648, 649, 959, 960, 961, 1'608, 1'609, 48'000, 50'000, 96'000 + 648}) {
        // As an encoder with a look-ahead of 312 has it: enough packets for all of it to come out.
        const int packets = (total + 312 + 959) / 960;
        std::vector<int> media;
        for (int i = 0; i < packets; ++i) media.push_back(std::clamp(total - i * 960, 0, 960));
        const auto path = dir.file(std::to_string(total) + ".ogg");
        write_file(options_for(path), media);
        INFO(total << " samples");
        REQUIRE(decoded_samples(path) == total);
        REQUIRE(pages_of(read_file(path)).back().granule == total + 312);
        require_valid(path);
    }
}

TEST_CASE("another decoder agrees about the number of samples") {
    TemporaryDirectory dir;
    for (const int total : {649, 48'000, 50'000}) {
        const int packets = (total + 312 + 959) / 960;
        std::vector<int> media;
        for (int i = 0; i < packets; ++i) media.push_back(std::clamp(total - i * 960, 0, 960));
        const auto path = dir.file(std::to_string(total) + ".ogg");
        write_file(options_for(path), media);
        REQUIRE(ffmpeg_samples(path) == total);
    }
}

TEST_CASE("copied packets, counted by what is heard of each, decode to exactly their media") {
    TemporaryDirectory dir;
    for (const auto& [pre_skip, media] :
         std::vector<std::pair<int, std::vector<int>>>{{312, {648, 960, 960, 500}},
                                                       {312, {648, 960, 1}},
                                                       {3'840, {0, 0, 0, 0, 960, 960, 77}},
                                                       {312, {648, 52}},
                                                       {312, {100}}}) {
        auto options = options_for(dir.file("a.ogg"));
        options.pre_skip = Samples{pre_skip};
        write_file(options, media);
        std::int64_t total = 0;
        for (const int samples : media) total += samples;
        REQUIRE(decoded_samples(options.path) == total);
        require_valid(options.path);
    }
}

TEST_CASE("a packet of which nothing is left is not in the file") {
    TemporaryDirectory dir;
    const auto path = dir.file("a.ogg");
    // 960 + 500 + 312 samples end within the second packet: the third has nothing to add.
    write_file(options_for(path), {960, 500, 0});
    const auto pages = pages_of(read_file(path));
    REQUIRE(pages.back().granule == 960 + 500 + 312);
    REQUIRE(pages.back().packets == 2);
    require_valid(path);
}

TEST_CASE("a partial packet in the middle is kept whole") {
    TemporaryDirectory dir;
    const auto path = dir.file("a.ogg");
    write_file(options_for(path), {960, 100, 960, 960});
    REQUIRE(decoded_samples(path) == 4 * 960 - 312);
    // And does not move the cut at the end.
    write_file(options_for(path), {960, 100, 960, 200});
    REQUIRE(decoded_samples(path) == 3 * 960 + 200);
    require_valid(path);
}

TEST_CASE("a recording without packets is a valid file of no length") {
    TemporaryDirectory dir;
    const auto path = dir.file("a.ogg");
    write_file(options_for(path), {});
    require_valid(path);
    REQUIRE(decoded_samples(path) == 0);
}

TEST_CASE("large packets and long tags stay valid") {
    TemporaryDirectory dir;
    auto options = options_for(dir.file("a.ogg"));
    options.comments = {{"LYRICS", std::string(200'000, 'x')}};
    auto writer = open_writer(options);
    Bytes packet(1'276, 0x55);
    packet[0] = 0xFC;
    for (int i = 0; i < 200; ++i) REQUIRE(writer.write(packet));
    REQUIRE(writer.finish());
    require_valid(options.path);
}

TEST_CASE("equal packets give equal bytes") {
    TemporaryDirectory dir;
    for (const auto* name : {"a.ogg", "b.ogg"}) {
        write_file(options_for(dir.file(name)), std::vector<int>(120, 960));
    }
    REQUIRE(read_file(dir.file("a.ogg")) == read_file(dir.file("b.ogg")));
}

TEST_CASE("a file that is left unfinished holds whole pages and plays") {
    TemporaryDirectory dir;
    const auto path = dir.file("a.ogg");
    {
        auto writer = open_writer(options_for(path));
        for (int i = 0; i < 130; ++i) REQUIRE(writer.write(real_packet()));
        // What a killed process leaves is what is in the file now.
        REQUIRE(pages_of(read_file(path)).size() == 2 + 2);
        REQUIRE(decoded_samples(path) == 100 * 960 - 312);
    }
    REQUIRE(decoded_samples(path) == 100 * 960 - 312);
}

TEST_CASE("a file in a directory that is missing, or that is a directory, is refused at once") {
    TemporaryDirectory dir;
    const auto missing = OggWriter::open(options_for(dir.file("no/a.ogg")));
    REQUIRE(missing.error().code == Errc::not_found);
    REQUIRE(missing.error().native == ENOENT);
    REQUIRE(missing.error().message.find("no/a.ogg") != std::string::npos);
    REQUIRE(OggWriter::open(options_for(dir.file(""))).error().code == Errc::is_directory);
    REQUIRE(OggWriter::open(options_for("")).error().code == Errc::invalid_argument);
    REQUIRE(OggSink::open(options_for(dir.file("no/a.ogg"))).error().code == Errc::not_found);
}

TEST_CASE("options that make no valid header are refused and leave the file alone") {
    TemporaryDirectory dir;
    const auto path = dir.file("a.ogg");
    const auto refused = [&](auto change) {
        auto options = options_for(path);
        change(options);
        const auto opened = OggWriter::open(options);
        return !opened.ok() && opened.error().code == Errc::invalid_argument;
    };
    REQUIRE(refused([](OggOptions& o) { o.pre_skip = Samples{65'536}; }));
    REQUIRE(refused([](OggOptions& o) { o.pre_skip = Samples{-1}; }));
    REQUIRE(refused([](OggOptions& o) { o.channels = 3; }));
    REQUIRE(refused([](OggOptions& o) { o.page_packets = 0; }));
    REQUIRE(refused([](OggOptions& o) { o.comments = {{"A=B", "x"}}; }));
    REQUIRE(refused([](OggOptions& o) { o.comments = {{"", "x"}}; }));
    for (const auto* bad : {"\xC0\xAF", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xE2\x82", "\xFF"}) {
        REQUIRE(refused([&](OggOptions& o) { o.comments = {{"TITLE", bad}}; }));
    }
    REQUIRE_FALSE(std::filesystem::exists(path));
    REQUIRE_FALSE(refused([](OggOptions& o) { o.comments = {{"TITLE", "\xF0\x9F\x8E\xB5"}}; }));
}

TEST_CASE("an existing file stays as it is until something is written") {
    TemporaryDirectory dir;
    const std::string path = dir.file("a.ogg");
    write_file(options_for(path), std::vector<int>(500, 960));
    const Bytes before = read_file(path);
    {
        auto writer = open_writer(options_for(path));
        REQUIRE(read_file(path) == before);
        const auto sink = OggSink::open(options_for(path)).value();
    }
    REQUIRE(read_file(path) == before);
    write_file(options_for(path), {960, 960, 960});
    REQUIRE(read_file(path).size() < before.size());
    require_valid(path);
    REQUIRE(decoded_samples(path) == 3 * 960 - kEncoderDelay.count());
}

TEST_CASE("a full disk fails with errno and the path") {
    auto writer = open_writer(options_for("/dev/full"));
    Status status = Done{};
    for (int i = 0; i < 60 && status; ++i) status = writer.write(real_packet());
    REQUIRE_FALSE(status.ok());
    REQUIRE(status.error().code == Errc::io);
    REQUIRE(status.error().native == ENOSPC);
    REQUIRE(status.error().message.find("/dev/full") != std::string::npos);
}

TEST_CASE("a disk that fills up in the middle leaves whole pages, and the sink fails") {
    TemporaryDirectory dir;
    const auto path = dir.file("a.ogg");
    rlimit before{};
    REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
    const rlimit small{.rlim_cur = 10'000, .rlim_max = before.rlim_max};
    Listener listener;
    auto sink = OggSink::open(options_for(path), {.packets = 64, .interval = 1ms}).value();
    REQUIRE(sink->start(listener));
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
    Bytes packet(300, 0x55);
    packet[0] = 0xFC;
    auto status = SendStatus::sent;
    const auto limit = std::chrono::steady_clock::now() + kPatience;
    while (status != SendStatus::failed && std::chrono::steady_clock::now() < limit) {
        status = sink->send(outgoing(packet));
        std::this_thread::yield();
    }
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &before) == 0);
    REQUIRE(status == SendStatus::failed);
    REQUIRE(listener.wait());
    REQUIRE(listener.error()->native == EFBIG);
    REQUIRE(listener.error()->message.find(path) != std::string::npos);
    sink->finish();
    REQUIRE(listener.calls() == 1);
    const auto file = read_file(path);
    REQUIRE(file.size() <= 10'000);
    REQUIRE(pages_of(file).size() > 2);  // and no half page: pages_of() would have failed
}

TEST_CASE("a sink's recording holds media and silence frames and ends when finished") {
    TemporaryDirectory dir;
    const auto path = dir.file("a.ogg");
    auto sink = OggSink::open(options_for(path)).value();
    Listener listener;
    REQUIRE(sink->start(listener));
    const Bytes packet = real_packet();
    for (int i = 0; i < 10; ++i) REQUIRE(sink->send(outgoing(packet)) == SendStatus::sent);
    REQUIRE(sink->send(outgoing(packet, 1, 100)) == SendStatus::sent);
    for (int i = 0; i < 5; ++i) REQUIRE(sink->send(silence()) == SendStatus::sent);
    sink->finish();
    REQUIRE(listener.wait());
    REQUIRE_FALSE(listener.error());
    require_valid(path);
    // Nothing is cut: the partial packet is not the last one.
    REQUIRE(decoded_samples(path) == 16 * 960 - 312);
    REQUIRE(sink->start(listener).error().code == Errc::closed);
}

TEST_CASE("a recording that ends with media is cut to the media") {
    TemporaryDirectory dir;
    const auto path = dir.file("a.ogg");
    auto sink = OggSink::open(options_for(path)).value();
    Listener listener;
    REQUIRE(sink->start(listener));
    const Bytes packet = real_packet();
    REQUIRE(sink->send(outgoing(packet)) == SendStatus::sent);
    REQUIRE(sink->send(outgoing(packet, 1, 300)) == SendStatus::sent);
    sink->finish();
    REQUIRE(listener.wait());
    REQUIRE(decoded_samples(path) == 960 + 300);
}

TEST_CASE("the fifth silence frame brings what was played before the break into the file") {
    TemporaryDirectory dir;
    const auto path = dir.file("a.ogg");
    auto sink = OggSink::open(options_for(path), {.packets = 8, .interval = 1ms}).value();
    Listener listener;
    REQUIRE(sink->start(listener));
    const Bytes packet = real_packet();
    for (int i = 0; i < 3; ++i) REQUIRE(sink->send(outgoing(packet)) == SendStatus::sent);
    for (int i = 0; i < 5; ++i) REQUIRE(sink->send(silence()) == SendStatus::sent);
    const auto limit = std::chrono::steady_clock::now() + kPatience;
    while (pages_of(read_file(path)).size() < 3 && std::chrono::steady_clock::now() < limit) {
        std::this_thread::yield();
    }
    REQUIRE(pages_of(read_file(path)).back().granule == 7 * 960);
    sink->finish();
    REQUIRE(listener.wait());
}
