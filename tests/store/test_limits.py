"""What a submission is refused for, also where many come at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.store.servers import Place
from tests.store.test_jobs import new

from wavescope.errors import IdempotencyConflict, QueueFull, QuotaExceeded, WavescopeError
from wavescope.store.protocols import Store

THREADS = 8
EACH = 10


def test_no_more_jobs_than_may_be_unfinished(store: Store) -> None:
    for job_id in ("1", "2"):
        store.submit(new(job_id), max_unfinished=2)
    store.claim("w1", 15.0)
    with pytest.raises(QueueFull, match="2 jobs have not ended") as caught:
        store.submit(new("3", owner="bob"), max_unfinished=2)
    assert caught.value.limits == {"max_jobs": 2, "retry_after_s": 10}
    store.finish("1", "w1", b"done")
    assert store.submit(new("3", owner="bob"), max_unfinished=2)[1]


def test_no_more_jobs_of_an_owner_than_its_quota(store: Store) -> None:
    store.submit(new("1"), max_owned=1)
    with pytest.raises(QuotaExceeded, match="1 jobs of this key") as caught:
        store.submit(new("2"), max_owned=1)
    assert caught.value.limits == {"max_jobs": 1, "retry_after_s": 10}
    assert store.submit(new("2", owner="bob"), max_owned=1)[1]
    store.cancel("1")
    assert store.submit(new("3"), max_owned=1)[1]


def test_no_more_bytes_than_may_be_unfinished(store: Store) -> None:
    store.submit(new("1", payload=bytes(60)), max_bytes=100)
    with pytest.raises(QueueFull, match=r"41 bytes.* more than 100") as caught:
        store.submit(new("2", payload=bytes(41)), max_bytes=100)
    assert caught.value.limits == {"max_bytes": 100, "retry_after_s": 10}
    assert store.submit(new("2", payload=bytes(40)), max_bytes=100)[1]
    with pytest.raises(QueueFull):
        store.submit(new("3", payload=b"1"), max_bytes=100)
    assert store.submit(new("3", payload=b""), max_bytes=100)[1]
    assert store.claim("w1", 15.0) is not None
    store.finish("1", "w1", bytes(1000))  # results count elsewhere
    store.cancel("2")
    assert store.submit(new("4", payload=bytes(100)), max_bytes=100)[1]


def test_a_refused_job_is_not_known(store: Store) -> None:
    with pytest.raises(QueueFull):
        store.submit(new("1", idempotency_key="k"), max_unfinished=0)
    assert store.find_by_key("ann", "k", "a digest") is None
    assert store.submit(new("1", idempotency_key="k", content="another digest"))[1]


def test_a_known_job_is_told_whatever_the_limits(store: Store) -> None:
    first, _ = store.submit(new("1", idempotency_key="k"))
    none = {"max_unfinished": 0, "max_owned": 0, "max_bytes": 0}
    assert store.submit(new("2", idempotency_key="k"), **none) == (first, False)
    assert store.submit(new("1"), **none) == (first, False)
    with pytest.raises(IdempotencyConflict, match="'k'"):
        store.submit(new("2", idempotency_key="k", content="another digest"), **none)
    with pytest.raises(QueueFull):
        store.submit(new("2", idempotency_key="another"), **none)


def test_a_job_is_found_by_its_owners_key(store: Store) -> None:
    first, _ = store.submit(new("1", idempotency_key="k"))
    assert store.find_by_key("ann", "k", "a digest") == first
    assert store.find_by_key("bob", "k", "a digest") is None
    assert store.find_by_key("ann", "another", "a digest") is None
    assert store.find_by_key("ann", "1", "a digest") is None  # an id is no key
    with pytest.raises(IdempotencyConflict, match="'k'"):
        store.find_by_key("ann", "k", "another digest")


@pytest.mark.parametrize("limit", ["max_unfinished", "max_owned", "max_bytes"])
@pytest.mark.parametrize("shared", [True, False], ids=["one store", "stores of their own"])
def test_threads_that_submit_at_once_get_in_up_to_the_limit(place: Place, limit: str, shared: bool) -> None:
    """Jobs of one byte each, some of which end meanwhile: there are never more than 7, and 7 in the end."""
    most = 7
    store = place.open()

    def submit(thread: int) -> int:
        opened = store if shared else place.open()
        ended = 0
        for number in range(EACH):
            job_id = f"{thread}-{number}"
            try:
                made = opened.submit(new(job_id, payload=b"1"), **{limit: most})[1]
            except WavescopeError as refused:
                assert isinstance(refused, QueueFull | QuotaExceeded)  # noqa: PT017
            else:
                assert made
                assert opened.count_unfinished() <= most
                if number < 3:
                    opened.cancel(job_id)
                    ended += 1
        if not shared:
            opened.close()
        return ended

    with ThreadPoolExecutor(THREADS) as pool:
        ended = sum(pool.map(submit, range(THREADS)))
    assert ended > 0
    assert store.count_unfinished() == store.count_unfinished("ann") == most
    store.close()
