#include <dirent.h>
#include <malloc.h>
#include <unistd.h>

#include <condition_variable>
#include <filesystem>
#include <mutex>

#include "http_server.hpp"
#include "media.hpp"

using namespace media;
using namespace std::chrono_literals;

namespace {

// Entries of a folder of /proc/self.
int entries(const char* folder) {
    int count = 0;
    for (const auto& entry : std::filesystem::directory_iterator{folder}) {
        count += entry.path().empty() ? 0 : 1;
    }
    return count;
}

long resident_kib() {
    std::ifstream file{"/proc/self/statm"};
    long total = 0;
    long resident = 0;
    file >> total >> resident;
    return resident * (::sysconf(_SC_PAGESIZE) / 1024);
}

constexpr bool kSanitized =
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    true;
#else
    false;
#endif

// The frames of a short mp3 over and over: too long to be indexed in passing.
class LongMp3 {
  public:
    LongMp3()
        : name_{(std::filesystem::temp_directory_path() /
                 ("voicecore-long-" + std::to_string(::getpid()) + ".mp3"))
                    .string()} {
        const std::string all = http_test::file_bytes(path("cbr-bare.mp3"));
        std::ofstream file{name_, std::ios::binary};
        for (std::size_t size = 0; size < (16U << 20U); size += all.size()) file << all;
    }
    ~LongMp3() { std::filesystem::remove(name_); }
    [[nodiscard]] const std::string& name() const { return name_; }

  private:
    std::string name_;
};

}  // namespace

TEST_CASE(
    "a thousand sources opened, read and closed leave no descriptor, thread or memory behind") {
    const char* const kNames[] = {"cbr.mp3", "aac.m4a", "vorbis.ogg", "opus.opus", "flac.flac"};
    const auto turn = [&](int i) {
        auto source = media::open(kNames[i % 5]);
        MediaUnit unit;
        for (int k = 0; k < 3; ++k) REQUIRE(source->read(unit) == ReadStatus::ok);
    };
    for (int i = 0; i < 50; ++i) turn(i);
    const int descriptors = entries("/proc/self/fd");
    const int threads = entries("/proc/self/task");
    ::malloc_trim(0);
    const long before = resident_kib();
    for (int i = 0; i < 1'000; ++i) turn(i);
    ::malloc_trim(0);
    CHECK(entries("/proc/self/fd") == descriptors);
    CHECK(entries("/proc/self/task") == threads);
    if (!kSanitized) CHECK(resident_kib() - before < 2'048);
}

TEST_CASE("sources on threads leave nothing behind either, soon after they are closed") {
    const std::string body = http_test::file_bytes(path("cbr.mp3"));
    const http_test::Server server{
        [&](const auto& asked, http_test::Peer& peer) { http_test::answer(asked, peer, body); }};
    const int descriptors = entries("/proc/self/fd");
    for (int i = 0; i < 50; ++i) {
        auto source = media::open(request(server.url("/x")));
        MediaUnit unit;
        REQUIRE(next(*source, unit) == ReadStatus::ok);
    }
    for (int i = 0; i < 500 && entries("/proc/self/fd") > descriptors; ++i) {
        std::this_thread::sleep_for(10ms);
    }
    CHECK(entries("/proc/self/fd") <= descriptors);
}

TEST_CASE("a long file without an index is indexed off the path, and the next seek is immediate") {
    const LongMp3 file;
    const auto whole = read_pcm(*media::open(request(file.name())), 30 * kSampleRate);
    auto source = media::open(request(file.name()));
    std::mutex mutex;
    std::condition_variable rung;
    bool ready = false;
    source->set_ready_hook([&] {
        const std::lock_guard lock{mutex};
        ready = true;
        rung.notify_all();
    });
    const auto begin = std::chrono::steady_clock::now();
    source->seek(Samples{25 * kSampleRate});
    CHECK(std::chrono::steady_clock::now() - begin < 20ms);
    {
        std::unique_lock lock{mutex};
        REQUIRE(rung.wait_for(lock, 10s, [&] { return ready; }));
    }
    const auto part = read_pcm(*source, 5'000);
    CHECK(part.begin == 25 * kSampleRate);
    CHECK(error_db(whole.values, part.begin, part.values) < -60);
    source->set_ready_hook({});
    // The same file again: its index is kept, and so is its exact length.
    auto again = media::open(request(file.name()));
    const std::int64_t end = again->info().duration->count();
    again->seek(Samples{end - 10'000});
    MediaUnit unit;
    REQUIRE(again->read(unit) == ReadStatus::ok);
    CHECK(unit.position.count() == end - 10'000);
    again->seek(Samples{20 * kSampleRate});
    REQUIRE(again->read(unit) == ReadStatus::ok);
    CHECK(error_db(whole.values, 20 * kSampleRate, {unit.pcm.begin(), unit.pcm.end()}) < -60);
}

TEST_CASE("closing a source while its file is being indexed does not wait") {
    const LongMp3 file;
    auto source = media::open(request(file.name()));
    source->seek(Samples{300 * kSampleRate});
    const auto begin = std::chrono::steady_clock::now();
    source.reset();
    CHECK(std::chrono::steady_clock::now() - begin < 50ms);
}
