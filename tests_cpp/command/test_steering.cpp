#include <string_view>

#include "catch.hpp"
#include "voicecore/command/steering.hpp"

using namespace voicecore::command;

TEST_CASE("a seek and a volume are read from an object with one number") {
    const auto to = parse_steering("seek", R"( { "to" : 12.5 } )");
    REQUIRE(to);
    REQUIRE(to->value == 12.5);
    REQUIRE_FALSE(to->relative);
    const auto by = parse_steering("volume", R"({"by":-0.5e-1})");
    REQUIRE(by);
    REQUIRE(by->value == -0.05);
    REQUIRE(by->relative);
    REQUIRE(parse_steering("seek", R"({"to":0})")->value == 0.0);
    REQUIRE(parse_steering("pause", "anything"));
    REQUIRE_FALSE(parse_steering("play", R"({"to":1})"));
}

TEST_CASE("whatever else JSON can say, and what it cannot, is left to the handlers") {
    for (const std::string_view args : {
             R"({"nested":{"to":0.9}})",
             R"([{"to":0.9}])",
             R"({"to":0.9,"to":0.1})",
             R"({"to":0.9}})",
             R"({"to":0.9} x)",
             R"({"to":.5})",
             R"({"to":01})",
             R"({"to":1.})",
             R"({"to":1.e3})",
             R"({"to":nan})",
             R"({"to":inf})",
             R"({"to":1e999})",
             R"({"to":"1"})",
             R"({"to":1,"by":1})",
             R"({"TO":1})",
             R"({"to":1)",
             R"({"to":-})",
             R"({"to":+1})",
             R"({"to" 1})",
             R"("to":1)",
             "",
             "{",
             R"({"to":})",
             R"({"to":0x10})",
             R"({"x":"\"to\":1"})",
         }) {
        CAPTURE(args);
        REQUIRE_FALSE(parse_steering("seek", args));
    }
}
