#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <thread>

#include "http_server.hpp"
#include "media.hpp"

using namespace media;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

namespace {

// Bytes that come up to a gate; there read() hangs until the gate moves or it is interrupted.
class GatedInput final : public audio::ByteInput {
  public:
    GatedInput(std::string bytes, std::size_t gate) : bytes_{std::move(bytes)}, gate_{gate} {}
    Result<std::size_t> read(std::span<std::uint8_t> into) override {
        std::unique_lock lock{mutex_};
        blocked_ = at_ >= gate_;
        changed_.notify_all();
        changed_.wait(lock, [this] { return at_ < gate_ || interrupted_; });
        if (interrupted_) return Error{Errc::cancelled, 0, "interrupted"};
        const std::size_t count = std::min({into.size(), bytes_.size() - at_, gate_ - at_});
        blocked_ = false;
        std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(at_), count, into.begin());
        at_ += count;
        return count;
    }
    Status seek(std::int64_t) override { return Error{Errc::io, 0, "no"}; }
    bool seekable() const noexcept override { return false; }
    std::optional<std::int64_t> size() const noexcept override { return {}; }
    bool can_block() const noexcept override { return true; }
    void interrupt() noexcept override {
        const std::lock_guard lock{mutex_};
        interrupted_ = true;
        changed_.notify_all();
    }
    void open_gate(std::size_t gate) {
        const std::lock_guard lock{mutex_};
        gate_ = gate;
        changed_.notify_all();
    }
    void wait_until_blocked() {
        std::unique_lock lock{mutex_};
        changed_.wait(lock, [this] { return blocked_; });
    }
    [[nodiscard]] bool interrupted() {
        const std::lock_guard lock{mutex_};
        return interrupted_;
    }

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::string bytes_;
    std::size_t gate_;
    std::size_t at_ = 0;
    bool blocked_ = false;
    bool interrupted_ = false;
};

std::string body_of(const std::string& name) {
    return http_test::file_bytes(path(name));
}

OpenRequest from(std::shared_ptr<audio::ByteInput> input) {
    auto out = request("gated");
    out.input = std::move(input);
    out.timeout = 2s;
    return out;
}

class Fifo {
  public:
    Fifo()
        : name_{(std::filesystem::temp_directory_path() /
                 ("voicecore-fifo-" + std::to_string(::getpid())))
                    .string()} {
        ::unlink(name_.c_str());
        ::mkfifo(name_.c_str(), 0600);
    }
    ~Fifo() { ::unlink(name_.c_str()); }
    [[nodiscard]] const std::string& name() const { return name_; }

  private:
    std::string name_;
};

}  // namespace

TEST_CASE("a blocked input gives would_block, and the hook tells when to come again") {
    const std::string body = body_of("cbr.mp3");
    const auto input = std::make_shared<GatedInput>(body, 20'000);
    auto source = media::open(from(input));
    MediaUnit unit;
    std::mutex mutex;
    std::condition_variable rung;
    int rings = 0;
    source->set_ready_hook([&] {
        const std::lock_guard lock{mutex};
        ++rings;
        rung.notify_all();
    });
    input->wait_until_blocked();
    std::int64_t samples = 0;
    ReadStatus status = ReadStatus::ok;
    while ((status = source->read(unit)) == ReadStatus::ok) samples += unit.duration.count();
    REQUIRE(status == ReadStatus::would_block);
    CHECK(samples > 10'000);
    input->open_gate(body.size() + 1);
    for (;;) {
        const int before = rings;
        while ((status = source->read(unit)) == ReadStatus::ok) samples += unit.duration.count();
        if (status != ReadStatus::would_block) break;
        std::unique_lock lock{mutex};
        REQUIRE(rung.wait_for(lock, 5s, [&] { return rings != before; }));
    }
    CHECK(status == ReadStatus::end);
    CHECK(samples == length_of("cbr.mp3"));
    source->set_ready_hook({});
}

TEST_CASE(
    "destroying a source while its input is blocked returns at once and interrupts the input") {
    const auto input = std::make_shared<GatedInput>(body_of("cbr.mp3"), 20'000);
    auto source = media::open(from(input));
    input->wait_until_blocked();
    const auto begin = Clock::now();
    source.reset();
    CHECK(Clock::now() - begin < 100ms);
    CHECK(input->interrupted());
}

TEST_CASE("the hook is not called once it was replaced") {
    const std::string body = body_of("cbr.mp3");
    for (int i = 0; i < 50; ++i) {
        const auto input = std::make_shared<GatedInput>(body, 20'000);
        auto source = media::open(from(input));
        std::atomic<bool> gone{false};
        std::atomic<bool> late{false};
        source->set_ready_hook([&] {
            if (gone) late = true;
        });
        MediaUnit unit;
        while (source->read(unit) == ReadStatus::ok) {
        }
        input->open_gate(body.size() + 1);
        source->set_ready_hook({});
        gone = true;
        while (next(*source, unit) == ReadStatus::ok) {
        }
        REQUIRE_FALSE(late);
    }
}

TEST_CASE("opening a silent input ends with its time-out, or at once when cancelled") {
    auto wanted = from(std::make_shared<GatedInput>("", 0));
    wanted.timeout = 100ms;
    CHECK(codec::open_media(wanted, nullptr).error().code == Errc::timeout);
    const auto cancel = std::make_shared<CancelToken>();
    const auto input = std::make_shared<GatedInput>("", 0);
    std::thread canceller{[&] {
        input->wait_until_blocked();
        cancel->cancel();
    }};
    wanted = from(input);
    wanted.timeout = 1h;
    const auto begin = Clock::now();
    CHECK(codec::open_media(wanted, cancel).error().code == Errc::cancelled);
    CHECK(Clock::now() - begin < 2s);
    canceller.join();
    CHECK(input->interrupted());
}

TEST_CASE("an input that falls silent while playing fails with a time-out") {
    auto wanted = from(std::make_shared<GatedInput>(body_of("cbr.mp3"), 20'000));
    wanted.timeout = 100ms;
    auto source = media::open(wanted);
    const auto pcm = read_pcm(*source);
    CHECK(pcm.last == ReadStatus::failed);
    CHECK(source->error().code == Errc::timeout);
}

TEST_CASE("a FIFO plays what its writer sends, and ends with it") {
    const Fifo fifo;
    const std::string body = body_of("vorbis.ogg");
    std::thread writer{[&] {
        const int fd = ::open(fifo.name().c_str(), O_WRONLY | O_CLOEXEC);
        std::size_t at = 0;
        while (at < body.size()) {
            const auto sent =
                ::write(fd, body.data() + at, std::min<std::size_t>(body.size() - at, 7'000));
            if (sent <= 0) break;
            at += static_cast<std::size_t>(sent);
        }
        ::close(fd);
    }};
    auto source = media::open(request(fifo.name()));
    CHECK_FALSE(source->info().seekable);
    const auto pcm = read_pcm(*source);
    writer.join();
    CHECK(pcm.last == ReadStatus::end);
    CHECK(pcm.samples() == length_of("vorbis.ogg"));
}

TEST_CASE("a pipe that stops is a time-out; a FIFO that nobody writes to as well") {
    const Fifo fifo;
    auto wanted = request(fifo.name());
    wanted.timeout = 100ms;
    CHECK(codec::open_media(wanted, nullptr).error().code == Errc::timeout);
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    const std::string body = body_of("cbr.mp3");
    REQUIRE(::write(ends[1], body.data(), 20'000) == 20'000);
    wanted.location = "/proc/self/fd/" + std::to_string(ends[0]);
    auto source = media::open(wanted);
    CHECK(read_pcm(*source).last == ReadStatus::failed);
    CHECK(source->error().code == Errc::timeout);
    ::close(ends[0]);
    ::close(ends[1]);
}

TEST_CASE("start works on an input that cannot seek, by dropping what lies before") {
    const std::string body = body_of("cbr.mp3");
    auto wanted = from(std::make_shared<GatedInput>(body, body.size() + 1));
    wanted.start = Samples{60'000};
    const auto pcm = read_pcm(*media::open(wanted));
    CHECK(pcm.begin == 60'000);
    CHECK(pcm.samples() == length_of("cbr.mp3") - 60'000);
    const std::string opus = body_of("opus.opus");
    wanted.input = std::make_shared<GatedInput>(opus, opus.size() + 1);
    const auto packets = read_packets(*media::open(wanted));
    CHECK(packets.units.front().position.count() <= 60'000 - audio::kOpusPreroll.count());
    CHECK(packets.units.front().position.count() > 60'000 - 2 * audio::kOpusPreroll.count());
}

TEST_CASE("a seek is carried out while the thread waits for bytes") {
    const std::string body = body_of("flac.flac");
    std::atomic<bool> stalled{false};
    const http_test::Server server{[&](const auto& asked, http_test::Peer& peer) {
        if (asked.range == 0) {
            http_test::answer(asked, peer, body, 150'000);
            stalled = true;
            peer.stall();
        }
        http_test::answer(asked, peer, body);
    }};
    auto source = media::open(request(server.url("/x")));
    MediaUnit unit;
    // What was sent before the stall is read first; then the thread hangs in its connection.
    for (int quiet = 0; quiet < 50 || !stalled; ++quiet) {
        if (source->read(unit) == ReadStatus::ok) quiet = 0;
        std::this_thread::sleep_for(1ms);
    }
    source->seek(Samples{100'000});
    const auto begin = Clock::now();
    const auto pcm = read_pcm(*source);
    CHECK(pcm.begin == 100'000);
    CHECK(pcm.samples() == length_of("flac.flac") - 100'000);
    CHECK(Clock::now() - begin < 5s);
}
