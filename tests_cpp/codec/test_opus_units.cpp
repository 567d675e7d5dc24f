#include "media.hpp"
#include "voicecore/audio/opus_packet.hpp"

using namespace media;

namespace {

// Samples that a listener hears, if every packet begins where the one before ended.
std::int64_t audible(const Packets& packets) {
    std::int64_t at = packets.units.front().position.count();
    for (const MediaUnit& unit : packets.units) {
        CHECK(unit.position.count() == at);
        at += unit.duration.count() - unit.trim_end.count();
    }
    return at;
}

}  // namespace

TEST_CASE("Opus in Ogg, WebM and mp4 comes as packets with the length of what was encoded") {
    for (const char* name : {"opus.opus", "opus.webm", "opus.mp4", "opus-2.5ms.opus",
                             "opus-5ms.opus", "opus-10ms.opus", "opus-40ms.opus", "opus-60ms.opus",
                             "opus-late.opus", "opus-short.opus"}) {
        INFO(name);
        auto source = media::open(name);
        const auto& info = source->info();
        REQUIRE(info.kind == audio::MediaKind::opus);
        CHECK(info.no_passthrough.empty());
        CHECK(info.codec == "opus");
        const auto packets = read_packets(*source);
        CHECK(packets.last == ReadStatus::end);
        CHECK(packets.units.front().position == -info.pre_skip);
        CHECK(audible(packets) == length_of(name));
        if (info.container == "ogg") CHECK(info.duration->count() == length_of(name));
        CHECK(source->decode_errors() == 0);
    }
}

TEST_CASE("frames too long to be copied are told when the file is opened") {
    CHECK(media::open("silk-20ms.opus")->info().no_passthrough.empty());
    for (const char* length : {"40", "60"}) {
        auto source = media::open(std::string{"silk-"} + length + "ms.opus");
        CHECK(source->info().no_passthrough == std::string{"its frames are "} + length +
                                                   " ms long (SILK); only those of 20 ms or less "
                                                   "are copied");
    }
}

TEST_CASE("every container hands out the same packets, and never a header") {
    const auto ogg = read_packets(*media::open("opus.opus"));
    CHECK(ogg.bytes == read_packets(*media::open("opus.webm")).bytes);
    CHECK(ogg.bytes == read_packets(*media::open("opus.mp4")).bytes);
    for (const auto& bytes : read_packets(*media::open("chain-opus.opus")).bytes) {
        REQUIRE(bytes.size() > 3);
        CHECK(std::string(bytes.begin(), bytes.begin() + 4) != "Opus");
        CHECK(audio::parse_opus_packet(bytes).has_value());
    }
}

TEST_CASE("a mono file stays mono Opus") {
    auto source = media::open("opus-mono.opus");
    CHECK(source->info().kind == audio::MediaKind::opus);
    CHECK(source->info().channels == 1);
}

TEST_CASE("a header gain is told, and stands in the way of passing through") {
    auto source = media::open("opus-gain.opus");
    CHECK(source->info().kind == audio::MediaKind::opus);
    CHECK(source->info().header_gain == Approx(0.501187).epsilon(1e-4));
    CHECK(source->info().no_passthrough.find("gain") != std::string::npos);
}

TEST_CASE(
    "links of an Opus chain follow each other: the second one's pre-skip lies before its place") {
    for (const char* name : {"chain-opus.opus", "chain-twins.opus"}) {
        INFO(name);
        auto source = media::open(name);
        const std::int64_t first = length_of("opus.opus");
        CHECK(source->info().duration->count() == first + length_of("opus-b.opus"));
        const auto packets = read_packets(*source);
        const auto seam =
            std::find_if(packets.units.begin(), packets.units.end(),
                         [](const MediaUnit& unit) { return unit.trim_end.count() > 0; });
        REQUIRE(seam != packets.units.end());
        CHECK((seam->position + seam->duration - seam->trim_end).count() == first);
        CHECK((seam + 1)->position.count() == first - source->info().pre_skip.count());
        for (auto unit = packets.units.begin(); unit != packets.units.end(); ++unit) {
            REQUIRE(unit->begins == (unit == seam + 1));
        }
        const MediaUnit& last = packets.units.back();
        CHECK((last.position + last.duration - last.trim_end).count() ==
              first + length_of("opus-b.opus"));
    }
}
