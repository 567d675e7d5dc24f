// A stream on a manual clock, fed and heard by hand.
#pragma once

#include <vector>

#include "voicecore/playback/frame_clock.hpp"

namespace voicecore::playback {

struct RecordingSink final : audio::PacketSink {
    struct Sent {
        std::vector<std::uint8_t> opus;
        std::uint32_t ticks;
        bool silence;
        bool operator==(const Sent&) const = default;
    };
    Status start(audio::SinkListener& to) override {
        listener = &to;
        return Done{};
    }
    audio::SendStatus send(const audio::OutgoingPacket& packet) noexcept override {
        sent.push_back({{packet.opus.begin(), packet.opus.end()}, packet.ticks, packet.silence});
        return status;
    }
    void idle(TimePoint) noexcept override { ++idle_ticks; }
    void finish() noexcept override {
        ++finished;
        if (listener != nullptr) listener->on_sink_finished(std::nullopt);
    }

    std::vector<Sent> sent;
    int idle_ticks = 0;
    int finished = 0;
    audio::SendStatus status = audio::SendStatus::sent;
    audio::SinkListener* listener = nullptr;
};

struct RecordingListener final : EventListener {
    void emit(const Event& event) noexcept override { events.push_back(event); }
    [[nodiscard]] std::vector<EventKind> kinds() const {
        std::vector<EventKind> out;
        for (const auto& event : events) out.push_back(event.kind);
        return out;
    }
    std::vector<Event> events;
};

struct Rig {
    ManualClock clock;
    FeedQueue feed;
    FrameClock frame_clock{clock, TimePoint{}, feed};
    RecordingSink sink;
    RecordingListener events;
    Stream stream{1, 64, sink, events, TimePoint{}};
    std::uint64_t next_index = 0;

    // One packet whose single byte is its number.
    void put(std::uint8_t number, std::uint32_t generation = 1) {
        put_at(next_index, number, generation);
    }
    void put_at(std::uint64_t index, std::uint8_t number, std::uint32_t generation) {
        QueuedPacket* queued = stream.claim();
        queued->generation = generation;
        queued->packet.index = index;
        queued->packet.position = Samples{static_cast<std::int64_t>(index + 1) * kFrameSamples};
        queued->packet.opus.assign(std::array{number});
        next_index = index + 1;
        stream.publish(next_index);
    }
    void advance(Nanoseconds by) {
        clock.set(clock.now() + by);
        frame_clock.run_due();
    }
    void ticks(int count) {
        for (int i = 0; i < count; ++i) advance(kFrameDuration);
    }
    // What was heard: packet numbers, -1 for silence.
    [[nodiscard]] std::vector<int> heard() const {
        std::vector<int> out;
        for (const auto& packet : sink.sent) out.push_back(packet.silence ? -1 : packet.opus[0]);
        return out;
    }
};

}  // namespace voicecore::playback
