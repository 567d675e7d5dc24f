#include <atomic>

#include "voicecore/base/thread.hpp"
#include "voicecore/codec/packet_feed.hpp"
#include "voicecore/codec/ready_hook.hpp"

namespace voicecore::codec {
namespace {

class DirectFeed final : public PacketFeed {
  public:
    explicit DirectFeed(std::unique_ptr<Demuxer> demuxer) : demuxer_{std::move(demuxer)} {}
    ~DirectFeed() override {
        if (preparing_) preparing_->work->cancel();
        shared_->hook.set({});
    }

    [[nodiscard]] const StreamFacts& facts() const noexcept override { return demuxer_->facts(); }

    [[nodiscard]] audio::ReadStatus next(Packet& packet) override {
        if (preparing_) {
            if (!preparing_->done.load(std::memory_order_acquire)) {
                return audio::ReadStatus::would_block;
            }
            preparing_.reset();
            seek_now();
        }
        if (failed_) return audio::ReadStatus::failed;
        const DemuxStatus status = demuxer_->next(packet);
        damage_.store(demuxer_->damage(), std::memory_order_relaxed);
        switch (status) {
            case DemuxStatus::packet:
                return audio::ReadStatus::ok;
            case DemuxStatus::end:
                return audio::ReadStatus::end;
            case DemuxStatus::failed:
                break;
        }
        error_ = demuxer_->error();
        return audio::ReadStatus::failed;
    }

    void seek(Samples position) override {
        target_ = position;
        failed_ = false;
        if (preparing_) return;  // the newest target is used once it is done
        auto work = demuxer_->prepare_seek(position);
        if (!work) return seek_now();
        auto preparing = std::make_shared<Preparing>();
        preparing->work = std::move(work);
        // The thread owns all that it touches; it ends soon after cancel().
        const auto started = start_abandonable_thread("vc-index", [preparing, shared = shared_] {
            preparing->work->run();
            preparing->done.store(true, std::memory_order_release);
            shared->hook.call();
        });
        if (started) {
            preparing_ = std::move(preparing);
        } else {
            seek_now();  // slow, but right
        }
    }

    [[nodiscard]] Error error() const override { return error_; }
    [[nodiscard]] std::uint64_t damage() const noexcept override {
        return damage_.load(std::memory_order_relaxed);
    }
    void set_ready_hook(std::function<void()> hook) override { shared_->hook.set(std::move(hook)); }

  private:
    struct Shared {
        ReadyHook hook;
    };
    struct Preparing {
        std::shared_ptr<Demuxer::Preparation> work;
        std::atomic<bool> done{false};
    };

    void seek_now() {
        if (auto moved = demuxer_->seek(target_); !moved) {
            error_ = std::move(moved).error();
            failed_ = true;
        }
    }

    std::unique_ptr<Demuxer> demuxer_;
    std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();  // with the indexing thread
    std::shared_ptr<Preparing> preparing_;                         // likewise
    Samples target_{0};
    bool failed_ = false;
    Error error_;
    std::atomic<std::uint64_t> damage_{0};
};

}  // namespace

std::unique_ptr<PacketFeed> make_direct_feed(std::unique_ptr<Demuxer> demuxer) {
    return std::make_unique<DirectFeed>(std::move(demuxer));
}

Status start_abandonable_thread(const char* name, std::function<void()> work) {
    auto thread = start_thread("to read a source", [name, work = std::move(work)] {
        enter_native_thread(name);
        work();
    });
    if (!thread) return std::move(thread).error();
    thread->detach();
    return Done{};
}

}  // namespace voicecore::codec
