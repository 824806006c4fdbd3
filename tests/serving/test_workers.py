"""Workers of jobs, on a real store, with computations made by hand."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests import polling
from tests.ingress.fakes import make_explanation
from tests.polling import DEADLINE_S

from wavescope.engine.requests import make_request
from wavescope.engine.types import ExplanationRequest
from wavescope.errors import (
    DeadlineExceeded,
    InvalidRequest,
    ModelUnavailable,
    QuotaExceeded,
    StoreUnavailable,
    UnknownJob,
    UnknownModel,
)
from wavescope.ingress.plane import ExplainRequest
from wavescope.serving.jobs import workers
from wavescope.serving.jobs.workers import Done, Tally, Workers, WorkerTimes
from wavescope.settings import Settings
from wavescope.store import open_store
from wavescope.store.codec import decode, encode
from wavescope.store.protocols import FINAL, Job, NewJob, Store

HURRIED = WorkerTimes(idle_s=0.01, heartbeat_s=0.01, retry_s=0.01)  # no pause is worth waiting for here
REQUEST = ExplainRequest("m", (b"image",), ((None,),), make_request(), batch=False, identities=("an-id",))


@pytest.fixture
def store(tmp_path: Path):
    opened = open_store("", state_dir=tmp_path, result_bytes=0)
    yield opened
    opened.close()


def submit(store: Store, name: str = "one") -> None:
    labels = {"kind": "wcam", "model": "m", "images": 1}
    store.submit(NewJob(id=name, owner="", payload=encode(REQUEST), content=name, labels=labels))


def run(
    store: Store,
    carry: Callable[[Job, ExplainRequest, Tally], Awaitable[tuple]],
    until: Callable[[], bool],
    *,
    ends: int = 1,
    times: WorkerTimes = HURRIED,
    **settings: object,
) -> list[str]:
    """The states of jobs that ended while workers ran, until the condition holds and so many were told."""
    ended: list[str] = []

    async def work() -> None:
        workers = Workers(store, Settings(job_workers=1, **settings), carry, ended=ended.append, times=times)
        workers.start_once()
        await polling.until(lambda: until() and len(ended) >= ends)
        await workers.stop()

    asyncio.run(work())
    return ended


def over(store: Store, name: str = "one") -> Callable[[], bool]:
    return lambda: store.get(name).state in FINAL


def test_a_job_ends_with_its_explanations_and_its_forwards(store: Store) -> None:
    explanation = make_explanation()

    async def carry(job: Job, request: ExplainRequest, tally: Tally) -> tuple:
        assert request == REQUEST
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
    async def carry(job: Job, request: ExplainRequest, tally: Tally) -> tuple:
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

    async def carry(job: Job, request: ExplainRequest, tally: Tally) -> tuple:
        turns.append(job.attempts)
        if len(turns) < 4:
            raise ModelUnavailable("no replica yet")
        return (make_explanation(),)

    submit(store)
    assert run(store, carry, over(store)) == ["succeeded"]
    assert turns == [1, 1, 1, 1]


def test_a_job_that_waits_for_its_quota_does_not_hold_up_others(store: Store) -> None:
    async def carry(job: Job, request: ExplainRequest, tally: Tally) -> tuple:
        if job.id == "one":
            raise QuotaExceeded("later", retry_after_s=3600)
        return (make_explanation(),)

    submit(store)
    submit(store, "two")
    assert run(store, carry, over(store, "two")) == ["succeeded"]
    assert (store.get("one").state, store.get("one").attempts) == ("queued", 0)


def test_jobs_that_ended_long_ago_are_forgotten(store: Store) -> None:
    async def carry(job: Job, request: ExplainRequest, tally: Tally) -> tuple:
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

    async def carry(job: Job, request: ExplainRequest, tally: Tally) -> tuple:
        turns.append(1)
        raise DeadlineExceeded("too late")

    submit(store)
    assert run(store, carry, over(store)) == ["failed"]
    assert (len(turns), store.get("one").error["code"]) == (1, "deadline_exceeded")


def test_a_job_of_a_model_that_only_another_service_has_goes_there(store: Store, tmp_path: Path) -> None:
    """Two services on one file: whichever claims it, it ends where its model is."""

    async def without_it(job: Job, request: ExplainRequest, tally: Tally) -> tuple:
        turns.append("without")
        raise UnknownModel("no model is called 'm'", field="model")

    async def with_it(job: Job, request: ExplainRequest, tally: Tally) -> tuple:
        turns.append("with")
        return (make_explanation(),)

    turns: list[str] = []
    submit(store)
    assert run(store, without_it, lambda: len(turns) >= 3, ends=0) == []
    assert store.get("one").state in ("queued", "running")
    other = open_store("", state_dir=tmp_path, result_bytes=0)
    assert run(other, with_it, over(store)) == ["succeeded"]
    assert store.get("one").attempts == 1
    other.close()


def test_a_worker_that_is_stopped_while_the_store_hands_a_job_over_gives_it_back(store: Store) -> None:
    asked, answered = threading.Event(), threading.Event()

    class Slow:
        """The store, whose answer to a claim comes after the worker was stopped."""

        def __getattr__(self, name: str):
            return getattr(store, name)

        def claim(self, worker: str, lease_s: float):
            claimed = store.claim(worker, lease_s)
            asked.set()
            assert answered.wait(DEADLINE_S)
            return claimed

    async def never(job: Job, work: ExplainRequest, tally: Tally) -> tuple:
        raise AssertionError("it was stopped before")

    async def work() -> None:
        workers = Workers(Slow(), Settings(job_workers=1), never, ended=lambda state: None, times=HURRIED)
        workers.start_once()
        assert await asyncio.to_thread(asked.wait, DEADLINE_S)
        stopping = asyncio.create_task(workers.stop())
        await asyncio.sleep(0)
        answered.set()
        await stopping

    submit(store)
    asyncio.run(work())
    assert (store.get("one").state, store.get("one").attempts) == ("queued", 0)


@pytest.mark.parametrize("turns", range(12))
def test_a_worker_that_is_stopped_while_it_hands_a_job_back_holds_no_lease(store: Store, turns: int) -> None:
    async def work() -> None:
        computed = asyncio.Event()

        async def carry(job: Job, request: ExplainRequest, tally: Tally) -> tuple:
            computed.set()
            raise ModelUnavailable("no replica yet")

        workers = Workers(store, Settings(job_workers=1), carry, ended=lambda state: None, times=HURRIED)
        workers.start_once()
        await computed.wait()
        for _ in range(turns):
            await asyncio.sleep(0)
        await workers.stop()

    submit(store)
    asyncio.run(work())
    assert (store.get("one").state, store.get("one").attempts) == ("queued", 0)


def test_a_job_of_a_model_that_nobody_has_fails_after_a_while(store: Store) -> None:
    async def carry(job: Job, request: ExplainRequest, tally: Tally) -> tuple:
        raise UnknownModel("no model is called 'm'", field="model")

    submit(store)
    assert run(store, carry, over(store), times=replace(HURRIED, elsewhere_s=0.0)) == ["failed"]
    assert store.get("one").error["code"] == "unknown_model"


def test_what_a_store_lacks_is_told_once_and_a_clock_set_forward_forgets_no_result(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Lacking:
        """The store, which says that it lacks something, and how old what it forgets is."""

        checks = 0
        before_s: list[float] = []  # noqa: RUF012

        def __getattr__(self, name: str):
            return getattr(store, name)

        def check(self) -> list[str]:
            self.checks += 1
            return ["it keeps nothing"]

        def purge(self, *, finished_before: float, max_bytes: int | None = None) -> int:
            self.before_s.append(finished_before)
            monkeypatch.setattr(workers.time, "time", lambda: now_s + 1e6)
            return 0

    async def carry(job: Job, request: ExplainRequest, tally: Tally) -> tuple:
        return ()

    now_s = time.time()
    lacking = Lacking()
    often = replace(HURRIED, purge_s=0.01)
    run(lacking, carry, lambda: lacking.checks >= 3, ends=0, times=often, job_retention_s=100.0)
    assert caplog.text.count("it keeps nothing") == 1
    assert max(lacking.before_s) < now_s


def test_a_defect_fails_its_job_without_details_and_the_worker_goes_on(store: Store) -> None:
    async def carry(job: Job, request: ExplainRequest, tally: Tally) -> tuple:
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

    async def carry(job: Job, request: ExplainRequest, tally: Tally) -> tuple:
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

    async def forever(job: Job, request: ExplainRequest, tally: Tally) -> tuple:
        begun.append(job.id)
        await asyncio.Event().wait()
        return ()

    async def carry(job: Job, request: ExplainRequest, tally: Tally) -> tuple:
        return (make_explanation(),)

    submit(store)
    run(store, forever, lambda: bool(begun), ends=0, job_lease_s=3600)
    assert store.get("one").state == "queued"
    assert run(store, carry, over(store)) == ["succeeded"]
    assert store.get("one").attempts == 1  # a process that leaves in order uses up none


def test_a_job_that_kills_its_workers_is_given_up(store: Store) -> None:
    async def carry(job: Job, request: ExplainRequest, tally: Tally) -> tuple:
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

    async def carry(job: Job, request: ExplainRequest, tally: Tally) -> tuple:
        return (make_explanation(),)

    submit(store)
    assert run(Silent(), carry, over(store)) == ["succeeded"]


@dataclass(frozen=True)
class EarlierRequest:
    """The fields of a job that an earlier version has stored."""

    model: str
    images: tuple[bytes, ...]
    names: tuple[str, ...]
    targets: tuple[tuple[int | str | None, ...], ...]
    identities: tuple[str, ...]
    request: ExplanationRequest
    batch: bool
    fresh: bool


def test_a_job_stored_by_an_earlier_version_is_read() -> None:
    request = ExplanationRequest(kind="compare")
    stored = EarlierRequest("m", (b"1", b"2"), ("image", "other"), ((3,),), ("id",), request, False, True)
    found = decode(encode(stored), ExplainRequest)
    assert found == ExplainRequest("m", (b"1", b"2"), ((3,),), request, False, ("id",), fresh=True)
    assert (found.image_names, found.other) == (stored.names, b"2")
