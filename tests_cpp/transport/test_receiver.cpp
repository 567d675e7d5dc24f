#include <algorithm>
#include <cerrno>
#include <thread>

#include "catch.hpp"
#include "rig.hpp"
#include "voicecore/transport/receiver.hpp"
#include "voicecore/transport/udp_sink.hpp"

using namespace voicecore;
using namespace voicecore::transport;
using namespace voicecore_test;

namespace {

std::unique_ptr<Receiver> open_receiver(ReceiverOptions options) {
    auto receiver = Receiver::open(std::move(options));
    if (!receiver) FAIL(receiver.error().message);
    return std::move(receiver).value();
}

ReceiverOptions plain_options() {
    ReceiverOptions out;
    out.mode = CipherMode::none;
    return out;
}

// The same, recording into a.ogg of that folder.
ReceiverOptions recording_options(const TemporaryDirectory& dir) {
    auto options = plain_options();
    options.ogg = OggOptions{};
    options.ogg->path = dir.file("a.ogg");
    return options;
}

std::unique_ptr<UdpSink> sink_to(const Receiver& receiver, CipherMode mode = CipherMode::none,
                                 const Bytes& key = {}, std::uint32_t ssrc = 1) {
    UdpOptions options;
    options.host = receiver.host();
    options.port = receiver.port();
    options.mode = mode;
    options.key = key;
    options.ssrc = ssrc;
    return UdpSink::open(options).value();
}

// Stopping takes what has arrived, and on loopback everything sent has.
ReceiverStatistics stopped(Receiver& receiver) {
    receiver.stop();
    REQUIRE(receiver.wait(kPatience));
    return receiver.statistics();
}

// A socket that sends bytes as they are, numbers and timestamps made up.
class RawSender {
  public:
    explicit RawSender(const Receiver& receiver)
        : socket_{connect_udp(receiver.host(), receiver.port()).value()} {}
    void send(const Bytes& bytes) const {
        REQUIRE(::send(socket_.fd.get(), bytes.data(), bytes.size(), 0) ==
                static_cast<ssize_t>(bytes.size()));
    }
    void send_rtp(std::uint16_t sequence, std::uint32_t timestamp, const Bytes& payload,
                  std::uint32_t ssrc = 1) const {
        RtpPacketizer packetizer{ssrc, sequence, timestamp};
        const auto header = packetizer.next(1);
        Bytes out(header.begin(), header.end());
        out.insert(out.end(), payload.begin(), payload.end());
        send(out);
    }

  private:
    UdpSocket socket_;
};

std::int64_t decoded_samples(const std::string& path) {
    const std::string raw = path + ".raw";
    const auto dec =
        run_command("opusdec --quiet --rate 48000 --force-stereo '" + path + "' '" + raw + "'");
    INFO(dec.output);
    REQUIRE(dec.status == 0);
    return static_cast<std::int64_t>(read_file(raw).size()) / 4;
}

// Opus packets of an Ogg file, in order; good enough for packets below 255 bytes.
std::vector<Bytes> recorded_packets(const std::string& path) {
    const Bytes file = read_file(path);
    std::vector<Bytes> out;
    int page = 0;
    for (std::size_t at = 0; at + 27 <= file.size(); ++page) {
        const std::size_t segments = file[at + 26];
        std::size_t body = at + 27 + segments;
        for (std::size_t i = 0; i < segments; ++i) {
            const std::size_t size = file[at + 27 + i];
            if (page >= 2) {
                out.emplace_back(file.begin() + static_cast<std::ptrdiff_t>(body),
                                 file.begin() + static_cast<std::ptrdiff_t>(body + size));
            }
            body += size;
        }
        at = body;
    }
    return out;
}

const Bytes kSilence{0xF8, 0xFF, 0xFE};

}  // namespace

TEST_CASE("what a UDP sink sends is received, decrypted and counted, in every mode and family") {
    for (const std::string host : {"127.0.0.1", "::1"}) {
        auto modes = available_cipher_modes();
        modes.push_back(CipherMode::none);
        for (const auto mode : modes) {
            const Bytes key = mode == CipherMode::none ? Bytes{} : fresh_key();
            ReceiverOptions options;
            options.host = host;
            options.mode = mode;
            options.key = key;
            options.log_packets = 100;
            auto receiver = open_receiver(options);
            REQUIRE(receiver->port() != 0);
            auto sink = sink_to(*receiver, mode, key, 0xBEEF);
            const Bytes packet = packet_of(1);
            for (int i = 0; i < 20; ++i) (void)sink->send(outgoing(packet));
            for (int i = 0; i < 5; ++i) (void)sink->send(silence());
            const auto counts = stopped(*receiver);
            REQUIRE(receiver->ended() == EndReason::stopped);
            REQUIRE(counts.datagrams == 25);
            REQUIRE(counts.bytes == sink->statistics().bytes);
            REQUIRE(counts.stream.packets == 25);
            REQUIRE(counts.stream.silence_frames == 5);
            REQUIRE(counts.stream.lost == 0);
            REQUIRE(counts.ssrc == 0xBEEF);
            const auto log = receiver->arrivals();
            REQUIRE(log.size() == 25);
            for (unsigned i = 0; i < 25; ++i) {
                REQUIRE(log[i].sequence == i);
                REQUIRE(log[i].timestamp == 960 * i);
                REQUIRE(log[i].size == (i < 20 ? 100 : 3));
            }
        }
    }
}

TEST_CASE("arrival times are the kernel's: in order, and not later than now") {
    timespec before{};
    ::clock_gettime(CLOCK_REALTIME, &before);
    auto options = plain_options();
    options.log_packets = 10;
    auto receiver = open_receiver(options);
    const RawSender sender{*receiver};
    for (std::uint16_t i = 0; i < 10; ++i) sender.send_rtp(i, 960U * i, packet_of(i));
    (void)stopped(*receiver);
    timespec after{};
    ::clock_gettime(CLOCK_REALTIME, &after);
    const auto ns = [](const timespec& t) { return t.tv_sec * 1'000'000'000 + t.tv_nsec; };
    std::int64_t last = ns(before);
    for (const auto& arrival : receiver->arrivals()) {
        REQUIRE(arrival.time_ns >= last);
        last = arrival.time_ns;
    }
    REQUIRE(last <= ns(after));
}

TEST_CASE("a log that is taken has room for as many packets again") {
    auto options = plain_options();
    options.log_packets = 10;
    auto receiver = open_receiver(options);
    const RawSender sender{*receiver};
    for (std::uint16_t i = 0; i < 12; ++i) sender.send_rtp(i, 960U * i, packet_of(i));
    while (receiver->statistics().stream.packets < 12) std::this_thread::yield();
    REQUIRE(receiver->take_arrivals().size() == 10);
    REQUIRE(receiver->arrivals().empty());
    for (std::uint16_t i = 12; i < 15; ++i) sender.send_rtp(i, 960U * i, packet_of(i));
    (void)stopped(*receiver);
    const auto log = receiver->take_arrivals();
    REQUIRE(log.size() == 3);
    REQUIRE(log.front().sequence == 12);
}

TEST_CASE("everything that is not the stream is counted by what it is") {
    const Bytes key = fresh_key();
    ReceiverOptions options;
    options.key = key;
    options.ssrc = 7;
    auto receiver = open_receiver(options);
    auto sink = sink_to(*receiver, CipherMode::xchacha20_poly1305, key, 7);
    auto other = sink_to(*receiver, CipherMode::xchacha20_poly1305, key, 8);
    auto stranger = sink_to(*receiver, CipherMode::xchacha20_poly1305, fresh_key(), 7);
    const Bytes packet = packet_of(1);
    const Bytes no_opus{0xFF};  // code 3 without its frame count
    (void)sink->send(outgoing(packet));
    (void)other->send(outgoing(packet));
    (void)stranger->send(outgoing(packet));
    (void)sink->send(outgoing(no_opus));
    const RawSender raw{*receiver};
    raw.send(Bytes(8, 0));                   // keep-alive
    raw.send(from_hex("80c8000100000007"));  // RTCP sender report, short
    raw.send(Bytes(40, 0));                  // version 0
    raw.send(from_hex("8078000000000000"));  // RTP that ends inside its header
    raw.send({});
    const auto counts = stopped(*receiver);
    REQUIRE(counts.datagrams == 9);
    REQUIRE(counts.stream.packets == 2);
    REQUIRE(counts.not_opus == 1);
    REQUIRE(counts.foreign_ssrc == 1);
    REQUIRE(counts.decryption_failures == 1);
    REQUIRE(counts.keepalives == 1);
    REQUIRE(counts.rtcp == 1);
    REQUIRE(counts.malformed == 3);
}

TEST_CASE("without an SSRC the first stream that the key opens is the one") {
    const Bytes key = fresh_key();
    ReceiverOptions options;
    options.key = key;
    auto receiver = open_receiver(options);
    auto stranger = sink_to(*receiver, CipherMode::xchacha20_poly1305, fresh_key(), 1);
    auto first = sink_to(*receiver, CipherMode::xchacha20_poly1305, key, 2);
    auto second = sink_to(*receiver, CipherMode::xchacha20_poly1305, key, 3);
    const Bytes packet = packet_of(1);
    for (auto* sink : {stranger.get(), first.get(), second.get(), first.get()}) {
        (void)sink->send(outgoing(packet));
    }
    const auto counts = stopped(*receiver);
    REQUIRE(counts.ssrc == 2);
    REQUIRE(counts.stream.packets == 2);
    REQUIRE(counts.foreign_ssrc == 1);
    REQUIRE(counts.decryption_failures == 1);
}

TEST_CASE("a port that somebody has is refused as in use, not shared") {
    auto first = open_receiver(plain_options());
    auto options = plain_options();
    options.port = first->port();
    const auto second = Receiver::open(options);
    REQUIRE(second.error().code == Errc::address_in_use);
    REQUIRE(second.error().native == EADDRINUSE);
    REQUIRE(second.error().message.find(std::to_string(options.port)) != std::string::npos);
}

TEST_CASE("a receiver refuses options that cannot be, with what was expected") {
    auto options = plain_options();
    options.port = 70'000;
    REQUIRE(Receiver::open(options).error().message == "port 70000: expected 0 to 65535");
    options = plain_options();
    options.host = "192.0.2.1";  // not ours
    REQUIRE(Receiver::open(options).error().code == Errc::not_found);
    options = {};
    options.key = Bytes(16, 1);
    REQUIRE(Receiver::open(options).error().message == "key of 16 bytes: expected 32");
    options = plain_options();
    options.ogg = OggOptions{};
    options.ogg->path = "/no/such/directory/a.ogg";
    REQUIRE(Receiver::open(options).error().code == Errc::not_found);
}

TEST_CASE("a receiver that cannot have its port leaves an existing recording alone") {
    TemporaryDirectory dir;
    const auto path = dir.file("a.ogg");
    std::ofstream{path} << "precious";
    auto first = open_receiver(plain_options());
    auto options = plain_options();
    options.port = first->port();
    options.ogg = OggOptions{};
    options.ogg->path = path;
    REQUIRE_FALSE(Receiver::open(options).ok());
    REQUIRE(read_file(path).size() == 8);
}

TEST_CASE("a receiver ends so long after the last packet, but not before the first") {
    auto options = plain_options();
    options.idle = 30ms;
    auto receiver = open_receiver(options);
    REQUIRE_FALSE(receiver->wait(100ms));
    const RawSender sender{*receiver};
    sender.send_rtp(0, 0, packet_of(1));
    REQUIRE(receiver->wait(kPatience));
    REQUIRE(receiver->ended() == EndReason::idle);
}

TEST_CASE("a receiver with a duration ends by itself, and tells") {
    std::atomic<int> told{0};
    auto options = plain_options();
    options.duration = 30ms;
    options.on_end = [&told] { ++told; };
    {
        auto receiver = open_receiver(options);
        REQUIRE(receiver->wait(kPatience));
        REQUIRE(receiver->ended() == EndReason::duration);
    }
    REQUIRE(told == 1);
}

TEST_CASE("a recording has the packets in order, each once") {
    TemporaryDirectory dir;
    auto options = recording_options(dir);
    auto receiver = open_receiver(options);
    const RawSender sender{*receiver};
    for (const unsigned i : {0U, 1U, 3U, 2U, 2U, 4U, 6U, 5U, 7U}) {
        sender.send_rtp(static_cast<std::uint16_t>(65'533 + i), 960U * i, packet_of(i));
    }
    const auto counts = stopped(*receiver);
    REQUIRE(counts.stream.duplicates == 1);
    REQUIRE(counts.stream.reordered == 2);
    const auto packets = recorded_packets(dir.file("a.ogg"));
    REQUIRE(packets.size() == 8);
    for (unsigned i = 0; i < 8; ++i) REQUIRE(packets[i] == packet_of(i));
}

TEST_CASE("silence takes the place of what was lost or not sent, so that the timing stays") {
    TemporaryDirectory dir;
    auto options = recording_options(dir);
    auto receiver = open_receiver(options);
    const RawSender sender{*receiver};
    const Bytes packet{0xFC, 0xFF, 0xFE};
    sender.send_rtp(0, 0, packet);
    sender.send_rtp(2, 2 * 960, packet);        // one lost
    sender.send_rtp(3, 13 * 960, packet);       // a pause of ten ticks
    sender.send_rtp(4, 20'000 * 960U, packet);  // one far beyond what is filled
    REQUIRE(stopped(*receiver).stream.lost == 1);
    const auto packets = recorded_packets(dir.file("a.ogg"));
    REQUIRE(packets.size() == 4 + 1 + 10 + 250);
    REQUIRE(packets[0] == packet);
    REQUIRE(packets[1] == kSilence);
    REQUIRE(packets[2] == packet);
    REQUIRE(packets[13] == packet);
    const auto info = run_command("opusinfo '" + dir.file("a.ogg") + "'");
    REQUIRE(info.status == 0);
    REQUIRE(info.output.find("WARNING") == std::string::npos);
    REQUIRE(decoded_samples(dir.file("a.ogg")) == 265 * 960 - 312);
}

TEST_CASE("a packet that comes after its place was filled is left out of the recording") {
    TemporaryDirectory dir;
    auto options = recording_options(dir);
    auto receiver = open_receiver(options);
    const RawSender sender{*receiver};
    for (const unsigned i : {0U, 2U, 3U, 4U, 5U, 6U, 7U, 8U, 1U, 9U}) {
        sender.send_rtp(static_cast<std::uint16_t>(i), 960U * i, packet_of(i));
    }
    REQUIRE(stopped(*receiver).stream.reordered == 1);
    const auto packets = recorded_packets(dir.file("a.ogg"));
    REQUIRE(packets.size() == 10);
    REQUIRE(packets[1] == kSilence);
    for (unsigned i = 2; i < 10; ++i) REQUIRE(packets[i] == packet_of(i));
}

TEST_CASE("without filling, the packets follow one another") {
    TemporaryDirectory dir;
    auto options = plain_options();
    options.fill_gaps = false;
    options.ogg = OggOptions{};
    options.ogg->path = dir.file("a.ogg");
    auto receiver = open_receiver(options);
    const RawSender sender{*receiver};
    sender.send_rtp(0, 0, packet_of(0));
    sender.send_rtp(1, 100 * 960, packet_of(1));
    (void)stopped(*receiver);
    REQUIRE(recorded_packets(dir.file("a.ogg")).size() == 2);
}

TEST_CASE("a sender that starts anew is recorded on, without a hole") {
    TemporaryDirectory dir;
    auto options = recording_options(dir);
    auto receiver = open_receiver(options);
    const RawSender sender{*receiver};
    for (std::uint16_t i = 0; i < 300; ++i) sender.send_rtp(i, 960U * i, packet_of(i));
    for (std::uint16_t i = 0; i < 10; ++i) sender.send_rtp(i, 960U * i, packet_of(i));
    const auto counts = stopped(*receiver);
    REQUIRE(counts.stream.restarts == 1);
    REQUIRE(counts.stream.lost == 0);
    REQUIRE(recorded_packets(dir.file("a.ogg")).size() == 310);
}

TEST_CASE("a packet replayed or far too late leaves the recording and its length alone") {
    TemporaryDirectory dir;
    auto options = recording_options(dir);
    auto receiver = open_receiver(options);
    const RawSender sender{*receiver};
    for (std::uint16_t i = 0; i < 400; ++i) {
        sender.send_rtp(i, 960U * i, packet_of(i));
        if (i == 299) sender.send_rtp(50, 960U * 50, packet_of(50));
    }
    const auto counts = stopped(*receiver);
    REQUIRE(counts.stream.restarts == 0);
    REQUIRE(counts.stream.duplicates == 1);
    REQUIRE(counts.stream.lost == 0);
    const auto packets = recorded_packets(dir.file("a.ogg"));
    REQUIRE(packets.size() == 400);
    for (unsigned i = 0; i < 400; ++i) REQUIRE(packets[i] == packet_of(i));
}

TEST_CASE("a packet that waits for a lost one is written after 60 ms without any") {
    TemporaryDirectory dir;
    auto options = recording_options(dir);
    options.ogg->page_packets = 1;
    auto receiver = open_receiver(options);
    const RawSender sender{*receiver};
    sender.send_rtp(0, 0, packet_of(0));
    sender.send_rtp(2, 1'920, packet_of(2));
    const auto limit = std::chrono::steady_clock::now() + kPatience;
    // The writer keeps the last packet back for the end mark: two of three are there.
    while (recorded_packets(dir.file("a.ogg")).size() < 2 &&
           std::chrono::steady_clock::now() < limit) {
        std::this_thread::yield();
    }
    REQUIRE(recorded_packets(dir.file("a.ogg")).size() == 2);
}

TEST_CASE("a full disk ends the receiver with errno and the path") {
    auto options = plain_options();
    options.ogg = OggOptions{};
    options.ogg->path = "/dev/full";
    auto receiver = open_receiver(options);
    const RawSender sender{*receiver};
    for (std::uint16_t i = 0; i < 100; ++i) sender.send_rtp(i, 960U * i, packet_of(i));
    REQUIRE(receiver->wait(kPatience));
    REQUIRE(receiver->ended() == EndReason::failed);
    REQUIRE(receiver->error()->native == ENOSPC);
    REQUIRE(receiver->error()->message.find("/dev/full") != std::string::npos);
}

TEST_CASE("destroying a receiver in the middle of a stream finishes its file") {
    TemporaryDirectory dir;
    auto options = recording_options(dir);
    {
        auto receiver = open_receiver(options);
        const RawSender sender{*receiver};
        for (std::uint16_t i = 0; i < 30; ++i) sender.send_rtp(i, 960U * i, {0xFC, 0xFF, 0xFE});
    }
    REQUIRE(decoded_samples(dir.file("a.ogg")) == 30 * 960 - 312);
    REQUIRE(run_command("opusinfo '" + dir.file("a.ogg") + "'").output.find("WARNING") ==
            std::string::npos);
}

TEST_CASE("statistics may be read while packets arrive, and only grow") {
    auto receiver = open_receiver(plain_options());
    auto sink = sink_to(*receiver);
    const Bytes packet = packet_of(1);
    std::uint64_t last = 0;
    const auto limit = std::chrono::steady_clock::now() + kPatience;
    for (unsigned i = 1; i <= 2'000; ++i) {
        (void)sink->send(outgoing(packet));
        // Not so far ahead that the socket's buffer could fill up.
        while (last + 100 < i && std::chrono::steady_clock::now() < limit) {
            const auto now = receiver->statistics().stream.packets;
            REQUIRE(now >= last);
            last = now;
        }
    }
    REQUIRE(stopped(*receiver).stream.packets == 2'000);
}
