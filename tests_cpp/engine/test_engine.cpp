#include <condition_variable>

#include "catch.hpp"
#include "counting_source.hpp"
#include "voicecore/engine/engine.hpp"

using namespace voicecore;
using namespace voicecore::engine;
using namespace std::chrono_literals;
using playback::EventKind;
using playback::Player;
using playback::PlayerState;

namespace {

// Sends from one clock thread at a time; read after the end.
class VectorSink final : public audio::PacketSink {
  public:
    struct Sent {
        int number;  // -1: silence
        int gain;
        TimePoint time;
    };
    explicit VectorSink(std::size_t most = 100'000) { sent.reserve(most); }
    Status start(audio::SinkListener& listener) override {
        if (listener_ != nullptr) return Error{Errc::already_playing, 0, "in use"};
        listener_ = &listener;
        return Done{};
    }
    audio::SendStatus send(const audio::OutgoingPacket& packet) noexcept override {
        const int number = packet.silence ? -1 : packet.opus[0] * 256 + packet.opus[1];
        sent.push_back({number, packet.silence ? 0 : packet.opus[2], SteadyClock{}.now()});
        return audio::SendStatus::sent;
    }
    void idle(TimePoint) noexcept override {}
    void finish() noexcept override {
        auto* listener = listener_;
        listener_ = nullptr;
        listener->on_sink_finished(std::nullopt);
    }
    [[nodiscard]] std::vector<int> numbers() const {
        std::vector<int> out;
        for (const auto& one : sent) out.push_back(one.number);
        return out;
    }
    std::vector<Sent> sent;

  private:
    audio::SinkListener* listener_ = nullptr;
};

class Events final : public playback::EventListener {
  public:
    void emit(const playback::Event& event) noexcept override {
        const std::lock_guard lock{mutex_};
        if (event.kind == EventKind::finished) ++finished_;
        if (event.kind == EventKind::started) ++started_;
        changed_.notify_all();
    }
    bool wait_started(int count) { return wait(started_, count); }
    bool wait_finished(int count) { return wait(finished_, count); }

  private:
    bool wait(const int& counter, int count) {
        std::unique_lock lock{mutex_};
        return changed_.wait_for(lock, 20s, [&] { return counter >= count; });
    }
    std::mutex mutex_;
    std::condition_variable changed_;
    int started_ = 0;
    int finished_ = 0;
};

struct Rig {
    explicit Rig(bool manual, int feeders = 2)
        : engine{Engine::create(
                     {.feeders = feeders, .raise_priority = false, .manual_clock = manual}, events)
                     .value()} {}
    std::shared_ptr<Player> play(std::uint64_t frames, std::shared_ptr<audio::PacketSink> to,
                                 bool stalled = false, bool paced = false) const {
        auto player =
            engine->play(std::make_unique<CountingSource>(frames, stalled, paced), to, {});
        REQUIRE(player.ok());
        return player.value();
    }
    std::shared_ptr<Events> events = std::make_shared<Events>();
    std::shared_ptr<VectorSink> sink = std::make_shared<VectorSink>();
    std::shared_ptr<Engine> engine;
};

// Who made which packet when; nobody makes one before `open`.
struct Turns {
    void take(int who) noexcept {
        std::unique_lock lock{mutex};
        changed.wait(lock, [&] { return open; });
        made.push_back(who);
    }
    void begin() {
        {
            const std::lock_guard lock{mutex};
            open = true;
        }
        changed.notify_all();
    }
    std::mutex mutex;
    std::condition_variable changed;
    bool open = false;
    std::vector<int> made;
};

class TurnSource final : public CountingSource {
  public:
    TurnSource(int who, Turns& turns) : CountingSource{50}, who_{who}, turns_{turns} {}
    audio::ReadStatus next(audio::PlayablePacket& packet) noexcept override {
        turns_.take(who_);
        return CountingSource::next(packet);
    }

  private:
    int who_;
    Turns& turns_;
};

// Its feeder is held at a packet of the second refill until the turn is open.
class HeldSource final : public CountingSource {
  public:
    explicit HeldSource(Turns& turns) : CountingSource{100}, turns_{turns} {}
    audio::ReadStatus next(audio::PlayablePacket& packet) noexcept override {
        if (++made_ > 12) turns_.take(0);
        return CountingSource::next(packet);
    }

  private:
    Turns& turns_;
    int made_ = 0;
};

// The caller puts so many packets into it at a time, the end like one.
class FedSource final : public CountingSource {
  public:
    explicit FedSource(std::uint64_t frames) : CountingSource{frames, false, true} {}
    void put(int packets) {
        there_ += packets;
        const std::lock_guard lock{mutex_};
        if (hook_) hook_();
    }
    audio::ReadStatus next(audio::PlayablePacket& packet) noexcept override {
        if (there_ == 0) return audio::ReadStatus::would_block;
        const auto status = CountingSource::next(packet);
        if (status == audio::ReadStatus::ok) --there_;
        return status;
    }
    void set_ready_hook(std::function<void()> hook) override {
        const std::lock_guard lock{mutex_};
        hook_ = std::move(hook);
    }

  private:
    std::mutex mutex_;
    std::function<void()> hook_;
    std::atomic<int> there_{0};
};

std::vector<int> count_to(int frames) {
    std::vector<int> out;
    for (int i = 0; i < frames; ++i) out.push_back(i);
    out.insert(out.end(), 5, -1);
    return out;
}

}  // namespace

TEST_CASE("virtual time sends every frame once, in order, and ends with five silence frames") {
    Rig rig{true};
    const auto player = rig.play(3'000, rig.sink);
    rig.engine->advance(70s);
    REQUIRE(rig.events->wait_finished(1));
    REQUIRE(rig.sink->numbers() == count_to(3'000));
    REQUIRE(player->counters().skipped == 0);
    REQUIRE(player->counters().lateness.snapshot().max == 0ns);
    REQUIRE(player->state() == PlayerState::finished);
}

TEST_CASE("virtual time does the same run after run, controls included") {
    const auto run = [] {
        Rig rig{true};
        const auto player = rig.play(2'000, rig.sink);
        rig.engine->advance(1s);
        player->set_gain(Gain{0.5F});
        rig.engine->advance(500ms);
        player->pause();
        rig.engine->advance(2s);
        player->resume();
        player->seek(Samples{kSampleRate * 20});
        rig.engine->advance(1s);
        player->set_gain(Gain{1.0F});
        player->set_gain(Gain{0.7F});
        rig.engine->advance(60s);
        REQUIRE(rig.events->wait_finished(1));
        std::string heard;
        for (const auto& one : rig.sink->sent) {
            heard += std::to_string(one.number) + "/" + std::to_string(one.gain) + " ";
        }
        return heard;
    };
    const auto first = run();
    for (int i = 0; i < 10; ++i) REQUIRE(run() == first);
}

TEST_CASE("a volume change is heard within two frames although the ring was full") {
    Rig rig{true};
    const auto player = rig.play(200, rig.sink);
    rig.engine->advance(1s);
    const std::size_t before = rig.sink->sent.size();
    player->set_gain(Gain{0.5F});
    rig.engine->advance(100ms);
    REQUIRE(rig.sink->sent[before - 1].gain == 10);
    REQUIRE(rig.sink->sent[before + 1].gain == 5);
    for (std::size_t i = 1; i < rig.sink->sent.size(); ++i) {
        REQUIRE(rig.sink->sent[i].number == rig.sink->sent[i - 1].number + 1);
    }
}

TEST_CASE("a seek after everything was buffered is still played") {
    Rig rig{true};
    const auto player = rig.play(10, rig.sink);
    rig.engine->advance(100ms);
    player->seek(Samples{kFrameSamples * 8});
    rig.engine->advance(1s);
    REQUIRE(rig.events->wait_finished(1));
    const auto numbers = rig.sink->numbers();
    REQUIRE(std::count(numbers.begin(), numbers.end(), 8) == 1);
    REQUIRE(std::count(numbers.begin(), numbers.end(), 9) == 1);
}

TEST_CASE("virtual time does not wait for a source that the caller feeds") {
    Rig rig{true};
    const auto player = rig.play(10, rig.sink, true, true);
    rig.engine->advance(10s);
    REQUIRE(rig.sink->sent.empty());
    player->stop();
    rig.engine->advance(100ms);
    REQUIRE(rig.events->wait_finished(1));
}

TEST_CASE("virtual time waits for what the caller has fed, however often it is tried") {
    for (int round = 0; round < 300; ++round) {
        Rig rig{true};
        auto source = std::make_unique<FedSource>(50);
        FedSource& fed = *source;
        REQUIRE(rig.engine->play(std::move(source), rig.sink, {}).ok());
        fed.put(1);
        fed.put(50);
        rig.engine->advance(2s);
        REQUIRE(rig.events->wait_finished(1));
        REQUIRE(rig.sink->numbers() == count_to(50));
    }
}

TEST_CASE("a player whose end finds a feeder at work on it is let go of") {
    Rig rig{true};
    Turns turns;
    auto made = rig.engine->play(std::make_unique<HeldSource>(turns), rig.sink, {});
    REQUIRE(made.ok());
    auto player = std::move(made).value();
    rig.engine->advance(60ms);
    player->stop();
    rig.engine->advance(200ms);  // its ticks ask for more, and then it is over
    // The other feeder has looked at both when it has played something else to its end.
    const auto other = rig.play(3, std::make_shared<VectorSink>());
    rig.engine->advance(1s);
    REQUIRE(rig.events->wait_finished(1));
    REQUIRE(player->state() != PlayerState::finished);
    turns.begin();
    REQUIRE(rig.events->wait_finished(2));
    const std::weak_ptr<Player> left{std::exchange(player, nullptr)};
    const auto deadline = SteadyClock{}.now() + 5s;
    while (!left.expired() && SteadyClock{}.now() < deadline) std::this_thread::yield();
    REQUIRE(left.expired());
}

TEST_CASE("in real time frames leave at the pace of the clock") {
    Rig rig{false};
    const auto player = rig.play(25, rig.sink);
    REQUIRE(rig.events->wait_finished(1));
    REQUIRE(rig.sink->numbers() == count_to(25));
    const auto span = rig.sink->sent.back().time - rig.sink->sent.front().time;
    REQUIRE(span >= 29 * kFrameDuration - 15ms);
    const auto& counters = player->counters();
    REQUIRE(counters.ticks == counters.frames_sent + counters.silence_frames + counters.skipped);
}

TEST_CASE("three times as many stalled sources as feeders do not hold up another player") {
    Rig rig{false, 2};
    std::vector<std::shared_ptr<Player>> stalled;
    for (int i = 0; i < 6; ++i) {
        stalled.push_back(rig.play(10, std::make_shared<VectorSink>(16), true));
    }
    const auto player = rig.play(20, rig.sink);
    REQUIRE(rig.events->wait_finished(1));
    REQUIRE(rig.sink->numbers() == count_to(20));
    for (const auto& count : player->counters().underruns) REQUIRE(count == 0);
    for (const auto& one : stalled) REQUIRE(one->state() == PlayerState::priming);
}

TEST_CASE("of many that begin at once nobody gets a stock before all have something to send") {
    constexpr int kPlayers = 5;
    Turns turns;  // outlives the engine, whose feeders use it
    Rig rig{true, 1};
    for (int who = 0; who < kPlayers; ++who) {
        auto player = rig.engine->play(std::make_unique<TurnSource>(who, turns),
                                       std::make_shared<VectorSink>(), {});
        REQUIRE(player.ok());
    }
    turns.begin();
    rig.engine->advance(2s);
    REQUIRE(rig.events->wait_finished(kPlayers));
    const auto last = std::find(turns.made.begin(), turns.made.end(), kPlayers - 1);
    REQUIRE(last != turns.made.end());
    for (int who = 0; who < kPlayers; ++who) {
        const auto before = std::count(turns.made.begin(), last, who);
        CAPTURE(who);
        REQUIRE(before <= 2);
    }
}

TEST_CASE("closing an engine silences what plays, finishes every sink and leaves no player") {
    Rig rig{false};
    std::vector<std::shared_ptr<VectorSink>> sinks;
    std::vector<std::weak_ptr<Player>> players;
    for (int i = 0; i < 20; ++i) {
        sinks.push_back(std::make_shared<VectorSink>(1'000));
        players.push_back(rig.play(10'000, sinks.back(), i % 5 == 4));
    }
    REQUIRE(rig.events->wait_started(16));
    rig.engine->close();
    REQUIRE(rig.events->wait_finished(20));
    REQUIRE(rig.engine->streams() == 0);
    for (int i = 0; i < 20; ++i) {
        const auto numbers = sinks[static_cast<std::size_t>(i)]->numbers();
        if (i % 5 == 4) {
            REQUIRE(numbers.empty());
        } else {
            REQUIRE(std::count(numbers.begin(), numbers.end(), -1) == 5);
            REQUIRE(numbers.back() == -1);
        }
    }
    rig.engine.reset();
    for (const auto& player : players) REQUIRE(player.expired());
}

TEST_CASE("a closed engine refuses to play, and closing again does nothing") {
    Rig rig{false};
    rig.engine->close();
    rig.engine->close();
    const auto refused = rig.engine->play(std::make_unique<CountingSource>(1), rig.sink, {});
    REQUIRE_FALSE(refused.ok());
    REQUIRE(refused.error().code == Errc::closed);
}

TEST_CASE("a sink in use refuses a second player, which leaves no trace") {
    Rig rig{false};
    const auto player = rig.play(1'000, rig.sink);
    const auto second = rig.engine->play(std::make_unique<CountingSource>(1), rig.sink, {});
    REQUIRE_FALSE(second.ok());
    REQUIRE(second.error().code == Errc::already_playing);
    player->stop();
    REQUIRE(rig.events->wait_finished(1));
}

TEST_CASE("controls from many threads at once leave every player with an end") {
    Rig rig{false, 3};
    constexpr int kPlayers = 8;
    std::vector<std::shared_ptr<Player>> players;
    for (int i = 0; i < kPlayers; ++i) {
        players.push_back(rig.play(60'000, std::make_shared<VectorSink>(60'000)));
    }
    std::vector<std::thread> threads;
    for (unsigned seed = 0; seed < 3; ++seed) {
        threads.emplace_back([&players, seed] {
            unsigned state = seed + 1;
            for (int i = 0; i < 400; ++i) {
                state = state * 1'664'525U + 1'013'904'223U;
                Player& player = *players[(state >> 8U) % kPlayers];
                switch ((state >> 16U) % 5) {
                    case 0:
                        player.pause();
                        break;
                    case 1:
                        player.resume();
                        break;
                    case 2:
                        player.seek(Samples{(state >> 20U) * 960});
                        break;
                    case 3:
                        player.set_gain(Gain{static_cast<float>(i % 4)});
                        break;
                    default:
                        static_cast<void>(player.position());
                        break;
                }
            }
        });
    }
    for (auto& thread : threads) thread.join();
    for (const auto& player : players) player->stop();
    REQUIRE(rig.events->wait_finished(kPlayers));
}

TEST_CASE("virtual time never outruns the feeders, however often it is tried") {
    for (int round = 0; round < 300; ++round) {
        Rig rig{true};
        const auto player = rig.play(7, rig.sink);
        rig.engine->advance(1s);
        REQUIRE(rig.events->wait_finished(1));
        REQUIRE(rig.sink->numbers() == count_to(7));
    }
}
