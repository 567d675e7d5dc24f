// StreamMeter: what the arrival times, sequence numbers and timestamps of one RTP stream tell.
#pragma once

#include <bitset>
#include <cstdint>
#include <optional>
#include <vector>

#include "voicecore/base/histogram.hpp"
#include "voicecore/base/units.hpp"

namespace voicecore::transport {

// One packet of the stream, decrypted.
struct Arrival {
    std::int64_t time_ns = 0;  // the kernel's receive time, CLOCK_REALTIME
    std::uint32_t timestamp = 0;
    std::uint16_t sequence = 0;
    std::uint16_t size = 0;  // of the Opus packet
    std::uint16_t samples = kFrameSamples;
    bool silence = false;
};

struct StreamFigures {
    std::uint64_t packets = 0;  // that came for the first time, silence frames included
    std::uint64_t silence_frames = 0;
    std::uint64_t lost = 0;  // sequence numbers that never came; late ones are taken off again
    std::uint64_t duplicates = 0;
    std::uint64_t reordered = 0;       // came after a later one
    std::uint64_t restarts = 0;        // the sequence jumped: another sender, or the same one anew
    std::uint64_t transmissions = 0;   // stretches between breaks of five silence frames
    std::uint64_t timestamp_gaps = 0;  // the timestamp went on by more than the packet before had,
                                       // without a loss and without silence frames: ticks not sent
    std::uint64_t longest_burst = 0;  // packets in a row, each less than 1 ms after the one before;
                                      // 1 when that never happened
    std::int64_t first_ns = 0;        // 0 before the first packet
    std::int64_t last_ns = 0;
    FineHistogram::Snapshot gaps;  // between consecutive media packets of consecutive timestamps
    FineHistogram::Snapshot lateness;  // against the timestamps' grid; the earliest packet of each
                                       // transmission is 0
};

// Not thread-safe.
class StreamMeter {
  public:
    enum class Verdict : std::uint8_t {
        fresh,
        reordered,
        duplicate,
        stray,    // far from the others, and counted as reordered or a duplicate: very late or
                  // replayed, unless the next packet follows it
        restart,  // fresh, and the numbering begins again with the stray packet before it
    };
    struct Recorded {
        Verdict verdict = Verdict::fresh;
        std::int64_t index = 0;  // sequence number without its wraps, since the last restart
    };
    Recorded record(const Arrival& arrival);
    [[nodiscard]] StreamFigures figures() const;

    // Beyond these, a jump of the sequence is a new numbering rather than loss or reordering, once
    // two packets in a row say so (RFC 3550 appendix A.1 uses 3,000 and 100).
    static constexpr int kMaxDropout = 3'000;
    static constexpr int kMaxMisorder = 128;
    // Half of the 16-bit circle: as far back as a sequence number can tell.
    static constexpr std::size_t kHistory = std::size_t{1} << 15U;

  private:
    struct Stray {
        Arrival arrival;
        bool duplicate;  // counted as one; else as reordered
        bool was_lost;   // it was taken off the lost ones
    };
    // `before`: the packet before, when it was a stray one.
    [[nodiscard]] Recorded place(const Arrival& arrival, const std::optional<Stray>& before);
    [[nodiscard]] Recorded restart(const Stray& first);
    void begin_numbering(std::uint16_t sequence) noexcept;
    void measure(const Arrival& arrival, std::int64_t index);
    void measure_gap(const Arrival& arrival, std::int64_t index);
    void measure_lateness(const Arrival& arrival);
    void end_transmission();

    // Lateness values of this transmission, relative to its first packet; they become lateness once
    // the earliest is known. Beyond the bound the earliest so far must do.
    static constexpr std::size_t kMaxPending = std::size_t{1} << 20U;

    StreamFigures counts_;          // without the histograms and without lost
    std::int64_t lost_before_ = 0;  // in numberings that have ended
    bool begun_ = false;
    std::int64_t lowest_ = 0;  // index of the first packet of this numbering
    std::int64_t highest_ = 0;
    std::int64_t unique_ = 0;     // in this numbering
    std::bitset<kHistory> seen_;  // by index
    std::optional<Stray> stray_;  // the packet before, when it was one

    struct Previous {
        Arrival arrival;
        std::int64_t index;
    };
    std::optional<Previous> in_order_;  // the latest packet that was not reordered
    std::uint64_t burst_ = 0;
    int silence_run_ = 0;

    struct Anchor {
        std::int64_t time_ns;     // of the transmission's first media packet
        std::uint32_t timestamp;  // of the latest one
        std::int64_t samples;     // from the first to the latest, without wraps
    };
    std::optional<Anchor> anchor_;
    std::int64_t earliest_ = 0;  // smallest pending value so far
    std::vector<std::int64_t> pending_;
    FineHistogram gaps_;
    FineHistogram lateness_;
};

}  // namespace voicecore::transport
