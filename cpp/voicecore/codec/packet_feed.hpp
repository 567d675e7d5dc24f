// Packets for a source, from a demuxer on the caller's thread or on one of its own.
#pragma once

#include <functional>
#include <memory>

#include "voicecore/audio/media_source.hpp"
#include "voicecore/codec/demuxer.hpp"

namespace voicecore::codec {

// Port between the sources and their demuxer. One thread at a time; nothing here blocks.
class PacketFeed {
  public:
    PacketFeed() = default;
    PacketFeed(const PacketFeed&) = delete;
    PacketFeed& operator=(const PacketFeed&) = delete;
    virtual ~PacketFeed() = default;

    [[nodiscard]] virtual const StreamFacts& facts() const noexcept = 0;
    // The packet is valid until the next call.
    [[nodiscard]] virtual audio::ReadStatus next(Packet& packet) = 0;
    virtual void seek(Samples position) = 0;
    [[nodiscard]] virtual Error error() const = 0;
    // Any thread.
    [[nodiscard]] virtual std::uint64_t damage() const noexcept = 0;
    virtual void set_ready_hook(std::function<void()> hook) = 0;
};

// For inputs that never block. Long preparations of a seek run on a thread of their own.
[[nodiscard]] std::unique_ptr<PacketFeed> make_direct_feed(std::unique_ptr<Demuxer> demuxer);

// Starts a thread that nobody joins. What it touches must be owned by `work`. This is the one place
// where a thread is left to itself: it may hang in a name look-up that nothing can interrupt, and
// neither a player nor the interpreter's end may wait for that.
[[nodiscard]] Status start_abandonable_thread(const char* name, std::function<void()> work);

}  // namespace voicecore::codec
