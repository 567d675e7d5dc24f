#include <arpa/inet.h>
#include <netinet/in.h>

#include <cstring>

#include "catch.hpp"
#include "voicecore/codec/net_address.hpp"
#include "voicecore/codec/url.hpp"

using namespace voicecore;
using codec::parse_url;
using codec::resolve_url;

namespace {

bool public_address(const char* text) {
    codec::PeerAddress address;
    auto* four = reinterpret_cast<sockaddr_in*>(&address.storage);
    auto* six = reinterpret_cast<sockaddr_in6*>(&address.storage);
    if (::inet_pton(AF_INET, text, &four->sin_addr) == 1) {
        four->sin_family = AF_INET;
    } else {
        REQUIRE(::inet_pton(AF_INET6, text, &six->sin6_addr) == 1);
        six->sin6_family = AF_INET6;
    }
    return codec::is_public(address);
}

std::string resolved(const char* base, const char* reference) {
    auto out = resolve_url(parse_url(base).value(), reference);
    return out ? out.value().text() : std::string{to_string(out.error().code)};
}

}  // namespace

TEST_CASE("only addresses of the public Internet are public") {
    for (const char* text : {"127.0.0.1",
                             "127.255.255.255",
                             "10.0.0.1",
                             "172.16.0.1",
                             "172.31.255.255",
                             "192.168.1.1",
                             "169.254.169.254",
                             "100.64.0.1",
                             "100.127.255.255",
                             "0.0.0.0",
                             "0.1.2.3",
                             "224.0.0.1",
                             "255.255.255.255",
                             "240.0.0.1",
                             "198.18.0.1",
                             "192.0.2.1",
                             "::",
                             "::1",
                             "fe80::1",
                             "fc00::1",
                             "fd12::1",
                             "ff02::1",
                             "::ffff:10.0.0.1",
                             "::ffff:8.8.8.8",
                             "64:ff9b::10.0.0.1",
                             "64:ff9b::127.0.0.1",
                             "64:ff9b:1::1",
                             "2002:0a00:0001::1",
                             "2001::1",
                             "2001:db8::1",
                             "::7f00:1",
                             "fec0::1"}) {
        INFO(text);
        CHECK_FALSE(public_address(text));
    }
    for (const char* text : {"8.8.8.8", "1.1.1.1", "172.15.255.255", "172.32.0.0", "100.63.255.255",
                             "100.128.0.0", "9.255.255.255", "11.0.0.0", "223.255.255.255",
                             "2606:4700::1111", "64:ff9b::8.8.8.8", "2002:0808:0808::1"}) {
        INFO(text);
        CHECK(public_address(text));
    }
}

TEST_CASE("URLs are taken apart") {
    const auto url = parse_url("HTTPS://me:p%40ss@Example.ORG:8443/a b?c=\xC3\xA9#part").value();
    CHECK(url.tls);
    CHECK(url.host == "example.org");
    CHECK(url.port == 8443);
    CHECK(url.credentials == "me:p@ss");
    CHECK(url.target == "/a%20b?c=%C3%A9");
    CHECK(url.text() == "https://example.org:8443/a%20b?c=%C3%A9");
    CHECK(parse_url("http://[::1]:80").value().authority() == "[::1]");
    CHECK(parse_url("http://h?x").value().target == "/?x");
    for (const char* bad : {"http://", "http:///x", "http://h:0/", "http://h:99999/", "http://h:x/",
                            "http://[::1/", "http://a\r\nb/"}) {
        INFO(bad);
        CHECK_FALSE(parse_url(bad).ok());
    }
}

TEST_CASE("references are resolved against the address that they came from") {
    CHECK(resolved("http://h/a/b?q", "c") == "http://h/a/c");
    CHECK(resolved("http://h/a/b", "../c/./d") == "http://h/c/d");
    CHECK(resolved("http://h/a/b", "/x") == "http://h/x");
    CHECK(resolved("http://h/a/b", "?y") == "http://h/a/b?y");
    CHECK(resolved("https://h/a", "//other/z") == "https://other/z");
    CHECK(resolved("http://h/a", "../../..") == "http://h/");
    CHECK(resolved("http://h/a", "ftp://x/y") == "refused");
}
