#include <array>
#include <thread>

#include "catch.hpp"
#include "voicecore/base/clock.hpp"
#include "voicecore/sources/push_source.hpp"

using voicecore::Errc;
using voicecore::Error;
using voicecore::Samples;
using voicecore::audio::MediaUnit;
using voicecore::audio::ReadStatus;
using namespace voicecore::sources;

namespace {

PcmPush pcm_push(std::int64_t capacity) {
    auto made = make_pcm_push(Samples{capacity});
    REQUIRE(made.ok());
    return std::move(made).value();
}
std::vector<float> ramp(std::size_t samples, float from = 0.0F) {
    std::vector<float> out(samples * 2);
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = from + static_cast<float>(i);
    return out;
}

}  // namespace

TEST_CASE("PCM comes out in the order it was written and ends after the close") {
    auto [feed, source] = pcm_push(2'000);
    REQUIRE(feed.write_nowait(std::span<const float>{ramp(1'500)}) == 1'500);
    feed.close();
    std::vector<float> got;
    MediaUnit unit;
    ReadStatus status{};
    while ((status = source->read(unit)) == ReadStatus::ok) {
        REQUIRE(unit.position == Samples{static_cast<std::int64_t>(got.size() / 2)});
        got.insert(got.end(), unit.pcm.begin(), unit.pcm.end());
    }
    REQUIRE(status == ReadStatus::end);
    REQUIRE(got == ramp(1'500));
}

TEST_CASE("a full queue takes what fits, and the hook comes when half is free") {
    int writable = 0;
    auto [feed, source] = pcm_push(1'920);
    feed.set_writable_hook([&] { ++writable; });
    REQUIRE(feed.write_nowait(std::span<const float>{ramp(3'000)}) == 1'920);
    REQUIRE(feed.write_nowait(std::span<const float>{ramp(10)}) == 0);
    REQUIRE(feed.queued() == Samples{1'920});
    MediaUnit unit;
    REQUIRE(source->read(unit) == ReadStatus::ok);  // lent: no room yet
    REQUIRE(writable == 0);
    REQUIRE(source->read(unit) == ReadStatus::ok);
    REQUIRE(writable == 1);
    REQUIRE(feed.write_nowait(std::span<const float>{ramp(3'000)}) == 960);
}

TEST_CASE("what a unit shows stays while the producer writes on") {
    auto [feed, source] = pcm_push(960);
    REQUIRE(feed.write_nowait(std::span<const float>{ramp(960)}) == 960);
    MediaUnit unit;
    REQUIRE(source->read(unit) == ReadStatus::ok);
    REQUIRE(feed.write_nowait(std::span<const float>{ramp(960, 7.0F)}) == 0);
    REQUIRE(std::vector<float>(unit.pcm.begin(), unit.pcm.end()) == ramp(960));
}

TEST_CASE("a reader that found nothing is told when there is something, once") {
    int ready = 0;
    auto [feed, source] = pcm_push(1'920);
    source->set_ready_hook([&] { ++ready; });
    MediaUnit unit;
    REQUIRE(source->read(unit) == ReadStatus::would_block);
    REQUIRE(source->caller_paced());
    REQUIRE(feed.write_nowait(std::span<const float>{ramp(5)}) == 5);
    REQUIRE(feed.write_nowait(std::span<const float>{ramp(5)}) == 5);
    REQUIRE(ready == 1);
    REQUIRE(source->read(unit) == ReadStatus::ok);
    REQUIRE(source->read(unit) == ReadStatus::would_block);
    feed.close();
    REQUIRE(ready == 2);
    REQUIRE(source->read(unit) == ReadStatus::end);
}

TEST_CASE("16-bit samples become the floats they stand for") {
    auto [feed, source] = pcm_push(960);
    const std::array<std::int16_t, 4> pcm{0, 16'384, -32'768, 32'767};
    REQUIRE(feed.write_nowait(std::span<const std::int16_t>{pcm}) == 2);
    MediaUnit unit;
    REQUIRE(source->read(unit) == ReadStatus::ok);
    REQUIRE(std::vector<float>(unit.pcm.begin(), unit.pcm.end()) ==
            std::vector<float>{0.0F, 0.5F, -1.0F, 32'767.0F / 32'768.0F});
}

TEST_CASE("a producer's failure comes after what it had written") {
    auto [feed, source] = pcm_push(960);
    REQUIRE(feed.write_nowait(std::span<const float>{ramp(10)}) == 10);
    feed.fail(Error{.code = Errc::io, .native = 5, .message = "the microphone is gone"});
    REQUIRE(feed.write_nowait(std::span<const float>{ramp(10)}) == 0);
    MediaUnit unit;
    REQUIRE(source->read(unit) == ReadStatus::ok);
    REQUIRE(source->read(unit) == ReadStatus::failed);
    REQUIRE(source->error().message == "the microphone is gone");
}

TEST_CASE("a producer whose source is gone is woken and told") {
    int writable = 0;
    auto [feed, source] = pcm_push(960);
    feed.set_writable_hook([&] { ++writable; });
    REQUIRE_FALSE(feed.abandoned());
    source.reset();
    REQUIRE(writable == 1);
    REQUIRE(feed.abandoned());
    REQUIRE(feed.write_nowait(std::span<const float>{ramp(10)}) == 0);
}

TEST_CASE("a feed that goes ends its source") {
    auto push = pcm_push(960);
    { const PcmFeed gone = std::move(push.feed); }
    MediaUnit unit;
    REQUIRE(push.source->read(unit) == ReadStatus::end);
}

TEST_CASE("a push source refuses a capacity out of its range") {
    REQUIRE(make_pcm_push(Samples{0}).error().message ==
            "capacity of 0.000000 s: expected 0.02 to 60");
    REQUIRE_FALSE(make_opus_push(0).ok());
    REQUIRE_FALSE(make_opus_push(100'000).ok());
}

TEST_CASE("Opus packets come out in order, with positions by their length") {
    auto made = make_opus_push(8);
    REQUIRE(made.ok());
    auto& [feed, source] = made.value();
    const std::vector<std::uint8_t> twenty{0xFC, 1, 2, 3};  // CELT, stereo, 20 ms
    const std::vector<std::uint8_t> ten{0xF4, 4, 5};        // 10 ms
    REQUIRE(feed.write_nowait(twenty) == PushStatus::accepted);
    REQUIRE(feed.write_nowait(ten) == PushStatus::accepted);
    feed.close();
    REQUIRE(feed.write_nowait(ten) == PushStatus::closed);
    MediaUnit unit;
    REQUIRE(source->read(unit) == ReadStatus::ok);
    REQUIRE(std::vector<std::uint8_t>(unit.packet.begin(), unit.packet.end()) == twenty);
    REQUIRE(source->read(unit) == ReadStatus::ok);
    REQUIRE(unit.position == Samples{960});
    REQUIRE(unit.duration == Samples{480});
    REQUIRE(source->read(unit) == ReadStatus::end);
}

TEST_CASE("bytes that are no Opus packet are refused at the door") {
    auto made = make_opus_push(8);
    REQUIRE(made->feed.write_nowait(std::span<const std::uint8_t>{}) == PushStatus::not_opus);
    const std::vector<std::uint8_t> bad{0xFF, 0};  // code 3, no frames
    REQUIRE(made->feed.write_nowait(bad) == PushStatus::not_opus);
}

TEST_CASE("a full packet queue says so and the hook comes") {
    int writable = 0;
    auto made = make_opus_push(4);
    auto& [feed, source] = made.value();
    feed.set_writable_hook([&] { ++writable; });
    const std::vector<std::uint8_t> packet{0xFC, 1};
    int accepted = 0;
    while (feed.write_nowait(packet) == PushStatus::accepted) ++accepted;
    REQUIRE(accepted == 4);
    REQUIRE(feed.write_nowait(packet) == PushStatus::full);
    MediaUnit unit;
    for (int i = 0; i < 3; ++i) REQUIRE(source->read(unit) == ReadStatus::ok);
    REQUIRE(writable == 1);
    REQUIRE(feed.write_nowait(packet) == PushStatus::accepted);
}

TEST_CASE("a packet queue of any size is writable from when its hook comes") {
    for (std::size_t capacity = 1; capacity <= 70; ++capacity) {
        int calls = 0;
        auto made = make_opus_push(capacity);
        auto& [feed, source] = made.value();
        feed.set_writable_hook([&] { ++calls; });
        const std::vector<std::uint8_t> packet{0xFC, 1};
        while (feed.write_nowait(packet) == PushStatus::accepted) {
        }
        MediaUnit unit;
        while (source->read(unit) == ReadStatus::ok) REQUIRE(feed.writable() == (calls == 1));
        REQUIRE(calls == 1);
    }
}

TEST_CASE("a sample queue of any size is writable from when its hook comes") {
    for (const std::int64_t capacity : {960, 961, 1'919, 1'920, 1'921, 3'841, 9'601}) {
        int calls = 0;
        auto [feed, source] = pcm_push(capacity);
        feed.set_writable_hook([&] { ++calls; });
        REQUIRE(feed.write_nowait(std::span<const float>{ramp(10'000)}) ==
                static_cast<std::size_t>(capacity));
        MediaUnit unit;
        while (source->read(unit) == ReadStatus::ok) REQUIRE(feed.writable() == (calls == 1));
        REQUIRE(calls == 1);
    }
}

TEST_CASE("closing a feed wakes its own waiting producer") {
    int writable = 0;
    auto [feed, source] = pcm_push(960);
    REQUIRE(feed.write_nowait(std::span<const float>{ramp(961)}) == 960);
    feed.set_writable_hook([&] { ++writable; });
    feed.close();
    REQUIRE(writable == 1);
}

TEST_CASE("two threads with hooks lose nothing and never wait in vain") {
    constexpr std::size_t kTotal = 200'000;
    voicecore::WakeSignal writable;
    voicecore::WakeSignal ready;
    auto push = pcm_push(1'000);
    push.feed.set_writable_hook([&] { writable.signal(); });
    push.source->set_ready_hook([&] { ready.signal(); });
    std::thread producer{[&] {
        const auto all = ramp(kTotal);
        std::size_t done = 0;
        while (done < kTotal) {
            const std::size_t count = std::min<std::size_t>(kTotal - done, 1 + done % 700);
            const auto chunk = std::span<const float>{all}.subspan(done * 2, count * 2);
            const std::size_t accepted = push.feed.write_nowait(chunk);
            done += accepted;
            if (accepted < count) writable.wait();
        }
        push.feed.close();
    }};
    std::vector<float> got;
    MediaUnit unit;
    for (ReadStatus status{}; (status = push.source->read(unit)) != ReadStatus::end;) {
        if (status == ReadStatus::would_block) {
            ready.wait();
        } else {
            got.insert(got.end(), unit.pcm.begin(), unit.pcm.end());
        }
    }
    producer.join();
    REQUIRE(got == ramp(kTotal));
}

TEST_CASE("two threads pass packets and lose none") {
    constexpr int kTotal = 50'000;
    voicecore::WakeSignal writable;
    voicecore::WakeSignal ready;
    auto made = make_opus_push(8);
    auto& feed = made->feed;
    auto& source = *made->source;
    feed.set_writable_hook([&] { writable.signal(); });
    source.set_ready_hook([&] { ready.signal(); });
    std::thread producer{[&] {
        for (int i = 0; i < kTotal;) {
            const std::array<std::uint8_t, 4> packet{0xFC, static_cast<std::uint8_t>(i),
                                                     static_cast<std::uint8_t>(i >> 8), 1};
            if (feed.write_nowait(packet) == PushStatus::accepted) {
                ++i;
            } else {
                writable.wait();
            }
        }
        feed.close();
    }};
    int got = 0;
    bool ordered = true;
    MediaUnit unit;
    for (ReadStatus status{}; (status = source.read(unit)) != ReadStatus::end;) {
        if (status == ReadStatus::would_block) {
            ready.wait();
            continue;
        }
        ordered = ordered && unit.packet[1] == static_cast<std::uint8_t>(got) &&
                  unit.packet[2] == static_cast<std::uint8_t>(got >> 8);
        ++got;
    }
    producer.join();
    REQUIRE(ordered);
    REQUIRE(got == kTotal);
}
