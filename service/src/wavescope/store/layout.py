"""The tables of the SQLite store, and how a file comes to have them."""

from __future__ import annotations

import sqlite3

from wavescope.errors import InvalidRequest

_JOBS_AND_RESULTS = (
    # number: their age. lease_until: the job is not claimed before; 0 for one that nobody has and that need not wait.
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
    # Claims so far, and bytes of all payloads and of all outputs, so that nobody need read them to know.
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
    # With all that a claim looks at: it need not read the jobs themselves.
    """CREATE INDEX jobs_in_turn ON jobs (priority DESC, number, owner, state, lease_until, id)
        WHERE state IN ('queued', 'running')""",
    """CREATE VIEW unfinished AS SELECT id, number, owner, priority, state, lease_until FROM jobs
        WHERE state IN ('queued', 'running')""",
    "DROP INDEX jobs_finished",
    "CREATE INDEX jobs_finished ON jobs (finished_at, id) WHERE finished_at IS NOT NULL",
)

# What makes each layout of the one before it, from an empty file on.
STEPS = (_JOBS_AND_RESULTS, _FAIR_AND_BOUNDED)
LAYOUT = len(STEPS)


def lay_out(connection: sqlite3.Connection) -> None:
    """Makes the tables where they are missing or older; nobody else opens the file meanwhile.

    Raises:
        InvalidRequest: a newer version of the service wrote the file.
    """
    (layout,) = connection.execute("PRAGMA user_version").fetchone()
    if layout > LAYOUT:
        raise InvalidRequest(
            f"the store in state_dir has layout {layout}, of a newer version; this one knows {LAYOUT}",
            field="state_dir",
            supported=LAYOUT,
        )
    if layout == LAYOUT:
        return
    if layout == 0:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # before anything is in the file
        connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("BEGIN IMMEDIATE")
    for step in STEPS[layout:]:
        for statement in step:
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {LAYOUT}")
    connection.execute("COMMIT")
