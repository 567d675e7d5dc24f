// mp3 whose describing frame counts other frames than there are.
#include "http_server.hpp"
#include "inputs.hpp"
#include "media.hpp"
#include "voicecore/codec/frame_header.hpp"

using namespace media;
using http_test::answer;
using http_test::file_bytes;
using http_test::Peer;
using http_test::Server;

namespace {

// A local file of these bytes, gone from its folder when this returns.
std::unique_ptr<MediaSource> open_bytes(const std::string& bytes) {
    const Temporary file{bytes};
    return media::open(request(file.path()));
}

std::size_t description_in(const std::string& bytes) {
    const auto at = bytes.find("Info");
    return at != std::string::npos ? at : bytes.find("Xing");
}
void write_big(std::string& bytes, std::size_t at, std::size_t value) {
    for (std::size_t i = 0; i < 4; ++i) bytes[at + i] = static_cast<char>(value >> (24 - 8 * i));
}

// The file, with another count of frames in its description.
std::string counting(const std::string& name, std::uint32_t frames) {
    std::string bytes = file_bytes(path(name));
    const auto at = description_in(bytes);
    REQUIRE(at != std::string::npos);
    write_big(bytes, at + 8, frames);
    return bytes;
}

// And with the count of bytes that goes with it.
std::string describing(const std::string& name, std::uint32_t frames) {
    std::string bytes = counting(name, frames);
    const auto at = description_in(bytes);
    const auto begin = bytes.rfind('\xFF', at);
    std::size_t end = begin;
    for (std::uint32_t i = 0; i <= frames; ++i) {
        const auto header = codec::parse_frame_header(
            std::span{reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()}.subspan(
                end));
        REQUIRE(header.has_value());
        end += static_cast<std::size_t>(header->size);
    }
    write_big(bytes, at + 12, end - begin);
    return bytes;
}

void check_seeks(const Pcm& whole, MediaSource& source) {
    const std::int64_t last = whole.samples();
    check_places(whole, source, {last / 2, last / 3, last - 2'000, 1});
}

}  // namespace

TEST_CASE("frames that follow those an mp3 counts are played, and belong to its length") {
    for (const std::string name : {"cbr.mp3", "vbr.mp3"}) {
        const auto right = read_pcm(*media::open(name));
        for (const std::uint32_t frames : {20U, 60U, 50'000U}) {
            INFO(name << " counting " << frames);
            const std::string bytes = counting(name, frames);
            auto source = open_bytes(bytes);
            const auto whole = read_pcm(*source);
            CHECK(whole.continuous);
            CHECK(whole.samples() >= right.samples());
            CHECK(whole.samples() <= right.samples() + 4 * 1'254);
            CHECK(source->info().duration->count() == whole.samples());
            CHECK(error_db(whole.values, 0, right.values) < -60);
            check_seeks(whole, *source);

            const Server server{[&](const auto& asked, Peer& peer) { answer(asked, peer, bytes); }};
            auto far = media::open(request(server.url("/x")));
            CHECK((read_pcm(*far).values == whole.values));
        }
    }
}

TEST_CASE("an mp3 that goes on behind what is described is not cut there") {
    // The next frame leans on the ones before: no other file was joined, as whose beginning the
    // place would be.
    const auto right = read_pcm(*media::open("vbr.mp3"));
    for (const std::uint32_t frames : {20U, 61U}) {
        INFO("described: " << frames);
        auto source = open_bytes(describing("vbr.mp3", frames));
        const auto whole = read_pcm(*source);
        CHECK(whole.continuous);
        CHECK(error_db(whole.values, 0, right.values) < -60);
        CHECK(source->info().duration->count() == whole.samples());
        check_seeks(whole, *source);
    }
}

TEST_CASE("what is joined to an mp3 without a description of its own is played as well") {
    const auto first = read_pcm(*media::open("cbr.mp3"));
    const auto second = read_pcm(*media::open("cbr-bare.mp3"));
    const std::string bytes = file_bytes(path("cbr.mp3")) + file_bytes(path("cbr-bare.mp3"));
    auto source = open_bytes(bytes);
    const auto whole = read_pcm(*source);
    CHECK(source->info().duration->count() == whole.samples());
    // The padding of the first ends where the first does.
    REQUIRE(whole.samples() == first.samples() + second.samples());
    CHECK(error_db(whole.values, 0, first.values) < -60);
    CHECK(error_db(whole.values, first.samples(), second.values) < -60);
    check_seeks(whole, *source);

    const Server server{[&](const auto& asked, Peer& peer) { answer(asked, peer, bytes); }};
    auto far = media::open(request(server.url("/x")));
    CHECK(std::abs(far->info().duration->count() - whole.samples()) < 48'000);
    CHECK((read_pcm(*far).values == whole.values));
}

TEST_CASE("what was put into the middle of an mp3 is not taken for its end") {
    const std::string bytes = file_bytes(path("cbr.mp3"));
    const std::string more = file_bytes(path("cbr-bare.mp3"));
    const auto half = bytes.find("\xFF\xFB", bytes.size() / 2);
    REQUIRE(half != std::string::npos);
    auto source = open_bytes(bytes.substr(0, half) + more + bytes.substr(half));
    const auto whole = read_pcm(*source);
    const auto one = read_pcm(*media::open("cbr.mp3"));
    const auto two = read_pcm(*media::open("cbr-bare.mp3"));
    CHECK(whole.continuous);
    CHECK(std::abs(whole.samples() - one.samples() - two.samples()) < 3'000);
    CHECK(source->info().duration->count() == whole.samples());
    // The end is the end of what lies around it.
    const std::int64_t tail = 20'000;
    std::int64_t best = -1;
    for (std::int64_t back = 0; back < 3'000 && best < 0; ++back) {
        const std::int64_t at = whole.samples() - tail - back;
        const auto from = one.values.end() - tail * kChannels;
        if (error_db(whole.values, at, {from, one.values.end() - 10'000 * kChannels}) < -40) {
            best = back;
        }
    }
    CHECK(best >= 0);
}
