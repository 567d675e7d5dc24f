"""The tables of a queue file. Times are milliseconds since 1970 UTC.

The native core makes the same ones (a test compares them), and takes a file for complete when
`voicecore_schema` says version 1; so all of them are made here, the schedule's too.
"""

from __future__ import annotations

APPLICATION_ID = 0x56434F52  # "VCOR"
VERSION = 1

# Each has a default that SQLite 3.35 accepts: an INSERT typed by hand is a complete command.
_COLUMNS = """
    command TEXT NOT NULL,
    entry_id INTEGER,
    key TEXT,
    args TEXT NOT NULL DEFAULT '{}',
    requested_by TEXT,
    created_at INTEGER NOT NULL
        DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)),
    dedup_key TEXT,
    priority INTEGER NOT NULL DEFAULT 0,
    not_before INTEGER,
    expires_at INTEGER,
    overtakes INTEGER NOT NULL DEFAULT 0,
    attempt INTEGER NOT NULL DEFAULT 0,
    given_back INTEGER NOT NULL DEFAULT 0,
    max_attempts INTEGER NOT NULL DEFAULT 1,
    lease_until INTEGER,
    owner TEXT,
    claimed_at INTEGER,
    result TEXT,
    error TEXT,
"""

CREATE = (
    f"CREATE TABLE bot_commands (id INTEGER PRIMARY KEY AUTOINCREMENT,{_COLUMNS}"
    " state TEXT NOT NULL DEFAULT 'ready')",
    f"CREATE TABLE bot_command_history (id INTEGER PRIMARY KEY,{_COLUMNS}"
    " state TEXT NOT NULL, finished_at INTEGER NOT NULL)",
    # This one makes a second claim of a key impossible, whoever tries.
    "CREATE UNIQUE INDEX bot_commands_one_claim ON bot_commands(key)"
    " WHERE state = 'claimed' AND overtakes = 0",
    "CREATE INDEX bot_commands_line ON bot_commands(key, id) WHERE not_before IS NULL",
    "CREATE INDEX bot_commands_bare ON bot_commands(id) WHERE key IS NULL",
    "CREATE UNIQUE INDEX bot_commands_dedup ON bot_commands(dedup_key) WHERE dedup_key IS NOT NULL",
    "CREATE INDEX bot_commands_steering ON bot_commands(id)"
    " WHERE command IN ('pause', 'resume', 'stop', 'seek', 'volume', 'next')",
    "CREATE INDEX bot_commands_urgent ON bot_commands(priority) WHERE priority <> 0",
    "CREATE INDEX bot_commands_delayed ON bot_commands(not_before, key)"
    " WHERE not_before IS NOT NULL",
    "CREATE INDEX bot_commands_delayed_line ON bot_commands(key, not_before)"
    " WHERE not_before IS NOT NULL",
    "CREATE INDEX bot_commands_queued ON bot_commands(key, id)"
    " WHERE given_back > 0 AND command = 'play'",
    "CREATE INDEX bot_command_history_finished ON bot_command_history(finished_at)",
    # `attempt` only grows: it fences off whoever held the key before.
    "CREATE TABLE bot_sessions (key TEXT PRIMARY KEY, attempt INTEGER NOT NULL, entry_id INTEGER,"
    " command_id INTEGER, owner TEXT, lease_until INTEGER, started_at INTEGER, ended_at INTEGER,"
    " outcome TEXT, state TEXT, position INTEGER)",
    "CREATE TABLE bot_workers (owner TEXT PRIMARY KEY, pid INTEGER NOT NULL, role TEXT NOT NULL,"
    " bell TEXT, sqlite_version TEXT NOT NULL, started_at INTEGER NOT NULL,"
    " seen_at INTEGER NOT NULL)",
    "CREATE TABLE schedule_entries (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL,"
    " key TEXT, rule TEXT NOT NULL, zone TEXT NOT NULL, remind_minutes INTEGER NOT NULL DEFAULT 0,"
    " voice_channel_id INTEGER, text_channel_id INTEGER, files TEXT NOT NULL DEFAULT '[]',"
    " enabled INTEGER NOT NULL DEFAULT 1, policy TEXT NOT NULL DEFAULT '{}',"
    " generation INTEGER NOT NULL DEFAULT 1, created_at INTEGER, updated_at INTEGER)",
    "CREATE TABLE schedule_occurrences (entry_id INTEGER NOT NULL, slot TEXT NOT NULL,"
    " due_at INTEGER NOT NULL, state TEXT NOT NULL, reminded_at INTEGER, fired_at INTEGER,"
    " owner TEXT, PRIMARY KEY (entry_id, slot)) WITHOUT ROWID",
    "CREATE TABLE voicecore_schema (version INTEGER NOT NULL)",
    f"INSERT INTO voicecore_schema(version) VALUES ({VERSION})",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {VERSION}",
)
