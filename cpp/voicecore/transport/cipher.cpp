#include "voicecore/transport/cipher.hpp"

#include <sodium.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <string>

#include "voicecore/transport/byte_order.hpp"
#include "voicecore/transport/key_memory.hpp"

namespace voicecore::transport {
namespace {

constexpr std::string_view kXChaChaName = "aead_xchacha20_poly1305_rtpsize";
constexpr std::string_view kAesName = "aead_aes256_gcm_rtpsize";

static_assert(crypto_aead_xchacha20poly1305_ietf_KEYBYTES == kCipherKeyBytes);
static_assert(crypto_aead_aes256gcm_KEYBYTES == kCipherKeyBytes);
static_assert(crypto_aead_xchacha20poly1305_ietf_ABYTES == kCipherTagBytes);
static_assert(crypto_aead_aes256gcm_ABYTES == kCipherTagBytes);

bool start_sodium() noexcept {
    return ::sodium_init() >= 0;
}

// Asked only after sodium_init(), which is what looks at the CPU.
bool has_aes() noexcept {
    return start_sodium() && ::crypto_aead_aes256gcm_is_available() != 0;
}

// The nonce of both modes: the suffix, then zeros.
template <std::size_t N>
std::array<std::uint8_t, N> nonce_from(const std::uint8_t* suffix) noexcept {
    std::array<std::uint8_t, N> nonce{};
    std::memcpy(nonce.data(), suffix, kNonceSuffixBytes);
    return nonce;
}

// Of either the key itself (XChaCha) or its expanded schedule (AES). Never destroyed: see
// nonce_counter.cpp.
KeyMemory& key_memory(CipherMode mode) {
    static KeyMemory& keys = *std::make_unique<KeyMemory>(kCipherKeyBytes).release();
    static KeyMemory& schedules =
        *std::make_unique<KeyMemory>(sizeof(crypto_aead_aes256gcm_state)).release();
    return mode == CipherMode::aes256_gcm ? schedules : keys;
}

const std::uint8_t* bytes_of(const void* key) noexcept {
    return static_cast<const std::uint8_t*>(key);
}
const crypto_aead_aes256gcm_state* schedule_of(const void* key) noexcept {
    return static_cast<const crypto_aead_aes256gcm_state*>(key);
}

// What is left of a decrypted (or never encrypted) body without extension and padding.
std::optional<std::span<const std::uint8_t>> strip(std::span<const std::uint8_t> body,
                                                   const RtpPacket& rtp) noexcept {
    if (rtp.extension_bytes > body.size()) return std::nullopt;
    body = body.subspan(rtp.extension_bytes);
    if (!rtp.padded) return body;
    if (body.empty() || body.back() == 0 || body.back() > body.size()) return std::nullopt;
    return body.first(body.size() - body.back());  // RFC 3550 section 5.1: the count counts itself
}

}  // namespace

std::string_view to_string(CipherMode mode) noexcept {
    switch (mode) {
        case CipherMode::none:
            return "none";
        case CipherMode::xchacha20_poly1305:
            return kXChaChaName;
        case CipherMode::aes256_gcm:
            return kAesName;
    }
    return "none";
}

Result<CipherMode> parse_cipher_mode(std::string_view name) {
    for (const auto mode :
         {CipherMode::none, CipherMode::xchacha20_poly1305, CipherMode::aes256_gcm}) {
        if (to_string(mode) == name) return mode;
    }
    return Error{Errc::invalid_argument, 0,
                 "encryption mode '" + std::string{name} + "': expected " +
                     std::string{kXChaChaName} + ", " + std::string{kAesName} + " or none"};
}

std::vector<CipherMode> available_cipher_modes() {
    if (has_aes()) return {CipherMode::aes256_gcm, CipherMode::xchacha20_poly1305};
    return {CipherMode::xchacha20_poly1305};
}

void Cipher::FreeKey::operator()(void* key) const noexcept {
    key_memory(mode).give_back(key);
}  // wipes first

Cipher::Cipher(CipherMode mode, HeldKey key, NonceCounter* nonces) noexcept
    : mode_{mode}, key_{std::move(key)}, nonces_{nonces} {}
Cipher::Cipher(Cipher&&) noexcept = default;
Cipher& Cipher::operator=(Cipher&&) noexcept = default;
Cipher::~Cipher() = default;

Result<Cipher> Cipher::for_sending(CipherMode mode, std::span<const std::uint8_t> key,
                                   std::uint64_t first_nonce) {
    auto cipher = create(mode, key);
    if (!cipher || mode == CipherMode::none) return cipher;
    auto nonces = nonce_counter_of(key, first_nonce);
    if (!nonces) return std::move(nonces).error();
    cipher->nonces_ = *nonces;
    return cipher;
}

Result<Cipher> Cipher::for_receiving(CipherMode mode, std::span<const std::uint8_t> key) {
    return create(mode, key);
}

Result<Cipher> Cipher::create(CipherMode mode, std::span<const std::uint8_t> key) {
    if (mode == CipherMode::none) {
        if (key.empty()) return Cipher{mode, HeldKey{nullptr, FreeKey{mode}}, nullptr};
        return Error{Errc::invalid_argument, 0,
                     "key of " + std::to_string(key.size()) + " bytes: mode none takes no key"};
    }
    if (key.size() != kCipherKeyBytes) {
        return Error{Errc::invalid_argument, 0,
                     "key of " + std::to_string(key.size()) + " bytes: expected " +
                         std::to_string(kCipherKeyBytes)};
    }
    if (!start_sodium()) return Error{Errc::unavailable, 0, "libsodium does not start"};
    if (mode == CipherMode::aes256_gcm && !has_aes()) {
        return Error{Errc::unavailable, 0,
                     "this processor has no AES-NI and PCLMUL: use " + std::string{kXChaChaName}};
    }
    HeldKey held{key_memory(mode).take(), FreeKey{mode}};
    if (held == nullptr) return Error{Errc::no_memory, 0, "no guarded memory for a key"};
    if (mode == CipherMode::aes256_gcm) {
        ::crypto_aead_aes256gcm_beforenm(static_cast<crypto_aead_aes256gcm_state*>(held.get()),
                                         key.data());
    } else {
        std::memcpy(held.get(), key.data(), key.size());
    }
    return Cipher{mode, std::move(held), nullptr};
}

void Cipher::prefetch() const noexcept {
    if (mode_ == CipherMode::none) return;
    constexpr std::size_t kLine = 64;
    __builtin_prefetch(nonces_, 1);
    const auto* key = static_cast<const std::byte*>(key_.get());
    const std::size_t size =
        mode_ == CipherMode::aes256_gcm ? sizeof(crypto_aead_aes256gcm_state) : kCipherKeyBytes;
    for (std::size_t at = 0; at < size; at += kLine) __builtin_prefetch(key + at);
}

Sealed Cipher::seal(const RtpHeader& header, std::span<const std::uint8_t> payload,
                    std::span<std::uint8_t> out) noexcept {
    const std::size_t size = header.size() + payload.size() + overhead();
    if (out.size() < size) return {SealStatus::no_room, 0};
    std::memcpy(out.data(), header.data(), header.size());
    std::uint8_t* body = out.data() + header.size();
    if (mode_ == CipherMode::none) {
        if (!payload.empty()) std::memcpy(body, payload.data(), payload.size());
        return {SealStatus::ok, size};
    }
    const auto claimed = nonces_->claim();
    if (!claimed) return {SealStatus::exhausted, 0};
    std::uint8_t* suffix = body + payload.size() + kCipherTagBytes;
    put_u32_be(suffix, *claimed);
    if (mode_ == CipherMode::aes256_gcm) {
        const auto nonce = nonce_from<crypto_aead_aes256gcm_NPUBBYTES>(suffix);
        ::crypto_aead_aes256gcm_encrypt_afternm(body, nullptr, payload.data(), payload.size(),
                                                header.data(), header.size(), nullptr, nonce.data(),
                                                schedule_of(key_.get()));
    } else {
        const auto nonce = nonce_from<crypto_aead_xchacha20poly1305_ietf_NPUBBYTES>(suffix);
        ::crypto_aead_xchacha20poly1305_ietf_encrypt(body, nullptr, payload.data(), payload.size(),
                                                     header.data(), header.size(), nullptr,
                                                     nonce.data(), bytes_of(key_.get()));
    }
    return {SealStatus::ok, size};
}

Opened Cipher::open(std::span<const std::uint8_t> datagram,
                    std::span<std::uint8_t> out) const noexcept {
    Opened opened{.status = OpenStatus::malformed, .rtp = {}, .payload = {}};
    const auto rtp = parse_rtp(datagram);
    if (!rtp || out.size() < datagram.size()) return opened;
    const auto clear = datagram.first(rtp->clear_bytes);
    auto body = datagram.subspan(rtp->clear_bytes);
    if (body.size() < overhead()) return opened;
    opened.rtp = *rtp;
    const std::size_t plain_bytes = body.size() - overhead();
    if (mode_ == CipherMode::none) {
        std::copy(body.begin(), body.end(), out.begin());
    } else {
        const std::uint8_t* suffix = body.data() + body.size() - kNonceSuffixBytes;
        const std::size_t sealed_bytes = body.size() - kNonceSuffixBytes;
        int result = 0;
        if (mode_ == CipherMode::aes256_gcm) {
            const auto nonce = nonce_from<crypto_aead_aes256gcm_NPUBBYTES>(suffix);
            result = ::crypto_aead_aes256gcm_decrypt_afternm(
                out.data(), nullptr, nullptr, body.data(), sealed_bytes, clear.data(), clear.size(),
                nonce.data(), schedule_of(key_.get()));
        } else {
            const auto nonce = nonce_from<crypto_aead_xchacha20poly1305_ietf_NPUBBYTES>(suffix);
            result = ::crypto_aead_xchacha20poly1305_ietf_decrypt(
                out.data(), nullptr, nullptr, body.data(), sealed_bytes, clear.data(), clear.size(),
                nonce.data(), bytes_of(key_.get()));
        }
        if (result != 0) {
            opened.status = OpenStatus::forged;
            return opened;
        }
    }
    const auto payload = strip(out.first(plain_bytes), *rtp);
    if (!payload) return opened;
    opened.status = OpenStatus::ok;
    opened.payload = *payload;
    return opened;
}

}  // namespace voicecore::transport
