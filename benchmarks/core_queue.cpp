// The command store as the core has it, without Python: how fast it claims and acknowledges.
//
// core_queue statements
//     every statement of one claim and one ack of a waiting command, one a line
// core_queue fill PATH ROWS BYTES
//     makes a file with ROWS commands waiting, of BYTES of payload each
// core_queue pairs PATH normal|full ROWS BATCH
//     claims ROWS of them BATCH at a time and acknowledges them BATCH at a time
// core_queue versus STATEMENTS BARE CORE normal|full ROWS
//     two files: claims and acknowledges ROWS of each one by one, in turns, the one by
//     `bare_queue.c`
// core_queue history EMPTY FULL ROUNDS BYTES PAST
//     two files, one of them with PAST finished commands: ROUNDS claims and acks of each, in turns
// core_queue wake PATH normal|full COUNT BYTES
//     a process that enqueues every 10 ms and one that is rung for, claims and acknowledges; a
//     second thread of it waits in epoll to be told, as an event loop does
//
// Prints "name value" pairs; nanoseconds.
#include <poll.h>
#include <sqlite3.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "bare_queue.h"
#include "voicecore/command/doorbell.hpp"
#include "voicecore/command/store.hpp"

namespace {

using namespace voicecore::command;  // NOLINT: a program of one file
using Clock = std::chrono::steady_clock;

// The write-ahead log moves into the file on the worker's tick, and once more at the end; for the
// bare loop as well.
constexpr auto kTick = std::chrono::seconds{2};
constexpr std::size_t kFilling = 1'000;
constexpr int kKeys = 64;
constexpr int kRoundsToCheckpoint = 1'000;

[[noreturn]] void fail(const std::string& why) {
    std::fprintf(stderr, "core_queue: %s\n", why.c_str());
    std::exit(1);
}

template <class T>
T must(voicecore::Result<T> result) {
    if (!result) fail(result.error().message);
    return std::move(result).value();
}

Millis wall() {
    return std::chrono::duration_cast<std::chrono::milliseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
}

std::int64_t nanoseconds(Clock::duration time) {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(time).count();
}

std::unique_ptr<Store> open(const std::string& path, bool full, StepHook hook = nullptr) {
    return must(Store::open({.path = path,
                             .owner = "core_queue",
                             .role = "worker",
                             .synchronous = full ? Synchronous::full : Synchronous::normal,
                             .hook = std::move(hook)}));
}

// A JSON object of so many bytes.
std::string payload(std::size_t bytes) {
    const std::string_view frame = R"({"pad":""})";
    std::string out{frame.substr(0, 8)};
    out.append(bytes > frame.size() ? bytes - frame.size() : 0, 'x');
    out += frame.substr(8);
    return out;
}

void fill(Store& store, std::int64_t rows, std::size_t bytes) {
    NewCommand one{.command = "job", .entry_id = 3, .args = payload(bytes)};
    std::vector<NewCommand> many;
    for (std::int64_t i = 0; i < rows; ++i) {
        one.key = "guild-" + std::to_string(i % kKeys);
        many.push_back(one);
        if (many.size() == kFilling || i + 1 == rows) {
            must(store.enqueue(many, wall()));
            many.clear();
        }
    }
    must(store.checkpoint(true));
}

ClaimRequest request(int limit) {
    return {.now = wall(), .limit = limit, .lease = 30'000, .started_at = {}};
}

void statements() {
    std::string folder = (std::filesystem::temp_directory_path() / "core_queue-XXXXXX").string();
    if (::mkdtemp(folder.data()) == nullptr) fail("no temporary folder");
    {
        bool tell = false;
        auto store = open(folder + "/queue.db", false, [&tell](std::string_view sql) {
            if (tell) std::printf("%.*s\n", static_cast<int>(sql.size()), sql.data());
        });
        fill(*store, 4, 110);
        tell = true;
        const auto found = must(store->claim(request(1)));
        must(store->ack(found.claimed.at(0).id, found.claimed.at(0).attempt, wall(), "done"));
    }
    std::filesystem::remove_all(folder);
}

void pairs(const std::string& path, bool full, std::int64_t rows, int batch) {
    auto store = open(path, full);
    std::int64_t done = 0;
    std::int64_t batches = 0;
    Clock::duration claiming{};
    const auto began = Clock::now();
    auto next = began + kTick;
    while (done < rows) {
        const auto before = Clock::now();
        const auto found = must(store->claim(request(batch)));
        claiming += Clock::now() - before;
        if (found.claimed.empty()) fail("nothing to claim");
        if (batch == 1) {
            must(store->ack(found.claimed[0].id, found.claimed[0].attempt, wall(), "done"));
        } else {
            std::vector<Finished> finished;
            for (const Command& one : found.claimed) {
                finished.push_back({one.id, one.attempt, "done"});
            }
            must(store->ack_many(finished, wall()));
        }
        ++batches;
        done += static_cast<std::int64_t>(found.claimed.size());
        if (Clock::now() >= next) {
            must(store->checkpoint(false));
            next += kTick;
        }
    }
    must(store->checkpoint(false));
    std::printf("rows %lld batches %lld claim_ns %lld all_ns %lld\n", static_cast<long long>(done),
                static_cast<long long>(batches), static_cast<long long>(nanoseconds(claiming)),
                static_cast<long long>(nanoseconds(Clock::now() - began)));
}

// Time is taken from both alike, whatever else the machine does.
void versus(const std::string& texts, const std::string& bare, const std::string& core, bool full,
            std::int64_t rows) {
    bare_open(texts.c_str(), bare.c_str(), full ? 1 : 0);
    auto store = open(core, full);
    Clock::duration bare_took{};
    Clock::duration core_took{};
    Clock::duration claiming{};
    const auto bare_pass = [&](auto what) {
        const auto at = Clock::now();
        what();
        bare_took += Clock::now() - at;
    };
    const auto core_pair = [&] {
        const auto at = Clock::now();
        const auto found = must(store->claim(request(1)));
        const auto claimed = Clock::now();
        const Command& one = found.claimed.at(0);
        must(store->ack(one.id, one.attempt, wall(), "done"));
        claiming += claimed - at;
        core_took += Clock::now() - at;
    };
    const auto checkpoints = [&] {
        bare_pass(bare_checkpoint);
        const auto at = Clock::now();
        must(store->checkpoint(false));
        core_took += Clock::now() - at;
    };
    auto next = Clock::now() + kTick;
    for (std::int64_t row = 0; row < rows; ++row) {
        if (row % 2 == 0) {
            bare_pass(bare_pair);
            core_pair();
        } else {
            core_pair();
            bare_pass(bare_pair);
        }
        if (Clock::now() >= next) {
            checkpoints();
            next += kTick;
        }
    }
    checkpoints();
    bare_close();
    std::printf("rows %lld bare_ns %lld core_ns %lld claim_ns %lld\n", static_cast<long long>(rows),
                static_cast<long long>(nanoseconds(bare_took)),
                static_cast<long long>(nanoseconds(core_took)),
                static_cast<long long>(nanoseconds(claiming)));
}

void finish_many(Store& store, std::int64_t past, std::size_t bytes) {
    const Store::Step step{
        .sql =
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)"
            " INSERT INTO bot_command_history(id, command, entry_id, key, args, created_at,"
            " attempt, max_attempts, owner, claimed_at, result, state, finished_at)"
            " SELECT i, 'job', 3, 'guild-' || (i % 64), ?2, ?3 + i, 1, 1, 'core_queue', ?3 + i,"
            " 'done', 'done', ?3 + i FROM n",
        .parameters = {past, payload(bytes), wall() - past}};
    const Store::Step number{
        .sql = "INSERT OR REPLACE INTO sqlite_sequence(name, seq) VALUES ('bot_commands', ?1)",
        .parameters = {past}};
    const std::vector<Store::Step> steps{step, number};
    must(store.transact(steps));
    must(store.checkpoint(true));
}

struct Side {
    const char* name;
    std::unique_ptr<Store> store;
    std::vector<std::int64_t> claims = {};
    std::vector<std::int64_t> acks = {};
};

std::int64_t quantile(std::vector<std::int64_t>& values, double share) {
    std::sort(values.begin(), values.end());
    return values.at(static_cast<std::size_t>(share * static_cast<double>(values.size() - 1)));
}

void history(const std::string& empty, const std::string& full, std::int64_t rounds,
             std::size_t bytes, std::int64_t past) {
    std::vector<Side> sides;
    sides.push_back({"empty", open(empty, false)});
    sides.push_back({"full", open(full, false)});
    if (past > 0) finish_many(*sides[1].store, past, bytes);
    for (Side& side : sides) fill(*side.store, rounds, bytes);
    for (std::int64_t round = 0; round < rounds; ++round) {
        // Who comes first changes, so that neither always finds the caches as the other left them.
        if (round % 2 == 1) std::swap(sides[0], sides[1]);
        for (Side& side : sides) {
            const auto at = Clock::now();
            const auto found = must(side.store->claim(request(1)));
            const auto claimed = Clock::now();
            const Command& one = found.claimed.at(0);
            must(side.store->ack(one.id, one.attempt, wall(), "done"));
            side.acks.push_back(nanoseconds(Clock::now() - claimed));
            side.claims.push_back(nanoseconds(claimed - at));
        }
        if (round % 2 == 1) std::swap(sides[0], sides[1]);
        if (round % kRoundsToCheckpoint == kRoundsToCheckpoint - 1) {
            for (Side& side : sides) must(side.store->checkpoint(false));
        }
    }
    for (Side& side : sides) {
        const auto one = [&](const char* what, std::vector<std::int64_t>& values) {
            for (const auto& [name, share] :
                 {std::pair{"p50", 0.5}, std::pair{"p99", 0.99}, std::pair{"max", 1.0}}) {
                std::printf("%s_%s_%s %lld ", side.name, what, name,
                            static_cast<long long>(quantile(values, share)));
            }
        };
        one("claim", side.claims);
        one("ack", side.acks);
    }
    std::printf("\n");
}

constexpr auto kPeriod = std::chrono::milliseconds{10};
constexpr int kPatienceMs = 2'000;

// When each command was sent: shared by the two processes.
std::int64_t* shared_instants(std::int64_t count) {
    void* at = ::mmap(nullptr, static_cast<std::size_t>(count) * sizeof(std::int64_t),
                      PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) fail("no memory");
    return static_cast<std::int64_t*>(at);
}

void send_paced(const std::string& path, bool full, std::int64_t count, std::size_t bytes,
                std::int64_t* sent) {
    auto store = open(path, full);
    Ringer ringer;
    ringer.prepare();
    NewCommand one{.command = "job", .args = payload(bytes)};
    const auto began = Clock::now();
    for (std::int64_t i = 0; i < count; ++i) {
        std::this_thread::sleep_until(began + i * kPeriod);
        sent[i] = nanoseconds(Clock::now().time_since_epoch());
        one.entry_id = i;
        one.key = "guild-" + std::to_string(i % kKeys);
        must(store->enqueue({&one, 1}, wall()));
        for (const std::string& bell : store->take_bells()) ringer.ring(bell);
    }
}

// Where an event loop would be: a thread that sleeps in epoll until it is told of claimed commands.
class Told {
  public:
    explicit Told(std::int64_t count) : instants_(static_cast<std::size_t>(count)) {
        epoll_event watch{.events = EPOLLIN, .data = {}};
        ::epoll_ctl(loop_, EPOLL_CTL_ADD, bell_, &watch);
        thread_ = std::thread{[this] { run(); }};
    }
    Told(const Told&) = delete;
    Told& operator=(const Told&) = delete;
    ~Told() {
        ::close(bell_);
        ::close(loop_);
    }
    // Of one more, in the order in which they were sent.
    void tell() { ::eventfd_write(bell_, 1); }
    // When it heard of each, once it has heard of all.
    const std::vector<std::int64_t>& instants() {
        thread_.join();
        return instants_;
    }

  private:
    void run() {
        for (std::size_t heard = 0; heard < instants_.size();) {
            epoll_event found{};
            if (::epoll_wait(loop_, &found, 1, kPatienceMs) <= 0) fail("the thread is not told");
            const std::int64_t at = nanoseconds(Clock::now().time_since_epoch());
            eventfd_t more = 0;
            ::eventfd_read(bell_, &more);
            for (; more > 0 && heard < instants_.size(); --more) instants_[heard++] = at;
        }
    }
    std::vector<std::int64_t> instants_;
    const int bell_ = ::eventfd(0, EFD_CLOEXEC);
    const int loop_ = ::epoll_create1(EPOLL_CLOEXEC);
    std::thread thread_;
};

void print_spread(const char* name, std::vector<std::int64_t> late) {
    std::printf("%s_p50_ns %lld %s_p99_ns %lld %s_max_ns %lld ", name,
                static_cast<long long>(quantile(late, 0.5)), name,
                static_cast<long long>(quantile(late, 0.99)), name,
                static_cast<long long>(quantile(late, 1.0)));
}

void wake(const std::string& path, bool full, std::int64_t count, std::size_t bytes) {
    auto* sent = shared_instants(count);
    auto store = open(path, full);
    const auto bell = must(Doorbell::hang(path));
    must(store->announce(::getpid(), bell->path(), wall()));
    store.reset();  // a connection does not survive a fork
    const pid_t sender = ::fork();
    if (sender == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        send_paced(path, full, count, bytes, sent);
        std::_Exit(0);
    }
    store = open(path, full);
    Told told{count};
    std::vector<std::int64_t> claimed_late;
    auto next = Clock::now() + kTick;
    while (static_cast<std::int64_t>(claimed_late.size()) < count) {
        pollfd watched{.fd = bell->fd(), .events = POLLIN, .revents = 0};
        if (::poll(&watched, 1, kPatienceMs) <= 0) fail("the bell does not ring");
        bell->answer();
        while (true) {
            const auto found = must(store->claim(request(32)));
            if (found.claimed.empty()) break;
            const std::int64_t at = nanoseconds(Clock::now().time_since_epoch());
            for (const Command& each : found.claimed) {
                claimed_late.push_back(at - sent[each.entry_id.value()]);
                told.tell();
                must(store->ack(each.id, each.attempt, wall(), "done"));
            }
        }
        if (Clock::now() >= next) {
            must(store->checkpoint(false));
            next += kTick;
        }
    }
    ::waitpid(sender, nullptr, 0);
    std::vector<std::int64_t> told_late = told.instants();
    for (std::size_t i = 0; i < told_late.size(); ++i) told_late[i] -= sent[i];
    print_spread("claimed", claimed_late);
    print_spread("told", std::move(told_late));
    std::printf("\n");
}

}  // namespace

int main(int count, char** words) {
    const std::vector<std::string> given(words + 1, words + count);
    const auto number = [&](std::size_t at) { return std::stoll(given.at(at)); };
    if (given.size() == 1 && given[0] == "statements") {
        statements();
    } else if (given.size() == 4 && given[0] == "fill") {
        fill(*open(given[1], false), number(2), static_cast<std::size_t>(number(3)));
    } else if (given.size() == 5 && given[0] == "pairs") {
        pairs(given[1], given[2] == "full", number(3), static_cast<int>(number(4)));
    } else if (given.size() == 6 && given[0] == "versus") {
        versus(given[1], given[2], given[3], given[4] == "full", number(5));
    } else if (given.size() == 6 && given[0] == "history") {
        history(given[1], given[2], number(3), static_cast<std::size_t>(number(4)), number(5));
    } else if (given.size() == 5 && given[0] == "wake") {
        wake(given[1], given[2] == "full", number(3), static_cast<std::size_t>(number(4)));
    } else {
        fail("see the head of core_queue.cpp");
    }
    return 0;
}
