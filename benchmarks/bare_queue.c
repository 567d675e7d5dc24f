// The statements of one claim and one ack, and nothing else: what SQLite itself takes. The limit
// that the core is held against: the same texts, as `core_queue statements` tells them, in the same
// order, with the same bindings, on a file that the core has made. A part of core_queue, so that
// both are measured in turns.
#include "bare_queue.h"

#include <sqlite3.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum Step {
    kBeginClaim,
    kClaims,
    kSurvey,
    kWalk,
    kTake,
    kCommitClaim,
    kBeginAck,
    kCheck,
    kMove,
    kRemove,
    kCommitAck,
    kSteps
};

// What is known of each: enough to notice that the core does something else by now.
static const struct {
    const char* begins;
    int parameters;
} kShape[kSteps] = {
    {"BEGIN IMMEDIATE", 0},
    {"SELECT ", 0},
    {"SELECT EXISTS", 0},
    {"SELECT id, command", 1},
    {"UPDATE bot_commands", 4},
    {"COMMIT", 0},
    {"BEGIN IMMEDIATE", 0},
    {"SELECT state, attempt", 1},
    {"INSERT OR REPLACE INTO bot_command_history", 5},
    {"DELETE FROM bot_commands", 1},
    {"COMMIT", 0},
};

static sqlite3* connection;
static char wal[4096];
static sqlite3_stmt* statements[kSteps];

static void fail(const char* doing) {
    fprintf(stderr, "bare_queue: %s: %s\n", doing,
            connection == NULL ? "" : sqlite3_errmsg(connection));
    exit(1);
}

static void run(const char* sql) {
    if (sqlite3_exec(connection, sql, NULL, NULL, NULL) != SQLITE_OK) fail(sql);
}

static int64_t wall_ms(void) {
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    return at.tv_sec * (int64_t)1000 + at.tv_nsec / 1000000;
}

static sqlite3_stmt* prepared(enum Step which) {
    return statements[which];
}

static int step(enum Step which) {
    const int code = sqlite3_step(prepared(which));
    if (code != SQLITE_ROW && code != SQLITE_DONE) fail(sqlite3_sql(prepared(which)));
    return code == SQLITE_ROW;
}

static void reset(enum Step which) {
    sqlite3_reset(prepared(which));
}

static void change(enum Step which) {
    step(which);
    reset(which);
}

static void prepare(const char* path) {
    FILE* file = fopen(path, "r");
    if (file == NULL) fail(path);
    static char line[8192];
    for (int i = 0; i < kSteps; ++i) {
        if (fgets(line, sizeof line, file) == NULL) fail("fewer statements than expected");
        if (strncmp(line, kShape[i].begins, strlen(kShape[i].begins)) != 0) fail(line);
        if (sqlite3_prepare_v3(connection, line, -1, SQLITE_PREPARE_PERSISTENT, &statements[i],
                               NULL) != SQLITE_OK ||
            sqlite3_bind_parameter_count(statements[i]) != kShape[i].parameters) {
            fail(line);
        }
    }
    if (fgets(line, sizeof line, file) != NULL) fail("more statements than expected");
    fclose(file);
}

// The id, or 0 when nothing waits.
static int64_t claim(void) {
    const int64_t at = wall_ms();
    change(kBeginClaim);
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
    change(kCommitClaim);
    return id;
}

static void ack(int64_t id) {
    change(kBeginAck);
    sqlite3_bind_int64(prepared(kCheck), 1, id);
    if (!step(kCheck)) fail("the claimed command is gone");
    reset(kCheck);
    sqlite3_bind_int64(prepared(kMove), 1, id);
    sqlite3_bind_text(prepared(kMove), 2, "done", -1, SQLITE_STATIC);
    sqlite3_bind_null(prepared(kMove), 3);
    sqlite3_bind_text(prepared(kMove), 4, "done", -1, SQLITE_STATIC);
    sqlite3_bind_int64(prepared(kMove), 5, wall_ms());
    change(kMove);
    sqlite3_bind_int64(prepared(kRemove), 1, id);
    change(kRemove);
    change(kCommitAck);
}

// As the core does it: a log that has grown large is cut, once most of it has been moved.
void bare_checkpoint(void) {
    struct stat facts;
    const int large = stat(wal, &facts) == 0 && facts.st_size > 16 << 20;
    run("PRAGMA wal_checkpoint(PASSIVE)");
    if (large) run("PRAGMA wal_checkpoint(TRUNCATE)");
}

void bare_open(const char* texts, const char* path, int full) {
    if (sqlite3_open_v2(path, &connection, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) !=
        SQLITE_OK) {
        fail(path);
    }
    snprintf(wal, sizeof wal, "%s-wal", path);
    sqlite3_busy_timeout(connection, 5000);
    run("PRAGMA journal_mode = WAL");
    run("PRAGMA wal_autocheckpoint = 0");
    run(full ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL");
    prepare(texts);
}

void bare_pair(void) {
    const int64_t id = claim();
    if (id == 0) fail("nothing to claim");
    ack(id);
}

void bare_close(void) {
    for (int i = 0; i < kSteps; ++i) sqlite3_finalize(statements[i]);
    sqlite3_close(connection);
}
