#include <algorithm>
#include <array>
#include <cerrno>

#include "catch.hpp"
#include "rig.hpp"
#include "voicecore/transport/udp_sink.hpp"

using namespace voicecore;
using namespace voicecore::transport;
using namespace voicecore_test;
using audio::SendStatus;

namespace {

UdpOptions options_for(const Peer& peer, CipherMode mode = CipherMode::none) {
    UdpOptions out;
    out.host = "127.0.0.1";
    out.port = peer.port();
    out.ssrc = 0xCAFE;
    out.mode = mode;
    if (mode != CipherMode::none) out.key = fresh_key();
    return out;
}

std::unique_ptr<UdpSink> open_sink(UdpOptions options) {
    auto sink = UdpSink::open(std::move(options));
    if (!sink) FAIL(sink.error().message);
    return std::move(sink).value();
}

std::uint64_t dropped(const UdpSink& sink, DropCause cause) {
    return sink.statistics().dropped[static_cast<std::size_t>(cause)];
}

// The descriptor of this process whose peer has the port.
int fd_connected_to(int port) {
    for (int fd = 3; fd < 1'024; ++fd) {
        sockaddr_in address{};
        socklen_t size = sizeof(address);
        if (::getpeername(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0 &&
            address.sin_family == AF_INET && ntohs(address.sin_port) == port) {
            return fd;
        }
    }
    FAIL("no descriptor is connected to port " << port);
    return -1;
}

Fd listen_on(int port) {
    Fd fd{::socket(AF_INET, SOCK_DGRAM, 0)};
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    REQUIRE(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
    return fd;
}

// A port on which nobody listens.
int closed_port() {
    Peer peer;
    return peer.port();
}

}  // namespace

TEST_CASE("a packet arrives as an RTP datagram that the key opens") {
    for (const auto mode : available_cipher_modes()) {
        Peer peer;
        auto options = options_for(peer, mode);
        options.sequence = 7;
        options.timestamp = 4'800;
        const auto cipher = Cipher::for_receiving(mode, options.key).value();
        auto sink = open_sink(options);
        Listener listener;
        REQUIRE(sink->start(listener));
        const Bytes packet = packet_of(1);
        REQUIRE(sink->send(outgoing(packet)) == SendStatus::sent);
        REQUIRE(sink->send(outgoing(packet, 3)) == SendStatus::sent);
        const Bytes first = peer.receive().value();
        const Bytes second = peer.receive().value();
        Bytes out(first.size());
        const Opened opened = cipher.open(first, out);
        REQUIRE(opened.status == OpenStatus::ok);
        REQUIRE(Bytes{opened.payload.begin(), opened.payload.end()} == packet);
        REQUIRE(opened.rtp.sequence == 7);
        REQUIRE(opened.rtp.timestamp == 4'800);
        REQUIRE(opened.rtp.ssrc == 0xCAFE);
        REQUIRE(parse_rtp(second)->sequence == 8);
        REQUIRE(parse_rtp(second)->timestamp == 4'800 + 3 * 960);
        const auto counts = sink->statistics();
        REQUIRE(counts.datagrams == 2);
        REQUIRE(counts.bytes == 2 * (packet.size() + 32));
        REQUIRE(counts.sequence == 8);
        REQUIRE(counts.timestamp == 4'800 + 3 * 960);
        REQUIRE(counts.next_nonce == 2);
    }
}

TEST_CASE("an IPv6 literal and a host name reach their peer") {
    for (const std::string host : {"::1", "localhost"}) {
        Peer peer{host == "::1" ? AF_INET6 : AF_INET};
        auto options = options_for(peer);
        options.host = host;
        auto sink = UdpSink::open(options);
        REQUIRE(sink.ok());
        // A resolver may give ::1 for localhost first, where this peer does not listen.
        if ((*sink)->peer().front() == '[' && host == "localhost") continue;
        const Bytes packet = packet_of(1);
        REQUIRE((*sink)->send(outgoing(packet)) == SendStatus::sent);
        REQUIRE(peer.receive());
    }
}

TEST_CASE("two sinks with one key, at once and one after the other, use each nonce once") {
    Peer peer;
    const auto options = options_for(peer, CipherMode::xchacha20_poly1305);
    const Bytes packet = packet_of(1);
    std::vector<bool> used(100, false);
    const auto send_25 = [&](UdpSink& sink) {
        for (int i = 0; i < 25; ++i) {
            REQUIRE(sink.send(outgoing(packet)) == SendStatus::sent);
            const Bytes datagram = peer.receive().value();
            const unsigned nonce = datagram.back();  // of a big-endian counter below 256
            REQUIRE_FALSE(used.at(nonce));
            used.at(nonce) = true;
        }
    };
    {
        auto one = open_sink(options);
        auto other = open_sink(options);
        send_25(*one);
        send_25(*other);
        send_25(*one);
    }
    auto later = open_sink(options);
    send_25(*later);
    REQUIRE(std::count(used.begin(), used.end(), true) == 100);
}

TEST_CASE("a keep-alive of eight bytes leaves every interval, while playing and while idle") {
    Peer peer;
    auto options = options_for(peer);
    options.keepalive = 200ms;
    auto sink = open_sink(options);
    const Bytes packet = packet_of(1);
    std::vector<Bytes> keepalives;
    const auto drain = [&] {
        while (auto datagram = peer.receive()) {
            if (datagram->size() == 8) keepalives.push_back(*datagram);
        }
    };
    for (int i = 0; i < 25; ++i) sink->idle(TimePoint{});
    for (int i = 0; i < 25; ++i) {
        // The first packet after the pause counts its ticks again.
        (void)sink->send(outgoing(packet, i == 0 ? 26 : 1));
    }
    drain();
    REQUIRE(keepalives ==
            std::vector<Bytes>{from_hex("0000000000000000"), from_hex("0000000000000001"),
                               from_hex("0000000000000002"), from_hex("0000000000000003"),
                               from_hex("0000000000000004")});
    REQUIRE(sink->statistics().keepalives == 5);
    REQUIRE(sink->statistics().datagrams == 25);
}

TEST_CASE("ticks that were idle do not count again with the packet after them") {
    Peer peer;
    auto options = options_for(peer);
    options.keepalive = 200ms;
    auto sink = open_sink(options);
    const Bytes packet = packet_of(1);
    for (int i = 0; i < 5; ++i) sink->idle(TimePoint{});
    (void)sink->send(outgoing(packet, 6));
    REQUIRE(sink->statistics().keepalives == 0);
    (void)sink->send(outgoing(packet, 4));
    REQUIRE(sink->statistics().keepalives == 1);
}

TEST_CASE("by default a keep-alive leaves every five seconds, and with 0 none ever") {
    Peer peer;
    for (const bool wanted : {true, false}) {
        auto options = options_for(peer);
        if (!wanted) options.keepalive = 0ms;
        auto sink = open_sink(options);
        for (int i = 0; i < 249; ++i) sink->idle(TimePoint{});
        REQUIRE(sink->statistics().keepalives == 0);
        sink->idle(TimePoint{});
        REQUIRE(sink->statistics().keepalives == (wanted ? 1 : 0));
    }
}

TEST_CASE("to a closed port playing goes on, and each refusal is counted and told once") {
    auto options = options_for(Peer{});
    options.port = closed_port();
    auto sink = open_sink(options);
    const Bytes packet = packet_of(1);
    // The first leaves; its refusal comes out of the second send, which then tries again, and so
    // on.
    REQUIRE(sink->send(outgoing(packet)) == SendStatus::sent);
    for (int i = 1; i < 10; ++i) REQUIRE(sink->send(outgoing(packet)) == SendStatus::dropped);
    REQUIRE(dropped(*sink, DropCause::refused) == 9);
    REQUIRE(sink->statistics().datagrams == 10);
}

TEST_CASE("a refused keep-alive is told with the next packet") {
    auto gone = std::make_optional<Peer>();
    auto options = options_for(*gone);
    options.keepalive = 20ms;
    auto sink = open_sink(options);
    gone.reset();
    for (int i = 0; i < 3; ++i) sink->idle(TimePoint{});
    REQUIRE(dropped(*sink, DropCause::refused) == 2);
    const Fd again = listen_on(options.port);
    const Bytes packet = packet_of(1);
    int told = 0;
    for (int i = 0; i < 5; ++i) {
        if (sink->send(outgoing(packet)) == SendStatus::dropped) ++told;
    }
    REQUIRE(told == 3);
    REQUIRE(dropped(*sink, DropCause::refused) == 3);
}

TEST_CASE("a refusal of an earlier datagram is told and costs the current one nothing") {
    auto gone = std::make_optional<Peer>();
    auto options = options_for(*gone);
    auto sink = open_sink(options);
    gone.reset();
    const Bytes packet = packet_of(1);
    REQUIRE(sink->send(outgoing(packet)) == SendStatus::sent);
    const Fd again = listen_on(options.port);  // before the refusal is told
    REQUIRE(sink->send(outgoing(packet)) == SendStatus::dropped);
    Bytes got(2'000);
    const auto n = ::recv(again.get(), got.data(), got.size(), MSG_DONTWAIT);
    REQUIRE(n > 0);
    REQUIRE(parse_rtp(std::span{got}.first(static_cast<std::size_t>(n)))->sequence == 1);
}

TEST_CASE("a full buffer drops the packet, counts it and spends its sequence number") {
    // Loopback has no flow control; a pair of local sockets in the place of the sink's own has.
    Peer peer;
    auto sink = open_sink(options_for(peer));
    std::array<int, 2> pair{};
    REQUIRE(::socketpair(AF_UNIX, SOCK_DGRAM, 0, pair.data()) == 0);
    const Fd near{pair[0]};
    const Fd far{pair[1]};
    REQUIRE(::dup2(near.get(), fd_connected_to(peer.port())) >= 0);
    const Bytes packet = packet_of(1);
    unsigned sent = 0;
    while (sink->send(outgoing(packet)) == SendStatus::sent && sent < 10'000) ++sent;
    REQUIRE(sent < 10'000);
    REQUIRE(dropped(*sink, DropCause::would_block) == 1);
    REQUIRE(sink->statistics().sequence == sent);
    Bytes first(200);
    REQUIRE(::recv(far.get(), first.data(), first.size(), 0) > 0);
    REQUIRE(sink->send(outgoing(packet)) == SendStatus::sent);  // there is room again
}

TEST_CASE("what may pass is a drop with its cause, what cannot pass is none") {
    REQUIRE(drop_cause_of(EAGAIN) == DropCause::would_block);
    REQUIRE(drop_cause_of(ENOBUFS) == DropCause::no_buffers);
    REQUIRE(drop_cause_of(ECONNREFUSED) == DropCause::refused);
    for (const int error : {EHOSTUNREACH, ENETUNREACH, ENETDOWN, EHOSTDOWN}) {
        REQUIRE(drop_cause_of(error) == DropCause::unreachable);
    }
    REQUIRE(drop_cause_of(EMSGSIZE) == DropCause::too_large);
    REQUIRE(drop_cause_of(EPERM) == DropCause::other);
    for (const int error : {EBADF, ENOTSOCK, EPIPE}) REQUIRE_FALSE(drop_cause_of(error));
}

TEST_CASE("a packet too large for a datagram is dropped and counted") {
    Peer peer;
    auto sink = open_sink(options_for(peer));
    const Bytes packet = packet_of(1, 3'000);
    REQUIRE(sink->send(outgoing(packet)) == SendStatus::dropped);
    REQUIRE(dropped(*sink, DropCause::too_large) == 1);
}

TEST_CASE("the largest packet that there is fits") {
    for (const auto mode : available_cipher_modes()) {
        Peer peer;
        auto sink = open_sink(options_for(peer, mode));
        const Bytes packet = packet_of(1, audio::kMaxPacketBytes);
        REQUIRE(sink->send(outgoing(packet)) == SendStatus::sent);
        REQUIRE(peer.receive()->size() == audio::kMaxPacketBytes + 32);
    }
}

TEST_CASE("an adopted socket sends from the port of its owner, and outlives the owner's close") {
    Peer peer;
    auto plain = connect_udp("127.0.0.1", peer.port()).value();
    auto options = options_for(peer);
    options.host.clear();
    options.port = 0;
    options.fd = plain.fd.get();
    auto sink = open_sink(options);
    REQUIRE(sink->local_port() == plain.local_port);
    plain.fd.reset();
    const Bytes packet = packet_of(1);
    REQUIRE(sink->send(outgoing(packet)) == SendStatus::sent);
    REQUIRE(peer.receive());
}

TEST_CASE("an adopted socket follows when its owner connects it elsewhere") {
    Peer before;
    Peer after;
    auto owner = connect_udp("127.0.0.1", before.port()).value();
    auto options = options_for(before);
    options.fd = owner.fd.get();
    auto sink = open_sink(options);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<std::uint16_t>(after.port()));
    REQUIRE(::connect(owner.fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
    const Bytes packet = packet_of(1);
    REQUIRE(sink->send(outgoing(packet)) == SendStatus::sent);
    REQUIRE(after.receive());
    REQUIRE_FALSE(before.receive());
}

TEST_CASE("a descriptor that is no connected UDP socket is refused with what it is") {
    Peer unconnected;
    auto options = options_for(unconnected);
    options.fd = unconnected.fd();
    REQUIRE(UdpSink::open(options).error().code == Errc::invalid_argument);
    const Fd stream{::socket(AF_INET, SOCK_STREAM, 0)};
    options.fd = stream.get();
    REQUIRE(UdpSink::open(options).error().message.find("expected a UDP socket") !=
            std::string::npos);
    options.fd = 100'000;
    REQUIRE(UdpSink::open(options).error().native == EBADF);
}

TEST_CASE("a socket that was shut down fails the sink; the listener hears why in finish") {
    Peer peer;
    auto owner = connect_udp("127.0.0.1", peer.port()).value();
    auto options = options_for(peer);
    options.fd = owner.fd.get();
    auto sink = open_sink(options);
    Listener listener;
    REQUIRE(sink->start(listener));
    REQUIRE(::shutdown(owner.fd.get(), SHUT_RDWR) == 0);
    const Bytes packet = packet_of(1);
    REQUIRE(sink->send(outgoing(packet)) == SendStatus::failed);
    REQUIRE(sink->send(outgoing(packet)) == SendStatus::failed);
    REQUIRE(listener.calls() == 0);
    sink->finish();
    REQUIRE(listener.calls() == 1);
    REQUIRE(listener.error()->code == Errc::io);
    REQUIRE(listener.error()->native == EPIPE);
    REQUIRE(listener.error()->message.find("127.0.0.1:") != std::string::npos);
    REQUIRE(sink->start(listener).error().code == Errc::io);
}

TEST_CASE("a sink that has failed stays failed") {
    Peer peer;
    auto sink = open_sink(options_for(peer));
    const int fd = fd_connected_to(peer.port());
    REQUIRE(::shutdown(fd, SHUT_RDWR) == 0);
    const Bytes packet = packet_of(1);
    REQUIRE(sink->send(outgoing(packet)) == SendStatus::failed);
    const auto fresh = connect_udp("127.0.0.1", peer.port()).value();
    REQUIRE(::dup2(fresh.fd.get(), fd) == fd);  // would work again
    REQUIRE(sink->send(outgoing(packet)) == SendStatus::failed);
    REQUIRE_FALSE(peer.receive());
}

TEST_CASE("a key without nonces left fails the sink rather than repeat one") {
    Peer peer;
    auto options = options_for(peer, CipherMode::xchacha20_poly1305);
    options.first_nonce = 0xFFFF'FFFF;
    auto sink = open_sink(options);
    Listener listener;
    REQUIRE(sink->start(listener));
    const Bytes packet = packet_of(1);
    REQUIRE(sink->send(outgoing(packet)) == SendStatus::sent);
    REQUIRE(sink->send(outgoing(packet)) == SendStatus::failed);
    sink->finish();
    REQUIRE(listener.error()->message.find("2^32") != std::string::npos);
}

TEST_CASE("finish tells the listener before it returns, and a second one nobody") {
    Peer peer;
    auto sink = open_sink(options_for(peer));
    Listener listener;
    REQUIRE(sink->start(listener));
    sink->finish();
    REQUIRE(listener.calls() == 1);
    REQUIRE_FALSE(listener.error());
    sink->finish();
    REQUIRE(listener.calls() == 1);
}

TEST_CASE("a UDP sink refuses a second player, and serves it after the first") {
    Peer peer;
    auto sink = open_sink(options_for(peer));
    Listener first;
    Listener second;
    REQUIRE(sink->start(first));
    REQUIRE(sink->start(second).error().code == Errc::already_playing);
    const Bytes packet = packet_of(1);
    (void)sink->send(outgoing(packet));
    sink->finish();
    REQUIRE(second.calls() == 0);
    REQUIRE(sink->start(second));
    (void)sink->send(outgoing(packet));
    sink->finish();
    REQUIRE(second.calls() == 1);
    (void)peer.receive();
    REQUIRE(parse_rtp(*peer.receive())->sequence == 1);  // goes on
}

TEST_CASE("the DSCP mark for voice is on the socket, in both families") {
    for (const bool six : {false, true}) {
        Peer peer{six ? AF_INET6 : AF_INET};
        const auto socket = connect_udp(six ? "::1" : "127.0.0.1", peer.port()).value();
        int value = 0;
        socklen_t size = sizeof(value);
        REQUIRE(::getsockopt(socket.fd.get(), six ? IPPROTO_IPV6 : IPPROTO_IP,
                             six ? IPV6_TCLASS : IP_TOS, &value, &size) == 0);
        REQUIRE(value == 46 << 2);
    }
}

TEST_CASE("a UDP sink refuses options that cannot be, with what was expected") {
    Peer peer;
    auto options = options_for(peer);
    options.port = 0;
    REQUIRE(UdpSink::open(options).error().message == "port 0: expected 1 to 65535");
    options = options_for(peer);
    options.host.clear();
    REQUIRE(UdpSink::open(options).error().code == Errc::invalid_argument);
    options = options_for(peer);
    options.host = "no-such-host.invalid";
    const auto unknown = UdpSink::open(options);
    REQUIRE((unknown.error().code == Errc::not_found || unknown.error().code == Errc::timeout));
    options = options_for(peer);
    options.dscp = 64;
    REQUIRE(UdpSink::open(options).error().code == Errc::invalid_argument);
    options = options_for(peer);
    options.keepalive = -1ms;
    REQUIRE(UdpSink::open(options).error().code == Errc::invalid_argument);
}
