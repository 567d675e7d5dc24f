#include "catch.hpp"
#include "rig.hpp"
#include "voicecore/transport/rtp.hpp"

using namespace voicecore::transport;
using voicecore_test::Bytes;
using voicecore_test::from_hex;

TEST_CASE("a header is the twelve bytes of a packet without extension, CSRC or marker") {
    RtpPacketizer packetizer{0x0BADCAFE, 0x1234, 0x89ABCDEF};
    const RtpHeader header = packetizer.next(1);
    REQUIRE(Bytes{header.begin(), header.end()} == from_hex("8078123489abcdef0badcafe"));
}

TEST_CASE("the first datagram carries sequence 0 and timestamp 0 unless told otherwise") {
    RtpPacketizer packetizer{1};
    const auto packet = parse_rtp(packetizer.next(7)).value();
    REQUIRE(packet.sequence == 0);
    REQUIRE(packet.timestamp == 0);
}

TEST_CASE("the timestamp moves 960 for each tick and the sequence 1 for each datagram") {
    RtpPacketizer packetizer{1};
    (void)packetizer.next(1);
    const auto second = parse_rtp(packetizer.next(1)).value();
    REQUIRE(second.sequence == 1);
    REQUIRE(second.timestamp == 960);
    const auto third = parse_rtp(packetizer.next(5)).value();
    REQUIRE(third.sequence == 2);
    REQUIRE(third.timestamp == 6 * 960);
}

TEST_CASE("70,000 datagrams wrap the sequence at 16 bits and the timestamp at 32") {
    constexpr std::uint32_t kStart = 0xFFFF'F000;
    RtpPacketizer packetizer{1, 0, kStart};
    std::uint32_t timestamp = kStart;
    for (std::uint32_t i = 0; i < 70'000; ++i) {
        const auto packet = parse_rtp(packetizer.next(1)).value();
        REQUIRE(packet.sequence == static_cast<std::uint16_t>(i));
        REQUIRE(packet.timestamp == timestamp);
        timestamp += 960;
    }
    REQUIRE(packetizer.sequence() == 69'999 - 65'536);
}

TEST_CASE("a header with CSRC list and extension is clear up to the extension's preamble") {
    const auto packet =
        parse_rtp(from_hex("92f800010000000200000003aabbccdd11223344bede0002")).value();
    REQUIRE(packet.clear_bytes == 12 + 8 + 4);
    REQUIRE(packet.extension_bytes == 8);
    REQUIRE(packet.marker);
    REQUIRE(packet.payload_type == 120);
    REQUIRE(packet.ssrc == 3);
}

TEST_CASE("a datagram that ends inside its header, or is not version 2, is no RTP") {
    const Bytes whole = from_hex("92f800010000000200000003aabbccdd11223344bede0002");
    for (std::size_t size = 0; size < whole.size(); ++size) {
        REQUIRE_FALSE(parse_rtp(std::span{whole}.first(size)));
    }
    REQUIRE(parse_rtp(whole));
    REQUIRE_FALSE(parse_rtp(from_hex("407800010000000200000003")));
}

TEST_CASE("the payload types 200 to 206 are RTCP, their neighbours are not") {
    for (int type = 199; type <= 207; ++type) {
        Bytes datagram(8, 0);
        datagram[0] = 0x80;
        datagram[1] = static_cast<std::uint8_t>(type);
        REQUIRE(is_rtcp(datagram) == (type >= 200 && type <= 206));
    }
}
