#include <array>
#include <thread>

#include "catch.hpp"
#include "voicecore/sources/byte_inputs.hpp"

using voicecore::Errc;
using voicecore::Error;
using voicecore::sources::MemoryInput;
using voicecore::sources::PumpedInput;
using Kind = PumpedInput::Request::Kind;

TEST_CASE("memory is read from start to end and from where a seek led") {
    MemoryInput input{std::vector<std::uint8_t>{1, 2, 3, 4, 5}};
    REQUIRE(input.size() == 5);
    std::array<std::uint8_t, 3> into{};
    REQUIRE(input.read(into).value() == 3);
    REQUIRE(into[2] == 3);
    REQUIRE(input.read(into).value() == 2);
    REQUIRE(input.read(into).value() == 0);
    REQUIRE(input.seek(1).ok());
    REQUIRE(input.read(into).value() == 3);
    REQUIRE(into[0] == 2);
    REQUIRE(input.seek(100).ok());
    REQUIRE(input.read(into).value() == 0);
    REQUIRE(input.seek(-1).error().code == Errc::invalid_argument);
}

TEST_CASE("borrowed memory keeps its owner") {
    auto owner = std::make_shared<std::vector<std::uint8_t>>(4, std::uint8_t{9});
    std::weak_ptr<std::vector<std::uint8_t>> watch = owner;
    {
        MemoryInput input{std::span<const std::uint8_t>{*owner}, owner};
        owner.reset();
        std::array<std::uint8_t, 4> into{};
        REQUIRE(input.read(into).value() == 4);
        REQUIRE(into[3] == 9);
        REQUIRE_FALSE(watch.expired());
    }
    REQUIRE(watch.expired());
}

TEST_CASE("an interrupted input refuses to read") {
    MemoryInput input{std::vector<std::uint8_t>{1}};
    input.interrupt();
    std::array<std::uint8_t, 1> into{};
    REQUIRE(input.read(into).error().code == Errc::cancelled);
}

namespace {

// Serves bytes 0, 1, 2, ... of a file of `size` bytes until the input closes.
void pump_file(PumpedInput& input, std::size_t size) {
    std::size_t at = 0;
    for (auto request = input.wait_request(); request.kind != Kind::closed;
         request = input.wait_request()) {
        if (request.kind == Kind::seek) {
            at = static_cast<std::size_t>(request.offset);
            input.complete_seek(request.offset);
            continue;
        }
        std::vector<std::uint8_t> bytes;
        while (bytes.size() < request.size && at < size) {
            bytes.push_back(static_cast<std::uint8_t>(at++));
        }
        input.complete_read(bytes);
    }
}

}  // namespace

TEST_CASE("a pump serves reads and seeks until the input is interrupted") {
    PumpedInput input{true, 1'000};
    std::thread pump{[&] { pump_file(input, 1'000); }};
    std::vector<std::uint8_t> got;
    std::array<std::uint8_t, 64> into{};
    for (std::size_t count = 1; count > 0;) {
        count = input.read(into).value();
        got.insert(got.end(), into.begin(), into.begin() + static_cast<std::ptrdiff_t>(count));
    }
    REQUIRE(got.size() == 1'000);
    REQUIRE(got[999] == static_cast<std::uint8_t>(999));
    REQUIRE(input.seek(500).ok());
    REQUIRE(input.read(into).value() == 64);
    REQUIRE(into[0] == static_cast<std::uint8_t>(500));
    input.interrupt();
    pump.join();
    REQUIRE(input.read(into).error().code == Errc::cancelled);
}

TEST_CASE("a pump's failure fails the read that asked, and only that") {
    PumpedInput input{false, std::nullopt};
    std::thread pump{[&] {
        (void)input.wait_request();
        input.fail(Error{.code = Errc::io, .native = 5, .message = "the object raised"});
        (void)input.wait_request();
        input.complete_read(std::array<std::uint8_t, 1>{7});
    }};
    std::array<std::uint8_t, 4> into{};
    REQUIRE(input.read(into).error().message == "the object raised");
    REQUIRE(input.read(into).value() == 1);
    REQUIRE(input.seek(0).error().code == Errc::unsupported);
    pump.join();
}

TEST_CASE("more bytes than asked for fail the read instead of overrunning it") {
    PumpedInput input{false, std::nullopt};
    std::thread pump{[&] {
        (void)input.wait_request();
        input.complete_read(std::vector<std::uint8_t>(100));
    }};
    std::array<std::uint8_t, 4> into{};
    REQUIRE(input.read(into).error().message == "read(4) gave 100 bytes");
    pump.join();
}

TEST_CASE("a seek that led elsewhere is an error that says where") {
    PumpedInput input{true, std::nullopt};
    std::thread pump{[&] {
        (void)input.wait_request();
        input.complete_seek(3);
    }};
    REQUIRE(input.seek(10).error().message == "seeking to byte 10 led to byte 3");
    pump.join();
}

TEST_CASE("an interrupt lets a waiting reader go while the pump is still at work") {
    PumpedInput input{false, std::nullopt};
    std::thread pump{[&] {
        (void)input.wait_request();
        input.interrupt();
        // The reader and its buffer may be gone: the late answer goes nowhere.
        input.complete_read(std::array<std::uint8_t, 2>{1, 2});
    }};
    {
        std::vector<std::uint8_t> into(4, std::uint8_t{0});
        REQUIRE(input.read(into).error().code == Errc::cancelled);
        REQUIRE(into == std::vector<std::uint8_t>(4, std::uint8_t{0}));
    }
    pump.join();
}
