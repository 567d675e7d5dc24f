// The measured truth of one stream.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "voicecore/base/histogram.hpp"

namespace voicecore::playback {

// Why a ring was empty at a tick.
enum class UnderrunCause : std::uint8_t {
    source_slow,   // the input had nothing
    decoder_slow,  // a feeder was at work on this player and did not get done in time
    sealing_late,  // end-to-end encryption was not ahead
    worker_late,   // every feeder was busy with other players
    kernel_late,   // a feeder was woken in time but did not get to run
};
inline constexpr std::size_t kUnderrunCauses = 5;

// Written by the clock thread with relaxed stores, read by any thread.
struct StreamCounters {
    std::atomic<std::uint64_t> frames_sent{0};  // media, silence not included
    std::atomic<std::uint64_t> passthrough{0};  // of those, how many were copied
    std::atomic<std::uint64_t> silence_frames{0};
    std::atomic<std::uint64_t> skipped{0};     // ticks given up after a stall
    std::atomic<std::uint64_t> late{0};        // ticks that ran more than kLate after the deadline
    std::atomic<std::uint64_t> dropped{0};     // packets that the sink could not take
    std::atomic<std::uint64_t> overflow{0};    // packets lost before the sink's own thread
    std::atomic<std::uint64_t> ticks{0};       // since the first frame, skipped ones included
    std::atomic<std::uint64_t> seek_ticks{0};  // ticks without a packet because of a seek
    std::array<std::atomic<std::uint64_t>, kUnderrunCauses> underruns{};
    std::atomic<std::int64_t> send_cpu_ns{0};
    std::atomic<std::int64_t> first_frame_ns{-1};  // from play() to the first send; -1 before it
    Histogram lateness;                            // at the send call

    static void add(std::atomic<std::uint64_t>& counter, std::uint64_t n = 1) noexcept {
        counter.store(counter.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
    }
};

// A tick this late is audible as jitter to a peer without a jitter buffer.
inline constexpr std::chrono::milliseconds kLate{5};

}  // namespace voicecore::playback
