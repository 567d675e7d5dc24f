// The statements of one claim and one ack, and nothing else: what SQLite itself takes. The limit
// that the core is held against; it runs the same texts, in the same order, with the same bindings,
// on a file that the core has made.
//
// bare_queue statements
//     the texts, one a line: the harness compares them with what the core runs
// bare_queue pairs PATH normal|full ROWS
//     claims and acknowledges ROWS waiting commands one by one
//
// Prints "rows N all_ns N".
#include <sqlite3.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const int64_t kTickNs = 2000000000;  // from checkpoint to checkpoint, as the core's program

#define COLUMNS                                                                         \
    "id, command, entry_id, key, args, requested_by, created_at, dedup_key, priority, " \
    "not_before, expires_at, overtakes, attempt, max_attempts, lease_until, owner, "    \
    "claimed_at, "

enum Text { kBegin, kClaims, kSurvey, kWalk, kTake, kCommit, kCheck, kMove, kRemove, kTexts };

static const char* const kSql[kTexts] = {
    [kBegin] = "BEGIN IMMEDIATE",
    [kClaims] = "SELECT id, key, attempt, max_attempts, lease_until, claimed_at FROM bot_commands"
                " WHERE state = 'claimed' AND overtakes = 0",
    [kSurvey] = "SELECT EXISTS (SELECT 1 FROM bot_commands WHERE key IS NULL),"
                " EXISTS (SELECT 1 FROM bot_commands WHERE"
                " command IN ('pause', 'resume', 'stop', 'seek', 'volume', 'next')),"
                " EXISTS (SELECT 1 FROM bot_commands WHERE priority <> 0)",
    [kWalk] = "SELECT " COLUMNS "result, error, state FROM bot_commands ORDER BY id LIMIT ?1",
    [kTake] = "UPDATE bot_commands SET state = 'claimed', attempt = attempt + 1, lease_until = ?2,"
              " owner = ?3, claimed_at = ?4,"
              " overtakes = CASE command WHEN 'stop' THEN overtakes ELSE 0 END WHERE id = ?1",
    [kCommit] = "COMMIT",
    [kCheck] = "SELECT state, attempt, lease_until FROM bot_commands WHERE id = ?1",
    [kMove] = "INSERT INTO bot_command_history(" COLUMNS "result, error, state, finished_at)"
              " SELECT " COLUMNS "?2, coalesce(?3, error), ?4, ?5 FROM bot_commands WHERE id = ?1",
    [kRemove] = "DELETE FROM bot_commands WHERE id = ?1",
};

static const enum Text kOrder[] = {kBegin, kClaims, kSurvey, kWalk, kTake, kCommit,
                                   kBegin, kCheck,  kMove,   kRemove, kCommit};

static sqlite3* connection;
static sqlite3_stmt* statements[kTexts];

static void fail(const char* doing) {
    fprintf(stderr, "bare_queue: %s: %s\n", doing,
            connection == NULL ? "" : sqlite3_errmsg(connection));
    exit(1);
}

static void run(const char* sql) {
    if (sqlite3_exec(connection, sql, NULL, NULL, NULL) != SQLITE_OK) fail(sql);
}

static int64_t now(clockid_t clock, int64_t unit) {
    struct timespec at;
    clock_gettime(clock, &at);
    return (at.tv_sec * (int64_t)1000000000 + at.tv_nsec) / unit;
}

static sqlite3_stmt* prepared(enum Text text) { return statements[text]; }

static int step(enum Text text) {
    const int code = sqlite3_step(prepared(text));
    if (code != SQLITE_ROW && code != SQLITE_DONE) fail(kSql[text]);
    return code == SQLITE_ROW;
}

static void reset(enum Text text) { sqlite3_reset(prepared(text)); }

static void change(enum Text text) {
    step(text);
    reset(text);
}

// The id, or 0 when nothing waits.
static int64_t claim(void) {
    const int64_t at = now(CLOCK_REALTIME, 1000000);
    change(kBegin);
    while (step(kClaims)) {
    }
    reset(kClaims);
    step(kSurvey);
    reset(kSurvey);
    sqlite3_bind_int64(prepared(kWalk), 1, 68);
    int64_t id = 0;
    if (step(kWalk)) {
        id = sqlite3_column_int64(prepared(kWalk), 0);
        // What a handler needs: verb, key and arguments.
        for (int column = 1; column <= 4; ++column) sqlite3_column_text(prepared(kWalk), column);
    }
    reset(kWalk);
    if (id != 0) {
        sqlite3_bind_int64(prepared(kTake), 1, id);
        sqlite3_bind_int64(prepared(kTake), 2, at + 30000);
        sqlite3_bind_text(prepared(kTake), 3, "core_queue", -1, SQLITE_STATIC);
        sqlite3_bind_int64(prepared(kTake), 4, at);
        change(kTake);
    }
    change(kCommit);
    return id;
}

static void ack(int64_t id) {
    change(kBegin);
    sqlite3_bind_int64(prepared(kCheck), 1, id);
    if (!step(kCheck)) fail("the claimed command is gone");
    reset(kCheck);
    sqlite3_bind_int64(prepared(kMove), 1, id);
    sqlite3_bind_text(prepared(kMove), 2, "done", -1, SQLITE_STATIC);
    sqlite3_bind_null(prepared(kMove), 3);
    sqlite3_bind_text(prepared(kMove), 4, "done", -1, SQLITE_STATIC);
    sqlite3_bind_int64(prepared(kMove), 5, now(CLOCK_REALTIME, 1000000));
    change(kMove);
    sqlite3_bind_int64(prepared(kRemove), 1, id);
    change(kRemove);
    change(kCommit);
}

static void pairs(const char* path, int full, int64_t rows) {
    if (sqlite3_open_v2(path, &connection, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) !=
        SQLITE_OK) {
        fail(path);
    }
    sqlite3_busy_timeout(connection, 5000);
    run("PRAGMA journal_mode = WAL");
    run("PRAGMA wal_autocheckpoint = 0");
    run(full ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL");
    for (int i = 0; i < kTexts; ++i) {
        if (sqlite3_prepare_v3(connection, kSql[i], -1, SQLITE_PREPARE_PERSISTENT, &statements[i],
                               NULL) != SQLITE_OK) {
            fail(kSql[i]);
        }
    }
    const int64_t began = now(CLOCK_MONOTONIC, 1);
    int64_t next = began + kTickNs;
    for (int64_t done = 1; done <= rows; ++done) {
        const int64_t id = claim();
        if (id == 0) fail("nothing to claim");
        ack(id);
        if (now(CLOCK_MONOTONIC, 1) >= next) {
            run("PRAGMA wal_checkpoint(PASSIVE)");
            next += kTickNs;
        }
    }
    run("PRAGMA wal_checkpoint(PASSIVE)");
    printf("rows %lld all_ns %lld\n", (long long)rows,
           (long long)(now(CLOCK_MONOTONIC, 1) - began));
    for (int i = 0; i < kTexts; ++i) sqlite3_finalize(statements[i]);
    sqlite3_close(connection);
}

int main(int count, char** words) {
    if (count == 2 && strcmp(words[1], "statements") == 0) {
        for (size_t i = 0; i < sizeof kOrder / sizeof kOrder[0]; ++i) puts(kSql[kOrder[i]]);
    } else if (count == 5 && strcmp(words[1], "pairs") == 0) {
        pairs(words[2], strcmp(words[3], "full") == 0, atoll(words[4]));
    } else {
        fail("see the head of bare_queue.c");
    }
    return 0;
}
