// mp3 and ADTS whose length no header tells.
#include <unistd.h>

#include <atomic>
#include <filesystem>

#include "http_server.hpp"
#include "inputs.hpp"
#include "media.hpp"

using namespace media;
using http_test::answer;
using http_test::Peer;
using http_test::Server;

namespace {

// What begins or ends with silence looks, from its beginning, much longer or shorter than it is.
const std::vector<std::string> kMisleading{"quiet-start.mp3", "quiet-start.aac", "quiet-end.mp3",
                                           "vbr-noxing.mp3"};

OpenRequest slow(const std::string& bytes) {
    return input(bytes, true, true);
}

void check_seeks(const Pcm& whole, MediaSource& source) {
    const std::int64_t last = whole.samples();
    check_places(whole, source, {last / 2, last / 3, last - 2'000, 1, last - 1, last / 5 * 4});
    check_end(whole, source);
}

}  // namespace

TEST_CASE("a local file tells its true length, whatever its beginning looks like") {
    for (const auto& name : kMisleading) {
        INFO(name);
        auto source = media::open(name);
        const auto whole = read_pcm(*source);
        CHECK(whole.samples() >= length_of(name));
        CHECK(source->info().duration->count() == whole.samples());
        const auto bytes = static_cast<std::int64_t>(std::filesystem::file_size(path(name)));
        CHECK(std::abs(source->info().bitrate - bytes * 8 * kSampleRate / whole.samples()) <= 1);
        check_seeks(whole, *source);
    }
}

TEST_CASE("so does a file too large to be walked when its frames tell all") {
    // The quiet second, then music until it is large: joined, it is still one stream.
    std::string bytes = http_test::file_bytes(path("quiet-start.mp3"));
    const std::string more = http_test::file_bytes(path("vbr-noxing.mp3"));
    while (bytes.size() < 13 << 20) bytes += more;
    const auto file = std::filesystem::temp_directory_path() /
                      ("voicecore-large-" + std::to_string(::getpid()) + ".mp3");
    std::ofstream{file, std::ios::binary} << bytes;
    auto source = media::open(request(file.string()));
    std::filesystem::remove(file);
    const std::int64_t told = source->info().duration->count();
    CHECK(read_pcm(*source).samples() == told);
}

TEST_CASE("a seek in bytes that may block is exact, also behind the length that was guessed") {
    for (const auto& name : kMisleading) {
        INFO(name);
        const auto whole = read_pcm(*media::open(name));
        auto source = media::open(slow(http_test::file_bytes(path(name))));
        check_seeks(whole, *source);
        CHECK(source->decode_errors() == 0);
        // What was played need not be read again.
        auto played = media::open(slow(http_test::file_bytes(path(name))));
        CHECK(read_pcm(*played).samples() == whole.samples());
        check_seeks(whole, *played);
    }
}

TEST_CASE("a start behind the guessed length plays what is there") {
    const std::string body = http_test::file_bytes(path("quiet-end.mp3"));
    const auto whole = read_pcm(*media::open("quiet-end.mp3"));
    const Server server{[&](const auto& asked, Peer& peer) { answer(asked, peer, body); }};
    auto wanted = request(server.url("/x"));
    auto source = media::open(wanted);
    REQUIRE(source->info().duration->count() < whole.samples() - 48'000);
    wanted.start = *source->info().duration + Samples{24'000};
    auto late = read_pcm(*media::open(wanted));
    CHECK(late.begin == wanted.start.count());
    CHECK(late.samples() == whole.samples() - late.begin);
}

TEST_CASE("a constant bitrate tells the place without reading up to it") {
    const std::string bytes = http_test::file_bytes(path("cbr-bare.mp3"));
    std::string all;
    for (int i = 0; i < 100; ++i) all += bytes;
    auto wanted = slow(all);
    const auto input = std::static_pointer_cast<BytesInput>(wanted.input);
    auto source = media::open(wanted);
    const std::int64_t length = source->info().duration->count();
    source->seek(Samples{length / 4 * 3});
    const auto part = read_pcm(*source, 6'000);
    CHECK(part.begin == length / 4 * 3);
    CHECK(input->bytes_read() < all.size() / 2);

    const auto file = std::filesystem::temp_directory_path() /
                      ("voicecore-cbr-" + std::to_string(::getpid()) + ".mp3");
    std::ofstream{file, std::ios::binary} << all;
    auto walked = media::open(request(file.string()));
    std::filesystem::remove(file);
    CHECK(walked->info().duration->count() == length);
    walked->seek(Samples{length / 4 * 3});
    CHECK((read_pcm(*walked, 6'000).values == part.values));
}

TEST_CASE("in bytes too many to be read through a seek behind the guess plays the last seconds") {
    std::string bytes = http_test::file_bytes(path("vbr-noxing.mp3"));
    const std::string quiet = http_test::file_bytes(path("quiet-end.mp3"));
    while (bytes.size() < 17 << 20) bytes += quiet;
    auto source = media::open(slow(bytes));
    for (const int more : {1, 600, 100'000}) {
        source->seek(*source->info().duration + samples_from_seconds(more));
        const auto part = read_pcm(*source);
        CHECK(part.last == ReadStatus::end);
        CHECK(part.samples() > 2 * 48'000);
        CHECK(part.samples() < 100 * 48'000);
    }
}
