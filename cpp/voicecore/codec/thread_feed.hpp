// A demuxer on a thread of its own, for inputs that can block.
#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "voicecore/base/cancel.hpp"
#include "voicecore/codec/interrupter.hpp"
#include "voicecore/codec/packet_feed.hpp"

namespace voicecore::codec {

// How the thread gets its demuxer; runs on that thread.
using OpenDemuxer = std::function<Result<std::unique_ptr<Demuxer>>()>;

struct ThreadFeedOptions {
    std::string name;                           // for messages
    std::shared_ptr<Interrupter> interrupter;   // of all the inputs behind the demuxer
    std::shared_ptr<audio::ByteInput> input;    // the caller's, interrupted at the end; or null
    std::chrono::milliseconds timeout{10'000};  // without a sign of life
    std::shared_ptr<CancelToken> cancel;        // of the opening
};

// Waits until the demuxer is open, or failed, or the caller gave up; the thread is never waited
// for.
Result<std::unique_ptr<PacketFeed>> make_thread_feed(OpenDemuxer open, ThreadFeedOptions options);

}  // namespace voicecore::codec
