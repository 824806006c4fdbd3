"""Redis store: jobs, monitors and results in one server, version 5 or later, for services that run on many nodes.

Every change is one Lua script and so atomic; leases are timed by the server's clock alone. Jobs survive a restart of
Redis only with an append-only file, and Redis must not evict keys by itself (``maxmemory-policy noeviction``).
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable
from typing import Any, cast

import redis

from wavescope.errors import InvalidRequest, StoreUnavailable
from wavescope.store import errors, redis_scripts
from wavescope.store.protocols import OLDEST_EVERY, Job, NewJob, State, result_size
from wavescope.store.redis_monitor_scripts import MONITOR_SCRIPTS
from wavescope.store.redis_monitors import RedisMonitors

_PURGE_BATCH = 100  # jobs in one script, so that other calls get their turn

log = logging.getLogger(__name__)


class RedisStore(RedisMonitors):
    """Redis implementation of :class:`wavescope.store.protocols.Store`; it connects at its first call.

    Args:
        url: ``redis://[[user]:password@]host[:port][/db]`` or ``rediss://…`` for TLS; never shown in messages.
        result_bytes: largest size of all cached results with their keys, in bytes.
        prefix: prefix of all keys of the store, as the database may be shared.
        clock: reads the time in seconds since 1970, for tests; ``None`` for the server's clock.
        timeout_s: longest duration of a call, in seconds. After a broken connection the call is tried once more, as the
            server may have been restarted; a silent server is not asked again.
        results_timeout_s: the same for calls about cached results, which can be computed instead.

    Raises:
        InvalidRequest: the URL cannot be parsed.
    """

    def __init__(
        self,
        url: str,
        *,
        result_bytes: int,
        prefix: str = "wavescope:",
        clock: Callable[[], float] | None = None,
        timeout_s: float = 5.0,
        results_timeout_s: float = 0.5,
    ) -> None:
        self._result_bytes = result_bytes
        self._epoch: str | None = None
        super().__init__(
            url,
            _SCRIPTS | MONITOR_SCRIPTS,
            prefix=prefix,
            clock=clock,
            timeout_s=timeout_s,
            results_timeout_s=results_timeout_s,
        )

    def _compare_with_last(self, epoch: bytes) -> None:
        """Log an error if the server is not the one of the calls before, or has lost its data."""
        name = epoch.decode() or None
        if self._epoch is not None and name != self._epoch:
            log.error(
                "Redis was emptied, or another is in its place: jobs accepted before are not known any more"
            )
        self._epoch = name

    def check(self) -> list[str]:
        self._compare_with_last(self._run("check", uuid.uuid4().hex))
        try:
            with self._translate_errors():
                info = self._client.info()
        except StoreUnavailable as error:
            if isinstance(error.__cause__, redis.ResponseError):
                return ["Redis does not say whether it keeps what it is given: its user may not ask (INFO)"]
            raise
        policy, limited = str(info.get("maxmemory_policy", "")), bool(info.get("maxmemory", 0))
        if policy.startswith("allkeys-") and limited:
            raise InvalidRequest(
                f"Redis may evict jobs that were accepted: its maxmemory-policy is {policy}; set noeviction",
                field="store_url",
            )
        if not info.get("aof_enabled", 0):
            return [
                "Redis writes no append-only file: what it did not save is lost when it stops (appendonly yes)"
            ]
        return []

    # ---- jobs --------------------------------------------------------------------------------------------------------
    def submit(
        self,
        job: NewJob,
        *,
        max_unfinished: int | None = None,
        max_owned: int | None = None,
        max_bytes: int | None = None,
    ) -> tuple[Job, bool]:
        bounds = ("" if bound is None else bound for bound in (max_unfinished, max_bytes, max_owned))
        key = () if job.idempotency_key is None else (job.idempotency_key,)
        labels = json.dumps(job.labels)
        name = uuid.uuid4().hex
        outcome, found, *epochs = self._run(
            *("submit", *bounds, name),
            *(job.id, job.owner, job.content, job.priority, labels, job.payload, *key),
        )
        for epoch in epochs:
            self._compare_with_last(epoch)
        match outcome.decode(), max_unfinished, max_bytes, max_owned:
            case "conflict", _, _, _:
                raise errors.idempotency_conflict(job.id, job.idempotency_key)
            case "full", int(most), _, _:
                raise errors.queue_full(most)
            case "heavy", _, int(most), _:
                raise errors.payloads_too_large(len(job.payload), most)
            case "owned", _, _, int(most):
                raise errors.quota_exceeded(most)
            case state, _, _, _:
                return _job(found), state == "made"

    def find_by_key(self, owner: str, idempotency_key: str, content: str) -> Job | None:
        outcome, found = self._run("find", owner, content, idempotency_key)
        if outcome == b"conflict":
            raise errors.idempotency_conflict("", idempotency_key)
        return _job(found) if found else None

    def get(self, job_id: str) -> Job:
        with self._translate_errors():
            found = self._client.hgetall(f"{self._prefix}job:{job_id}")
        if not found:
            raise errors.unknown_job(job_id)
        return _job([part for pair in found.items() for part in pair])

    def cancel(self, job_id: str) -> Job:
        found = self._run("cancel", job_id)
        if not found:
            raise errors.unknown_job(job_id)
        return _job(found)

    def result(self, job_id: str) -> bytes:
        with self._translate_errors():
            output = self._client.get(f"{self._prefix}output:{job_id}")
        if output is None:
            raise errors.no_result(self.get(job_id))
        return output

    def count_unfinished(self, owner: str | None = None) -> int:
        of_owner = "" if owner is None else f":{owner}"
        with self._translate_errors():
            return self._client.scard(f"{self._prefix}unfinished{of_owner}")

    # ---- queue -------------------------------------------------------------------------------------------------------
    def claim(self, worker: str, lease_s: float) -> tuple[Job, bytes] | None:
        epoch, *found = self._run("claim", worker, lease_s, OLDEST_EVERY)
        self._compare_with_last(epoch)
        return (_job(found[0]), found[1]) if found else None

    def heartbeat(self, job_id: str, worker: str, lease_s: float, *, forwards: int, planned: int) -> bool:
        return self._run("heartbeat", job_id, worker, lease_s, forwards, planned) == 1

    def finish(self, job_id: str, worker: str, result: bytes | dict[str, Any]) -> bool:
        if isinstance(result, bytes):
            return self._run("finish", job_id, worker, "succeeded", result) == 1
        return self._run("finish", job_id, worker, "failed", json.dumps(result)) == 1

    def release(self, job_id: str, worker: str, *, after_s: float = 0.0) -> None:
        self._run("release", job_id, worker, after_s)

    # ---- scores of chunks --------------------------------------------------------------------------------------------
    def save_chunk(self, job_id: str, call: str, start: int, chunk: bytes) -> None:
        self._run("save_chunk", job_id, call, start, chunk)

    def load_chunks(self, job_id: str, call: str) -> list[tuple[int, bytes]]:
        length = len(job_id.encode())
        with self._translate_errors():
            chunks = self._client.hgetall(f"{self._prefix}chunks:{length}:{job_id}:{call}")
        return sorted((int(start), chunk) for start, chunk in chunks.items())

    # ---- cached results ----------------------------------------------------------------------------------------------
    def get_cached(self, key: str) -> bytes | None:
        return self._run("get_cached", key, quick=True)

    def put_cached(self, key: str, result: bytes) -> None:
        size = result_size(key, result)
        # A result that is too large need not be sent.
        sent = result if size <= self._result_bytes else b""
        self._run("put_cached", key, self._result_bytes, size, sent, quick=True)

    # ---- jobs and cached results -------------------------------------------------------------------------------------
    def purge(self, *, finished_before: float, max_bytes: int | None = None) -> int:
        most = "" if max_bytes is None else max_bytes
        purged = 0
        while True:
            found = self._run("purge", repr(float(finished_before)), most, _PURGE_BATCH)
            purged += found
            if found < _PURGE_BATCH:
                return purged


_SCRIPTS = {
    "check": redis_scripts.CHECK,
    "submit": redis_scripts.SUBMIT,
    "find": redis_scripts.FIND,
    "cancel": redis_scripts.CANCEL,
    "claim": redis_scripts.CLAIM,
    "heartbeat": redis_scripts.HEARTBEAT,
    "finish": redis_scripts.FINISH,
    "release": redis_scripts.RELEASE,
    "save_chunk": redis_scripts.SAVE_CHUNK,
    "get_cached": redis_scripts.GET_CACHED,
    "put_cached": redis_scripts.PUT_CACHED,
    "purge": redis_scripts.PURGE,
}


def _job(found: list[bytes]) -> Job:
    """Make a job from the names and values of its hash."""
    texts = [part.decode() for part in found]
    values = dict(zip(texts[::2], texts[1::2], strict=True))

    def time(name: str) -> float | None:
        return float(values[name]) if name in values else None

    return Job(
        id=values["id"],
        owner=values["owner"],
        state=cast("State", values["state"]),
        created_at=float(values["created_at"]),
        started_at=time("started_at"),
        finished_at=time("finished_at"),
        forwards=int(values.get("forwards", 0)),
        planned=int(values.get("planned", 0)),
        attempts=int(values.get("attempts", 0)),
        error=json.loads(values["error"]) if "error" in values else None,
        labels=json.loads(values["labels"]),
    )
