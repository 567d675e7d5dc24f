// What the codec tests share: where the media are, and ways to read a source to its end.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "catch.hpp"
#include "voicecore/codec/open.hpp"

namespace media {

using namespace voicecore;
using audio::MediaSource;
using audio::MediaUnit;
using audio::OpenRequest;
using audio::ReadStatus;

inline std::string path(const std::string& name) {
    const char* folder = std::getenv("VOICECORE_MEDIA");
    return std::string{folder != nullptr ? folder : VOICECORE_MEDIA} + "/" + name;
}

inline OpenRequest request(const std::string& location) {
    OpenRequest out;
    out.location = location;
    return out;
}

inline Result<std::unique_ptr<MediaSource>> try_open(const std::string& name) {
    return codec::open_media(request(path(name)), nullptr);
}

inline std::unique_ptr<MediaSource> open(const OpenRequest& wanted) {
    auto opened = codec::open_media(wanted, nullptr);
    INFO(wanted.location << ": " << (opened ? "" : opened.error().message));
    REQUIRE(opened.ok());
    return std::move(opened).value();
}
inline std::unique_ptr<MediaSource> open(const std::string& name) {
    return open(request(path(name)));
}

// Samples at 48 kHz that the media holds, from the manifest.
inline std::int64_t length_of(const std::string& name) {
    std::ifstream file{path("manifest.json")};
    std::stringstream text;
    text << file.rdbuf();
    const std::string all = text.str();
    const auto at = all.find("\"" + name + "\"");
    REQUIRE(at != std::string::npos);
    const auto number = [&](const std::string& key) {
        return std::stoll(all.substr(all.find("\"" + key + "\"", at) + key.size() + 3));
    };
    const std::int64_t rate = number("rate");
    return (number("samples") * kSampleRate + rate / 2) / rate;
}

// read() that waits where it would block: 10 s at most.
inline ReadStatus next(MediaSource& source, MediaUnit& unit) {
    for (int i = 0; i < 10'000; ++i) {
        const ReadStatus status = source.read(unit);
        if (status != ReadStatus::would_block) return status;
        const timespec pause{0, 1'000'000};
        ::nanosleep(&pause, nullptr);
    }
    return ReadStatus::would_block;
}

struct Pcm {
    std::vector<float> values;
    std::int64_t begin = 0;
    bool continuous = true;
    ReadStatus last = ReadStatus::end;
    [[nodiscard]] std::int64_t samples() const {
        return static_cast<std::int64_t>(values.size()) / kChannels;
    }
};

// At most `limit` samples.
inline Pcm read_pcm(MediaSource& source, std::int64_t limit = 1LL << 40) {
    Pcm out;
    bool first = true;
    MediaUnit unit;
    while (out.samples() < limit) {
        out.last = next(source, unit);
        if (out.last != ReadStatus::ok) break;
        if (std::exchange(first, false)) out.begin = unit.position.count();
        if (unit.position.count() != out.begin + out.samples()) out.continuous = false;
        out.values.insert(out.values.end(), unit.pcm.begin(), unit.pcm.end());
    }
    if (out.samples() > limit) out.values.resize(static_cast<std::size_t>(limit) * kChannels);
    return out;
}

struct Packets {
    std::vector<std::vector<std::uint8_t>> bytes;
    std::vector<MediaUnit> units;  // without their views
    ReadStatus last = ReadStatus::end;
};

inline Packets read_packets(MediaSource& source, std::size_t limit = 1U << 30U) {
    Packets out;
    MediaUnit unit;
    while (out.units.size() < limit) {
        out.last = next(source, unit);
        if (out.last != ReadStatus::ok) break;
        out.bytes.emplace_back(unit.packet.begin(), unit.packet.end());
        unit.packet = {};
        out.units.push_back(unit);
    }
    return out;
}

// The level of the difference below the signal, in dB, where `part` begins at sample `at` of
// `whole`.
inline double error_db(const std::vector<float>& whole, std::int64_t at,
                       const std::vector<float>& part) {
    double noise = 1e-20;
    double signal = 1e-6 * static_cast<double>(part.size());  // silence differs from nothing
    for (std::size_t i = 0; i < part.size(); ++i) {
        const double reference = whole[static_cast<std::size_t>(at) * kChannels + i];
        noise += (reference - part[i]) * (reference - part[i]);
        signal += reference * reference;
    }
    return 10 * std::log10(noise / signal);
}

// Seeks to places that are there, and compares what is played from them with `whole`.
inline void check_places(const Pcm& whole, MediaSource& source,
                         const std::vector<std::int64_t>& places) {
    const std::int64_t last = whole.samples();
    for (const std::int64_t place : places) {
        INFO("at " << place << " of " << last);
        if (place < 0) continue;
        source.seek(Samples{place});
        const auto part = read_pcm(source, 6'000);
        REQUIRE(part.begin == place);
        REQUIRE(part.samples() == std::min<std::int64_t>(6'000, last - place));
        CHECK(part.continuous);
        CHECK(error_db(whole.values, place, part.values) < -60);
    }
}
// Seeks behind the end, and back to the beginning.
inline void check_end(const Pcm& whole, MediaSource& source) {
    const std::int64_t last = whole.samples();
    MediaUnit unit;
    for (const std::int64_t place : {last, last + 1, last * 1'000}) {
        source.seek(Samples{place});
        CHECK(next(source, unit) == ReadStatus::end);
    }
    source.seek(Samples{0});
    CHECK((read_pcm(source).values == whole.values));
}

}  // namespace media
