"""Jobs and results in one Redis server, version 5 or later, for services that run on many nodes.

Every change is one Lua script, so that no one sees half of it, and leases are told by the server's clock alone. What
Redis keeps when it stops is Redis' own matter: jobs outlast its restart only with an append-only file. It must not
evict keys by itself (``maxmemory-policy noeviction``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import redis
from redis.backoff import ExponentialBackoff
from redis.connection import parse_url
from redis.retry import Retry

from wavescope.errors import InvalidRequest, StoreUnavailable
from wavescope.store import answers, scripts
from wavescope.store.protocols import Job, NewJob, State

_CONNECT_S = 2.0
_PURGED_AT_ONCE = 100  # so that others get their turn
_ALIVE_AFTER_S = 30  # a connection that was idle for longer is tried before it is used


class RedisStore:
    """A :class:`wavescope.store.protocols.Store` in Redis; nothing connects before the first call.

    Args:
        url: ``redis://[[user]:password@]host[:port][/db]`` or ``rediss://…`` for TLS; never told in messages.
        result_bytes: bound of the results of earlier requests.
        prefix: of all its keys, which share the database with others'.
        clock: seconds since 1970, for tests; ``None`` asks the server.
        timeout_s: for an answer. A call is tried twice, as a connection may be that of a server since restarted.

    Raises:
        InvalidRequest: the URL cannot be read.
    """

    def __init__(
        self,
        url: str,
        *,
        result_bytes: int,
        prefix: str = "wavescope:",
        clock: Callable[[], float] | None = None,
        timeout_s: float = 5.0,
    ) -> None:
        self._result_bytes = result_bytes
        self._prefix = prefix
        self._clock = clock
        options: dict[str, Any] = {
            "socket_timeout": timeout_s,
            "socket_connect_timeout": min(_CONNECT_S, timeout_s),
            "retry": Retry(ExponentialBackoff(base=0.02, cap=0.1), 1),
            "health_check_interval": _ALIVE_AFTER_S,
        }
        self._pool = _pool(options | _parse(url))
        # The answers' types depend on whether the client is asynchronous, which the library does not tell.
        self._client: Any = redis.Redis(connection_pool=self._pool)
        self._scripts = {name: self._client.register_script(text) for name, text in _SCRIPTS.items()}

    # ---- connection --------------------------------------------------------------------------------------------------
    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except redis.RedisError as error:
            # Its message may name hosts, which are no caller's business; it is chained for the log.
            raise StoreUnavailable(
                f"the store of jobs and results does not answer: {type(error).__name__}"
            ) from error

    def _run(self, name: str, *arguments: Any) -> Any:
        time = "" if self._clock is None else repr(self._clock())
        with self._answering():
            return self._scripts[name](args=[self._prefix, time, *arguments])

    def close(self) -> None:
        self._pool.disconnect()

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
        said, found = self._run(
            "submit", *bounds, job.id, job.owner, job.content, job.priority, labels, job.payload, *key
        )
        match said.decode(), max_unfinished, max_bytes, max_owned:
            case "conflict", _, _, _:
                raise answers.conflict(job.id, job.idempotency_key)
            case "full", int(most), _, _:
                raise answers.full(most)
            case "heavy", _, int(most), _:
                raise answers.too_heavy(len(job.payload), most)
            case "owned", _, _, int(most):
                raise answers.over_quota(most)
            case answer, _, _, _:
                return _job(found), answer == "made"

    def find(self, owner: str, idempotency_key: str, content: str) -> Job | None:
        said, found = self._run("find", owner, content, idempotency_key)
        if said == b"conflict":
            raise answers.conflict("", idempotency_key)
        return _job(found) if found else None

    def get(self, job_id: str) -> Job:
        with self._answering():
            found = self._client.hgetall(f"{self._prefix}job:{job_id}")
        if not found:
            raise answers.unknown(job_id)
        return _job([part for pair in found.items() for part in pair])

    def cancel(self, job_id: str) -> Job:
        found = self._run("cancel", job_id)
        if not found:
            raise answers.unknown(job_id)
        return _job(found)

    def result(self, job_id: str) -> bytes:
        with self._answering():
            output = self._client.get(f"{self._prefix}output:{job_id}")
        if output is None:
            raise answers.without_result(self.get(job_id))
        return output

    def unfinished(self, owner: str | None = None) -> int:
        of_owner = "" if owner is None else f":{owner}"
        with self._answering():
            return self._client.scard(f"{self._prefix}unfinished{of_owner}")

    # ---- queue -------------------------------------------------------------------------------------------------------
    def claim(self, worker: str, lease_s: float) -> tuple[Job, bytes] | None:
        found = self._run("claim", worker, lease_s, answers.OLDEST_EVERY)
        return None if found is None else (_job(found[0]), found[1])

    def beat(self, job_id: str, worker: str, lease_s: float, *, forwards: int, planned: int) -> bool:
        return self._run("beat", job_id, worker, lease_s, forwards, planned) == 1

    def finish(self, job_id: str, worker: str, result: bytes | dict[str, Any]) -> bool:
        if isinstance(result, bytes):
            return self._run("finish", job_id, worker, "succeeded", result) == 1
        return self._run("finish", job_id, worker, "failed", json.dumps(result)) == 1

    def release(self, job_id: str, worker: str, *, after_s: float = 0.0) -> None:
        self._run("release", job_id, worker, after_s)

    # ---- ledger ------------------------------------------------------------------------------------------------------
    def keep(self, job_id: str, call: str, start: int, chunk: bytes) -> None:
        self._run("keep", job_id, call, start, chunk)

    def kept(self, job_id: str, call: str) -> list[tuple[int, bytes]]:
        length = len(job_id.encode())
        with self._answering():
            chunks = self._client.hgetall(f"{self._prefix}chunks:{length}:{job_id}:{call}")
        return sorted((int(start), chunk) for start, chunk in chunks.items())

    # ---- results -----------------------------------------------------------------------------------------------------
    def recall(self, key: str) -> bytes | None:
        return self._run("recall", key)

    def remember(self, key: str, result: bytes) -> None:
        size = answers.size(key, result)
        # What is too large need not travel.
        self._run("remember", key, self._result_bytes, size, result if size <= self._result_bytes else b"")

    # ---- both --------------------------------------------------------------------------------------------------------
    def purge(self, *, finished_before: float, max_bytes: int | None = None) -> int:
        most = "" if max_bytes is None else max_bytes
        purged = 0
        while True:
            found = self._run("purge", repr(float(finished_before)), most, _PURGED_AT_ONCE)
            purged += found
            if found < _PURGED_AT_ONCE:
                return purged


_SCRIPTS = {
    "submit": scripts.SUBMIT,
    "find": scripts.FIND,
    "cancel": scripts.CANCEL,
    "claim": scripts.CLAIM,
    "beat": scripts.BEAT,
    "finish": scripts.FINISH,
    "release": scripts.RELEASE,
    "keep": scripts.KEEP,
    "recall": scripts.RECALL,
    "remember": scripts.REMEMBER,
    "purge": scripts.PURGE,
}


def _parse(url: str) -> dict[str, Any]:
    """What a connection is made with."""
    try:
        options: dict[str, Any] = dict(parse_url(url))
    except ValueError:
        # Not chained: a part of the password may be in the message.
        raise InvalidRequest("store_url is no URL of a Redis server", field="store_url") from None
    user, password = options.pop("username", None), options.pop("password", None)
    if password is not None:
        # The library tells a pool's options where it is printed, but not what this holds.
        options["credential_provider"] = redis.UsernamePasswordCredentialProvider(user, password)
    return options


def _pool(options: dict[str, Any]) -> redis.ConnectionPool:
    pool = redis.ConnectionPool(**options)
    try:
        pool.connection_class(**pool.connection_kwargs)  # not connected: only to see that it can be made
    except TypeError as error:
        raise InvalidRequest(
            "store_url has an option that a connection to Redis does not know", field="store_url"
        ) from error
    return pool


def _job(found: list[bytes]) -> Job:
    """A job from the names and values of its hash."""
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
