#include <thread>

#include "play.hpp"
#include "voicecore/base/clock.hpp"
#include "voicecore/sources/push_source.hpp"
#include "voicecore/sources/tone_source.hpp"

using namespace test;

TEST_CASE("tracks appended by another thread all play, and the hook ends every wait") {
    voicecore::WakeSignal ready;
    auto program = std::move(Program::create({})).value();
    program->set_ready_hook([&] { ready.signal(); });
    std::thread adder{[&] {
        for (int i = 0; i < 50; ++i) {
            voicecore::sources::ToneOptions options;
            options.duration = Samples{1'000 + i};
            program->append(std::move(voicecore::sources::ToneSource::create(options)).value());
            (void)program->take_track_errors();
        }
        program->close_playlist();
    }};
    std::int64_t media = 0;
    PlayablePacket packet;
    for (ReadStatus status{}; (status = program->next(packet)) != ReadStatus::end;) {
        if (status == ReadStatus::would_block) {
            ready.wait();
            continue;
        }
        REQUIRE(status == ReadStatus::ok);
        media += packet.media_samples;
    }
    adder.join();
    REQUIRE(media == 50 * 1'000 + 49 * 50 / 2);
}

TEST_CASE("a pushed signal is encoded as if it had come from a file") {
    const auto pcm = music(48'000);
    voicecore::WakeSignal ready;
    voicecore::WakeSignal writable;
    auto push = std::move(voicecore::sources::make_pcm_push(Samples{4'800})).value();
    push.feed.set_writable_hook([&] { writable.signal(); });
    auto program = program_of(std::move(push.source));
    program->set_ready_hook([&] { ready.signal(); });
    REQUIRE(program->caller_paced());
    std::thread producer{[&] {
        for (std::size_t done = 0; done < pcm.size();) {
            const auto rest = std::span<const float>{pcm}.subspan(done);
            const std::size_t accepted = push.feed.write_nowait(rest);
            done += accepted * 2;
            if (accepted * 2 < rest.size()) writable.wait();
        }
        push.feed.close();
    }};
    std::vector<Packet> packets;
    PlayablePacket packet;
    for (ReadStatus status{}; (status = program->next(packet)) != ReadStatus::end;) {
        if (status == ReadStatus::would_block) {
            ready.wait();
        } else {
            packets.emplace_back(packet.opus.bytes().begin(), packet.opus.bytes().end());
        }
    }
    producer.join();
    REQUIRE(first_difference(packets, encode(pcm)) == kNone);
}

TEST_CASE("pushed packets leave as they came, each before the next is there") {
    const auto packets = encode(music(9'600));
    auto push = std::move(voicecore::sources::make_opus_push(4)).value();
    auto program = program_of(std::move(push.source));
    PlayablePacket packet;
    for (const auto& bytes : packets) {
        REQUIRE(program->next(packet) == ReadStatus::would_block);
        REQUIRE(push.feed.write_nowait(bytes) == voicecore::sources::PushStatus::accepted);
        REQUIRE(program->next(packet) == ReadStatus::ok);
        REQUIRE(std::ranges::equal(packet.opus.bytes(), bytes));
    }
    push.feed.close();
    REQUIRE(program->next(packet) == ReadStatus::end);
}
