"""Schema of the SQLite store and the migrations of older files to it."""

from __future__ import annotations

import sqlite3

from wavescope.errors import InvalidRequest

_JOBS_AND_RESULTS = (
    # number: order of submission. lease_until: earliest time of the next claim; 0 for a job that is free at once.
    """CREATE TABLE jobs (
        number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, owner TEXT NOT NULL,
        content TEXT NOT NULL, idempotency_key TEXT, priority INTEGER NOT NULL, labels TEXT NOT NULL,
        state TEXT NOT NULL, worker TEXT, lease_until REAL NOT NULL DEFAULT 0, created_at REAL NOT NULL,
        started_at REAL, finished_at REAL, forwards INTEGER NOT NULL DEFAULT 0,
        planned INTEGER NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0, error TEXT)""",
    "CREATE UNIQUE INDEX jobs_by_key ON jobs (owner, idempotency_key) WHERE idempotency_key IS NOT NULL",
    "CREATE INDEX jobs_in_turn ON jobs (priority DESC, number) WHERE state IN ('queued', 'running')",
    "CREATE INDEX jobs_finished ON jobs (finished_at) WHERE finished_at IS NOT NULL",
    "CREATE TABLE payloads (job TEXT PRIMARY KEY, payload BLOB NOT NULL)",
    "CREATE TABLE outputs (job TEXT PRIMARY KEY, output BLOB NOT NULL)",
    """CREATE TABLE chunks (job TEXT, call TEXT, start INTEGER, chunk BLOB NOT NULL,
        PRIMARY KEY (job, call, start)) WITHOUT ROWID""",
    "CREATE TABLE results (key TEXT PRIMARY KEY, used INTEGER NOT NULL, size INTEGER NOT NULL, result BLOB NOT NULL)",
    "CREATE INDEX results_in_turn ON results (used, size)",
)

_FAIR_AND_BOUNDED = (
    # Number of claims, and bytes of all payloads and of all outputs, so that they need not be summed up.
    "CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
    "INSERT INTO counters VALUES ('claims', 0)",
    "INSERT INTO counters SELECT 'payloads', COALESCE(SUM(LENGTH(payload)), 0) FROM payloads",
    "INSERT INTO counters SELECT 'outputs', COALESCE(SUM(LENGTH(output)), 0) FROM outputs",
    """CREATE TRIGGER payload_came AFTER INSERT ON payloads BEGIN
        UPDATE counters SET value = value + LENGTH(NEW.payload) WHERE name = 'payloads'; END""",
    """CREATE TRIGGER payload_went AFTER DELETE ON payloads BEGIN
        UPDATE counters SET value = value - LENGTH(OLD.payload) WHERE name = 'payloads'; END""",
    """CREATE TRIGGER output_came AFTER INSERT ON outputs BEGIN
        UPDATE counters SET value = value + LENGTH(NEW.output) WHERE name = 'outputs'; END""",
    """CREATE TRIGGER output_went AFTER DELETE ON outputs BEGIN
        UPDATE counters SET value = value - LENGTH(OLD.output) WHERE name = 'outputs'; END""",
    "DROP INDEX jobs_in_turn",
    # A covering index for claims, which then do not read the table.
    """CREATE INDEX jobs_in_turn ON jobs (priority DESC, number, owner, state, lease_until, id)
        WHERE state IN ('queued', 'running')""",
    """CREATE VIEW unfinished AS SELECT id, number, owner, priority, state, lease_until FROM jobs
        WHERE state IN ('queued', 'running')""",
    "DROP INDEX jobs_finished",
    "CREATE INDEX jobs_finished ON jobs (finished_at, id) WHERE finished_at IS NOT NULL",
)

_RECOGNISED = (
    # epoch: id of this store and its copies. boot: boot id of the machine whose monotonic clock times the leases.
    "CREATE TABLE marks (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "INSERT INTO marks VALUES ('epoch', lower(hex(randomblob(16)))), ('boot', '')",
)

_MONITORS = (
    # last_at: time of the last entry. lease_until: end of the last lease; long ago where there was none.
    """CREATE TABLE monitors (
        name TEXT PRIMARY KEY, owner TEXT NOT NULL, created_at REAL NOT NULL, token_digest TEXT NOT NULL,
        config BLOB NOT NULL, paused INTEGER NOT NULL DEFAULT 0, last_seq INTEGER NOT NULL DEFAULT 0,
        last_at REAL NOT NULL, folded INTEGER NOT NULL DEFAULT 0, pending INTEGER NOT NULL DEFAULT 0,
        pending_bytes INTEGER NOT NULL DEFAULT 0, last_observation_at REAL, worker TEXT,
        lease_until REAL NOT NULL DEFAULT -1e18, status BLOB)""",
    """CREATE TABLE monitor_events (monitor TEXT, outcome TEXT, number INTEGER NOT NULL,
        PRIMARY KEY (monitor, outcome)) WITHOUT ROWID""",
    # size: of the payload of an observation, in bytes, also where that is deleted.
    """CREATE TABLE monitor_entries (monitor TEXT NOT NULL, seq INTEGER NOT NULL, at REAL NOT NULL,
        kind TEXT NOT NULL, key TEXT NOT NULL, content BLOB NOT NULL, size INTEGER NOT NULL, result BLOB,
        PRIMARY KEY (monitor, seq), UNIQUE (monitor, key))""",
    "CREATE INDEX monitor_results ON monitor_entries (monitor, at, seq) WHERE result IS NOT NULL",
    """CREATE TABLE monitor_payloads (monitor TEXT NOT NULL, seq INTEGER NOT NULL, payload BLOB NOT NULL,
        PRIMARY KEY (monitor, seq))""",
    "CREATE TABLE monitor_states (monitor TEXT PRIMARY KEY, state BLOB, effects BLOB)",
)

# Tables of monitors, each with its column of the monitor's name.
MONITOR_TABLES = (
    ("monitors", "name"),
    ("monitor_events", "monitor"),
    ("monitor_entries", "monitor"),
    ("monitor_payloads", "monitor"),
    ("monitor_states", "monitor"),
)

# Statements that make each version of the schema from the one before, from an empty file on.
MIGRATIONS = (_JOBS_AND_RESULTS, _FAIR_AND_BOUNDED, _RECOGNISED, _MONITORS)
SCHEMA_VERSION = len(MIGRATIONS)


def migrate(connection: sqlite3.Connection) -> None:
    """Migrate a file to the current schema, from an empty file or an older version; nobody else opens it meanwhile.

    Raises:
        InvalidRequest: a newer version of the service wrote the file.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        raise InvalidRequest(
            f"the store in state_dir has layout {version}, of a newer version; this one knows {SCHEMA_VERSION}",
            field="state_dir",
            supported=SCHEMA_VERSION,
        )
    if version == 0:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # before anything is in the file
    connection.execute("PRAGMA journal_mode = WAL")
    if version == SCHEMA_VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    for statements in MIGRATIONS[version:]:
        for statement in statements:
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")


def expire_leases_of_another_boot(connection: sqlite3.Connection, boot: str) -> None:
    """Expire the leases from before this machine was booted: no worker is left, and the clock of leases began anew."""
    if connection.execute("SELECT 1 FROM marks WHERE name = 'boot' AND value = ?", (boot,)).fetchone():
        return
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE jobs SET lease_until = 0 WHERE state IN ('queued', 'running')")
    connection.execute("UPDATE monitors SET lease_until = -1e18")
    connection.execute("UPDATE marks SET value = ? WHERE name = 'boot'", (boot,))
    connection.execute("COMMIT")
