// What a playlist refers to: opened under the rules of the request, within limits, and remembered
// when it fails, because libavformat goes on to the next entry without a word.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "voicecore/codec/avio_bridge.hpp"
#include "voicecore/codec/interrupter.hpp"

namespace voicecore::codec {

// `patient`: attempts that fail may be made again at once.
using NestedOpen =
    std::function<Result<std::shared_ptr<audio::ByteInput>>(const std::string& url, bool patient)>;

struct NestedRules {
    NestedOpen open;                                     // null: nothing may be opened
    std::shared_ptr<Interrupter> interrupter = nullptr;  // of all that it opens
    std::chrono::milliseconds timeout{10'000};           // of all opening up to the first audio
    int max_failures = 5;                                // of a live playlist's reloads, in a row
};

// Not thread-safe; must outlive the AVFormatContext that uses what it opens.
class NestedInputs {
  public:
    explicit NestedInputs(NestedRules rules);
    ~NestedInputs();
    NestedInputs(const NestedInputs&) = delete;
    NestedInputs& operator=(const NestedInputs&) = delete;

    // The playlist with which it all begins.
    [[nodiscard]] Result<ByteReader> begin(const std::string& url, ByteReader reader);
    // The same once more, for a context that is to begin there: lists of segments leave out those
    // that lie before.
    [[nodiscard]] ByteReader begin_at(Samples position);
    // Where lists that were given since begin: the nearest place to `near`.
    [[nodiscard]] Samples nearest_begin(Samples near) const noexcept;
    // Null: it failed.
    [[nodiscard]] AVIOContext* open(const std::string& url, std::int64_t offset);
    void close(AVIOContext* io);
    // The first audio is there, or will not come: the limits of opening hold no longer.
    void opened() noexcept;

    // Why the newest segment could not be had, or the playlist's newest state.
    [[nodiscard]] const std::optional<Error>& failure() const noexcept { return failure_; }
    void forget_failure() noexcept { failure_.reset(); }
    [[nodiscard]] std::uint64_t failures() const noexcept { return failures_; }
    // For libavformat's waits.
    static int interrupted(void* self) noexcept;

  private:
    struct List {
        std::string text;  // its newest state
        bool live = false;
        int failures = 0;  // of attempts in a row to get a newer one
    };
    void opening() noexcept;
    [[nodiscard]] Status check_limits(const std::string& url);
    [[nodiscard]] Result<ByteReader> fetch(const std::string& url);
    [[nodiscard]] Result<ByteReader> fetch_once(const std::string& url, bool patient);
    [[nodiscard]] Result<ByteReader> keep(const std::string& url, std::string text);
    [[nodiscard]] ByteReader give(const List& list);
    void note(Error error);

    NestedRules rules_;
    std::vector<std::unique_ptr<AvioBridge>> bridges_;
    std::map<std::string, List> lists_;
    std::string first_;           // the address of the list with which it began
    Samples from_{0};             // what lies before is left out of lists
    std::vector<Samples> begin_;  // of the lists given since
    std::optional<Error> failure_;
    std::uint64_t failures_ = 0;
    bool opening_ = true;
    int opens_ = 0;
    TimePoint deadline_;
};

}  // namespace voicecore::codec
