#include "voicecore/transport/receiver.hpp"

#include <poll.h>
#include <sodium.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <exception>
#include <utility>

#include "voicecore/audio/opus_packet.hpp"
#include "voicecore/base/thread.hpp"

namespace voicecore::transport {
namespace {

constexpr int kReceiveBuffer = 4 << 20;  // bytes; the system may grant less
constexpr std::size_t kKeepaliveBytes = 8;
constexpr Nanoseconds kReorderPatience = std::chrono::milliseconds{60};

std::int64_t to_ns(const timespec& time) noexcept {
    return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

std::int64_t wall_clock_ns() noexcept {
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    return to_ns(now);
}

void prepare(int fd) noexcept {
    const int yes = 1;
    ::setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &yes, sizeof(yes));
    ::setsockopt(fd, SOL_SOCKET, SO_RXQ_OVFL, &yes, sizeof(yes));
    // The forced variant needs CAP_NET_ADMIN; the other is limited by net.core.rmem_max.
    if (::setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &kReceiveBuffer, sizeof(kReceiveBuffer)) !=
        0) {
        ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &kReceiveBuffer, sizeof(kReceiveBuffer));
    }
}

bool is_keepalive(std::span<const std::uint8_t> datagram) noexcept {
    return datagram.size() == kKeepaliveBytes && (datagram[0] >> 6U) != 2;
}

}  // namespace

// Room for one recvmmsg().
class Receiver::Mailbox {
  public:
    Mailbox() {
        for (std::size_t i = 0; i < kDatagrams; ++i) {
            buffers_[i] = {.iov_base = bytes_[i].data(), .iov_len = bytes_[i].size()};
            messages_[i].msg_hdr.msg_iov = &buffers_[i];
            messages_[i].msg_hdr.msg_iovlen = 1;
        }
    }
    // How many came; 0 when none waits; -1 with errno.
    int receive(int fd) noexcept {
        for (std::size_t i = 0; i < kDatagrams; ++i) {
            messages_[i].msg_hdr.msg_control = controls_[i].data();
            messages_[i].msg_hdr.msg_controllen = controls_[i].size();
        }
        const int count = ::recvmmsg(fd, messages_.data(), kDatagrams, MSG_DONTWAIT, nullptr);
        if (count >= 0) return count;
        // A refusal answers something that left from this port; nothing here was lost by it.
        return errno == EAGAIN || errno == EINTR || errno == ECONNREFUSED ? 0 : -1;
    }
    struct Letter {
        std::span<const std::uint8_t> bytes;
        std::int64_t time_ns = 0;
        std::optional<std::uint32_t> drops;  // of the socket, so far
    };
    [[nodiscard]] Letter letter(std::size_t i) noexcept {
        msghdr& header = messages_[i].msg_hdr;
        Letter out{.bytes = {bytes_[i].data(), messages_[i].msg_len}, .time_ns = 0, .drops = {}};
        for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
            if (c->cmsg_level != SOL_SOCKET) continue;
            if (c->cmsg_type == SCM_TIMESTAMPNS) {
                timespec time{};
                std::memcpy(&time, CMSG_DATA(c), sizeof(time));
                out.time_ns = to_ns(time);
            } else if (c->cmsg_type == SO_RXQ_OVFL) {
                std::uint32_t drops = 0;
                std::memcpy(&drops, CMSG_DATA(c), sizeof(drops));
                out.drops = drops;
            }
        }
        if (out.time_ns == 0) out.time_ns = wall_clock_ns();
        return out;
    }
    static constexpr std::size_t kDatagrams = 64;

  private:
    static constexpr std::size_t kBytes = 2'048;  // more than any voice datagram has
    static constexpr std::size_t kControl = CMSG_SPACE(sizeof(timespec)) + CMSG_SPACE(4);
    std::array<std::array<std::uint8_t, kBytes>, kDatagrams> bytes_;
    alignas(cmsghdr) std::array<std::array<std::uint8_t, kControl>, kDatagrams> controls_;
    std::array<iovec, kDatagrams> buffers_{};
    std::array<mmsghdr, kDatagrams> messages_{};
    static_assert(kControl % alignof(cmsghdr) == 0);
};

Result<std::unique_ptr<Receiver>> Receiver::open(ReceiverOptions options) {
    auto cipher = Cipher::for_receiving(options.mode, options.key);
    ::sodium_memzero(options.key.data(), options.key.size());
    options.key.clear();
    if (!cipher) return std::move(cipher).error();
    // The port before the file: a receiver that cannot listen leaves an existing recording alone.
    auto socket = bind_udp(options.host, options.port);
    if (!socket) return std::move(socket).error();
    prepare(socket->fd.get());
    std::optional<Recording> recording;
    if (options.ogg) {
        auto file = OggWriter::open(*options.ogg);
        if (!file) return std::move(file).error();
        recording.emplace(std::move(file).value(), options.fill_gaps);
    }
    Fd stop_event{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    if (!stop_event) return Error{Errc::io, errno, "eventfd: " + system_message(errno)};
    std::unique_ptr<Receiver> receiver{new Receiver{
        // NOLINT: private
        std::move(options), std::move(socket).value(), std::move(stop_event),
        std::move(cipher).value(), std::move(recording)}};
    auto thread = start_thread("to receive", [self = receiver.get()] { self->run(); });
    if (!thread) return std::move(thread).error();
    receiver->thread_ = std::move(thread).value();
    return receiver;
}

Receiver::Receiver(ReceiverOptions options, UdpSocket socket, Fd stop_event, Cipher cipher,
                   std::optional<Recording> recording)
    : options_{std::move(options)},
      socket_{std::move(socket)},
      stop_event_{std::move(stop_event)},
      cipher_{std::move(cipher)},
      recording_{std::move(recording)},
      plain_(2'048) {
    counts_.ssrc = options_.ssrc;
    begun_ = SteadyClock{}.now();
}

Receiver::~Receiver() {
    stop();
    if (thread_.joinable()) thread_.join();
}

void Receiver::stop() noexcept {
    stopping_.store(true, std::memory_order_release);
    const std::uint64_t one = 1;
    const auto written = ::write(stop_event_.get(), &one, sizeof(one));
    static_cast<void>(written);  // full means that it is readable already
}

bool Receiver::wait(Nanoseconds timeout) const {
    // Far beyond any use, and still no overflow when added to the time of day.
    constexpr Nanoseconds kLongest = std::chrono::hours{24 * 365};
    std::unique_lock lock{mutex_};
    return end_.wait_for(lock, std::min(timeout, kLongest), [this] { return over_; });
}

std::optional<Error> Receiver::error() const {
    const std::lock_guard lock{mutex_};
    return error_;
}

ReceiverStatistics Receiver::statistics() const {
    const std::lock_guard lock{mutex_};
    ReceiverStatistics out = counts_;
    out.stream = meter_.figures();
    return out;
}

std::vector<Arrival> Receiver::arrivals() const {
    const std::lock_guard lock{mutex_};
    return log_;
}

std::vector<Arrival> Receiver::take_arrivals() {
    const std::lock_guard lock{mutex_};
    return std::exchange(log_, {});
}

void Receiver::run() noexcept {
    enter_native_thread("vc-recv");
    auto reason = EndReason::failed;
    std::optional<Error> error;
    try {
        auto done = work();
        if (done) {
            reason = *done;
        } else {
            error = std::move(done).error();
        }
        if (recording_) {
            auto finished = recording_->finish();
            if (!finished && !error) {
                reason = EndReason::failed;
                error = std::move(finished).error();
            }
        }
    } catch (const std::exception& e) {
        reason = EndReason::failed;
        error = Error{Errc::internal, 0, e.what()};
    }
    {
        const std::lock_guard lock{mutex_};
        error_ = std::move(error);
        ended_.store(reason, std::memory_order_release);
        over_ = true;
    }
    end_.notify_all();
    if (options_.on_end) options_.on_end();
}

Result<EndReason> Receiver::work() {
    const SteadyClock clock;
    const auto mailbox = std::make_unique<Mailbox>();
    std::array<pollfd, 2> fds{pollfd{.fd = socket_.fd.get(), .events = POLLIN, .revents = 0},
                              pollfd{.fd = stop_event_.get(), .events = POLLIN, .revents = 0}};
    while (true) {
        // Looked at before the socket: what arrived before stop() is then still taken.
        const bool stopping = stopping_.load(std::memory_order_acquire);
        if (auto taken = take(*mailbox); !taken) return std::move(taken).error();
        if (stopping) return EndReason::stopped;
        const TimePoint now = clock.now();
        if (options_.duration.count() > 0 && now >= begun_ + options_.duration) {
            return EndReason::duration;
        }
        const TimePoint heard = last_heard();
        if (options_.idle.count() > 0 && heard != TimePoint{} && now >= heard + options_.idle) {
            return EndReason::idle;
        }
        if (recording_ && recording_->holds() && now >= last_packet_ + kReorderPatience) {
            if (auto flushed = recording_->flush(); !flushed) return std::move(flushed).error();
        }
        ::poll(fds.data(), fds.size(), patience_ms(now));
    }
}

// Until the next time that something happens by itself; -1 for never.
int Receiver::patience_ms(TimePoint now) const noexcept {
    TimePoint next = TimePoint::max();
    if (options_.duration.count() > 0) next = std::min(next, begun_ + options_.duration);
    const TimePoint heard = last_heard();
    if (options_.idle.count() > 0 && heard != TimePoint{}) {
        next = std::min(next, heard + options_.idle);
    }
    if (recording_ && recording_->holds()) next = std::min(next, last_packet_ + kReorderPatience);
    if (next == TimePoint::max()) return -1;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(next - now).count();
    return static_cast<int>(std::clamp<std::int64_t>(left, 0, 60'000));
}

Status Receiver::take(Mailbox& mailbox) {
    while (true) {
        const int count = mailbox.receive(socket_.fd.get());
        if (count < 0) return Error{Errc::io, errno, "receiving: " + system_message(errno)};
        for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
            const auto letter = mailbox.letter(i);
            if (letter.drops) {
                const std::lock_guard lock{mutex_};
                counts_.kernel_drops = *letter.drops;
            }
            if (auto taken = take_datagram(letter.bytes, letter.time_ns); !taken) return taken;
        }
        if (count < static_cast<int>(Mailbox::kDatagrams)) return Done{};
    }
}

Status Receiver::take_datagram(std::span<const std::uint8_t> datagram, std::int64_t time_ns) {
    StreamMeter::Recorded recorded;
    Opened opened;
    int samples = kFrameSamples;
    bool valid = false;
    {
        const std::lock_guard lock{mutex_};
        ++counts_.datagrams;
        counts_.bytes += datagram.size();
        if (is_keepalive(datagram)) {
            ++counts_.keepalives;
            return Done{};
        }
        if (is_rtcp(datagram)) {
            ++counts_.rtcp;
            return Done{};
        }
        // Before decrypting: another stream may have another key.
        if (const auto rtp = parse_rtp(datagram);
            rtp && counts_.ssrc && rtp->ssrc != *counts_.ssrc) {
            ++counts_.foreign_ssrc;
            last_stranger_ = SteadyClock{}.now();
            return Done{};
        }
        opened = cipher_.open(datagram, plain_);
        if (opened.status != OpenStatus::ok) {
            ++(opened.status == OpenStatus::forged ? counts_.decryption_failures
                                                   : counts_.malformed);
            last_stranger_ = SteadyClock{}.now();
            return Done{};
        }
        counts_.ssrc = opened.rtp.ssrc;
        const auto opus = audio::parse_opus_packet(opened.payload);
        valid = opus.has_value();
        if (opus) {
            samples = opus->samples();
        } else {
            ++counts_.not_opus;
        }
        const bool silence = std::equal(opened.payload.begin(), opened.payload.end(),
                                        audio::kSilenceFrame.begin(), audio::kSilenceFrame.end());
        const Arrival arrival{.time_ns = time_ns,
                              .timestamp = opened.rtp.timestamp,
                              .sequence = opened.rtp.sequence,
                              .size = static_cast<std::uint16_t>(opened.payload.size()),
                              .samples = static_cast<std::uint16_t>(samples),
                              .silence = silence};
        recorded = meter_.record(arrival);
        if (log_.size() < options_.log_packets) log_.push_back(arrival);
    }
    last_packet_ = SteadyClock{}.now();
    if (!recording_) return Done{};
    return record(recorded, valid, opened.rtp.timestamp, samples, opened.payload);
}

Status Receiver::record(StreamMeter::Recorded recorded, bool valid, std::uint32_t timestamp,
                        int samples, std::span<const std::uint8_t> opus) {
    using Verdict = StreamMeter::Verdict;
    const auto stray = std::exchange(stray_, std::nullopt);
    if (recorded.verdict == Verdict::stray && valid) {
        stray_ =
            Stray{.opus = {opus.begin(), opus.end()}, .timestamp = timestamp, .samples = samples};
    }
    if (recorded.verdict == Verdict::restart) {
        if (auto restarted = recording_->restart(); !restarted) return restarted;
        if (stray) {
            auto added =
                recording_->add(recorded.index - 1, stray->timestamp, stray->samples, stray->opus);
            if (!added) return added;
        }
    }
    if (!valid || recorded.verdict == Verdict::stray || recorded.verdict == Verdict::duplicate) {
        return Done{};
    }
    return recording_->add(recorded.index, timestamp, samples, opus);
}

}  // namespace voicecore::transport
