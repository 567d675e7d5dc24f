#include "voicecore/command/rows.hpp"

#include <array>
#include <cstdint>
#include <cstring>

namespace voicecore::command {
namespace {

struct Named {
    int column;
    const char* name;
};
constexpr std::array<Named, 5> kTexts{{{kCommand, "command"},
                                       {kKey, "key"},
                                       {kArgs, "args"},
                                       {kRequestedBy, "requested_by"},
                                       {kDedupKey, "dedup_key"}}};
constexpr std::array<Named, 3> kTimes{
    {{kCreated, "created_at"}, {kNotBefore, "not_before"}, {kExpires, "expires_at"}}};
constexpr std::int64_t kMostAttempts = std::int64_t{1} << 53;  // whoever writes more has no fence

// How many bytes the character at `at` has; 0: none of UTF-8 (RFC 3629, section 4).
std::size_t character(std::string_view text, std::size_t at) noexcept {
    const auto byte = [&](std::size_t i) -> unsigned {
        return at + i < text.size() ? static_cast<std::uint8_t>(text[at + i]) : 0U;
    };
    const auto tail = [&](std::size_t i) { return (byte(i) & 0xC0U) == 0x80U; };
    const unsigned first = byte(0);
    if (first < 0x80) return 1;
    if (first >= 0xC2 && first <= 0xDF) return tail(1) ? 2 : 0;
    if (first >= 0xE0 && first <= 0xEF) {
        const bool overlong = first == 0xE0 && byte(1) < 0xA0;
        const bool surrogate = first == 0xED && byte(1) > 0x9F;
        return tail(1) && tail(2) && !overlong && !surrogate ? 3 : 0;
    }
    if (first >= 0xF0 && first <= 0xF4) {
        const bool overlong = first == 0xF0 && byte(1) < 0x90;
        const bool beyond = first == 0xF4 && byte(1) > 0x8F;
        return tail(1) && tail(2) && tail(3) && !overlong && !beyond ? 4 : 0;
    }
    return 0;
}

bool is_utf8(std::string_view text) noexcept {
    for (std::size_t at = 0; at < text.size();) {
        // Eight characters of ASCII at a time, which most texts are made of.
        std::uint64_t eight = 0;
        if (text.size() - at >= sizeof eight) {
            std::memcpy(&eight, text.data() + at, sizeof eight);
            if ((eight & 0x8080808080808080U) == 0) {
                at += sizeof eight;
                continue;
            }
        }
        const std::size_t size = character(text, at);
        if (size == 0) return false;
        at += size;
    }
    return true;
}

}  // namespace

std::string fault_of(const Statement& row) {
    if (!row.is_null(kEntryId) && !row.is_integer(kEntryId)) {
        return "entry_id: got '" + row.text(kEntryId) + "', expected a whole number";
    }
    if (!row.is_integer(kAttempt) || row.integer(kAttempt) >= kMostAttempts) {
        return "attempt: got '" + row.text(kAttempt) + "', expected a count";
    }
    for (const Named& text : kTexts) {
        if (!is_utf8(row.view(text.column))) {
            return std::string{text.name} + ": got bytes that are not UTF-8, expected a text";
        }
    }
    return {};
}

std::string fault_of_times(const Statement& row) {
    for (const Named& time : kTimes) {
        if (!row.is_null(time.column) && !row.is_number(time.column)) {
            return std::string{time.name} + ": got '" + row.text(time.column) +
                   "', expected milliseconds since 1970 UTC";
        }
    }
    return {};
}

Command read_command(const Statement& row, bool history) {
    Command out;
    int at = 0;
    out.id = row.integer(at++);
    out.command = row.text(at++);
    out.entry_id = row.maybe_integer(at++);
    out.key = row.maybe_text(at++);
    out.args = row.text(at++);
    out.requested_by = row.maybe_text(at++);
    out.created_at = row.integer(at++);
    out.dedup_key = row.maybe_text(at++);
    out.priority = row.integer(at++);
    out.not_before = row.maybe_integer(at++);
    out.expires_at = row.maybe_integer(at++);
    out.overtakes = row.integer(at++) != 0;
    out.attempt = row.integer(at++);
    out.given_back = row.integer(at++);
    out.max_attempts = row.integer(at++);
    out.lease_until = row.maybe_integer(at++);
    out.owner = row.maybe_text(at++);
    out.claimed_at = row.maybe_integer(at++);
    out.result = row.maybe_text(at++);
    out.error = row.maybe_text(at++);
    out.state = row.text(at++);
    if (history) out.finished_at = row.maybe_integer(at);
    return out;
}

Result<std::vector<Command>> read_commands(Statement& statement, bool history) {
    std::vector<Command> out;
    for (auto row = statement.step();; row = statement.step()) {
        if (!row) return std::move(row).error();
        if (!row.value()) return out;
        out.push_back(read_command(statement, history));
    }
}

}  // namespace voicecore::command
