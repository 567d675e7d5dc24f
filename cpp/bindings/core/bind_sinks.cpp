#include <pybind11/stl.h>

#include <optional>

#include "bind.hpp"
#include "native_call.hpp"
#include "objects.hpp"
#include "voicecore/transport/memory_sink.hpp"
#include "voicecore/transport/null_sink.hpp"
#include "voicecore/transport/ogg_sink.hpp"
#include "voicecore/transport/udp_sink.hpp"

namespace voicecore::bindings {
namespace {

SinkHandle box(std::shared_ptr<audio::PacketSink> sink, std::function<py::dict()> statistics) {
    return SinkHandle{std::make_shared<SinkBox>(std::move(sink), std::move(statistics))};
}

std::vector<std::uint8_t> to_bytes(const py::bytes& bytes) {
    const std::string_view view = bytes;
    return {view.begin(), view.end()};
}

SinkHandle udp_sink(const std::string& host, int port, std::uint32_t ssrc, const std::string& mode,
                    const py::bytes& key, std::uint64_t first_nonce, double keep_alive,
                    std::optional<int> fd) {
    transport::UdpOptions options;
    options.host = host;
    options.port = port;
    options.ssrc = ssrc;
    options.mode = unwrap(transport::parse_cipher_mode(mode));
    options.key = to_bytes(key);
    options.first_nonce = first_nonce;
    options.keepalive = std::chrono::milliseconds{static_cast<std::int64_t>(keep_alive * 1000)};
    if (fd) options.fd = *fd;
    auto opened = without_gil([&] { return transport::UdpSink::open(std::move(options)); });
    std::shared_ptr<transport::UdpSink> sink = unwrap_sink(std::move(opened));
    return box(sink, [raw = sink.get()] {
        const auto counts = raw->statistics();
        py::dict out;
        out["datagrams"] = counts.datagrams;
        out["bytes"] = counts.bytes;
        out["silence"] = counts.silence;
        out["keepalives"] = counts.keepalives;
        for (std::size_t i = 0; i < transport::kDropCauses; ++i) {
            const auto cause = transport::to_string(static_cast<transport::DropCause>(i));
            out[py::str{"dropped_" + std::string{cause}}] = counts.dropped[i];
        }
        out["sequence"] = counts.sequence;
        out["timestamp"] = counts.timestamp;
        out["next_nonce"] = counts.next_nonce;
        return out;
    });
}

SinkHandle ogg_sink(const std::string& path,
                    std::vector<std::pair<std::string, std::string>> comments,
                    std::uint32_t serial) {
    transport::OggOptions options;
    options.path = path;
    options.serial = serial;
    options.vendor = std::string{"voicecore "} + VOICECORE_VERSION;
    options.comments = std::move(comments);
    auto opened = without_gil([&] { return transport::OggSink::open(std::move(options)); });
    std::shared_ptr<transport::OggSink> sink = unwrap_sink(std::move(opened));
    return box(sink, [raw = sink.get()] {
        const auto counts = raw->ring_statistics();
        py::dict out;
        out["packets"] = counts.packets;
        out["overflow"] = counts.overflow;
        return out;
    });
}

}  // namespace

void bind_sinks(py::module_& module) {
    py::class_<SinkHandle>(module, "Sink").def("statistics", [](const SinkHandle& self) {
        return self.get().statistics();
    });
    module.def("udp_sink", &udp_sink, py::arg("host"), py::arg("port"), py::arg("ssrc"),
               py::arg("mode"), py::arg("key"), py::arg("first_nonce"), py::arg("keep_alive"),
               py::arg("fd"));
    module.def("ogg_sink", &ogg_sink, py::arg("path"), py::arg("comments"), py::arg("serial"));
    module.def("null_sink", [] {
        auto sink = std::make_shared<transport::NullSink>();
        return box(sink, [raw = sink.get()] {
            const auto counts = raw->statistics();
            py::dict out;
            out["packets"] = counts.packets;
            out["silence"] = counts.silence;
            out["bytes"] = counts.bytes;
            out["ticks"] = counts.ticks;
            return out;
        });
    });
    module.def(
        "memory_sink",
        [](std::size_t limit) {
            std::shared_ptr<transport::MemorySink> sink = transport::MemorySink::create(limit);
            return box(sink, [raw = sink.get()] {
                const auto counts = raw->ring_statistics();
                py::dict out;
                out["packets"] = counts.packets;
                out["overflow"] = counts.overflow;
                return out;
            });
        },
        py::arg("limit"));
    module.def(
        "take_packets",
        [](const SinkHandle& self) {
            auto* memory = dynamic_cast<transport::MemorySink*>(self.get().sink.get());
            if (memory == nullptr) {
                raise(Error{Errc::internal, 0, "take_packets() is for a memory sink"});
            }
            const auto packets = without_gil([&] { return memory->take(); });
            py::list out{packets.size()};
            for (std::size_t i = 0; i < packets.size(); ++i) {
                const auto& packet = packets[i];
                out[i] = py::make_tuple(py::bytes{reinterpret_cast<const char*>(packet.opus.data()),
                                                  packet.opus.size()},
                                        packet.tick, packet.media_samples, packet.silence);
            }
            return out;
        },
        py::arg("sink"), "Everything the memory sink got since the last call.");
}

}  // namespace voicecore::bindings
