// Sources: opening, tones, what the caller pushes, and file-like objects.
#include <pybind11/stl.h>

#include <optional>

#include "bind.hpp"
#include "native_call.hpp"
#include "objects.hpp"
#include "voicecore/engine/open_operation.hpp"
#include "voicecore/sources/byte_inputs.hpp"
#include "voicecore/sources/push_source.hpp"
#include "voicecore/sources/tone_source.hpp"

namespace voicecore::bindings {
namespace {

SourceHandle box(std::unique_ptr<audio::MediaSource> source, Samples start = Samples{0}) {
    return SourceHandle{std::make_shared<SourceBox>(std::move(source), start)};
}

py::dict info_dict(const audio::SourceInfo& info) {
    py::dict out;
    out["container"] = info.container;
    out["codec"] = info.codec;
    out["sample_rate"] = info.sample_rate;
    out["channels"] = info.channels;
    out["duration"] =
        info.duration ? py::object{py::float_{to_seconds(*info.duration)}} : py::none();
    out["bitrate_kbps"] = info.bitrate > 0
                              ? py::object{py::float_{static_cast<double>(info.bitrate) / 1000}}
                              : py::none();
    py::dict tags;
    for (const auto& [name, value] : info.tags) {
        // Tags are whatever a stranger wrote into a file.
        tags[py::reinterpret_steal<py::str>(
            PyUnicode_DecodeUTF8(name.data(), static_cast<Py_ssize_t>(name.size()), "replace"))] =
            py::reinterpret_steal<py::str>(PyUnicode_DecodeUTF8(
                value.data(), static_cast<Py_ssize_t>(value.size()), "replace"));
    }
    out["tags"] = tags;
    out["seekable"] = info.seekable;
    out["no_passthrough"] = info.no_passthrough.empty() ? py::object{py::none()}
                                                        : py::object{py::str{info.no_passthrough}};
    return out;
}

// -- opening --------------------------------------------------------------------------------------

// A file-like object or bytes, as Python hands them to open_source().
using ByteInputHandle = std::shared_ptr<audio::ByteInput>;

struct OpenBox {
    std::shared_ptr<engine::OpenOperation> operation;
    Samples start{0};
};
using OpenHandle = Forkable<OpenBox>;

OpenHandle open_source(const ChannelHandle& channel, std::string location, const py::object& input,
                       std::vector<std::pair<std::string, std::string>> headers, std::int64_t start,
                       bool playlists, bool private_addresses, double timeout, int reconnects,
                       std::string ca_file) {
    audio::OpenRequest request;
    request.location = std::move(location);
    if (!input.is_none()) request.input = input.cast<ByteInputHandle>();
    request.headers = std::move(headers);
    request.start = Samples{start};
    request.allow_playlists = playlists;
    request.allow_private_addresses = private_addresses;
    request.timeout = std::chrono::milliseconds{static_cast<std::int64_t>(timeout * 1000 + 0.5)};
    request.max_reconnects = reconnects;
    request.ca_file = std::move(ca_file);
    const std::shared_ptr<engine::EventChannel> events = channel.shared();
    auto operation =
        without_gil([&] { return engine::OpenOperation::start(std::move(request), events); });
    return OpenHandle{
        std::make_shared<OpenBox>(OpenBox{unwrap(std::move(operation)), Samples{start}})};
}

// Copies: a player may outlive every Python object, and no native thread can give one back. Without
// the GIL, for it can be much; whoever changes the bytes meanwhile plays what he makes of them.
std::shared_ptr<sources::MemoryInput> copy_of(const py::buffer& data) {
    Py_buffer view;
    if (PyObject_GetBuffer(data.ptr(), &view, PyBUF_FULL_RO) != 0) throw py::error_already_set{};
    struct Release {
        Py_buffer& view;
        ~Release() { PyBuffer_Release(&view); }
    } release{view};
    if (PyBuffer_IsContiguous(&view, 'C') == 0) {
        auto flat = py::reinterpret_steal<py::buffer>(PyBytes_FromObject(data.ptr()));
        if (!flat) throw py::error_already_set{};
        return copy_of(flat);
    }
    return without_gil([&] {
        const auto* first = static_cast<const std::uint8_t*>(view.buf);
        return std::make_shared<sources::MemoryInput>(
            std::vector<std::uint8_t>{first, first + view.len});
    });
}

void bind_opening(py::module_& module) {
    py::class_<audio::ByteInput, ByteInputHandle>(module, "ByteInput");
    py::class_<sources::MemoryInput, audio::ByteInput, std::shared_ptr<sources::MemoryInput>>(
        module, "MemoryInput")
        .def(py::init(&copy_of), py::arg("data"));

    using sources::PumpedInput;
    py::class_<PumpedInput, audio::ByteInput, std::shared_ptr<PumpedInput>>(module, "PumpedInput")
        .def(py::init<bool, std::optional<std::int64_t>>(), py::arg("seekable"), py::arg("size"))
        .def(
            "wait_request",
            [](const std::shared_ptr<PumpedInput>& self) -> py::object {
                const auto request = without_gil([&] { return self->wait_request(); });
                switch (request.kind) {
                    case PumpedInput::Request::Kind::read:
                        return py::make_tuple("read", request.size);
                    case PumpedInput::Request::Kind::seek:
                        return py::make_tuple("seek", request.offset);
                    case PumpedInput::Request::Kind::closed:
                        break;
                }
                return py::none();
            },
            "(\"read\", size) or (\"seek\", offset); None when there will be no more.")
        .def(
            "complete_read",
            [](const std::shared_ptr<PumpedInput>& self, const py::bytes& bytes) {
                const std::string_view view = bytes;
                const std::span<const std::uint8_t> data{
                    reinterpret_cast<const std::uint8_t*>(view.data()), view.size()};
                without_gil([&] { self->complete_read(data); });
            },
            py::arg("data"))
        .def(
            "complete_seek",
            [](const std::shared_ptr<PumpedInput>& self, std::int64_t position) {
                without_gil([&] { self->complete_seek(position); });
            },
            py::arg("position"))
        .def(
            "fail",
            [](const std::shared_ptr<PumpedInput>& self, int native, std::string message) {
                without_gil([&] { self->fail(Error{Errc::io, native, std::move(message)}); });
            },
            py::arg("errno"), py::arg("message"))
        .def("close", [](const std::shared_ptr<PumpedInput>& self) { self->interrupt(); });

    py::class_<OpenHandle>(module, "OpenOperation")
        .def_property_readonly("id",
                               [](const OpenHandle& self) { return self.get().operation->id(); })
        .def("cancel", [](const OpenHandle& self) { self.get().operation->cancel(); })
        .def(
            "take",
            [](const OpenHandle& self) -> py::object {
                auto result = self.get().operation->take();
                if (!result) return py::none();
                return py::cast(box(unwrap(std::move(*result)), self.get().start));
            },
            "The source, once it is there; None before. Raises what opening it failed with.");
    module.def("open_source", &open_source, py::arg("channel"), py::arg("location"),
               py::arg("input"), py::arg("headers"), py::arg("start"), py::arg("playlists"),
               py::arg("private_addresses"), py::arg("timeout"), py::arg("reconnects"),
               py::arg("ca_file"));
}

// -- pushing --------------------------------------------------------------------------------------

// What both pushers share. `Feed` is PcmFeed or OpusFeed.
template <class Push>
class Pusher {
  public:
    explicit Pusher(Push push) : push_{std::move(push)} {}
    ~Pusher() { push_.feed.set_writable_hook({}); }

    [[nodiscard]] SourceHandle source() {
        if (push_.source == nullptr)
            raise(Error{Errc::internal, 0, "the source was taken already"});
        return box(std::move(push_.source));
    }
    [[nodiscard]] auto& feed() noexcept { return push_.feed; }
    void close() {
        closed_ = true;
        push_.feed.close();
    }
    void check_open() const {
        if (closed_)
            raise(Error{Errc::closed, 0, "this source was closed; nothing more can be written"});
        if (push_.feed.abandoned()) {
            raise(Error{Errc::closed, 0, "the player has ended; nobody would hear it"});
        }
    }
    // Whether a waiting writer should try again.
    [[nodiscard]] bool writable() const {
        return closed_ || push_.feed.abandoned() || push_.feed.writable();
    }
    std::uint64_t watch(const ChannelHandle& channel) {
        const std::uint64_t subject = playback::next_id();
        push_.feed.set_writable_hook([events = channel.shared(), subject] {
            events->emit({.subject = subject, .value = 0, .kind = playback::EventKind::writable});
        });
        return subject;
    }
    void unwatch() { push_.feed.set_writable_hook({}); }

  private:
    Push push_;
    bool closed_ = false;
};

template <class Class>
void bind_pusher(Class& cls) {
    using P = typename Class::type;
    cls.def("source", &P::source)
        .def("close", [](P& self) { without_gil([&] { self.close(); }); })
        .def("writable", &P::writable)
        .def("watch", &P::watch, py::arg("channel"))
        .def("unwatch", [](P& self) { without_gil([&] { self.unwatch(); }); });
}

std::size_t write_pcm(sources::PcmFeed& feed, bool is_float, const py::buffer& data) {
    const py::buffer_info info = data.request();
    const auto bytes = static_cast<std::size_t>(info.size * info.itemsize);
    return without_gil([&]() -> std::size_t {
        if (is_float) {
            return feed.write_nowait(
                std::span{static_cast<const float*>(info.ptr), bytes / sizeof(float)});
        }
        return feed.write_nowait(
            std::span{static_cast<const std::int16_t*>(info.ptr), bytes / sizeof(std::int16_t)});
    });
}

struct PcmPusher : Pusher<sources::PcmPush> {
    PcmPusher(bool is_float, std::int64_t capacity)
        : Pusher{unwrap(sources::make_pcm_push(Samples{capacity}))}, floats{is_float} {}
    const bool floats;
};

struct OpusPusher : Pusher<sources::OpusPush> {
    explicit OpusPusher(std::size_t capacity) : Pusher{unwrap(sources::make_opus_push(capacity))} {}
};

bool write_packet(OpusPusher& self, const py::buffer& data) {
    self.check_open();
    const py::buffer_info info = data.request();
    const std::span<const std::uint8_t> bytes{static_cast<const std::uint8_t*>(info.ptr),
                                              static_cast<std::size_t>(info.size * info.itemsize)};
    switch (without_gil([&] { return self.feed().write_nowait(bytes); })) {
        case sources::PushStatus::accepted:
            return true;
        case sources::PushStatus::full:
            return false;
        case sources::PushStatus::not_opus:
            raise(Error{Errc::invalid_argument, 0,
                        "got " + std::to_string(bytes.size()) +
                            " bytes that are no valid Opus packet (RFC 6716 section 3.4)"});
        case sources::PushStatus::closed:
            break;
    }
    raise(Error{Errc::closed, 0, "the player has ended; nobody would hear it"});
}

void bind_pushing(py::module_& module) {
    py::class_<PcmPusher> pcm{module, "PcmPusher"};
    pcm.def(py::init<bool, std::int64_t>(), py::arg("floats"), py::arg("capacity"))
        .def(
            "write",
            [](PcmPusher& self, const py::buffer& data) {
                self.check_open();
                return write_pcm(self.feed(), self.floats, data);
            },
            py::arg("data"), "Samples (per channel) that were taken.");
    bind_pusher(pcm);
    py::class_<OpusPusher> opus{module, "OpusPusher"};
    opus.def(py::init<std::size_t>(), py::arg("capacity"))
        .def("write", &write_packet, py::arg("packet"), "Whether it was taken.");
    bind_pusher(opus);
}

// -- encoding -------------------------------------------------------------------------------------

template <class E>
E choice(const std::string& given, std::initializer_list<std::pair<const char*, E>> allowed) {
    for (const auto& [name, value] : allowed) {
        if (given == name) return value;
    }
    raise(Error{Errc::invalid_argument, 0, "unknown choice '" + given + "'"});
}

opus::EncoderOptions encoder_options(int bitrate, int complexity, bool fec, double expected_loss,
                                     const std::string& application, const std::string& signal,
                                     const std::string& rate_control, bool dtx) {
    using opus::Application;
    using opus::RateMode;
    using opus::Signal;
    opus::EncoderOptions options;
    options.bitrate = bitrate;
    options.complexity = complexity;
    options.fec = fec;
    options.expected_loss = expected_loss;
    options.application = choice<Application>(application, {{"audio", Application::audio},
                                                            {"voip", Application::voip},
                                                            {"lowdelay", Application::low_delay}});
    options.signal = choice<Signal>(
        signal, {{"auto", Signal::automatic}, {"music", Signal::music}, {"voice", Signal::voice}});
    options.rate_mode = choice<RateMode>(rate_control, {{"vbr", RateMode::vbr},
                                                        {"constrained", RateMode::constrained_vbr},
                                                        {"cbr", RateMode::cbr}});
    options.dtx = dtx;
    unwrap(opus::check(options));
    return options;
}

}  // namespace

TakenSources::TakenSources(const py::list& sources) {
    for (const auto& item : sources) {
        boxes_.push_back(item.cast<const SourceHandle&>().shared());
    }
    taken_.reserve(boxes_.size());
    for (const auto& source : boxes_) {
        auto taken = source->take();
        if (!taken) {
            give_back();
            raise(taken.error());
        }
        taken_.push_back(std::move(taken).value());
    }
}

TakenSources::~TakenSources() {
    give_back();
}

void TakenSources::give_back() noexcept {
    for (std::size_t i = 0; i < taken_.size(); ++i) boxes_[i]->give_back(std::move(taken_[i]));
    taken_.clear();
}

std::unique_ptr<pipeline::Program> make_program(TakenSources& sources,
                                                const ProgramSettings& settings) {
    pipeline::ProgramOptions options;
    options.encoder = settings.encoder;
    options.gain = Gain{settings.volume};
    options.passthrough = settings.passthrough;
    options.history = settings.history;
    options.gap = Samples{settings.gap};
    options.loops = settings.loops;
    options.start = sources.start(0);
    auto program = unwrap(pipeline::Program::create(options));
    auto taken = sources.release();
    for (std::size_t i = 0; i < taken.size(); ++i) {
        program->append(std::move(taken[i]), sources.start(i));
    }
    if (!settings.keep_open) program->close_playlist();
    return program;
}

// Opus packets, copied or decoded, are laid from their pre-skip on; other audio comes out of the
// encoder with its look-ahead in front.
Samples pre_skip_of(const py::list& sources, const opus::EncoderOptions& encoder) {
    if (!sources.empty()) {
        const auto& first = sources[0].cast<const SourceHandle&>().get();
        if (first.info().kind == audio::MediaKind::opus && first.start() == Samples{0}) {
            return first.info().pre_skip;
        }
    }
    constexpr Samples kAudio{312};
    constexpr Samples kLowDelay{120};
    return encoder.application == opus::Application::low_delay ? kLowDelay : kAudio;
}

void bind_sources(py::module_& module) {
    py::class_<SourceHandle>(module, "Source")
        .def("info", [](const SourceHandle& self) { return info_dict(self.get().info()); })
        .def("close", [](const SourceHandle& self) {
            SourceBox& source = self.get();
            without_gil([&] { source.close(); });
        });
    py::class_<opus::EncoderOptions>(module, "EncoderOptions")
        .def(py::init(&encoder_options), py::arg("bitrate"), py::arg("complexity"), py::arg("fec"),
             py::arg("expected_loss"), py::arg("application"), py::arg("signal"),
             py::arg("rate_control"), py::arg("dtx"));
    module.def(
        "tone_source",
        [](double frequency, double amplitude, std::optional<std::int64_t> length) {
            sources::ToneOptions options;
            options.frequency = frequency;
            options.amplitude = amplitude;
            if (length) options.duration = Samples{*length};
            return box(unwrap(sources::ToneSource::create(options)));
        },
        py::arg("frequency"), py::arg("amplitude"), py::arg("length"));
    bind_opening(module);
    bind_pushing(module);
}

}  // namespace voicecore::bindings
