"""Who is next: by priority, by owner, by age, and the oldest of all at every fourth claim."""

from __future__ import annotations

import secrets
import tempfile
from collections import Counter
from dataclasses import dataclass
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.store.servers import Clock, Place, RedisServer
from tests.store.test_jobs import claimed, new

from wavescope.store.protocols import Store


def in_turn(store: Store, many: int) -> list[str | None]:
    return [claimed(store) for _ in range(many)]


def test_larger_priority_first_then_older_first(store: Store, clock: Clock) -> None:
    for job_id, priority in (("1", 0), ("2", 5), ("3", 5), ("4", 0)):
        store.submit(new(job_id, priority=priority))  # all at one time
    clock.pass_s(-60)  # a clock that was set back
    store.submit(new("5", priority=0))
    store.submit(new("6", priority=1))
    assert in_turn(store, 7) == ["2", "3", "6", "1", "4", "5", None]


def test_every_fourth_claim_takes_the_oldest_whatever_its_priority(store: Store) -> None:
    for job_id in ("low 1", "low 2"):
        store.submit(new(job_id, priority=-9))
    for number in range(8):
        store.submit(new(str(number), priority=9))
    assert in_turn(store, 8) == ["0", "1", "2", "low 1", "3", "4", "5", "low 2"]


def test_a_low_priority_does_not_starve_where_high_ones_never_end(store: Store) -> None:
    store.submit(new("low", priority=0))
    claims: list[str | None] = []
    for number in range(4):
        store.submit(new(str(number), priority=1))
        claims.append(claimed(store))
    assert claims == ["0", "1", "2", "low"]


def test_claims_that_find_nothing_do_not_count(store: Store) -> None:
    assert in_turn(store, 3) == [None] * 3
    store.submit(new("low", priority=0))
    store.submit(new("high", priority=1))
    assert claimed(store) == "high"


def test_claims_are_counted_in_the_store_and_not_by_whom(place: Place) -> None:
    stores = [place.open() for _ in range(4)]
    stores[0].submit(new("low", priority=0))
    for number in range(4):
        stores[0].submit(new(str(number), priority=1))
    assert [claimed(store) for store in stores] == ["0", "1", "2", "low"]
    for store in stores:
        store.close()


def test_the_owner_with_the_fewest_jobs_in_hand_is_next(store: Store) -> None:
    for number in range(6):
        store.submit(new(f"ann {number}", owner="ann"))
    for number in range(2):
        store.submit(new(f"bob {number}", owner="bob"))
    store.submit(new("eve", owner="eve"))
    # the fourth is the oldest of all
    assert in_turn(store, 5) == ["ann 0", "bob 0", "eve", "ann 1", "bob 1"]
    store.finish("ann 0", "w1", b"done")
    store.finish("ann 1", "w1", b"done")
    store.submit(new("bob 2", owner="bob"))
    store.submit(new("eve 2", owner="eve"))
    assert in_turn(store, 3) == [
        "ann 2",
        "ann 3",
        "ann 4",
    ]  # by none, by one of each and the oldest, as the eighth


def test_an_owner_comes_after_priority(store: Store) -> None:
    for job_id, owner, priority in (("1", "ann", 1), ("2", "ann", 1), ("3", "bob", 0)):
        store.submit(new(job_id, owner=owner, priority=priority))
    assert in_turn(store, 3) == ["1", "2", "3"]


def test_a_job_that_lapsed_is_not_in_hand(store: Store, clock: Clock) -> None:
    for job_id, owner in (("ann 0", "ann"), ("bob 0", "bob"), ("bob 1", "bob"), ("ann 1", "ann")):
        store.submit(new(job_id, owner=owner))
    assert claimed(store, lease_s=60.0) == "ann 0"
    assert claimed(store, lease_s=10.0) == "bob 0"
    store.cancel("ann 0")
    assert claimed(store, lease_s=10.0) == "ann 1"
    clock.pass_s(9)
    store.heartbeat("bob 0", "w1", 0.5, forwards=0, planned=0)
    assert claimed(store) == "bob 1"  # the oldest, as the fourth
    clock.pass_s(0.5)
    store.submit(new("ann 2", owner="ann"))
    store.submit(new("bob 2", owner="bob"))
    assert in_turn(store, 1) == ["bob 0"]  # each has one in hand: bob 1, ann 1
    assert in_turn(store, 1) == ["ann 2"]  # bob has two


def test_a_job_that_was_released_is_not_in_hand(store: Store) -> None:
    for job_id, owner in (("ann 0", "ann"), ("bob 0", "bob"), ("bob 1", "bob"), ("ann 1", "ann")):
        store.submit(new(job_id, owner=owner))
    assert in_turn(store, 2) == ["ann 0", "bob 0"]
    store.release("ann 0", "w1", after_s=60.0)
    assert claimed(store) == "ann 1"  # though bob 1 is older


# ---- against a slow one ----------------------------------------------------------------------------------------------
@dataclass
class Slow:
    """A job of a list that is looked through at each claim."""

    id: str
    owner: str
    priority: int
    is_leased: bool = False
    until: float = 0.0


def pick(jobs: list[Slow], turn: int, now: float) -> Slow | None:
    leased = Counter(job.owner for job in jobs if job.is_leased and job.until > now)
    ready = [job for job in jobs if job.until <= now]
    if not ready:
        return None
    if turn % 4 == 0:
        return ready[0]
    return min(ready, key=lambda job: (-job.priority, leased[job.owner]))  # the first of equals


MIGRATIONS = st.one_of(
    st.tuples(st.just("submit"), st.sampled_from("abc"), st.sampled_from([0, 0, 1])),
    st.tuples(st.just("claim"), st.sampled_from([5.0, 20.0])),
    st.tuples(st.just("claim"), st.sampled_from([5.0, 20.0])),
    st.tuples(st.just("heartbeat"), st.integers(0, 9)),
    st.tuples(st.just("release"), st.integers(0, 9), st.sampled_from([0.0, 3.0, 30.0])),
    st.tuples(st.just("finish"), st.integers(0, 9)),
    st.tuples(st.just("wait"), st.sampled_from([1.0, 6.0, 21.0])),
)


@settings(max_examples=200)
@given(steps=st.lists(MIGRATIONS, min_size=10, max_size=60))
def test_claims_are_those_of_a_list_that_is_looked_through(
    redis_server: RedisServer, steps: list[tuple[Any, ...]]
) -> None:
    prefix = f"test-{secrets.token_hex(4)}:"
    with tempfile.TemporaryDirectory() as directory:
        for place in (Place("sqlite", f"{directory}/one.db"), Place("redis", redis_server.url, prefix)):
            clock = Clock()
            store = place.open(clock)
            walk(store, clock, steps)
            store.close()


def walk(store: Store, clock: Clock, steps: list[tuple[Any, ...]]) -> None:
    """Does the same with a store and with a list."""
    jobs: list[Slow] = []
    held: list[tuple[Slow, str]] = []  # jobs and the worker of each, who is new at every claim
    turns = 0
    for number, (name, *arguments) in enumerate(steps):
        job, worker = held[arguments[0] % len(held)] if held and type(arguments[0]) is int else (None, "")
        if name == "submit":
            jobs.append(Slow(str(number), *arguments))
            store.submit(new(str(number), owner=arguments[0], priority=arguments[1]))
        elif name == "claim":
            best = pick(jobs, turns + 1, clock.now)
            assert claimed(store, str(number), arguments[0]) == (best and best.id)
            if best is not None:
                turns += 1
                best.is_leased, best.until = True, clock.now + arguments[0]
                held = [(other, by) for other, by in held if other is not best] + [(best, str(number))]
        elif name == "wait":
            clock.pass_s(arguments[0])
        elif job is not None and name == "heartbeat":
            assert store.heartbeat(job.id, worker, 10.0, forwards=0, planned=0)
            job.until = clock.now + 10.0
        elif job is not None:
            held.remove((job, worker))
            if name == "release":
                store.release(job.id, worker, after_s=arguments[1])
                job.is_leased, job.until = False, clock.now + arguments[1]
            else:
                assert store.finish(job.id, worker, b"done")
                jobs.remove(job)
    assert store.count_unfinished() == len(jobs)
