"""Whatever is done to the monitors of both stores, they answer as a slow model does."""

from __future__ import annotations

import secrets
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.store.monitor_model import ModelMonitors
from tests.store.servers import Clock, Place, RedisServer

from wavescope.errors import WavescopeError
from wavescope.store.monitors import MonitorRecord, Monitors, NewEntry
from wavescope.store.protocols import Store

NAMES = st.sampled_from(["birds", "birds", "birds", "a:b"])
WORKERS = st.sampled_from(["w1", "w2"])
LEASES = st.sampled_from([0.0, 5.0, 20.0])
SEQS = st.integers(0, 8)
LIMITS = st.none() | st.integers(0, 6)
BLOBS = st.binary(max_size=3)
ENTRIES = st.lists(
    st.builds(
        NewEntry,
        kind=st.sampled_from(["observation", "observation", "command"]),
        key=st.sampled_from([*"abcdefghij", "a key of words"]),
        content=BLOBS,
        payload=st.none() | BLOBS,
    ),
    max_size=4,
)
RECORDS = st.builds(
    MonitorRecord,
    name=NAMES,
    owner=st.sampled_from(["", "ann"]),
    created_at=st.just(0.0),
    token_digest=st.sampled_from(["", "digest"]),
    config=BLOBS,
)


def given_by(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(fields)


NONE = given_by()
# Name of the call, what it is given by place, what it is given by name.
CALLS = st.one_of(
    st.tuples(st.just("create_monitor"), st.tuples(RECORDS), given_by(max_monitors=st.integers(1, 2))),
    st.tuples(
        st.just("configure_monitor"),
        st.tuples(NAMES),
        given_by(
            config=st.none() | BLOBS,
            token_digest=st.sampled_from([None, "", "other"]),
            paused=st.sampled_from([None, False, False, True]),
        ),
    ),
    st.tuples(st.sampled_from(["get_monitor", "load_checkpoint"]), st.tuples(NAMES), NONE),
    st.tuples(st.sampled_from(["list_monitors"]), st.tuples(), NONE),
    st.tuples(
        st.just("append_entries"),
        st.tuples(NAMES, ENTRIES),
        given_by(max_pending=LIMITS, max_pending_bytes=LIMITS, thin_s=st.sampled_from([0.0, 0.0, 2.0, 10.0])),
    ),
    st.tuples(st.just("append_entries"), st.tuples(NAMES, ENTRIES), NONE),
    st.tuples(
        st.just("count_events"),
        st.tuples(NAMES, st.dictionaries(st.sampled_from(["invalid", "ignored", "busy"]), st.integers(0, 3))),
        NONE,
    ),
    st.tuples(
        st.just("read_entries"),
        st.tuples(NAMES),
        given_by(after=SEQS, limit=st.integers(-1, 9), payloads=st.booleans()),
    ),
    st.tuples(
        st.just("end_observation"), st.tuples(NAMES, SEQS, WORKERS, BLOBS), given_by(keep=st.booleans())
    ),
    st.tuples(st.just("get_payload"), st.tuples(NAMES, SEQS), NONE),
    st.tuples(st.just("drop_payloads"), st.tuples(NAMES, st.lists(SEQS, max_size=3)), NONE),
    st.tuples(st.just("purge_entries"), st.tuples(NAMES), given_by(before=SEQS)),
    st.tuples(
        st.just("claim_monitor"),
        st.tuples(WORKERS, LEASES),
        given_by(wake_after_s=st.sampled_from([0.0, 3.0, 1e9])),
    ),
    st.tuples(st.just("renew_monitor"), st.tuples(NAMES, WORKERS, LEASES), NONE),
    st.tuples(st.just("release_monitor"), st.tuples(NAMES, WORKERS), NONE),
    st.tuples(
        st.just("save_checkpoint"), st.tuples(NAMES, WORKERS), given_by(folded=SEQS, state=BLOBS, status=BLOBS)
    ),
    st.tuples(st.just("save_effects"), st.tuples(NAMES, WORKERS, BLOBS), NONE),
    st.tuples(st.just("read_results"), st.tuples(NAMES), given_by(ago_s=st.sampled_from([0.0, 1.5, 99.0]), limit=SEQS)),
    st.tuples(st.just("wait"), st.sampled_from([0.0, 1.5, 5.0, 12.25, -0.75]), NONE),
    st.tuples(st.sampled_from(["delete_monitor", "get_monitor", "get_monitor"]), st.tuples(NAMES), NONE),
)  # fmt: skip


def answer(
    monitors: Monitors, clock: Clock, name: str, places: tuple[Any, ...], names: dict[str, Any]
) -> Any:
    """What a store says to one call, errors included."""
    if name == "read_results":
        names = {"since": clock.now - names["ago_s"], "until": clock.now + 1.0, "limit": names["limit"]}
    try:
        return getattr(monitors, name)(*places, **names)
    except WavescopeError as error:
        return type(error), str(error), error.limits


def everything(monitors: Monitors) -> list[Any]:
    """What can be read of all monitors."""
    return [
        (
            record,
            monitors.load_checkpoint(record.name),
            monitors.read_entries(record.name, after=0, limit=1000, payloads=True),
            monitors.read_results(record.name, since=0.0, until=1e12, limit=1000),
        )
        for record in monitors.list_monitors()
    ]


@settings(max_examples=150)
@given(calls=st.lists(CALLS, max_size=60))
def test_both_stores_answer_as_the_model(redis_server: RedisServer, calls: list[tuple[Any, ...]]) -> None:
    clock = Clock()
    model = ModelMonitors(clock)
    with tempfile.TemporaryDirectory() as directory:
        prefix = f"test-{secrets.token_hex(4)}:"
        stores: list[Store] = [
            Place("sqlite", str(Path(directory) / "one.db")).open(clock),
            Place("redis", redis_server.url, prefix).open(clock),
        ]
        birds = MonitorRecord(name="birds", owner="", created_at=0.0, token_digest="", config=b"")
        started = [
            ("create_monitor", (birds,), {"max_monitors": 2}),
            ("claim_monitor", ("w1", 20.0), {"wake_after_s": 0.0}),
        ]
        for name, places, names in [*started, *calls]:
            if name == "wait":
                clock.pass_s(places)
                continue
            expected = answer(model, clock, name, places, names)
            for store in stores:
                assert answer(store, clock, name, places, names) == expected
        for store in stores:
            assert everything(store) == everything(model)
            store.close()
