#include <pybind11/stl.h>

#include <algorithm>
#include <optional>

#include "bind.hpp"
#include "native_call.hpp"
#include "objects.hpp"
#include "voicecore/transport/receiver.hpp"

namespace voicecore::bindings {
namespace {

// Whoever waits for the end of a receiver; told from the receiver's thread.
class EndBell {
  public:
    // Emits to the channel at the end, or at once when that has come.
    std::uint64_t watch(std::shared_ptr<engine::EventChannel> channel) {
        const std::uint64_t subject = playback::next_id();
        const std::lock_guard lock{mutex_};
        if (rung_) {
            ring_one(*channel, subject);
        } else {
            watchers_.emplace_back(std::move(channel), subject);
        }
        return subject;
    }
    void unwatch(std::uint64_t subject) noexcept {
        const std::lock_guard lock{mutex_};
        std::erase_if(watchers_, [&](const auto& one) { return one.second == subject; });
    }
    void ring() noexcept {
        const std::lock_guard lock{mutex_};
        rung_ = true;
        for (const auto& [channel, subject] : watchers_) ring_one(*channel, subject);
        watchers_.clear();
    }

  private:
    static void ring_one(engine::EventChannel& channel, std::uint64_t subject) noexcept {
        channel.emit({.subject = subject, .value = 0, .kind = playback::EventKind::finished});
    }
    std::mutex mutex_;
    bool rung_ = false;
    std::vector<std::pair<std::shared_ptr<engine::EventChannel>, std::uint64_t>> watchers_;
};

struct ReceiverBox {
    std::shared_ptr<EndBell> bell =
        std::make_shared<EndBell>();  // also held by the on_end callback
    std::unique_ptr<transport::Receiver> receiver;
};
using ReceiverHandle = Forkable<ReceiverBox>;

ReceiverHandle open_receiver(const std::string& host, int port, const std::string& mode,
                             const py::bytes& key, std::optional<std::uint32_t> ssrc,
                             const std::string& ogg, std::size_t log, std::optional<double> idle,
                             std::optional<double> duration) {
    const auto nanoseconds = [](std::optional<double> seconds) {
        // 0 would mean without end.
        return seconds ? std::max(Nanoseconds{static_cast<std::int64_t>(*seconds * 1e9)},
                                  Nanoseconds{1})
                       : Nanoseconds{0};
    };
    auto receiver_box = std::make_shared<ReceiverBox>();
    transport::ReceiverOptions options;
    options.host = host;
    options.port = port;
    options.mode = unwrap(transport::parse_cipher_mode(mode));
    const std::string_view key_view = key;
    options.key.assign(key_view.begin(), key_view.end());
    options.ssrc = ssrc;
    if (!ogg.empty()) {
        options.ogg.emplace();
        options.ogg->path = ogg;
        options.ogg->vendor = std::string{"voicecore "} + VOICECORE_VERSION;
    }
    options.log_packets = log;
    options.idle = nanoseconds(idle);
    options.duration = nanoseconds(duration);
    options.on_end = [bell = receiver_box->bell] { bell->ring(); };
    receiver_box->receiver =
        unwrap_sink(without_gil([&] { return transport::Receiver::open(std::move(options)); }));
    return ReceiverHandle{std::move(receiver_box)};
}

py::dict statistics(const ReceiverHandle& self) {
    const transport::Receiver& receiver = *self.get().receiver;
    const auto counts = without_gil([&] { return receiver.statistics(); });
    const auto& stream = counts.stream;
    py::dict out;
    out["datagrams"] = counts.datagrams;
    out["bytes"] = counts.bytes;
    out["packets"] = stream.packets;
    out["silence_frames"] = stream.silence_frames;
    out["decryption_failures"] = counts.decryption_failures;
    out["malformed"] = counts.malformed;
    out["not_opus"] = counts.not_opus;
    out["foreign_ssrc"] = counts.foreign_ssrc;
    out["keepalives"] = counts.keepalives;
    out["rtcp"] = counts.rtcp;
    out["kernel_drops"] = counts.kernel_drops;
    out["ssrc"] = counts.ssrc;
    out["lost"] = stream.lost;
    out["duplicates"] = stream.duplicates;
    out["reordered"] = stream.reordered;
    out["restarts"] = stream.restarts;
    out["longest_burst"] = stream.longest_burst;
    out["duration_s"] = static_cast<double>(stream.last_ns - stream.first_ns) / 1e9;
    out["gap_ms"] = histogram_dict<FineHistogram>(stream.gaps);
    out["jitter_ms"] = histogram_dict<FineHistogram>(stream.lateness);
    return out;
}

py::list rows(const std::vector<transport::Arrival>& log) {
    py::list out{log.size()};
    for (std::size_t i = 0; i < log.size(); ++i) {
        out[i] = py::make_tuple(log[i].time_ns, log[i].sequence, log[i].timestamp, log[i].size);
    }
    return out;
}

}  // namespace

void bind_receiver(py::module_& module) {
    py::class_<ReceiverHandle>(module, "Receiver")
        .def(py::init(&open_receiver), py::arg("host"), py::arg("port"), py::arg("mode"),
             py::arg("key"), py::arg("ssrc"), py::arg("ogg"), py::arg("log"), py::arg("idle"),
             py::arg("duration"))
        .def_property_readonly(
            "port", [](const ReceiverHandle& self) { return self.get().receiver->port(); })
        .def_property_readonly("running",
                               [](const ReceiverHandle& self) {
                                   return self.get().receiver->ended() ==
                                          transport::EndReason::running;
                               })
        .def("statistics", &statistics)
        .def("arrivals",
             [](const ReceiverHandle& self) {
                 const transport::Receiver& receiver = *self.get().receiver;
                 return rows(without_gil([&] { return receiver.arrivals(); }));
             })
        .def("take_arrivals",
             [](const ReceiverHandle& self) {
                 transport::Receiver& receiver = *self.get().receiver;
                 return rows(without_gil([&] { return receiver.take_arrivals(); }));
             })
        .def("stop",
             [](const ReceiverHandle& self) {
                 transport::Receiver& receiver = *self.get().receiver;
                 without_gil([&] { receiver.stop(); });
             })
        .def(
            "watch",
            [](const ReceiverHandle& self, const ChannelHandle& channel) {
                return self.get().bell->watch(channel.shared());
            },
            py::arg("channel"))
        .def(
            "unwatch",
            [](const ReceiverHandle& self, std::uint64_t subject) {
                self.get().bell->unwatch(subject);
            },
            py::arg("subject"))
        .def(
            "check",
            [](const ReceiverHandle& self) {
                if (const auto error = self.get().receiver->error()) raise_sink(*error);
            },
            "Raises what the receiver failed with, if it did.");
}

}  // namespace voicecore::bindings
