// Receiver: the other end of a UDP sink. Decrypts, checks, measures, records.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "voicecore/base/clock.hpp"
#include "voicecore/base/result.hpp"
#include "voicecore/transport/cipher.hpp"
#include "voicecore/transport/ogg_writer.hpp"
#include "voicecore/transport/recording.hpp"
#include "voicecore/transport/stream_meter.hpp"
#include "voicecore/transport/udp_socket.hpp"

namespace voicecore::transport {

struct ReceiverOptions {
    std::string host = "127.0.0.1";  // local address; empty: any IPv4
    int port = 0;                    // 0: the system chooses
    CipherMode mode = CipherMode::xchacha20_poly1305;
    std::vector<std::uint8_t> key;  // 32 bytes; none for mode none. This copy is wiped by open().
    std::optional<std::uint32_t> ssrc;  // null: the first that can be decrypted
    std::optional<OggOptions> ogg;      // record into this file
    bool fill_gaps = true;              // silence in the file where packets or ticks are missing
    std::size_t log_packets = 0;        // keep so many arrivals, then no more
    // End so long after the last packet of the stream, or of anybody until it has come; 0: never.
    Nanoseconds idle{0};
    Nanoseconds duration{0};       // end so long after open(); 0: never
    std::function<void()> on_end;  // on the receiver's thread, once, after everything is closed
};

struct ReceiverStatistics {
    std::uint64_t datagrams = 0;  // of any kind
    std::uint64_t bytes = 0;      // their UDP payload
    std::uint64_t decryption_failures = 0;
    std::uint64_t malformed = 0;  // no RTP
    std::uint64_t not_opus = 0;   // RTP that decrypts to something else: counted as packets, not
                                  // recorded
    std::uint64_t foreign_ssrc = 0;
    std::uint64_t keepalives = 0;
    std::uint64_t rtcp = 0;
    std::uint64_t kernel_drops = 0;     // the socket's buffer was full: our loss, not the network's
    std::optional<std::uint32_t> ssrc;  // of the stream
    StreamFigures stream;
};

enum class EndReason : std::uint8_t { running, stopped, idle, duration, failed };

// Everything from any thread. One thread of its own (`vc-recv`) does the work, from open() on.
class Receiver {
  public:
    // Binds and begins. address_in_use when somebody else has the port.
    [[nodiscard]] static Result<std::unique_ptr<Receiver>> open(ReceiverOptions options);
    // Stops and waits for the thread. Not inside on_end.
    ~Receiver();
    Receiver(const Receiver&) = delete;
    Receiver& operator=(const Receiver&) = delete;

    [[nodiscard]] const std::string& host() const noexcept { return socket_.local_host; }
    [[nodiscard]] std::uint16_t port() const noexcept { return socket_.local_port; }

    [[nodiscard]] ReceiverStatistics statistics() const;
    [[nodiscard]] std::vector<Arrival> arrivals() const;
    // The same, and makes room for as many more.
    [[nodiscard]] std::vector<Arrival> take_arrivals();

    // Ends soon: what has arrived is still counted, the file is finished. Idempotent.
    void stop() noexcept;
    // True once it has ended and the file is closed; false when `timeout` passed first.
    bool wait(Nanoseconds timeout) const;
    [[nodiscard]] EndReason ended() const noexcept {
        return ended_.load(std::memory_order_acquire);
    }
    // After `failed`: why.
    [[nodiscard]] std::optional<Error> error() const;

  private:
    class Mailbox;
    Receiver(ReceiverOptions options, UdpSocket socket, Fd stop_event, Cipher cipher,
             std::optional<Recording> recording);

    void run() noexcept;
    [[nodiscard]] Result<EndReason> work();
    [[nodiscard]] int patience_ms(TimePoint now) const noexcept;
    [[nodiscard]] Status take(Mailbox& mailbox);
    [[nodiscard]] Status take_datagram(std::span<const std::uint8_t> datagram,
                                       std::int64_t time_ns);
    [[nodiscard]] Status record(StreamMeter::Recorded recorded, bool valid, std::uint32_t timestamp,
                                int samples, std::span<const std::uint8_t> opus);

    const ReceiverOptions options_;
    const UdpSocket socket_;
    const Fd stop_event_;
    const Cipher cipher_;
    std::atomic<bool> stopping_{false};
    std::atomic<EndReason> ended_{EndReason::running};

    // The receiver's thread.
    std::optional<Recording> recording_;
    std::vector<std::uint8_t> plain_;
    struct Stray {
        std::vector<std::uint8_t> opus;
        std::uint32_t timestamp;
        int samples;
    };
    std::optional<Stray> stray_;  // recorded if the next packet tells of a new numbering
    TimePoint begun_{};
    TimePoint last_packet_{};    // epoch: none yet
    TimePoint last_stranger_{};  // that the key or the SSRC does not fit
    // Strangers count until the stream has come: whoever waits with a wrong key waits in vain.
    [[nodiscard]] TimePoint last_heard() const noexcept {
        return last_packet_ != TimePoint{} ? last_packet_ : last_stranger_;
    }

    mutable std::mutex mutex_;  // the rest
    mutable std::condition_variable end_;
    ReceiverStatistics counts_;
    StreamMeter meter_;
    std::vector<Arrival> log_;
    std::optional<Error> error_;
    bool over_ = false;

    std::thread thread_;
};

}  // namespace voicecore::transport
