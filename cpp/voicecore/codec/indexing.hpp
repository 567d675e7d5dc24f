// Reading a whole local file for the places in it, beside playing.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <utility>

#include "voicecore/codec/byte_reader.hpp"
#include "voicecore/codec/demuxer.hpp"
#include "voicecore/codec/file_input.hpp"

namespace voicecore::codec {

// Bytes; files up to this are indexed where the index is needed, larger ones on a thread.
inline constexpr std::int64_t kIndexAtOnce = 12 << 20;

// One walk through a file on a descriptor of its own, so that playing is not disturbed.
template <class Index>
class Indexing final : public Demuxer::Preparation {
  public:
    using IndexPtr = std::shared_ptr<const Index>;
    using Build = std::function<Result<IndexPtr>(ByteReader&, const std::atomic<bool>& cancelled)>;

    Indexing(std::shared_ptr<RegularFile> file, Build build)
        : file_{std::move(file)}, build_{std::move(build)} {}
    void run() noexcept override {
        try {
            ByteReader reader{file_};
            auto built = build_(reader, cancelled_);
            if (!built) return;
            index_ = std::move(built).value();
        } catch (const std::exception&) {
            return;  // as without an index
        }
        done_.store(true, std::memory_order_release);
    }
    void cancel() noexcept override { cancelled_.store(true, std::memory_order_relaxed); }
    // Null while it is under way, and when nothing came of it.
    [[nodiscard]] IndexPtr result() const noexcept {
        return done_.load(std::memory_order_acquire) ? index_ : nullptr;
    }

  private:
    std::shared_ptr<RegularFile> file_;
    Build build_;
    std::atomic<bool> cancelled_{false};
    IndexPtr index_;  // written before done_
    std::atomic<bool> done_{false};
};

}  // namespace voicecore::codec
