// Which SQLite this process uses, and whether Python uses the same copy.
#pragma once

#include <string>

namespace voicecore::command {

// "3.40.1"
[[nodiscard]] std::string sqlite_version();

// While one lives, every connection that *this* copy of SQLite opens knows the SQL function
// voicecore_copy(), which gives 1. A connection opened elsewhere in the process that does not know
// it belongs to another copy, and two copies on one file destroy each other's locks. One at a time.
class CopyProbe {
  public:
    CopyProbe() noexcept;
    CopyProbe(const CopyProbe&) = delete;
    CopyProbe& operator=(const CopyProbe&) = delete;
    ~CopyProbe();
};

}  // namespace voicecore::command
