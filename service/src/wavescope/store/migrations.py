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
    # lease_until: end of the lease, or when the last one ended; 0 before any. folded: last entry of the checkpoint.
    """CREATE TABLE monitors (
        name TEXT PRIMARY KEY, owner TEXT NOT NULL, created_at REAL NOT NULL, token_digest TEXT NOT NULL,
        config BLOB NOT NULL, paused INTEGER NOT NULL DEFAULT 0, last_seq INTEGER NOT NULL DEFAULT 0,
        folded INTEGER NOT NULL DEFAULT 0, pending INTEGER NOT NULL DEFAULT 0,
        pending_bytes INTEGER NOT NULL DEFAULT 0, last_observation_at REAL, status BLOB, checkpoint BLOB,
        effects BLOB, worker TEXT, lease_until REAL NOT NULL DEFAULT 0) WITHOUT ROWID""",
    # result: NULL until an observation ends.
    """CREATE TABLE entries (monitor TEXT, seq INTEGER, at REAL NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL,
        content BLOB NOT NULL, result BLOB, PRIMARY KEY (monitor, seq)) WITHOUT ROWID""",
    "CREATE UNIQUE INDEX entries_by_key ON entries (monitor, key)",
    "CREATE INDEX entries_by_time ON entries (monitor, at)",
    "CREATE TABLE entry_payloads (monitor TEXT, seq INTEGER, payload BLOB NOT NULL, PRIMARY KEY (monitor, seq))",
    """CREATE TABLE monitor_events (monitor TEXT, outcome TEXT, count INTEGER NOT NULL,
        PRIMARY KEY (monitor, outcome)) WITHOUT ROWID""",
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
    connection.execute("UPDATE monitors SET lease_until = 0")
    connection.execute("UPDATE marks SET value = ? WHERE name = 'boot'", (boot,))
    connection.execute("COMMIT")
