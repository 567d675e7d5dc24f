// Cipher: the transport encryption of a datagram, in Discord's two rtpsize modes, or none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "voicecore/base/result.hpp"
#include "voicecore/transport/nonce_counter.hpp"
#include "voicecore/transport/rtp.hpp"

namespace voicecore::transport {

enum class CipherMode : std::uint8_t {
    none,                // plain RTP
    xchacha20_poly1305,  // aead_xchacha20_poly1305_rtpsize: everywhere
    aes256_gcm,          // aead_aes256_gcm_rtpsize: needs AES-NI and PCLMUL
};

[[nodiscard]] std::string_view to_string(CipherMode mode) noexcept;
// By the names that Discord uses, and "none". invalid_argument lists what was expected.
[[nodiscard]] Result<CipherMode> parse_cipher_mode(std::string_view name);
// The encrypting modes that this machine can do, the faster first.
[[nodiscard]] std::vector<CipherMode> available_cipher_modes();

inline constexpr std::size_t kCipherKeyBytes = 32;
inline constexpr std::size_t kCipherTagBytes = 16;
inline constexpr std::size_t kNonceSuffixBytes = 4;
inline constexpr std::size_t kMaxCipherOverhead = kCipherTagBytes + kNonceSuffixBytes;

enum class SealStatus : std::uint8_t {
    ok,
    no_room,    // the output is too small; no nonce was spent
    exhausted,  // the key has sealed 2^32 datagrams: it must not be used any more
};
struct Sealed {
    SealStatus status = SealStatus::ok;
    std::size_t size = 0;  // bytes written
};

enum class OpenStatus : std::uint8_t {
    ok,
    malformed,  // not RTP, too short, or lengths that do not add up
    forged,     // the tag does not fit: another key, or changed on the way
};
struct Opened {
    OpenStatus status = OpenStatus::ok;
    RtpPacket rtp;  // meaningful unless malformed
    std::span<const std::uint8_t>
        payload;  // inside the caller's output; extension and padding removed
};

// One direction of one key. seal() and open() neither allocate nor lock. Not thread-safe, but any
// number of objects may hold the same key. The key lies in guarded, locked memory and is wiped at
// the end.
class Cipher {
  public:
    // For a sender: nonces come from the key's counter, which starts at `first_nonce` at least (see
    // NonceCounter for 2^32 and more). Fails with invalid_argument (length of the key), unavailable
    // (AES on a machine without it) or closed (a key of the parent's, after a fork).
    [[nodiscard]] static Result<Cipher> for_sending(CipherMode mode,
                                                    std::span<const std::uint8_t> key,
                                                    std::uint64_t first_nonce = 0);
    // For a receiver; spends no nonce.
    [[nodiscard]] static Result<Cipher> for_receiving(CipherMode mode,
                                                      std::span<const std::uint8_t> key);

    Cipher(Cipher&&) noexcept;
    Cipher& operator=(Cipher&&) noexcept;
    ~Cipher();

    [[nodiscard]] CipherMode mode() const noexcept { return mode_; }
    [[nodiscard]] std::size_t overhead() const noexcept {
        return mode_ == CipherMode::none ? 0 : kMaxCipherOverhead;
    }
    // What the next seal() of this key would use; 0 without encryption.
    [[nodiscard]] std::uint64_t next_nonce() const noexcept {
        return nonces_ == nullptr ? 0 : nonces_->next();
    }

    // out = header | ciphertext | tag(16) | nonce suffix(4, big-endian). The header is
    // authenticated and stays clear. Only for a cipher made for_sending.
    [[nodiscard]] Sealed seal(const RtpHeader& header, std::span<const std::uint8_t> payload,
                              std::span<std::uint8_t> out) noexcept;

    // A hint before seal(): key and counter have pages of their own.
    void prefetch() const noexcept;

    // The payload of a datagram; `out` must hold as many bytes as the datagram has. Header
    // extensions and CSRC lists follow the rtpsize rule: fixed header, CSRC list and the four bytes
    // before the extension are clear and authenticated, the extension's body is encrypted and
    // skipped here.
    [[nodiscard]] Opened open(std::span<const std::uint8_t> datagram,
                              std::span<std::uint8_t> out) const noexcept;

  private:
    struct FreeKey {
        CipherMode mode;
        void operator()(void* key) const noexcept;
    };
    using HeldKey = std::unique_ptr<void, FreeKey>;
    Cipher(CipherMode mode, HeldKey key, NonceCounter* nonces) noexcept;
    [[nodiscard]] static Result<Cipher> create(CipherMode mode, std::span<const std::uint8_t> key);

    CipherMode mode_;
    HeldKey key_;           // null without encryption
    NonceCounter* nonces_;  // null for a receiver and without encryption
};

}  // namespace voicecore::transport
