#include "voicecore/transport/udp_sink.hpp"

#include <sodium.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "voicecore/transport/byte_order.hpp"

namespace voicecore::transport {
namespace {

constexpr std::size_t kKeepaliveBytes = 8;

// The clock thread is the only writer, so no read-modify-write is needed.
void add(std::atomic<std::uint64_t>& counter, std::uint64_t n = 1) noexcept {
    counter.store(counter.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
}

std::uint64_t pack(std::uint16_t sequence, std::uint32_t timestamp) noexcept {
    return (std::uint64_t{sequence} << 32U) | timestamp;
}

}  // namespace

std::string_view to_string(DropCause cause) noexcept {
    switch (cause) {
        case DropCause::would_block:
            return "would_block";
        case DropCause::no_buffers:
            return "no_buffers";
        case DropCause::refused:
            return "refused";
        case DropCause::unreachable:
            return "unreachable";
        case DropCause::too_large:
            return "too_large";
        case DropCause::other:
            return "other";
    }
    return "other";
}

std::optional<DropCause> drop_cause_of(int error) noexcept {
    switch (error) {
        case EAGAIN:
            return DropCause::would_block;
        case ENOBUFS:
        case ENOMEM:
            return DropCause::no_buffers;
        case ECONNREFUSED:
            return DropCause::refused;
        case EHOSTUNREACH:
        case ENETUNREACH:
        case EHOSTDOWN:
        case ENETDOWN:
        case EADDRNOTAVAIL:
        case ETIMEDOUT:
            return DropCause::unreachable;
        case EMSGSIZE:
            return DropCause::too_large;
        case EBADF:
        case ENOTSOCK:
        case EOPNOTSUPP:
        case EFAULT:
        case EPIPE:
            return std::nullopt;
        default:
            return DropCause::other;
    }
}

Result<std::unique_ptr<UdpSink>> UdpSink::open(UdpOptions options) {
    auto cipher = Cipher::for_sending(options.mode, options.key, options.first_nonce);
    ::sodium_memzero(options.key.data(), options.key.size());
    if (!cipher) return std::move(cipher).error();
    if (options.keepalive.count() < 0) {
        return Error{Errc::invalid_argument, 0,
                     "keep-alive every " + std::to_string(options.keepalive.count()) +
                         " ms: expected 0 (none) or more"};
    }
    if (options.dscp < 0 || options.dscp > 63) {
        return Error{Errc::invalid_argument, 0,
                     "DSCP " + std::to_string(options.dscp) + ": expected 0 to 63"};
    }
    auto socket = options.fd >= 0 ? adopt_udp(options.fd, options.dscp)
                                  : connect_udp(options.host, options.port, options.dscp);
    if (!socket) return std::move(socket).error();
    return std::unique_ptr<UdpSink>{new UdpSink{options, std::move(socket).value(),
                                                std::move(cipher).value()}};  // NOLINT: private
}

UdpSink::UdpSink(const UdpOptions& options, UdpSocket socket, Cipher cipher) noexcept
    : cipher_{std::move(cipher)},
      packetizer_{options.ssrc, options.sequence, options.timestamp},
      socket_{std::move(socket)},
      keepalive_ticks_{static_cast<std::uint64_t>(
          (options.keepalive + kFrameDuration - Nanoseconds{1}) / kFrameDuration)},
      position_{pack(options.sequence, options.timestamp)} {}

Error UdpSink::in_use() const {
    return {Errc::already_playing, 0, "another player is sending to " + socket_.peer};
}

Status UdpSink::available() const {
    if (auto error = failure()) return *std::move(error);
    if (listener_.load(std::memory_order_acquire) != nullptr) return in_use();
    return Done{};
}

Status UdpSink::start(audio::SinkListener& listener) {
    if (auto error = failure()) return *std::move(error);
    audio::SinkListener* nobody = nullptr;
    if (!listener_.compare_exchange_strong(nobody, &listener, std::memory_order_acq_rel)) {
        return in_use();
    }
    untold_drops_ = 0;  // those of the player before
    return Done{};
}

audio::SendStatus UdpSink::send(const audio::OutgoingPacket& packet) noexcept {
    if (failed_.load(std::memory_order_relaxed) != 0) return audio::SendStatus::failed;
    const RtpHeader header = packetizer_.next(packet.ticks);
    position_.store(pack(packetizer_.sequence(), packetizer_.timestamp()),
                    std::memory_order_relaxed);
    // On the stack: its cache lines are warm from the stream before; a buffer of each sink's own
    // never would be.
    std::array<std::uint8_t, kDatagramBytes> buffer;
    const Sealed sealed = cipher_.seal(header, packet.opus, buffer);
    if (sealed.status == SealStatus::exhausted) return give_up(kExhausted);

    const int error = sealed.status == SealStatus::no_room
                          ? EMSGSIZE
                          : transmit_past_refusal(std::span{buffer}.first(sealed.size));
    if (error == 0) {
        add(datagrams_);
        add(bytes_, sealed.size);
        if (packet.silence) add(silence_);
    } else if (const auto cause = drop_cause_of(error)) {
        count_drop(*cause);
    } else {
        return give_up(error);
    }
    pass_ticks(packet.ticks > idle_ticks_ ? packet.ticks - idle_ticks_ : 1);
    idle_ticks_ = 0;
    if (untold_drops_ == 0) return audio::SendStatus::sent;
    --untold_drops_;
    return audio::SendStatus::dropped;
}

void UdpSink::idle(TimePoint) noexcept {
    if (failed_.load(std::memory_order_relaxed) != 0) return;
    ++idle_ticks_;
    pass_ticks(1);
}

// Keep-alives are counted in ticks: no clock is read, and a manual clock drives them as well.
void UdpSink::pass_ticks(std::uint32_t ticks) noexcept {
    if (keepalive_ticks_ == 0) return;
    ticks_since_keepalive_ += ticks;
    if (ticks_since_keepalive_ < keepalive_ticks_) return;
    ticks_since_keepalive_ = 0;
    send_keepalive();
}

void UdpSink::send_keepalive() noexcept {
    std::array<std::uint8_t, kKeepaliveBytes> datagram;
    put_u64_be(datagram.data(), keepalive_count_++);
    const int error = transmit_past_refusal(datagram);
    if (error == 0) {
        add(keepalives_);
    } else if (const auto cause = drop_cause_of(error)) {
        count_drop(*cause);
    } else {
        give_up(error);
    }
}

int UdpSink::transmit(std::span<const std::uint8_t> datagram) noexcept {
    const auto sent =
        ::send(socket_.fd.get(), datagram.data(), datagram.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    return sent >= 0 ? 0 : errno;
}

// An ICMP "port unreachable" that answers an earlier datagram comes out of the next send(), which
// then sends nothing. One more try sends the datagram that has nothing to do with it.
int UdpSink::transmit_past_refusal(std::span<const std::uint8_t> datagram) noexcept {
    const int error = transmit(datagram);
    if (error != ECONNREFUSED) return error;
    count_drop(DropCause::refused);
    const int again = transmit(datagram);
    // Refused twice: the first count stands for the earlier datagram, the caller adds one for this.
    return again;
}

void UdpSink::count_drop(DropCause cause) noexcept {
    add(dropped_[static_cast<std::size_t>(cause)]);
    ++untold_drops_;
}

audio::SendStatus UdpSink::give_up(int error) noexcept {
    failed_.store(error, std::memory_order_release);
    return audio::SendStatus::failed;
}

std::optional<Error> UdpSink::failure() const {
    const int error = failed_.load(std::memory_order_acquire);
    if (error == 0) return std::nullopt;
    if (error == kExhausted) {
        return Error{
            Errc::closed, 0,
            "the key for " + socket_.peer + " has sealed 2^32 datagrams: a new key is needed"};
    }
    return Error{Errc::io, error,
                 "sending to " + socket_.peer + " is not possible: " + system_message(error)};
}

void UdpSink::finish() noexcept {
    auto* listener = listener_.exchange(nullptr, std::memory_order_acq_rel);
    if (listener != nullptr) listener->on_sink_finished(failure());
}

UdpStatistics UdpSink::statistics() const noexcept {
    UdpStatistics out;
    out.datagrams = datagrams_.load(std::memory_order_relaxed);
    out.bytes = bytes_.load(std::memory_order_relaxed);
    out.silence = silence_.load(std::memory_order_relaxed);
    out.keepalives = keepalives_.load(std::memory_order_relaxed);
    for (std::size_t i = 0; i < kDropCauses; ++i) {
        out.dropped[i] = dropped_[i].load(std::memory_order_relaxed);
    }
    const std::uint64_t position = position_.load(std::memory_order_relaxed);
    out.sequence = static_cast<std::uint16_t>(position >> 32U);
    out.timestamp = static_cast<std::uint32_t>(position);
    out.next_nonce = cipher_.next_nonce();
    return out;
}

}  // namespace voicecore::transport
