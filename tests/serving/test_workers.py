"""Workers of jobs, on a real store, with computations made by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.ingress.fakes import make_explanation

from wavescope.engine.requests import make_request
from wavescope.errors import (
    DeadlineExceeded,
    InvalidRequest,
    ModelUnavailable,
    QuotaExceeded,
    StoreUnavailable,
    UnknownJob,
)
from wavescope.serving import jobs
from wavescope.serving.jobs import Done, Tally, Work, Workers
from wavescope.settings import Settings
from wavescope.store import open_store
from wavescope.store.codec import decode, encode
from wavescope.store.protocols import FINAL, Job, NewJob, Store

WAIT_S = 20.0
WORK = Work("m", (b"image",), ("image",), ((None,),), ("an-id",), make_request(), batch=False, fresh=False)


@pytest.fixture
def store(tmp_path: Path):
    opened = open_store("", state_dir=tmp_path, result_bytes=0)
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pause is worth waiting for here."""
    for name in ("IDLE_S", "BEAT_S", "RETRY_S"):
        monkeypatch.setattr(jobs, name, 0.01)


def submit(store: Store, name: str = "one") -> None:
    labels = {"kind": "wcam", "model": "m", "images": 1}
    store.submit(NewJob(id=name, owner="", payload=encode(WORK), content=name, labels=labels))


def run(
    store: Store,
    carry: Callable[[Job, Work, Tally], Awaitable[tuple]],
    until: Callable[[], bool],
    *,
    ends: int = 1,
    **settings: object,
) -> list[str]:
    """The states of jobs that ended while workers ran, until the condition holds and so many were told."""
    ended: list[str] = []

    async def work() -> None:
        workers = Workers(store, Settings(job_workers=1, **settings), carry, ended=ended.append)
        workers.start_once()
        async with asyncio.timeout(WAIT_S):
            while not until() or len(ended) < ends:
                await asyncio.sleep(0.01)
        await workers.stop()

    asyncio.run(work())
    return ended


def over(store: Store, name: str = "one") -> Callable[[], bool]:
    return lambda: store.get(name).state in FINAL


def test_a_job_ends_with_its_explanations_and_its_forwards(store: Store) -> None:
    explanation = make_explanation()

    async def carry(job: Job, work: Work, tally: Tally) -> tuple:
        assert work == WORK
        tally.planned(88)
        tally.scored(80)
        tally.scored(8)
        return (explanation,)

    submit(store)
    assert run(store, carry, over(store)) == ["succeeded"]
    job = store.get("one")
    assert (job.state, job.forwards, job.planned, job.attempts) == ("succeeded", 88, 88, 1)
    done = decode(store.result("one"), Done)
    assert (done.batch, done.explanations[0].forwards) == (False, explanation.forwards)


def test_what_is_wrong_with_a_request_fails_its_job_in_the_same_words(store: Store) -> None:
    async def carry(job: Job, work: Work, tally: Tally) -> tuple:
        raise InvalidRequest("levels must be at most 5, not 9", field="levels", maximum=5)

    submit(store)
    assert run(store, carry, over(store)) == ["failed"]
    assert store.get("one").error == {
        "code": "invalid_request",
        "message": "levels must be at most 5, not 9",
        "field": "levels",
        "limits": {"maximum": 5},
    }


def test_what_was_not_there_is_tried_again_without_a_new_attempt(store: Store) -> None:
    turns: list[int] = []

    async def carry(job: Job, work: Work, tally: Tally) -> tuple:
        turns.append(job.attempts)
        if len(turns) < 4:
            raise ModelUnavailable("no replica yet")
        return (make_explanation(),)

    submit(store)
    assert run(store, carry, over(store)) == ["succeeded"]
    assert turns == [1, 1, 1, 1]


def test_a_job_that_waits_for_its_quota_does_not_hold_up_others(store: Store) -> None:
    async def carry(job: Job, work: Work, tally: Tally) -> tuple:
        if job.id == "one":
            raise QuotaExceeded("later", retry_after_s=3600)
        return (make_explanation(),)

    submit(store)
    submit(store, "two")
    assert run(store, carry, over(store, "two")) == ["succeeded"]
    assert (store.get("one").state, store.get("one").attempts) == ("queued", 0)


def test_jobs_that_ended_long_ago_are_forgotten(store: Store) -> None:
    async def carry(job: Job, work: Work, tally: Tally) -> tuple:
        return (make_explanation(),)

    submit(store)
    run(store, carry, over(store))

    def forgotten() -> bool:
        try:
            store.get("one")
        except UnknownJob:
            return True
        return False

    assert run(store, carry, forgotten, ends=0, job_retention_s=1e-6) == []


def test_a_deadline_is_not_met_by_trying_again(store: Store) -> None:
    turns: list[int] = []

    async def carry(job: Job, work: Work, tally: Tally) -> tuple:
        turns.append(1)
        raise DeadlineExceeded("too late")

    submit(store)
    assert run(store, carry, over(store)) == ["failed"]
    assert (len(turns), store.get("one").error["code"]) == (1, "deadline_exceeded")


def test_a_defect_fails_its_job_without_details_and_the_worker_goes_on(store: Store) -> None:
    async def carry(job: Job, work: Work, tally: Tally) -> tuple:
        if job.id == "one":
            raise ZeroDivisionError("a secret path")
        return (make_explanation(),)

    submit(store)
    submit(store, "two")
    assert run(store, carry, over(store, "two"), ends=2) == ["failed", "succeeded"]
    assert store.get("one").error["code"] == "internal"
    assert "secret" not in str(store.get("one").error)


def test_a_cancelled_job_is_let_go(store: Store) -> None:
    begun, let_go = asyncio.Event(), []

    async def carry(job: Job, work: Work, tally: Tally) -> tuple:
        if job.id == "two":
            return (make_explanation(),)
        begun.set()
        store.cancel("one")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            let_go.append(job.id)
            raise
        return ()

    submit(store)
    submit(store, "two")
    run(store, carry, over(store, "two"))
    assert (store.get("one").state, let_go) == ("cancelled", ["one"])


def test_a_leaving_process_gives_its_job_back_at_once(store: Store) -> None:
    begun: list[str] = []

    async def forever(job: Job, work: Work, tally: Tally) -> tuple:
        begun.append(job.id)
        await asyncio.Event().wait()
        return ()

    async def carry(job: Job, work: Work, tally: Tally) -> tuple:
        return (make_explanation(),)

    submit(store)
    run(store, forever, lambda: bool(begun), ends=0, job_lease_s=3600)
    assert store.get("one").state == "queued"
    assert run(store, carry, over(store)) == ["succeeded"]
    assert store.get("one").attempts == 1  # a process that leaves in order uses up none


def test_a_job_that_kills_its_workers_is_given_up(store: Store) -> None:
    async def carry(job: Job, work: Work, tally: Tally) -> tuple:
        raise AssertionError("it was not to be begun again")

    submit(store)
    for attempt in range(3):
        store.claim(f"worker {attempt}", 0.0)
    run(store, carry, over(store), job_attempts=3)
    assert store.get("one").error["message"] == "gave up after 3 attempts"


def test_a_finished_job_is_told_once_the_store_answers_again(store: Store) -> None:
    class Silent:
        """The store, but for three answers to ``finish``."""

        silences = 3

        def __getattr__(self, name: str):
            return getattr(store, name)

        def finish(self, *args):
            if self.silences:
                self.silences -= 1
                raise StoreUnavailable("not now")
            return store.finish(*args)

    async def carry(job: Job, work: Work, tally: Tally) -> tuple:
        return (make_explanation(),)

    submit(store)
    assert run(Silent(), carry, over(store)) == ["succeeded"]
