// FLAC files that were joined byte for byte.
#include "http_server.hpp"
#include "inputs.hpp"
#include "media.hpp"
#include "voicecore/codec/flac_header.hpp"
#include "voicecore/codec/flac_parts.hpp"
#include "voicecore/codec/indexing.hpp"

using namespace media;
using http_test::answer;
using http_test::file_bytes;
using http_test::Peer;
using http_test::Server;

namespace {

using Parts = std::vector<std::string>;

std::string id3(std::size_t size) {
    std::string tag{"ID3\4\0\0", 6};
    for (const int shift : {21, 14, 7, 0}) tag += static_cast<char>(size >> shift & 0x7F);
    // What a picture is like: bytes of every kind.
    for (std::size_t i = 0; i < size; ++i) tag += static_cast<char>(i * 7'919U >> 5U);
    return tag;
}
std::string id3v1() {
    std::string tag{"TAGjoined"};
    tag.resize(128, ' ');
    return tag;
}

// A block behind STREAMINFO, which must not be the last.
std::string with_block(const std::string& flac, int type, const std::string& content) {
    REQUIRE((static_cast<unsigned char>(flac[4]) & 0x80U) == 0);
    std::string block;
    block += static_cast<char>(type);
    for (const int shift : {16, 8, 0}) block += static_cast<char>(content.size() >> shift & 0xFF);
    return flac.substr(0, 42) + block + content + flac.substr(42);
}
std::string big(std::uint64_t value, int bytes) {
    std::string out;
    for (int i = bytes - 1; i >= 0; --i) out += static_cast<char>(value >> (8 * i) & 0xFF);
    return out;
}
// Behind all metadata.
std::size_t audio_offset(const std::string& flac) {
    const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(flac[at]); };
    std::size_t at = 4;
    for (bool last = false; !last;) {
        last = (byte(at) & 0x80U) != 0;
        at += 4 + (byte(at + 1) << 16U | byte(at + 2) << 8U | byte(at + 3));
    }
    return at;
}
std::string picture(const std::string& content) {
    return big(3, 4) + big(9, 4) + "image/png" + big(0, 4) + big(320, 4) + big(240, 4) +
           big(24, 4) + big(0, 4) + big(content.size(), 4) + content;
}
// A true seek table with a point at every frame, and places left free.
std::string with_seek_table(const std::string& flac) {
    const std::span bytes{reinterpret_cast<const std::uint8_t*>(flac.data()), flac.size()};
    const auto info = codec::parse_flac_begin(bytes);
    REQUIRE(info);
    std::string points;
    const std::size_t audio = audio_offset(flac);
    for (std::size_t at = audio; at < bytes.size(); ++at) {
        if (const auto frame = codec::parse_flac_frame(bytes.subspan(at), *info)) {
            points += big(static_cast<std::uint64_t>(frame->start), 8) + big(at - audio, 8) +
                      big(static_cast<std::uint64_t>(frame->samples), 2);
        }
    }
    for (int i = 0; i < 5; ++i) points += big(~0ULL, 8) + std::string(10, '\0');
    return with_block(flac, 3, points);
}

// What the parts give one after the other, each opened by itself.
Pcm expected(const Parts& parts) {
    Pcm out;
    for (const std::string& part : parts) {
        const auto alone = read_pcm(*media::open(input(part, true, false)));
        REQUIRE(alone.samples() > 0);
        out.values.insert(out.values.end(), alone.values.begin(), alone.values.end());
    }
    return out;
}
std::string join(const Parts& parts) {
    std::string out;
    for (const std::string& part : parts) out += part;
    return out;
}

void check_whole(const OpenRequest& wanted, const Pcm& whole) {
    auto source = media::open(wanted);
    const auto all = read_pcm(*source);
    CHECK(all.begin == 0);
    CHECK(all.continuous);
    CHECK(all.last == ReadStatus::end);
    CHECK(source->decode_errors() == 0);
    CHECK(all.samples() == whole.samples());
    // In brackets, so that nothing prints a hundred thousand values.
    CHECK((all.values == whole.values));
}

void check_seeks(MediaSource& source, const Pcm& whole, std::int64_t join) {
    INFO("joined at " << join);
    const std::int64_t last = whole.samples();
    check_places(whole, source,
                 {last / 2, join - 1, join, join + 1, join - 3'000, join + 3'000, 1, last / 5,
                  last - 1, last / 5 * 4, join + 700});
    check_end(whole, source);
    CHECK(source.decode_errors() == 0);
}

Parts load(const std::vector<std::string>& names) {
    Parts parts;
    for (const auto& name : names) parts.push_back(file_bytes(path(name)));
    return parts;
}

const std::vector<std::vector<std::string>> kJoined{
    {"flac.flac", "flac48.flac"},     // another rate
    {"flac.flac", "flac-b.flac"},     // the same of everything, another length
    {"flac.flac", "flac.flac"},       // twins
    {"flac.flac", "flac-mono.flac"},  // fewer channels
    {"flac-mono.flac", "six.flac"},   // more of both
    {"flac.flac", "flac24.flac"},     // another depth
    {"flac24.flac", "flac96.flac"},   // and another rate
    {"small.flac", "flac.flac"},      // a single frame
    {"flac.flac", "flac48.flac", "flac-mono.flac"},
    {"flac.flac", "flac-b.flac", "flac.flac"},
    {"flac.flac", "flac.flac", "flac.flac"},
};

}  // namespace

TEST_CASE("joined FLAC files play one after the other, each as it would alone") {
    for (const auto& names : kJoined) {
        INFO(names.front() << ", " << names[1]);
        const Parts parts = load(names);
        const Pcm whole = expected(parts);
        const std::string all = join(parts);
        const Temporary file{all};
        check_whole(request(file.path()), whole);
        check_whole(input(all, true, false), whole);
        check_whole(input(all, true, true), whole);
        check_whole(input(all, false, true), whole);
    }
}

TEST_CASE("their length is told, and every place is found") {
    for (const auto& names : kJoined) {
        INFO(names.front() << ", " << names[1]);
        const Parts parts = load(names);
        const Pcm whole = expected(parts);
        const std::int64_t joint = expected({parts.front()}).samples();
        const Temporary file{join(parts)};
        auto source = media::open(request(file.path()));
        REQUIRE(source->info().duration);
        CHECK(source->info().duration->count() == whole.samples());
        const auto bytes = static_cast<std::int64_t>(join(parts).size());
        CHECK(std::abs(source->info().bitrate - bytes * 8 * kSampleRate / whole.samples()) <= 1);
        check_seeks(*source, whole, joint);
        // Where reading may block, the first seek finds out.
        auto slow = media::open(input(join(parts), true, true));
        check_seeks(*slow, whole, joint);
        // Also when the second is being played.
        auto late = media::open(input(join(parts), true, true));
        CHECK(read_pcm(*late, joint + 2'000).samples() == joint + 2'000);
        late->seek(Samples{joint + 1'000});
        const auto part = read_pcm(*late, 3'000);
        CHECK(part.begin == joint + 1'000);
        CHECK(error_db(whole.values, part.begin, part.values) < -60);
    }
}

TEST_CASE("tags, pictures, padding and seek tables lie between them") {
    const Parts plain = load({"flac.flac", "flac48.flac"});
    const Pcm whole = expected(plain);
    const std::int64_t joint = expected({plain.front()}).samples();
    const std::vector<Parts> dressed{
        {plain[0], id3(3'000) + plain[1]},
        {id3(500) + plain[0], id3(700'000) + plain[1]},
        {plain[0] + id3v1(), plain[1] + id3v1()},
        {plain[0] + id3v1(), id3(300) + plain[1]},
        {with_seek_table(plain[0]), plain[1]},
        {with_seek_table(plain[0]), with_seek_table(plain[1])},
        {with_block(plain[0], 1, std::string(9'000, '\0')),
         with_block(plain[1], 1, std::string(300'000, '\0'))},
        // A picture, even one that holds a FLAC file.
        {with_block(plain[0], 6, picture(file_bytes(path("cover.png")))),
         with_block(plain[1], 6, picture(plain[0]))},
        {with_block(plain[0], 2, "test" + plain[1]), plain[1]},
    };
    for (std::size_t i = 0; i < dressed.size(); ++i) {
        INFO("number " << i);
        const std::string all = join(dressed[i]);
        const Temporary file{all};
        check_whole(request(file.path()), whole);
        check_whole(input(all, false, true), whole);
        auto source = media::open(request(file.path()));
        CHECK(source->info().duration->count() == whole.samples());
        check_seeks(*source, whole, joint);
    }
}

TEST_CASE("one whose header tells no length is measured by its frames") {
    Parts parts = load({"flac.flac", "flac48.flac"});
    const Pcm whole = expected(parts);
    for (std::string& part : parts) {
        part[21] = static_cast<char>(part[21] & 0xF0);
        for (std::size_t i = 22; i < 26; ++i) part[i] = 0;
    }
    const Temporary file{join(parts)};
    check_whole(request(file.path()), whole);
    auto source = media::open(request(file.path()));
    CHECK(source->info().duration->count() == whole.samples());
    check_seeks(*source, whole, expected({load({"flac.flac"}).front()}).samples());
}

TEST_CASE("a large joined file is opened without being read, and indexed for the first seek") {
    const Parts parts = load({"flac.flac", "flac48.flac"});
    Parts many;
    while (join(many).size() < 13 << 20) many.insert(many.end(), parts.begin(), parts.end());
    const Pcm once = expected(parts);
    const auto pairs = static_cast<std::int64_t>(many.size() / 2);
    const Temporary file{join(many)};
    auto source = media::open(request(file.path()));
    CHECK_FALSE(source->info().duration);
    CHECK(source->info().seekable);
    const std::int64_t place = once.samples() * (pairs - 1) + 100'000;
    source->seek(Samples{place});
    const auto part = read_pcm(*source);
    CHECK(part.begin == place);
    REQUIRE(part.samples() == once.samples() - 100'000);
    CHECK(error_db(once.values, 100'000, part.values) < -60);
    CHECK(read_pcm(*media::open(request(file.path()))).samples() == once.samples() * pairs);

    auto wanted = input(join(many), true, true);
    const auto bytes = std::static_pointer_cast<BytesInput>(wanted.input);
    auto slow = media::open(wanted);
    CHECK(bytes->bytes_read() < 4 << 20);
}

TEST_CASE("a part that is cut short or no part at all is passed, and what follows plays") {
    const Parts parts = load({"flac.flac", "flac48.flac"});
    const Pcm second = expected({parts[1]});
    const std::string cut = parts[0].substr(0, parts[0].size() * 6 / 10);
    const Pcm first = expected({cut});
    const std::string begun = parts[1].substr(0, audio_offset(parts[1]));
    for (const Parts& odd : {Parts{cut, parts[1]}, Parts{cut, begun, parts[1]}}) {
        const Temporary file{join(odd)};
        auto source = media::open(request(file.path()));
        const auto all = read_pcm(*source);
        CHECK(all.continuous);
        REQUIRE(all.samples() == first.samples() + second.samples());
        CHECK(error_db(all.values, first.samples(), second.values) < -100);
        CHECK(source->info().duration->count() == all.samples());
        source->seek(Samples{first.samples() + 1'000});
        const auto part = read_pcm(*source);
        CHECK(part.begin == first.samples() + 1'000);
        CHECK(part.samples() == second.samples() - 1'000);
    }
}

TEST_CASE("tags that claim to be longer than the file end what is played") {
    const std::string whole = load({"flac.flac"})[0];
    std::string claims = whole;
    claims[42] = static_cast<char>(0x84);  // the last block, which the comments are not
    for (const std::size_t at : {43, 44, 45}) claims[at] = static_cast<char>(0xFF);
    for (const std::string& odd : {claims, claims.substr(0, 300), claims + whole, whole + claims}) {
        for (const Samples start : {Samples{0}, Samples{1'000}}) {
            auto wanted = input(odd, true, false);
            wanted.start = start;
            auto opened = codec::open_media(wanted, nullptr);
            if (!opened) {
                CHECK(opened.error().code != Errc::internal);
                continue;
            }
            (*opened)->seek(Samples{5'000});
            (void)read_pcm(**opened);
        }
    }
}

TEST_CASE("nothing comes of an index whose thread meets a bug, and nothing else happens") {
    using Index = codec::Indexing<codec::FlacIndex>;
    Index index{nullptr, [](auto&, auto&) -> Result<Index::IndexPtr> {
                    throw std::length_error{"a claim that nobody has checked"};
                }};
    index.run();
    CHECK(index.result() == nullptr);
}

TEST_CASE("over the web they play whole, and a seek finds the second") {
    const Parts parts = load({"flac.flac", "flac48.flac"});
    const std::string body = join(parts);
    const Pcm whole = expected(parts);
    const std::int64_t joint = expected({parts.front()}).samples();
    const Server server{[&](const auto& asked, Peer& peer) { answer(asked, peer, body); }};
    check_whole(request(server.url("/x")), whole);
    auto source = media::open(request(server.url("/x")));
    check_seeks(*source, whole, joint);
    auto wanted = request(server.url("/x"));
    wanted.start = Samples{joint + 12'345};
    auto started = media::open(wanted);
    const auto late = read_pcm(*started);
    INFO(started->error().message);
    CHECK(late.last == ReadStatus::end);
    CHECK(late.begin == joint + 12'345);
    CHECK(late.samples() == whole.samples() - late.begin);
}

TEST_CASE("a single FLAC file is not read through to be opened or sought") {
    const std::string bytes = file_bytes(path("flac.flac"));
    auto wanted = input(bytes, true, false);
    const auto counted = std::static_pointer_cast<BytesInput>(wanted.input);
    auto source = media::open(wanted);
    CHECK(counted->bytes_read() < bytes.size() * 2 / 3);
    CHECK(source->info().duration->count() == length_of("flac.flac"));
    const Pcm whole = expected({bytes});
    check_seeks(*source, whole, whole.samples() / 3);
}

TEST_CASE("a tag behind a FLAC file is no damage") {
    for (const std::string& tag : {id3v1(), id3(2'000)}) {
        const std::string bytes = file_bytes(path("flac.flac"));
        auto source = media::open(input(bytes + tag, true, false));
        CHECK(read_pcm(*source).samples() == length_of("flac.flac"));
        CHECK(source->decode_errors() == 0);
        CHECK(source->info().duration->count() == length_of("flac.flac"));
    }
}

TEST_CASE("what only looks like more and more files ends what is played") {
    const std::string flac = file_bytes(path("flac.flac"));
    std::string empty = flac.substr(0, 42);
    empty[4] |= static_cast<char>(0x80);  // the last block: no audio follows
    std::string all = flac;
    for (int i = 0; i < 1'000; ++i) all += empty;
    const auto right = read_pcm(*media::open("flac.flac"));
    const Temporary file{all};
    for (const auto& wanted : {request(file.path()), input(all, false, true)}) {
        auto source = media::open(wanted);
        CHECK((read_pcm(*source).values == right.values));
        CHECK(source->decode_errors() >= 1);
        CHECK(source->decode_errors() <= 100);  // and not each of them
    }
}
