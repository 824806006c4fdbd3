"""Whatever is done to both stores, they answer the same: each is the other's oracle."""

from __future__ import annotations

import secrets
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.store.servers import Clock, Place, RedisServer

from wavescope.errors import WavescopeError
from wavescope.store.protocols import NewJob, Store

IDS = st.sampled_from(["1", "2", "3", "4"])
WORKERS = st.sampled_from(["w1", "w2"])
LEASES = st.sampled_from([5.0, 20.0])
CALLS = st.sampled_from(["a", "b"])
OWNERS = st.sampled_from(["", "ann"])
CONTENTS = st.sampled_from(["x", "y"])
LIMITS = st.none() | st.integers(0, 5)
KEYS = st.sampled_from(["k1", "k2", "k3"])

NEW_JOBS = st.builds(
    NewJob,
    id=IDS,
    owner=OWNERS,
    payload=st.binary(max_size=4),
    content=CONTENTS,
    idempotency_key=st.none() | st.sampled_from(["", "k"]),
    priority=st.integers(-(2**40), 2**40) | st.integers(-1, 1),
)
MIGRATIONS = st.one_of(
    st.tuples(st.just("submit"), NEW_JOBS),
    st.tuples(st.just("submit within"), NEW_JOBS, LIMITS, LIMITS, LIMITS),
    st.tuples(st.just("find_by_key"), OWNERS, st.sampled_from(["", "k"]), CONTENTS),
    st.tuples(st.sampled_from(["get", "cancel", "result"]), IDS),
    st.tuples(st.just("count_unfinished"), st.sampled_from([None, "", "ann"])),
    st.tuples(st.just("claim"), WORKERS, LEASES),
    st.tuples(st.just("heartbeat"), IDS, WORKERS, LEASES, st.integers(0, 9), st.integers(0, 9)),
    st.tuples(st.just("finish"), IDS, WORKERS, st.sampled_from([b"", b"done", {"code": "internal"}])),
    st.tuples(st.just("release"), IDS, WORKERS, st.sampled_from([-1.0, 0.0, 5.0, 20.0])),
    st.tuples(st.just("save_chunk"), IDS, CALLS, st.integers(0, 3), st.binary(max_size=2)),
    st.tuples(st.just("load_chunks"), IDS, CALLS),
    st.tuples(st.just("get_cached"), KEYS),
    st.tuples(st.just("put_cached"), KEYS, st.binary(max_size=8)),
    st.tuples(st.just("purge"), st.sampled_from([0.0, 10.0]), LIMITS),
    st.tuples(st.just("wait"), st.sampled_from([0.0, 1.5, 5.0, 12.25])),
)


def answer(store: Store, clock: Clock, name: str, *arguments: Any) -> Any:
    """What a store says to one step, errors included."""
    try:
        if name == "heartbeat":
            *first, forwards, planned = arguments
            return store.heartbeat(*first, forwards=forwards, planned=planned)
        if name == "submit within":
            job, jobs, owned, size = arguments
            return store.submit(job, max_unfinished=jobs, max_owned=owned, max_bytes=size)
        if name == "release":
            return store.release(*arguments[:2], after_s=arguments[2])
        if name == "purge":
            return store.purge(finished_before=clock.now - arguments[0], max_bytes=arguments[1])
        return getattr(store, name)(*arguments)
    except (WavescopeError, ValueError) as error:
        return type(error), str(error), getattr(error, "limits", None)


@settings(max_examples=150)
@given(steps=st.lists(MIGRATIONS, max_size=40))
def test_both_stores_answer_the_same(redis_server: RedisServer, steps: list[tuple[Any, ...]]) -> None:
    clock = Clock()
    with tempfile.TemporaryDirectory() as directory:
        prefix = f"test-{secrets.token_hex(4)}:"
        sqlite = Place("sqlite", str(Path(directory) / "one.db")).open(clock, result_bytes=16)
        redis = Place("redis", redis_server.url, prefix).open(clock, result_bytes=16)
        for name, *arguments in steps:
            if name == "wait":
                clock.pass_s(arguments[0])
            else:
                assert answer(sqlite, clock, name, *arguments) == answer(redis, clock, name, *arguments)
        sqlite.close()
        redis.close()
