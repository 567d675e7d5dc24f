#include <sodium.h>
#include <sys/wait.h>
#include <unistd.h>

#include <numeric>

#include "catch.hpp"
#include "rig.hpp"
#include "voicecore/transport/cipher.hpp"

using namespace voicecore;
using namespace voicecore::transport;
using voicecore_test::Bytes;
using voicecore_test::fresh_key;
using voicecore_test::from_hex;

namespace {

// 0x40, 0x41, ... 0x5F: the key of the known answers.
Bytes known_key() {
    Bytes out(32);
    std::iota(out.begin(), out.end(), std::uint8_t{0x40});
    return out;
}
constexpr std::uint32_t kKnownNonce = 0x01020304;

Bytes known_payload() {
    Bytes out{0xFC};
    for (unsigned i = 0; i < 40; ++i) out.push_back(static_cast<std::uint8_t>(i * 7 + 3));
    return out;
}

RtpHeader known_header() {
    RtpPacketizer packetizer{0x0BADCAFE, 0x1234, 0x89ABCDEF};
    return packetizer.next(1);
}

Bytes seal(Cipher& cipher, const RtpHeader& header, const Bytes& payload) {
    Bytes out(header.size() + payload.size() + kMaxCipherOverhead);
    const Sealed sealed = cipher.seal(header, payload, out);
    REQUIRE(sealed.status == SealStatus::ok);
    out.resize(sealed.size);
    return out;
}

std::vector<CipherMode> all_modes() {
    auto modes = available_cipher_modes();
    modes.push_back(CipherMode::none);
    return modes;
}

std::uint32_t suffix_of(const Bytes& datagram) {
    const std::uint8_t* at = datagram.data() + datagram.size() - 4;
    return (std::uint32_t{at[0]} << 24U) | (std::uint32_t{at[1]} << 16U) |
           (std::uint32_t{at[2]} << 8U) | at[3];
}

// The datagrams below were made by another implementation of both ciphers.
constexpr auto kKnownXChaCha =
    "8078123489abcdef0badcafe5ed06a45e815550b9c2223619aa188970ae8b8a3ab6f3497f4123cfa6174c27c8dfdce"
    "12b7980f1c6a2a1edb6adfde4d9f83c3222aa23c487101020304";
constexpr auto kKnownAes =
    "8078123489abcdef0badcafea0c30bdaf4c496c3a7f5addee6bff45742419ea716ae1231ff149945528f2904d6f9be"
    "0df77bb82f0f2758f3761e33507bd45f1cb847a14c1401020304";
// Two CSRC, an extension of two words, and the silence frame.
constexpr auto kExtendedXChaCha =
    "927800010000000200000003aabbccdd11223344bede0002a2d26257f40f752150e69f5d258dea5b8101cbc9e0bad0"
    "daed3b7201020304";
constexpr auto kExtendedAes =
    "927800010000000200000003aabbccdd11223344bede00025cc103c8e8deb6e96b3111e73cd3a3cdb12b2473ab2045"
    "09af161201020304";

}  // namespace

TEST_CASE("XChaCha20-Poly1305 gives the datagram that another implementation gives") {
    auto cipher =
        Cipher::for_sending(CipherMode::xchacha20_poly1305, known_key(), kKnownNonce).value();
    REQUIRE(seal(cipher, known_header(), known_payload()) == from_hex(kKnownXChaCha));
}

TEST_CASE("both ciphers open the datagrams of another implementation") {
    for (const auto mode : available_cipher_modes()) {
        const auto cipher = Cipher::for_receiving(mode, known_key()).value();
        const Bytes datagram = from_hex(mode == CipherMode::aes256_gcm ? kKnownAes : kKnownXChaCha);
        Bytes out(datagram.size());
        const Opened opened = cipher.open(datagram, out);
        REQUIRE(opened.status == OpenStatus::ok);
        REQUIRE(Bytes{opened.payload.begin(), opened.payload.end()} == known_payload());
        REQUIRE(opened.rtp.sequence == 0x1234);
        REQUIRE(opened.rtp.timestamp == 0x89ABCDEF);
        REQUIRE(opened.rtp.ssrc == 0x0BADCAFE);
    }
}

TEST_CASE("a header extension is authenticated, decrypted and left out of the payload") {
    for (const auto mode : available_cipher_modes()) {
        const auto cipher = Cipher::for_receiving(mode, known_key()).value();
        Bytes datagram = from_hex(mode == CipherMode::aes256_gcm ? kExtendedAes : kExtendedXChaCha);
        Bytes out(datagram.size());
        const Opened opened = cipher.open(datagram, out);
        REQUIRE(opened.status == OpenStatus::ok);
        REQUIRE(Bytes{opened.payload.begin(), opened.payload.end()} == Bytes{0xF8, 0xFF, 0xFE});
        datagram[20] ^= 1U;  // the extension's preamble: clear, but covered by the tag
        REQUIRE(cipher.open(datagram, out).status == OpenStatus::forged);
    }
}

TEST_CASE("AES-256-GCM seals as its one-shot interface does with nonce suffix and eight zeros") {
    if (available_cipher_modes().size() < 2) return;
    const Bytes key = fresh_key();
    auto cipher = Cipher::for_sending(CipherMode::aes256_gcm, key, 0xFFFE0102).value();
    const RtpHeader header = known_header();
    const Bytes payload = known_payload();
    const Bytes datagram = seal(cipher, header, payload);

    const Bytes nonce = from_hex("fffe01020000000000000000");
    Bytes expected(header.begin(), header.end());
    expected.resize(12 + payload.size() + 16);
    unsigned long long sealed = 0;
    ::crypto_aead_aes256gcm_encrypt(expected.data() + 12, &sealed, payload.data(), payload.size(),
                                    header.data(), header.size(), nullptr, nonce.data(),
                                    key.data());
    const Bytes suffix = from_hex("fffe0102");
    expected.insert(expected.end(), suffix.begin(), suffix.end());
    REQUIRE(datagram == expected);
}

TEST_CASE("XChaCha20-Poly1305 is HChaCha20 and ChaCha20-Poly1305 with suffix and twenty zeros") {
    const Bytes key = fresh_key();
    auto cipher = Cipher::for_sending(CipherMode::xchacha20_poly1305, key, 0xFFFE0102).value();
    const RtpHeader header = known_header();
    const Bytes payload = known_payload();
    const Bytes datagram = seal(cipher, header, payload);

    const Bytes first_half = from_hex("fffe0102000000000000000000000000");
    const Bytes second_half(12, 0);  // four zeros and the last eight bytes of the nonce
    Bytes subkey(32);
    ::crypto_core_hchacha20(subkey.data(), first_half.data(), key.data(), nullptr);
    Bytes plain(payload.size());
    REQUIRE(::crypto_aead_chacha20poly1305_ietf_decrypt(
                plain.data(), nullptr, nullptr, datagram.data() + 12, payload.size() + 16,
                header.data(), header.size(), second_half.data(), subkey.data()) == 0);
    REQUIRE(plain == payload);
}

TEST_CASE("a datagram is the payload and 32 bytes, or 12 without encryption") {
    for (const auto mode : all_modes()) {
        auto cipher =
            Cipher::for_sending(mode, mode == CipherMode::none ? Bytes{} : fresh_key()).value();
        const std::size_t extra = mode == CipherMode::none ? 12 : 32;
        for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{1'400}}) {
            REQUIRE(seal(cipher, known_header(), Bytes(size, 7)).size() == size + extra);
        }
    }
}

TEST_CASE("what one end seals the other opens, in every mode") {
    for (const auto mode : all_modes()) {
        const Bytes key = mode == CipherMode::none ? Bytes{} : fresh_key();
        auto sender = Cipher::for_sending(mode, key).value();
        const auto receiver = Cipher::for_receiving(mode, key).value();
        for (unsigned i = 0; i < 300; ++i) {
            const Bytes payload = voicecore_test::packet_of(i, 1 + i * 4);
            const Bytes datagram = seal(sender, known_header(), payload);
            Bytes out(datagram.size());
            const Opened opened = receiver.open(datagram, out);
            REQUIRE(opened.status == OpenStatus::ok);
            REQUIRE(Bytes{opened.payload.begin(), opened.payload.end()} == payload);
        }
    }
}

TEST_CASE("a bit changed anywhere in a sealed datagram is noticed") {
    for (const auto mode : available_cipher_modes()) {
        const Bytes key = fresh_key();
        auto sender = Cipher::for_sending(mode, key).value();
        const auto receiver = Cipher::for_receiving(mode, key).value();
        const Bytes datagram = seal(sender, known_header(), known_payload());
        Bytes out(datagram.size());
        for (std::size_t i = 0; i < datagram.size(); ++i) {
            Bytes changed = datagram;
            changed[i] ^= 0x08U;
            REQUIRE(receiver.open(changed, out).status != OpenStatus::ok);
        }
    }
}

TEST_CASE("a datagram cut short anywhere is refused without reading beyond it") {
    for (const auto mode : available_cipher_modes()) {
        const Bytes key = fresh_key();
        auto sender = Cipher::for_sending(mode, key).value();
        const auto receiver = Cipher::for_receiving(mode, key).value();
        const Bytes datagram = seal(sender, known_header(), known_payload());
        for (std::size_t size = 0; size < datagram.size(); ++size) {
            const Bytes cut(datagram.begin(), datagram.begin() + static_cast<std::ptrdiff_t>(size));
            Bytes out(cut.size());
            REQUIRE(receiver.open(cut, out).status != OpenStatus::ok);
        }
    }
}

TEST_CASE("padding is taken off, and padding longer than the payload is malformed") {
    const auto cipher = Cipher::for_receiving(CipherMode::none, {}).value();
    Bytes datagram = from_hex("a07800010000000200000003fc0102000003");
    Bytes out(64);
    const Opened opened = cipher.open(datagram, out);
    REQUIRE(opened.status == OpenStatus::ok);
    REQUIRE(Bytes{opened.payload.begin(), opened.payload.end()} == Bytes{0xFC, 1, 2});
    datagram.back() = 7;
    REQUIRE(cipher.open(datagram, out).status == OpenStatus::malformed);
    datagram.back() = 0;
    REQUIRE(cipher.open(datagram, out).status == OpenStatus::malformed);
}

TEST_CASE("an extension that claims more than there is, is malformed") {
    const auto cipher = Cipher::for_receiving(CipherMode::none, {}).value();
    Bytes out(64);
    REQUIRE(cipher.open(from_hex("907800010000000200000003bede000200000001"), out).status ==
            OpenStatus::malformed);
}

TEST_CASE("two senders with one key never use a nonce twice") {
    for (const auto mode : available_cipher_modes()) {
        const Bytes key = fresh_key();
        auto one = Cipher::for_sending(mode, key).value();
        auto other = Cipher::for_sending(mode, key).value();
        for (std::uint32_t i = 0; i < 100; ++i) {
            REQUIRE(suffix_of(seal(one, known_header(), {1})) == 2 * i);
            REQUIRE(suffix_of(seal(other, known_header(), {1})) == 2 * i + 1);
        }
    }
}

TEST_CASE("a sender made after another is gone goes on with the key's nonces") {
    const Bytes key = fresh_key();
    for (std::uint32_t i = 0; i < 3; ++i) {
        auto cipher = Cipher::for_sending(CipherMode::xchacha20_poly1305, key).value();
        REQUIRE(suffix_of(seal(cipher, known_header(), {1})) == i);
    }
}

TEST_CASE("a first nonce raises the counter of a key and never lowers it") {
    const Bytes key = fresh_key();
    const auto mode = CipherMode::xchacha20_poly1305;
    auto first = Cipher::for_sending(mode, key, 1'000).value();
    REQUIRE(suffix_of(seal(first, known_header(), {1})) == 1'000);
    auto second = Cipher::for_sending(mode, key, 5).value();
    REQUIRE(suffix_of(seal(second, known_header(), {1})) == 1'001);
    auto third = Cipher::for_sending(mode, key, 2'000).value();
    REQUIRE(suffix_of(seal(third, known_header(), {1})) == 2'000);
}

TEST_CASE("a receiver spends no nonce and leaves the first one to the sender") {
    const Bytes key = fresh_key();
    const auto mode = CipherMode::xchacha20_poly1305;
    const auto receiver = Cipher::for_receiving(mode, key).value();
    auto sender = Cipher::for_sending(mode, key, 9).value();
    REQUIRE(suffix_of(seal(sender, known_header(), {1})) == 9);
}

TEST_CASE("after 2^32 datagrams a key refuses, for every sender, and never starts again") {
    for (const auto mode : available_cipher_modes()) {
        const Bytes key = fresh_key();
        auto cipher = Cipher::for_sending(mode, key, 0xFFFF'FFFE).value();
        auto other = Cipher::for_sending(mode, key).value();
        REQUIRE(suffix_of(seal(cipher, known_header(), {1})) == 0xFFFF'FFFE);
        REQUIRE(suffix_of(seal(other, known_header(), {1})) == 0xFFFF'FFFF);
        Bytes out(64);
        for (int i = 0; i < 3; ++i) {
            REQUIRE(cipher.seal(known_header(), Bytes{1}, out).status == SealStatus::exhausted);
            REQUIRE(other.seal(known_header(), Bytes{1}, out).status == SealStatus::exhausted);
        }
    }
}

TEST_CASE("a count that begins past 2^32 goes round, once") {
    const Bytes key = fresh_key();
    const auto mode = CipherMode::xchacha20_poly1305;
    constexpr std::uint64_t kStart = 0x5'FFFF'FFFE;
    auto cipher = Cipher::for_sending(mode, key, kStart).value();
    for (const std::uint32_t suffix : {0xFFFF'FFFEU, 0xFFFF'FFFFU, 0U, 1U}) {
        REQUIRE(suffix_of(seal(cipher, known_header(), {1})) == suffix);
    }
    // Nor back to where it began when it is raised to the end of its round.
    auto later = Cipher::for_sending(mode, key, kStart + 0xFFFF'FFFF).value();
    REQUIRE(suffix_of(seal(later, known_header(), {1})) == 0xFFFF'FFFD);
    Bytes out(64);
    REQUIRE(cipher.seal(known_header(), Bytes{1}, out).status == SealStatus::exhausted);
    REQUIRE(later.seal(known_header(), Bytes{1}, out).status == SealStatus::exhausted);
}

TEST_CASE("the child of a fork gets no cipher for a key that its parent sends with") {
    const auto mode = CipherMode::xchacha20_poly1305;
    const Bytes key = fresh_key();
    auto parents = Cipher::for_sending(mode, key).value();
    const pid_t child = ::fork();
    if (child == 0) {
        const auto refused = Cipher::for_sending(mode, key);
        const bool right = !refused && refused.error().code == Errc::closed &&
                           Cipher::for_sending(mode, fresh_key()).ok();
        ::_exit(right ? 0 : 1);
    }
    int status = -1;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(status == 0);
    REQUIRE(suffix_of(seal(parents, known_header(), {1})) == 0);
    REQUIRE(Cipher::for_sending(mode, key).ok());
}

TEST_CASE("an output that is too small spends no nonce") {
    const Bytes key = fresh_key();
    auto cipher = Cipher::for_sending(CipherMode::xchacha20_poly1305, key).value();
    Bytes out(12 + 1 + 20 - 1);
    REQUIRE(cipher.seal(known_header(), Bytes{1}, out).status == SealStatus::no_room);
    REQUIRE(cipher.next_nonce() == 0);
}

TEST_CASE("a key of the wrong length is refused with both lengths") {
    for (const std::size_t size : {0U, 16U, 31U, 33U}) {
        const auto made = Cipher::for_sending(CipherMode::xchacha20_poly1305, Bytes(size, 1));
        REQUIRE_FALSE(made.ok());
        REQUIRE(made.error().code == Errc::invalid_argument);
        REQUIRE(made.error().message == "key of " + std::to_string(size) + " bytes: expected 32");
    }
    REQUIRE(Cipher::for_sending(CipherMode::none, Bytes(32, 1)).error().code ==
            Errc::invalid_argument);
}

TEST_CASE("modes are known by Discord's names, and an unknown one lists them") {
    for (const auto mode : all_modes()) {
        REQUIRE(parse_cipher_mode(to_string(mode)).value() == mode);
    }
    const auto unknown = parse_cipher_mode("xsalsa20_poly1305");
    REQUIRE(unknown.error().code == Errc::invalid_argument);
    REQUIRE(unknown.error().message.find("aead_aes256_gcm_rtpsize") != std::string::npos);
}

TEST_CASE("AES is offered only where the processor has it") {
    const auto modes = available_cipher_modes();
    const bool offered = modes.front() == CipherMode::aes256_gcm;
    REQUIRE(offered == (::crypto_aead_aes256gcm_is_available() != 0));
    REQUIRE(Cipher::for_sending(CipherMode::aes256_gcm, fresh_key()).ok() == offered);
    REQUIRE(modes.back() == CipherMode::xchacha20_poly1305);
}
