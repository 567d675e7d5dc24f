#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <future>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "scratch.hpp"
#include "voicecore/command/doorbell.hpp"
#include "voicecore/command/store_worker.hpp"
#include "voicecore/command/tick_scheduler.hpp"

using namespace voicecore;
using namespace voicecore::command;
using namespace std::chrono_literals;

namespace {

struct Ears final : SchedulerListener {
    void on_tick(std::uint64_t) noexcept override { ++ticks; }
    void on_commands(Rung) noexcept override { ++commands; }
    void on_steered() noexcept override { ++steered; }
    void on_trouble() noexcept override { ++troubles; }
    std::atomic<int> ticks{0};
    std::atomic<int> commands{0};
    std::atomic<int> steered{0};
    std::atomic<int> troubles{0};
};

struct Session final : SessionControl {
    std::string pause() override { return note("pause"); }
    std::string resume() override { return note("resume"); }
    std::string stop() override { return note("stop"); }
    std::string seek(double seconds, bool relative) override {
        value = seconds;
        return note(relative ? "seek by" : "seek to");
    }
    std::string volume(double gain, bool) override {
        value = gain;
        return note("volume");
    }
    std::string next() override { return note("next"); }
    std::string note(const char* what) {
        const std::lock_guard lock{mutex};
        heard.emplace_back(what);
        return "done";
    }
    std::mutex mutex;
    std::vector<std::string> heard;
    double value = 0.0;
};

// On a manual clock: turns happen when the test says so.
struct Rig {
    explicit Rig(SchedulerOptions options = {}) {
        auto made = TickScheduler::create(
            scratch.open("bot"), scratch.open("watch"), ears, options,
            [this] { return wall.load(); }, &clock);
        REQUIRE(made.ok());
        scheduler = std::move(made).value();
        sender = scratch.open("sender");
    }
    void pass(Nanoseconds by) {
        clock.set(clock.now() + by);
        wall += by / 1ms;
        scheduler->turn();
    }
    std::int64_t send(NewCommand command) {
        const auto id = put(*sender, std::move(command), wall);
        scheduler->nudge();
        scheduler->turn();
        return id;
    }
    [[nodiscard]] std::string outcome(std::int64_t id) const {
        const auto found = sender->get(id);
        REQUIRE(found.ok());
        const Command& one = *found.value();
        return one.state + ":" + one.result.value_or("");
    }
    Scratch scratch;
    ManualClock clock;
    std::atomic<Millis> wall{1'000'000};
    Ears ears;
    std::unique_ptr<TickScheduler> scheduler;
    std::unique_ptr<Store> sender;
};

template <class Done>
bool soon(Done&& done) {
    for (int i = 0; i < 2'000; ++i) {
        if (done()) return true;
        std::this_thread::sleep_for(5ms);
    }
    return false;
}

// A socket of another process at `path`.
int listen_there(const std::string& path) {
    const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(static_cast<char*>(address.sun_path), sizeof address.sun_path - 1);
    REQUIRE(::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    return fd;
}

}  // namespace

TEST_CASE("ticks stay on their grid and a late one answers for those it missed") {
    Rig rig;
    rig.pass(0s);
    rig.pass(2s);
    rig.pass(61s);
    const auto report = rig.scheduler->report();
    REQUIRE(report.ticks == 3);
    REQUIRE(report.missed == 29);
    rig.pass(500ms);
    REQUIRE(rig.scheduler->report().ticks == 3);
    rig.pass(500ms);  // 64 s: on the grid again
    REQUIRE(rig.scheduler->report().ticks == 4);
}

TEST_CASE("a session of this process is steered without its owner being asked") {
    Rig rig;
    const auto session = std::make_shared<Session>();
    rig.scheduler->attach("a", 1, session);
    REQUIRE(rig.outcome(rig.send({.command = "pause", .key = "a"})) == "done:done");
    REQUIRE(rig.outcome(rig.send({.command = "seek", .key = "a", .args = R"({"by": -5.5})"})) ==
            "done:done");
    REQUIRE(session->heard == std::vector<std::string>{"pause", "seek by"});
    REQUIRE(session->value == -5.5);
    REQUIRE(rig.ears.commands == 0);
    REQUIRE(rig.ears.steered == 2);
}

TEST_CASE("a command for another key goes to the owner") {
    Rig rig;
    rig.scheduler->attach("a", 1, std::make_shared<Session>());
    rig.send({.command = "pause", .key = "b"});
    REQUIRE(rig.ears.commands == 1);
    const auto taken = rig.scheduler->take();
    REQUIRE(taken.size() == 1);
    REQUIRE(taken[0].command == "pause");
}

TEST_CASE("a command to every key reaches players at once and asks the owner for the others") {
    Rig rig;
    const auto session = std::make_shared<Session>();
    rig.scheduler->attach("a", 1, session);
    rig.scheduler->attach("b", 1, nullptr);
    rig.send({.command = "stop", .key = "*"});
    REQUIRE(session->heard == std::vector<std::string>{"stop"});
    REQUIRE(rig.scheduler->take().at(0).command == "stop");
}

TEST_CASE("a volume without a number goes to the owner, who can say what is wrong") {
    Rig rig;
    rig.scheduler->attach("a", 1, std::make_shared<Session>());
    for (const char* args :
         {"{}", R"({"to": "loud"})", R"({"to": 1, "by": 1})", R"({"to": nan})", R"({"to": 1)"}) {
        const auto id = rig.send({.command = "volume", .key = "a", .args = args});
        const auto taken = rig.scheduler->take();
        REQUIRE(taken.size() == 1);
        REQUIRE(rig.sender->fail(id, 1, rig.wall, "no").ok());
        rig.scheduler->forget(id);
    }
}

TEST_CASE("no more commands are in hand than the budget") {
    SchedulerOptions options;
    options.budget = 3;
    Rig rig{options};
    for (int i = 0; i < 10; ++i) {
        put(*rig.sender, {.command = "work", .key = std::to_string(i)}, rig.wall);
    }
    rig.pass(0s);
    const auto first = rig.scheduler->take();
    REQUIRE(first.size() == 3);
    rig.pass(2s);
    REQUIRE(rig.scheduler->take().empty());
    REQUIRE(rig.sender->ack(first[0].id, 1, rig.wall, "done").ok());
    rig.scheduler->forget(first[0].id);
    rig.scheduler->turn();
    REQUIRE(rig.scheduler->take().size() == 1);
}

// What the loop of a bot can do meanwhile is to wake up.
TEST_CASE("whoever rings is announced before the claim, and handed over after it") {
    struct Loop final : SchedulerListener {
        void on_tick(std::uint64_t) noexcept override { ticked.set_value(); }
        void on_commands(Rung) noexcept override {
            const std::lock_guard lock{mutex};
            claimed.push_back(scheduler->report().claimed);
            if (claimed.size() == 2) told_twice.set_value();
        }
        void on_steered() noexcept override {}
        void on_trouble() noexcept override {}
        TickScheduler* scheduler = nullptr;
        std::promise<void> ticked;
        std::promise<void> told_twice;
        std::mutex mutex;
        std::vector<std::uint64_t> claimed;  // by then
    } loop;
    const Scratch scratch;
    SchedulerOptions options;
    options.period = 1h;
    options.poll = 1h;
    auto made = TickScheduler::create(
        scratch.open("bot"), scratch.open("watch"), loop, options, [] { return Millis{1'000}; },
        nullptr);
    REQUIRE(made.ok());
    loop.scheduler = made.value().get();
    REQUIRE(made.value()->start().ok());
    REQUIRE(loop.ticked.get_future().wait_for(10s) == std::future_status::ready);
    auto sender = scratch.open("sender");
    put(*sender, {.command = "work", .key = "a"}, 1'000);
    Ringer ringer;
    ringer.prepare();
    for (const std::string& bell : sender->take_bells()) ringer.ring(bell);
    REQUIRE(loop.told_twice.get_future().wait_for(10s) == std::future_status::ready);
    made.value()->stop();
    REQUIRE(loop.claimed == std::vector<std::uint64_t>{0, 1});
}

TEST_CASE("leases of what is in hand are renewed for as long as it takes") {
    Rig rig;
    const auto id = rig.send({.command = "work", .key = "a"});
    for (int i = 0; i < 20; ++i) rig.pass(10s);
    REQUIRE(rig.sender->ack(id, 1, rig.wall, "done").ok());
}

TEST_CASE("without admission nothing more is claimed, and what is claimed keeps its lease") {
    Rig rig;
    const auto first = rig.send({.command = "work", .key = "a"});
    rig.scheduler->close_admission();
    const auto second = rig.send({.command = "work", .key = "b"});
    for (int i = 0; i < 20; ++i) rig.pass(10s);
    REQUIRE(rig.outcome(second) == "ready:");
    REQUIRE(rig.scheduler->take().size() == 1);
    REQUIRE(rig.ears.ticks >= 20);
    REQUIRE(rig.sender->ack(first, 1, rig.wall, "done").ok());
}

TEST_CASE("a session whose lease somebody else has is stopped") {
    SchedulerOptions options;
    options.lease = 1'000;
    Rig rig{options};
    auto bot = rig.scratch.open("bot");
    REQUIRE(bot->lease_session("a", 1, {}, rig.wall, 1'000).value() == 1);
    const auto session = std::make_shared<Session>();
    rig.scheduler->attach("a", 1, session);
    rig.wall += 5'000;  // it stood still for longer than its lease
    REQUIRE(rig.sender->lease_session("a", 2, {}, rig.wall, 1'000).value() == 2);
    rig.pass(1s);
    REQUIRE(session->heard == std::vector<std::string>{"stop"});
    REQUIRE(rig.scheduler->report().lost_claims == 1);
    REQUIRE(rig.scheduler->lost_sessions() == std::vector<std::string>{"a"});
}

TEST_CASE("one that only wakes claims nothing") {
    SchedulerOptions options;
    options.claims = false;
    Rig rig{options};
    const auto id = rig.send({.command = "work", .key = "a"});
    REQUIRE(rig.ears.commands == 1);
    REQUIRE(rig.scheduler->take().empty());
    REQUIRE(rig.outcome(id) == "ready:");
}

TEST_CASE("a delayed command is noticed when its time comes, not at the next tick") {
    Rig rig;
    rig.pass(0s);
    const auto id = rig.send({.command = "work", .key = "a", .not_before = rig.wall + 700});
    REQUIRE(rig.scheduler->next_deadline() <= rig.clock.now() + 700ms);
    rig.pass(700ms);
    REQUIRE(rig.scheduler->take().at(0).id == id);
}

TEST_CASE("whoever hangs a doorbell takes down those where nobody listens any more") {
    const Scratch scratch;
    REQUIRE(scratch.open() != nullptr);
    const std::string silent = scratch.path() + "-bell-1-1";
    ::close(listen_there(silent));  // as a kill -9 leaves it
    const auto live = Doorbell::hang(scratch.path());
    REQUIRE(live.ok());
    REQUIRE_FALSE(std::filesystem::exists(silent));
    const auto another = Doorbell::hang(scratch.path());
    REQUIRE(another.ok());
    REQUIRE(std::filesystem::exists(live.value()->path()));
}

TEST_CASE("a doorbell takes no name at which another container's process listens") {
    const Scratch scratch;
    REQUIRE(scratch.open() != nullptr);
    const auto first = Doorbell::hang(scratch.path());
    REQUIRE(first.ok());
    const std::string& path = first.value()->path();
    const std::size_t number = path.rfind('-') + 1;
    const std::string next =
        path.substr(0, number) + std::to_string(std::stoi(path.substr(number)) + 1);
    const int theirs = listen_there(next);
    const auto second = Doorbell::hang(scratch.path());
    REQUIRE(second.ok());
    REQUIRE(second.value()->path() != next);
    Ringer ringer;
    ringer.prepare();
    REQUIRE(ringer.ring(next));
    REQUIRE(ringer.ring(second.value()->path()));
    REQUIRE(second.value()->answer());
    ::close(theirs);
}

TEST_CASE("a queue file with the longest name has a doorbell") {
    const Scratch scratch;
    const std::string longest = scratch.path() + std::string(240, 'x');
    std::ofstream{longest}.put(' ');
    const auto bell = Doorbell::hang(longest);
    if (!bell) FAIL(bell.error().message);
    Ringer ringer;
    ringer.prepare();
    REQUIRE(ringer.ring(bell.value()->path()));
    REQUIRE(bell.value()->answer());
}

TEST_CASE("a doorbell that cannot be hung says why") {
    const Scratch scratch;
    REQUIRE(scratch.open() != nullptr);
    rlimit before{};
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
    const rlimit none{.rlim_cur = 0, .rlim_max = before.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
    const auto bell = Doorbell::hang(scratch.path());
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
    REQUIRE_FALSE(bell.ok());
    REQUIRE(bell.error().native == EMFILE);
}

TEST_CASE("the doorbell wakes a sleeping scheduler, and threads may do everything at once") {
    const Scratch scratch;
    Ears ears;
    SchedulerOptions options;
    options.period = 20ms;
    options.poll = 1h;
    auto made = TickScheduler::create(
        scratch.open("bot"), scratch.open("watch"), ears, options,
        [] {
            return std::chrono::duration_cast<std::chrono::milliseconds>(
                       std::chrono::system_clock::now().time_since_epoch())
                .count();
        },
        nullptr);
    REQUIRE(made.ok());
    auto scheduler = std::move(made).value();
    const auto session = std::make_shared<Session>();
    scheduler->attach("a", 1, session);
    REQUIRE(scheduler->start().ok());
    std::atomic<bool> over{false};
    std::thread owner{[&] {
        auto store = scratch.open("owner");
        while (!over) {
            for (const Command& one : scheduler->take()) {
                // The claim is the scheduler's; who acks it need not be.
                static_cast<void>(store->ack(one.id, one.attempt, one.created_at, "done"));
                scheduler->forget(one.id);
            }
            static_cast<void>(scheduler->report());
            scheduler->attach("b", 1, session);
            scheduler->detach("b", 1);
            std::this_thread::sleep_for(1ms);
        }
    }};
    StoreWorker worker{{.path = scratch.path(), .owner = "sender"}};
    struct Send final : StoreCall {
        explicit Send(NewCommand command) : what{std::move(command)} {}
        void run(Store& store) noexcept override {
            const auto now = std::chrono::duration_cast<std::chrono::milliseconds>(
                                 std::chrono::system_clock::now().time_since_epoch())
                                 .count();
            ok = store.enqueue(std::span{&what, 1}, now).ok();
        }
        void fail(Error) noexcept override {}
        NewCommand what;
        std::atomic<bool> ok{false};
    };
    std::vector<std::shared_ptr<Send>> sent;
    std::atomic<int> ended{0};
    for (int i = 0; i < 40; ++i) {
        NewCommand command{.command = i % 2 == 0 ? "next" : "work", .key = i % 2 == 0 ? "a" : "b"};
        sent.push_back(std::make_shared<Send>(std::move(command)));
        worker.submit(sent.back(), [&] { ++ended; });
    }
    auto look = scratch.open("look");
    REQUIRE(soon([&] { return ended == 40 && !look->anything().value(); }));
    over = true;
    owner.join();
    scheduler->stop();
    worker.close();
    for (const auto& one : sent) REQUIRE(one->ok);
    REQUIRE(session->heard.size() == 20);
    REQUIRE(scheduler->report().wakes[static_cast<std::size_t>(Rung::doorbell)] > 0);
    REQUIRE(ears.ticks > 0);
    REQUIRE(ears.troubles == 0);
}
