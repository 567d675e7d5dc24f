#include "voicecore/command/sqlite_copy.hpp"

#include <sqlite3.h>

namespace voicecore::command {
namespace {

void answer(sqlite3_context* context, int, sqlite3_value**) {
    sqlite3_result_int(context, 1);
}

int announce(sqlite3* database, char**, const sqlite3_api_routines*) {
    return sqlite3_create_function(database, "voicecore_copy", 0, SQLITE_UTF8, nullptr, &answer,
                                   nullptr, nullptr);
}

// sqlite3_auto_extension takes the entry point as void(*)(void) and calls it with its real type.
void (*entry_point())() {
    return reinterpret_cast<void (*)()>(&announce);
}

}  // namespace

std::string sqlite_version() {
    return sqlite3_libversion();
}

CopyProbe::CopyProbe() noexcept {
    sqlite3_auto_extension(entry_point());
}
CopyProbe::~CopyProbe() {
    sqlite3_cancel_auto_extension(entry_point());
}

}  // namespace voicecore::command
