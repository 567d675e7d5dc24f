// UDP sockets: connected for a sender, adopted from somebody else, bound for a receiver.
#pragma once

#include <cstdint>
#include <string>

#include "voicecore/base/result.hpp"
#include "voicecore/transport/fd.hpp"

namespace voicecore::transport {

inline constexpr int kExpeditedForwarding = 46;  // DSCP for voice, RFC 4594 section 4.1

// Where a socket points: "192.0.2.1:5004" or "[2001:db8::1]:5004".
struct UdpSocket {
    Fd fd;
    std::string peer;        // connected: the other end
    std::string local_host;  // numeric, of the near end
    std::uint16_t local_port = 0;
};

// Connects to a name or a literal of either family, port 1 to 65535. The name look-up blocks, so
// call it from a thread that may. `dscp`: best effort, 0 leaves it.
[[nodiscard]] Result<UdpSocket> connect_udp(const std::string& host, int port,
                                            int dscp = kExpeditedForwarding);

// Duplicates a connected UDP socket that stays its owner's. The duplicate follows a later connect()
// of the original and keeps its local port. The DSCP mark is shared with it, its other settings
// stay.
[[nodiscard]] Result<UdpSocket> adopt_udp(int fd, int dscp = kExpeditedForwarding);

// Binds for receiving; port 0 lets the system choose. Fails with address_in_use when somebody else
// has the port: two receivers never share one.
[[nodiscard]] Result<UdpSocket> bind_udp(const std::string& host, int port);

}  // namespace voicecore::transport
