// libavformat reads its bytes from here and nowhere else.
#pragma once

#include <memory>
#include <optional>

#include "voicecore/codec/byte_reader.hpp"
#include "voicecore/codec/handles.hpp"

namespace voicecore::codec {

// Not thread-safe; must outlive the AVFormatContext that uses it.
class AvioBridge {
    struct Key {};  // only create() makes one

  public:
    static Result<std::unique_ptr<AvioBridge>> create(ByteReader reader);
    AvioBridge(Key, ByteReader reader) : reader_{std::move(reader)} {}

    [[nodiscard]] AVIOContext* io() noexcept { return io_.get(); }
    [[nodiscard]] ByteReader& reader() noexcept { return reader_; }

    // Why the last read or seek failed. libavformat likes to report such a failure as the end.
    [[nodiscard]] const std::optional<Error>& failure() const noexcept { return failure_; }
    // After an interruption: as if it had never happened.
    void forget_failure() noexcept;

  private:
    static int on_read(void* self, std::uint8_t* into, int size) noexcept;
    static std::int64_t on_seek(void* self, std::int64_t offset, int whence) noexcept;

    ByteReader reader_;
    AvioPtr io_;
    std::optional<Error> failure_;
};

}  // namespace voicecore::codec
