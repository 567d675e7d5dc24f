// The command queue: a store behind a worker, and calls that run on it or in place.
#include <pybind11/stl.h>

#include <variant>

#include "bind.hpp"
#include "native_call.hpp"
#include "objects.hpp"
#include "queue_objects.hpp"
#include "voicecore/command/session_mutex.hpp"

namespace voicecore::bindings {
namespace {

using command::Millis;
using command::Store;

// Work and what Python makes of its result.
template <class Work, class Convert>
class CallOf final : public QueueCall {
  public:
    CallOf(Work work, Convert convert) : work_{std::move(work)}, convert_{std::move(convert)} {}
    void run(Store& store) noexcept override { result_.emplace(work_(store)); }
    void fail(Error error) noexcept override { result_.emplace(std::move(error)); }
    py::object result() override {
        if (!result_) raise(Error{Errc::internal, 0, "a call on the queue that has not run"});
        if (!*result_) raise(result_->error());
        return convert_(result_->value());
    }

  private:
    Work work_;
    Convert convert_;
    std::optional<std::invoke_result_t<Work, Store&>> result_;
};

template <class Work, class Convert>
std::shared_ptr<QueueCall> make_call(Work work, Convert convert) {
    return std::make_shared<CallOf<Work, Convert>>(std::move(work), std::move(convert));
}

const auto nothing = [](const Done&) -> py::object { return py::none(); };
const auto as_is = [](const auto& value) -> py::object { return py::cast(value); };

py::object value_to_python(const command::Value& value) {
    if (const auto* integer = std::get_if<std::int64_t>(&value)) return py::int_{*integer};
    if (const auto* real = std::get_if<double>(&value)) return py::float_{*real};
    if (const auto* text = std::get_if<std::string>(&value)) return to_text(*text);
    if (const auto* blob = std::get_if<command::Blob>(&value)) {
        return py::bytes{reinterpret_cast<const char*>(blob->data()), blob->size()};
    }
    return py::none();
}

command::Value value_from_python(const py::handle& value) {
    if (value.is_none()) return std::monostate{};
    if (py::isinstance<py::bool_>(value)) return std::int64_t{value.cast<bool>()};
    if (py::isinstance<py::int_>(value)) {
        const auto integer = PyLong_AsLongLong(value.ptr());
        if (integer == -1 && PyErr_Occurred() != nullptr) {
            PyErr_Clear();
            raise(Error{Errc::invalid_argument, 0,
                        "an integer that does not fit into 64 bits: SQLite has none larger"});
        }
        return std::int64_t{integer};
    }
    if (py::isinstance<py::float_>(value)) return value.cast<double>();
    if (py::isinstance<py::str>(value)) return value.cast<std::string>();
    if (py::isinstance<py::bytes>(value)) {
        const auto bytes = value.cast<std::string_view>();
        return command::Blob(bytes.begin(), bytes.end());
    }
    raise(Error{Errc::invalid_argument, 0,
                "a parameter of type " +
                    py::str(py::type::of(value).attr("__name__")).cast<std::string>() +
                    ": expected None, int, float, str or bytes"});
}

command::NewCommand new_command(const py::tuple& fields) {
    command::NewCommand out;
    int at = 0;
    const auto field = [&] { return fields[static_cast<std::size_t>(at++)]; };
    out.command = field().cast<std::string>();
    out.entry_id = field().cast<std::optional<std::int64_t>>();
    out.key = field().cast<std::optional<std::string>>();
    out.args = field().cast<std::string>();
    out.requested_by = field().cast<std::optional<std::string>>();
    out.dedup_key = field().cast<std::optional<std::string>>();
    out.priority = field().cast<std::int64_t>();
    out.not_before = field().cast<std::optional<Millis>>();
    out.expires_at = field().cast<std::optional<Millis>>();
    out.overtakes = field().cast<bool>();
    out.max_attempts = field().cast<std::int64_t>();
    return out;
}

py::object rows_to_python(const std::vector<std::vector<command::Row>>& results) {
    py::list out;
    for (const auto& rows : results) {
        py::list converted;
        for (const command::Row& row : rows) {
            py::tuple fields{row.size()};
            for (std::size_t i = 0; i < row.size(); ++i) fields[i] = value_to_python(row[i]);
            converted.append(std::move(fields));
        }
        out.append(std::move(converted));
    }
    return out;
}

py::object maybe_command(const std::optional<command::Command>& found) {
    return found ? py::object{command_to_python(*found)} : py::none();
}

py::object maybe_text(const std::optional<std::string>& text) {
    return text ? py::object{to_text(*text)} : py::none();
}

py::object statistics_to_python(const command::StoreStatistics& found) {
    py::dict out;
    out["ready"] = found.ready;
    out["delayed"] = found.delayed;
    out["claimed"] = found.claimed;
    out["sessions"] = found.sessions;
    out["oldest_ready"] = found.oldest_ready;
    py::list history;
    for (const auto& [state, count] : found.history) {
        history.append(py::make_tuple(to_text(state), count));
    }
    out["history"] = history;
    out["wal_bytes"] = found.wal_bytes;
    return out;
}

void bind_calls(py::class_<QueueHandle>& queue) {
    using Call = std::shared_ptr<QueueCall>;
    queue
        .def("open",
             [](const QueueHandle&) -> Call {
                 return make_call([](Store& store) { return store.audit(); }, nothing);
             })
        .def("enqueue",
             [](const QueueHandle&, const py::list& commands, Millis now) -> Call {
                 std::vector<command::NewCommand> all;
                 for (const auto& one : commands) all.push_back(new_command(one.cast<py::tuple>()));
                 return make_call(
                     [all = std::move(all), now](Store& store) { return store.enqueue(all, now); },
                     as_is);
             })
        .def("ring",
             [](const QueueHandle&) -> Call {
                 return make_call([](Store& store) { return store.find_bells(); }, nothing);
             })
        .def("claim",
             [](const QueueHandle&, Millis now, int limit, Millis lease,
                std::optional<Millis> started_at) -> Call {
                 const command::ClaimRequest request{
                     .now = now, .limit = limit, .lease = lease, .started_at = started_at};
                 return make_call([request](Store& store) { return store.claim(request); },
                                  [](const command::ClaimResult& found) -> py::object {
                                      return commands_to_python(found.claimed);
                                  });
             })
        .def("renew",
             [](const QueueHandle&, std::int64_t id, std::int64_t attempt, Millis now,
                Millis lease) -> Call {
                 return make_call(
                     [=](Store& store) { return store.renew(id, attempt, now, lease); }, nothing);
             })
        .def("ack",
             [](const QueueHandle&, std::int64_t id, std::int64_t attempt, Millis now,
                const std::string& result) -> Call {
                 return make_call([=](Store& store) { return store.ack(id, attempt, now, result); },
                                  nothing);
             })
        .def("ack_many",
             [](const QueueHandle&,
                const std::vector<std::tuple<std::int64_t, std::int64_t, std::string>>& done,
                Millis now) -> Call {
                 std::vector<command::Finished> finished;
                 for (const auto& [id, attempt, result] : done) {
                     finished.push_back({id, attempt, result});
                 }
                 return make_call([finished = std::move(finished),
                                   now](Store& store) { return store.ack_many(finished, now); },
                                  as_is);
             })
        .def("nack",
             [](const QueueHandle&, std::int64_t id, std::int64_t attempt, Millis now,
                const std::string& error, std::optional<Millis> retry_in,
                std::int64_t tries) -> Call {
                 return make_call(
                     [=](Store& store) {
                         return store.nack(id, attempt, now, error, retry_in, tries);
                     },
                     as_is);
             })
        .def("fail",
             [](const QueueHandle&, std::int64_t id, std::int64_t attempt, Millis now,
                const std::string& error) -> Call {
                 return make_call([=](Store& store) { return store.fail(id, attempt, now, error); },
                                  nothing);
             })
        .def("give_back",
             [](const QueueHandle&, std::int64_t id, std::int64_t attempt, Millis now,
                Millis delay) -> Call {
                 return make_call(
                     [=](Store& store) { return store.give_back(id, attempt, now, delay); },
                     nothing);
             })
        .def("cancel",
             [](const QueueHandle&, std::int64_t id, Millis now) -> Call {
                 return make_call([=](Store& store) { return store.cancel(id, now); }, as_is);
             })
        .def("get",
             [](const QueueHandle&, std::int64_t id) -> Call {
                 return make_call([=](Store& store) { return store.get(id); }, maybe_command);
             })
        .def("peek",
             [](const QueueHandle&, std::int64_t limit) -> Call {
                 return make_call([=](Store& store) { return store.peek(limit); },
                                  commands_to_python);
             })
        .def(
            "history",
            [](const QueueHandle&, std::int64_t limit, std::optional<std::int64_t> before) -> Call {
                return make_call([=](Store& store) { return store.history(limit, before); },
                                 commands_to_python);
            })
        .def("statistics",
             [](const QueueHandle&, Millis now) -> Call {
                 return make_call([=](Store& store) { return store.statistics(now); },
                                  statistics_to_python);
             })
        .def("prune",
             [](const QueueHandle&, Millis older_than, std::int64_t limit) -> Call {
                 return make_call([=](Store& store) { return store.prune(older_than, limit); },
                                  as_is);
             })
        .def("transact",
             [](const QueueHandle&, const py::list& steps) -> Call {
                 std::vector<Store::Step> all;
                 for (const auto& one : steps) {
                     const auto step = one.cast<py::tuple>();
                     Store::Step& made = all.emplace_back();
                     made.sql = step[0].cast<std::string>();
                     for (const auto& value : step[1]) {
                         made.parameters.push_back(value_from_python(value));
                     }
                 }
                 return make_call(
                     [all = std::move(all)](Store& store) { return store.transact(all); },
                     rows_to_python);
             })
        .def("lease_session",
             [](const QueueHandle&, const std::string& key, std::optional<std::int64_t> entry_id,
                std::optional<std::int64_t> command_id, Millis now, Millis lease) -> Call {
                 return make_call(
                     [=](Store& store) {
                         return store.lease_session(key, entry_id, command_id, now, lease);
                     },
                     as_is);
             })
        .def("renew_session",
             [](const QueueHandle&, const std::string& key, std::int64_t attempt, Millis now,
                Millis lease) -> Call {
                 return make_call(
                     [=](Store& store) { return store.renew_session(key, attempt, now, lease); },
                     nothing);
             })
        .def("end_session",
             [](const QueueHandle&, const std::string& key, std::int64_t attempt, Millis now,
                const std::string& outcome) -> Call {
                 return make_call(
                     [=](Store& store) { return store.end_session(key, attempt, now, outcome); },
                     nothing);
             })
        .def("clear_dead",
             [](const QueueHandle&, Millis now) -> Call {
                 return make_call([=](Store& store) { return store.clear_dead(now); }, as_is);
             })
        .def("workers",
             [](const QueueHandle&) -> Call {
                 return make_call(
                     [](Store& store) { return store.workers(); },
                     [](const std::vector<command::Worker>& found) -> py::object {
                         py::list out;
                         for (const auto& one : found) {
                             out.append(py::make_tuple(to_text(one.owner), one.pid,
                                                       to_text(one.role), maybe_text(one.bell),
                                                       to_text(one.sqlite_version), one.seen_at));
                         }
                         return out;
                     });
             })
        .def("checkpoint",
             [](const QueueHandle&, bool truncate) -> Call {
                 return make_call([=](Store& store) { return store.checkpoint(truncate); },
                                  nothing);
             })
        .def("audit", [](const QueueHandle&) -> Call {
            return make_call([](Store& store) { return store.audit(); }, nothing);
        });
}

void bind_mutex(py::module_& module) {
    using command::SessionMutex;
    py::class_<SessionMutex, std::shared_ptr<SessionMutex>>(module, "SessionMutex")
        .def(py::init<bool>(), py::arg("single"))
        .def("claim", &SessionMutex::claim, py::arg("key"), py::arg("entry_id"))
        .def("release", &SessionMutex::release, py::arg("key"), py::arg("ticket"))
        .def("set_attempt", &SessionMutex::set_attempt, py::arg("key"), py::arg("ticket"),
             py::arg("attempt"))
        .def("holds", &SessionMutex::holds, py::arg("key"), py::arg("attempt"))
        .def("held", [](const SessionMutex& self) {
            py::list out;
            for (const auto& one : self.held()) {
                out.append(py::make_tuple(one.key, one.entry_id, one.attempt));
            }
            return out;
        });
}

}  // namespace

// Anybody writes these texts: bytes that are no UTF-8 are shown as such, and end the command when
// it is claimed.
py::tuple command_to_python(const command::Command& one) {
    return py::make_tuple(
        one.id, to_text(one.command), one.entry_id, maybe_text(one.key), to_text(one.args),
        maybe_text(one.requested_by), one.created_at, maybe_text(one.dedup_key), one.priority,
        one.not_before, one.expires_at, one.overtakes, one.attempt, one.given_back,
        one.max_attempts, one.lease_until, maybe_text(one.owner), one.claimed_at,
        maybe_text(one.result), maybe_text(one.error), to_text(one.state), one.finished_at);
}

py::object commands_to_python(const std::vector<command::Command>& commands) {
    py::list out;
    for (const auto& one : commands) out.append(command_to_python(one));
    return out;
}

command::StoreOptions store_options(const py::dict& settings) {
    command::StoreOptions out;
    out.path = settings["path"].cast<std::string>();
    out.owner = settings["owner"].cast<std::string>();
    out.role = settings["role"].cast<std::string>();
    out.synchronous =
        settings["full"].cast<bool>() ? command::Synchronous::full : command::Synchronous::normal;
    out.busy_timeout_ms = settings["busy_timeout_ms"].cast<int>();
    out.create = settings["create"].cast<bool>();
    out.default_key = settings["default_key"].cast<std::string>();
    out.play_expires_after = settings["play_expires_after"].cast<std::optional<Millis>>();
    if (const py::object hook = settings["hook"]; !hook.is_none()) {
        const auto fault = hook.cast<std::shared_ptr<FaultHook>>();
        out.hook = [fault](std::string_view sql) { fault->at(sql); };
    }
    return out;
}

void bind_queue(py::module_& module) {
    py::class_<FaultHook, std::shared_ptr<FaultHook>>(
        module, "FaultHook",
        "For tests: dies by SIGKILL at a step of SQL, or only counts the steps.")
        .def(py::init<std::uint64_t>(), py::arg("die_at") = 0)
        .def_property_readonly("steps", &FaultHook::steps)
        .def("trace", &FaultHook::trace);

    py::class_<QueueCall, std::shared_ptr<QueueCall>>(module, "QueueCall")
        .def_property_readonly("done", &QueueCall::done)
        .def("result", &QueueCall::result, "The result, or the failure as an exception.");

    py::class_<QueueHandle> queue{module, "Queue"};
    queue
        .def(
            py::init([](const py::dict& settings) {
                return QueueHandle{std::make_shared<command::StoreWorker>(store_options(settings))};
            }),
            py::arg("settings"))
        .def(
            "run",
            [](const QueueHandle& self, const std::shared_ptr<QueueCall>& call) {
                command::StoreWorker& worker = self.get();
                without_gil([&] { worker.run(*call); });
                return call->result();
            },
            py::arg("call"), "Runs the call on this thread, without the GIL; gives its result.")
        .def(
            "submit",
            [](const QueueHandle& self, const std::shared_ptr<QueueCall>& call,
               const ChannelHandle& channel) {
                const std::shared_ptr<engine::EventChannel> events = channel.shared();
                const std::uint64_t id = playback::next_id();
                self.get().submit(call, [events, id, call] {
                    call->mark_done();
                    events->emit(
                        {.subject = id, .value = 0, .kind = playback::EventKind::completed});
                });
                return id;
            },
            py::arg("call"), py::arg("channel"),
            "Runs the call on the queue's thread; COMPLETED with the id given back tells of its "
            "end.")
        .def(
            "set_patience",
            [](const QueueHandle& self, std::optional<Millis> most) {
                std::optional<std::chrono::milliseconds> patience;
                if (most) patience = std::chrono::milliseconds{*most};
                self.get().set_patience(patience);
            },
            py::arg("most"),
            "For other connections' transactions; None: the busy time-out. Any thread.")
        .def("close", [](const QueueHandle& self) {
            command::StoreWorker& worker = self.get();
            without_gil([&] { worker.close(); });
        });
    bind_calls(queue);
    bind_mutex(module);

    command::survive_forks();
    module.def("make_owner", &command::make_owner);
    module.def("owner_may_live",
               [](const std::string& owner) { return command::owner_may_live(owner); });
    module.def("check_file_system",
               [](const std::string& path) { unwrap(command::check_file_system(path)); });
    module.def("check_one_name",
               [](const std::string& path) { unwrap(command::check_one_name(path)); });
    module.def("file_condemned", [](const std::string& path) {
        const auto verdict = command::Verdict::known_of(path);
        return verdict != nullptr && verdict->condemned();
    });
}

}  // namespace voicecore::bindings
