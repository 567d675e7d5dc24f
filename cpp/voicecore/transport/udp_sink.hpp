// UdpSink: packets leave as encrypted RTP datagrams, on the clock thread.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "voicecore/audio/opus_packet.hpp"
#include "voicecore/audio/packet_sink.hpp"
#include "voicecore/transport/cipher.hpp"
#include "voicecore/transport/rtp.hpp"
#include "voicecore/transport/udp_socket.hpp"

namespace voicecore::transport {

struct UdpOptions {
    std::string host;  // a name, an IPv4 or an IPv6 literal (without brackets)
    int port = 0;      // 1 to 65535
    int fd = -1;       // or: duplicate this connected UDP socket, host and port unused
    std::uint32_t ssrc = 0;
    CipherMode mode = CipherMode::xchacha20_poly1305;
    std::vector<std::uint8_t> key;  // 32 bytes; none for mode none. This copy is wiped by open().
    std::uint64_t first_nonce = 0;  // at least; the key's own counter goes on from where it is
    std::uint16_t sequence = 0;     // of the first datagram
    std::uint32_t timestamp = 0;    // of the first datagram
    std::chrono::milliseconds keepalive{5'000};  // between keep-alives; 0: none
    int dscp = kExpeditedForwarding;             // best effort; 0 leaves it
};

// Why a datagram did not leave.
enum class DropCause : std::uint8_t {
    would_block,  // EAGAIN: the socket's buffer is full
    no_buffers,   // ENOBUFS, ENOMEM: the device's queue is full
    refused,      // ECONNREFUSED: nobody listens there (told for a datagram before)
    unreachable,  // no route, host or network down
    too_large,    // EMSGSIZE, or more than a packet may have
    other,        // a firewall's EPERM and anything else that may pass
};
inline constexpr std::size_t kDropCauses = 6;
[[nodiscard]] std::string_view to_string(DropCause cause) noexcept;
// Of an errno value of send(); null for what will not pass.
[[nodiscard]] std::optional<DropCause> drop_cause_of(int error) noexcept;

struct UdpStatistics {
    std::uint64_t datagrams = 0;  // that the system took, keep-alives not included
    std::uint64_t bytes = 0;      // of those, UDP payload
    std::uint64_t silence = 0;    // of those, silence frames
    std::uint64_t keepalives = 0;
    std::array<std::uint64_t, kDropCauses> dropped{};  // by DropCause
    std::uint16_t sequence =
        0;  // of the last datagram: the values from which somebody else can go on
    std::uint32_t timestamp = 0;
    std::uint64_t next_nonce = 0;  // of the key, whoever uses it
};

// statistics() from any thread; the rest as the port says. Serves several players in turn:
// sequence, timestamp and nonce go on. A keep-alive is a datagram of 8 bytes, a big-endian counter
// from 0: no RTP, receivers ignore it.
//
// Never blocks: MSG_DONTWAIT, so that the flags of an adopted socket stay as they are. What may
// pass (full buffers, an unreachable or absent peer) is counted and playing goes on. send() tells
// of each as `dropped`, once; of a refusal, which answers an earlier datagram, and of a lost
// keep-alive it does so late. What cannot pass (the socket was shut down, the key has no nonce
// left) makes send() return `failed`, from then on; the listener hears why in finish(), because
// telling it may lock and so is not for the clock thread.
class UdpSink final : public audio::PacketSink {
  public:
    // Blocks for a name look-up.
    [[nodiscard]] static Result<std::unique_ptr<UdpSink>> open(UdpOptions options);

    [[nodiscard]] Status available() const override;
    [[nodiscard]] Status start(audio::SinkListener& listener) override;
    audio::SendStatus send(const audio::OutgoingPacket& packet) noexcept override;
    void idle(TimePoint now) noexcept override;
    void prefetch() const noexcept override { cipher_.prefetch(); }
    void finish() noexcept override;

    [[nodiscard]] UdpStatistics statistics() const noexcept;
    [[nodiscard]] const std::string& peer() const noexcept { return socket_.peer; }
    [[nodiscard]] std::uint16_t local_port() const noexcept { return socket_.local_port; }

  private:
    UdpSink(const UdpOptions& options, UdpSocket socket, Cipher cipher) noexcept;

    // 0 or errno.
    [[nodiscard]] int transmit(std::span<const std::uint8_t> datagram) noexcept;
    [[nodiscard]] int transmit_past_refusal(std::span<const std::uint8_t> datagram) noexcept;
    audio::SendStatus give_up(int error) noexcept;
    void count_drop(DropCause cause) noexcept;
    void pass_ticks(std::uint32_t ticks) noexcept;
    void send_keepalive() noexcept;
    [[nodiscard]] Error in_use() const;
    [[nodiscard]] std::optional<Error> failure() const;

    static constexpr int kExhausted = -1;  // in failed_, beside the positive errno values
    static constexpr std::size_t kDatagramBytes =
        kRtpHeaderBytes + audio::kMaxPacketBytes + kMaxCipherOverhead;

    // Clock thread.
    Cipher cipher_;
    RtpPacketizer packetizer_;
    UdpSocket socket_;
    const std::uint64_t keepalive_ticks_;  // 0: none
    std::uint64_t ticks_since_keepalive_ = 0;
    std::uint32_t idle_ticks_ = 0;  // since the last packet: its `ticks` will count them again
    std::uint64_t keepalive_count_ = 0;
    std::uint64_t untold_drops_ = 0;  // counted, and not yet told by send()

    // Written by the clock thread, read by any.
    std::atomic<std::uint64_t> datagrams_{0};
    std::atomic<std::uint64_t> bytes_{0};
    std::atomic<std::uint64_t> silence_{0};
    std::atomic<std::uint64_t> keepalives_{0};
    std::array<std::atomic<std::uint64_t>, kDropCauses> dropped_{};
    std::atomic<std::uint64_t> position_;  // sequence above, timestamp below: read together
    std::atomic<int> failed_{0};

    std::atomic<audio::SinkListener*> listener_{nullptr};  // who uses the sink
};

}  // namespace voicecore::transport
