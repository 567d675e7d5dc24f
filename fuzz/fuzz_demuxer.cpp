// Feeds bytes to everything behind open_media: probing, the demuxers, the decoders, seeking.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <utility>

#include "voicecore/codec/open.hpp"

namespace {

using namespace voicecore;

constexpr std::size_t kMostBytes = 64 * 1024;
constexpr int kMostUnits = 200;  // between seeks

class MemoryInput final : public audio::ByteInput {
  public:
    MemoryInput(std::span<const std::uint8_t> bytes, bool seekable) noexcept
        : bytes_{bytes}, seekable_{seekable} {}
    Result<std::size_t> read(std::span<std::uint8_t> into) override {
        const std::size_t count = std::min(into.size(), bytes_.size() - at_);
        if (count > 0) std::memcpy(into.data(), bytes_.data() + at_, count);
        at_ += count;
        return count;
    }
    Status seek(std::int64_t offset) override {
        at_ = std::min(bytes_.size(), static_cast<std::size_t>(std::max<std::int64_t>(offset, 0)));
        return Done{};
    }
    [[nodiscard]] bool seekable() const noexcept override { return seekable_; }
    [[nodiscard]] std::optional<std::int64_t> size() const noexcept override {
        if (!seekable_) return std::nullopt;
        return static_cast<std::int64_t>(bytes_.size());
    }
    [[nodiscard]] bool can_block() const noexcept override { return false; }
    void interrupt() noexcept override {}

  private:
    std::span<const std::uint8_t> bytes_;
    bool seekable_;
    std::size_t at_ = 0;
};

void read_some(audio::MediaSource& source) {
    audio::MediaUnit unit;
    for (int i = 0; i < kMostUnits; ++i) {
        const auto status = source.read(unit);
        if (status == audio::ReadStatus::failed && source.error().code == Errc::internal) {
            __builtin_trap();
        }
        if (status != audio::ReadStatus::ok) break;
        // Every byte of the views must be readable.
        volatile unsigned sum = 0;
        for (const std::uint8_t byte : unit.packet) sum = sum + byte;
        if (!unit.pcm.empty()) sum = sum + (unit.pcm.front() + unit.pcm.back() > 0 ? 1U : 0U);
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 2 || size > kMostBytes) return 0;
    // The last byte decides how the rest is played.
    const unsigned how = data[size - 1];
    audio::OpenRequest request;
    request.location = "fuzz";
    request.input = std::make_shared<MemoryInput>(std::span{data, size - 1}, (how & 1U) == 0);
    if ((how & 2U) != 0) request.start = Samples{how * 512};
    auto opened = codec::open_media(request, nullptr);
    if (!opened) {
        if (opened.error().code == Errc::internal) __builtin_trap();
        return 0;
    }
    audio::MediaSource& source = *opened.value();
    read_some(source);
    if (!source.info().seekable) return 0;
    const std::int64_t length = source.info().duration.value_or(Samples{48'000}).count();
    for (const std::int64_t place : {length / 2, std::int64_t{0}, length - 1, length + how}) {
        source.seek(Samples{place});
        read_some(source);
    }
    return 0;
}
