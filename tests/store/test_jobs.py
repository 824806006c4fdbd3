"""What both stores do with jobs: told once, given to one worker at a time, ended once."""

from __future__ import annotations

from typing import Any

import pytest
from tests.store.servers import Clock, Place

from wavescope.errors import IdempotencyConflict, JobCancelled, JobUnfinished, UnknownJob
from wavescope.store.protocols import Job, NewJob, Store

PAYLOAD = b"\x00an image\xff"
PROBLEM = {
    "code": "constant_score",
    "message": "the score does not vary: ½",
    "field": None,
    "limits": {"n": 2},
}


def new(job_id: str, **fields: Any) -> NewJob:
    return NewJob(**{"id": job_id, "owner": "ann", "payload": PAYLOAD, "content": "a digest"} | fields)


def claimed(store: Store, worker: str = "w1", lease_s: float = 15.0) -> str | None:
    """The id of the job that a worker gets."""
    found = store.claim(worker, lease_s)
    return None if found is None else found[0].id


def test_a_submitted_job_is_told_as_it_was_given(store: Store, clock: Clock) -> None:
    labels = {"kind": "wcam", "images": 2, "name": "Zoë \ud800", "nested": [1.5, None, True]}
    job, made = store.submit(new("1", labels=labels))
    assert made
    assert job == Job(id="1", owner="ann", state="queued", created_at=clock.now, labels=labels)
    assert store.get("1") == job


def test_ids_and_owners_may_hold_any_character(store: Store) -> None:
    for job_id, owner in (("a:b", ""), ("ü 1", "x:y"), ("*", "*")):
        store.submit(new(job_id, owner=owner))
        assert store.get(job_id).owner == owner
        assert store.count_unfinished(owner) == 1
    assert store.count_unfinished() == 3


def test_an_unknown_job_is_named(store: Store) -> None:
    for call in (store.get, store.cancel, store.result):
        with pytest.raises(UnknownJob, match="'nowhere'"):
            call("nowhere")
    assert not store.heartbeat("nowhere", "w1", 15.0, forwards=0, planned=0)
    assert not store.finish("nowhere", "w1", b"")
    store.release("nowhere", "w1")
    store.save_chunk("nowhere", "call", 0, b"scores")
    assert store.load_chunks("nowhere", "call") == []


# ---- idempotency keys ------------------------------------------------------------------------------------------------
def test_the_same_key_and_content_is_the_same_job(store: Store, clock: Clock) -> None:
    first, _ = store.submit(new("1", idempotency_key="k"))
    clock.pass_s(60)
    again, made = store.submit(new("2", idempotency_key="k"))
    assert (again, made) == (first, False)
    with pytest.raises(UnknownJob):
        store.get("2")
    assert claimed(store) == "1"
    assert claimed(store) is None


def test_the_same_key_with_other_content_is_a_conflict(store: Store) -> None:
    store.submit(new("1", idempotency_key="k"))
    with pytest.raises(IdempotencyConflict, match="'k'"):
        store.submit(new("2", idempotency_key="k", content="another digest"))
    assert store.count_unfinished() == 1


def test_the_same_key_of_another_owner_is_another_job(store: Store) -> None:
    store.submit(new("1", idempotency_key="k"))
    assert store.submit(new("2", owner="bob", content="another digest", idempotency_key="k"))[1]


def test_jobs_without_a_key_are_independent(store: Store) -> None:
    assert store.submit(new("1"))[1]
    assert store.submit(new("2"))[1]


def test_a_submission_whose_answer_was_lost_may_be_repeated(store: Store) -> None:
    first, _ = store.submit(new("1"))
    assert store.submit(new("1")) == (first, False)
    with pytest.raises(IdempotencyConflict, match="the id '1'"):
        store.submit(new("1", content="another digest"))


def test_a_key_is_remembered_after_the_job_ended_and_until_it_is_purged(store: Store, clock: Clock) -> None:
    store.submit(new("1", idempotency_key="k"))
    store.cancel("1")
    assert store.submit(new("2", idempotency_key="k"))[0].id == "1"
    store.purge(finished_before=clock.now + 1)
    assert store.submit(new("3", idempotency_key="k", content="another digest"))[1]


# ---- claims ----------------------------------------------------------------------------------------------------------
def test_a_claimed_job_comes_with_its_payload(store: Store, clock: Clock) -> None:
    store.submit(new("1"))
    clock.pass_s(2)
    found = store.claim("w1", 15.0)
    assert found is not None
    job, payload = found
    assert payload == PAYLOAD
    assert (job.state, job.started_at, job.attempts) == ("running", clock.now, 1)
    assert store.get("1") == job


def test_a_lapsed_lease_is_claimed_by_another_and_the_first_one_is_told(store: Store, clock: Clock) -> None:
    store.submit(new("1"))
    assert claimed(store, "w1") == "1"
    began = clock.now
    clock.pass_s(14.9)
    assert claimed(store, "w2") is None
    clock.pass_s(0.1)
    found = store.claim("w2", 15.0)
    assert found is not None
    assert found[1] == PAYLOAD
    assert (found[0].attempts, found[0].started_at) == (2, began)
    assert not store.heartbeat("1", "w1", 15.0, forwards=9, planned=9)
    assert not store.finish("1", "w1", b"late")
    store.release("1", "w1")
    assert store.get("1").state == "running"
    assert store.finish("1", "w2", b"right")
    assert store.result("1") == b"right"


def test_a_beat_renews_the_lease_and_tells_the_progress(store: Store, clock: Clock) -> None:
    store.submit(new("1"))
    claimed(store)
    for forwards in (10, 20):
        clock.pass_s(14)
        assert store.heartbeat("1", "w1", 15.0, forwards=forwards, planned=88)
        assert claimed(store, "w2") is None
    assert (store.get("1").forwards, store.get("1").planned) == (20, 88)


def test_progress_never_goes_back(store: Store) -> None:
    store.submit(new("1"))
    claimed(store)
    told = []
    for forwards, planned in ((20, 88), (0, 0), (10, 90), (21, 0), (21, 80)):
        assert store.heartbeat("1", "w1", 15.0, forwards=forwards, planned=planned)
        told.append((store.get("1").forwards, store.get("1").planned))
    assert told == [(20, 88), (20, 88), (20, 90), (21, 90), (21, 80)]


def test_a_lapsed_lease_that_nobody_took_is_still_the_workers(store: Store, clock: Clock) -> None:
    for job_id in ("1", "2", "3"):
        store.submit(new(job_id))
        claimed(store, job_id)
    clock.pass_s(60)
    assert claimed(store, "w4") == "1"  # which looks at all that lapsed
    assert store.get("2").state == "running"
    assert store.heartbeat("2", "2", 15.0, forwards=1, planned=2)
    assert store.finish("3", "3", b"done")
    assert claimed(store, "w5") is None
    clock.pass_s(15)
    assert {claimed(store, "w6"), claimed(store, "w6")} == {"1", "2"}


def test_lapsed_jobs_keep_their_place_in_the_queue(store: Store, clock: Clock) -> None:
    for job_id, priority in (("1", 0), ("2", 1), ("3", 0)):
        store.submit(new(job_id, priority=priority))
    assert [claimed(store), claimed(store)] == ["2", "1"]
    clock.pass_s(60)
    store.submit(new("4", priority=2))
    assert [claimed(store), claimed(store)] == ["4", "1"]  # the fourth claim takes the oldest
    assert [claimed(store) for _ in range(3)] == ["2", "3", None]


def test_a_released_job_is_claimed_at_once_in_its_old_place(store: Store) -> None:
    for job_id in ("1", "2"):
        store.submit(new(job_id))
    claimed(store)
    store.release("1", "w2")
    assert store.get("1").state == "running"
    store.release("1", "w1")
    assert store.get("1").state == "queued"
    assert not store.heartbeat("1", "w1", 15.0, forwards=0, planned=0)
    assert not store.finish("1", "w1", b"late")
    found = store.claim("w2", 15.0)
    assert found is not None
    assert (found[0].id, found[0].attempts) == ("1", 1)


def test_a_release_takes_its_attempt_back(store: Store, clock: Clock) -> None:
    store.submit(new("1"))
    for _ in range(5):
        claimed(store)
        store.release("1", "w1")
    assert store.get("1").attempts == 0
    claimed(store)
    clock.pass_s(15)  # who dies uses an attempt up
    found = store.claim("w2", 15.0)
    assert found is not None
    assert found[0].attempts == 2


def test_a_job_released_for_later_is_not_claimed_before_and_keeps_its_place(
    store: Store, clock: Clock
) -> None:
    for job_id in ("1", "2", "3"):
        store.submit(new(job_id))
    claimed(store)
    store.release("1", "w1", after_s=30.0)
    assert (store.get("1").state, store.count_unfinished()) == ("queued", 3)
    assert claimed(store) == "2"
    clock.pass_s(29.5)
    store.release("2", "w1", after_s=60.0)
    assert claimed(store) == "3"
    assert claimed(store) is None
    clock.pass_s(0.5)
    assert claimed(store) == "1"
    assert claimed(store, "w2") is None


def test_a_job_released_for_later_after_its_lease_lapsed_waits_too(store: Store, clock: Clock) -> None:
    for job_id in ("1", "2"):
        store.submit(new(job_id))
        claimed(store, job_id)
    clock.pass_s(60)
    assert claimed(store, "w3") == "1"  # which looks at all that lapsed
    store.release("2", "2", after_s=1.0)
    assert claimed(store, "w3") is None
    clock.pass_s(1)
    assert claimed(store, "w3") == "2"


def test_a_job_that_waits_for_later_is_cancelled(store: Store, clock: Clock) -> None:
    store.submit(new("1"))
    claimed(store)
    store.release("1", "w1", after_s=5.0)
    assert store.cancel("1").state == "cancelled"
    clock.pass_s(60)
    assert claimed(store) is None


# ---- ends ------------------------------------------------------------------------------------------------------------
def test_a_result_is_there_once_a_worker_finished(store: Store, clock: Clock) -> None:
    store.submit(new("1"))
    with pytest.raises(JobUnfinished, match="'1' is queued"):
        store.result("1")
    claimed(store)
    with pytest.raises(JobUnfinished, match="'1' is running"):
        store.result("1")
    clock.pass_s(3)
    assert store.finish("1", "w1", b"\x00done")
    job = store.get("1")
    assert (job.state, job.finished_at, job.error) == ("succeeded", clock.now, None)
    assert store.result("1") == b"\x00done"


def test_a_finish_whose_answer_was_lost_may_be_repeated(store: Store) -> None:
    store.submit(new("1"))
    claimed(store)
    assert store.finish("1", "w1", b"first")
    assert store.finish("1", "w1", b"second")
    assert store.result("1") == b"first"
    assert not store.finish("1", "w2", b"third")
    assert not store.heartbeat("1", "w1", 15.0, forwards=1, planned=1)


def test_a_failed_job_has_its_problem_and_no_result(store: Store) -> None:
    store.submit(new("1"))
    claimed(store)
    assert store.finish("1", "w1", PROBLEM)
    assert (store.get("1").state, store.get("1").error) == ("failed", PROBLEM)
    with pytest.raises(ValueError, match="'1' failed"):
        store.result("1")


def test_a_queued_job_is_cancelled(store: Store, clock: Clock) -> None:
    store.submit(new("1"))
    clock.pass_s(1)
    job = store.cancel("1")
    assert (job.state, job.finished_at) == ("cancelled", clock.now)
    assert claimed(store) is None
    with pytest.raises(JobCancelled, match="'1'"):
        store.result("1")


def test_the_worker_of_a_cancelled_job_is_told(store: Store, clock: Clock) -> None:
    store.submit(new("1"))
    claimed(store)
    assert store.cancel("1").state == "cancelled"
    assert not store.heartbeat("1", "w1", 15.0, forwards=1, planned=1)
    assert not store.finish("1", "w1", b"late")
    store.release("1", "w1")
    clock.pass_s(60)
    assert claimed(store) is None
    assert store.get("1").state == "cancelled"


def test_a_finished_job_is_not_cancelled(store: Store, clock: Clock) -> None:
    for job_id, result in (("1", b"done"), ("2", PROBLEM)):
        store.submit(new(job_id))
        claimed(store)
        store.finish(job_id, "w1", result)
        before = store.get(job_id)
        clock.pass_s(1)
        assert store.cancel(job_id) == before
    assert store.result("1") == b"done"


def test_a_cancelled_job_is_cancelled_once(store: Store, clock: Clock) -> None:
    store.submit(new("1"))
    first = store.cancel("1")
    clock.pass_s(1)
    assert store.cancel("1") == first


def test_unfinished_jobs_are_counted_per_owner(store: Store) -> None:
    for job_id, owner in (("1", "ann"), ("2", "ann"), ("3", "bob"), ("4", "")):
        store.submit(new(job_id, owner=owner))
    claimed(store)
    assert [store.count_unfinished(who) for who in ("ann", "bob", "", "eve", None)] == [2, 1, 1, 0, 4]
    store.finish("1", "w1", b"done")
    store.cancel("3")
    assert [store.count_unfinished(who) for who in ("ann", "bob", "", "eve", None)] == [1, 0, 1, 0, 2]


# ---- purge -----------------------------------------------------------------------------------------------------------
def test_a_purge_forgets_what_finished_earlier_only(store: Store, clock: Clock) -> None:
    for job_id in ("old", "new", "running", "queued"):
        store.submit(new(job_id))
    for job_id in ("old", "new"):
        claimed(store)
        store.finish(job_id, "w1", b"done")
        clock.pass_s(10)
    assert claimed(store) == "running"
    finished = store.get("new").finished_at
    assert store.purge(finished_before=finished) == 1
    with pytest.raises(UnknownJob):
        store.get("old")
    with pytest.raises(UnknownJob):
        store.result("old")
    assert store.result("new") == b"done"
    assert store.count_unfinished() == 2
    assert store.purge(finished_before=finished) == 0


def test_a_purge_forgets_any_number_of_jobs(store: Store, clock: Clock) -> None:
    for number in range(250):
        store.submit(new(str(number), idempotency_key=str(number)))
        store.cancel(str(number))
    assert store.purge(finished_before=clock.now + 1) == 250


def test_a_purge_forgets_the_oldest_while_results_are_more_than_a_bound(store: Store, clock: Clock) -> None:
    for job_id, size in (("1", 40), ("2", 30), ("3", 20), ("4", 10)):
        store.submit(new(job_id))
        claimed(store)
        store.finish(job_id, "w1", bytes(size))
        clock.pass_s(1)
    store.submit(new("5"))
    store.cancel("5")
    began = Clock().now
    assert store.purge(finished_before=began) == 0
    assert store.purge(finished_before=began, max_bytes=100) == 0
    assert store.purge(finished_before=began, max_bytes=99) == 1
    assert store.purge(finished_before=began, max_bytes=29) == 2
    for job_id in ("1", "2", "3"):
        with pytest.raises(UnknownJob):
            store.result(job_id)
    assert len(store.result("4")) == 10
    assert store.get("5").state == "cancelled"
    assert store.purge(finished_before=clock.now + 1, max_bytes=0) == 2
    assert store.purge(finished_before=clock.now + 1, max_bytes=0) == 0


def test_a_purge_by_bytes_forgets_any_number_of_jobs(store: Store) -> None:
    for number in range(120):
        store.submit(new(str(number)))
        claimed(store)
        store.finish(str(number), "w1", bytes(10))
    assert store.purge(finished_before=0, max_bytes=99) == 111


# ---- ledger ----------------------------------------------------------------------------------------------------------
def test_scores_are_kept_per_job_and_call_in_order(store: Store) -> None:
    for job_id in ("1", "2"):
        store.submit(new(job_id))
    store.save_chunk("1", "a:b", 64, b"second")
    store.save_chunk("1", "a:b", 0, b"\x00first")
    store.save_chunk("1", "a", 0, b"other call")
    store.save_chunk("2", "a:b", 0, b"other job")
    assert store.load_chunks("1", "a:b") == [(0, b"\x00first"), (64, b"second")]
    assert store.load_chunks("1", "a") == [(0, b"other call")]
    assert store.load_chunks("1", "b") == []


def test_keeping_scores_twice_changes_nothing(store: Store) -> None:
    store.submit(new("1"))
    store.save_chunk("1", "call", 0, b"first")
    store.save_chunk("1", "call", 0, b"second")
    assert store.load_chunks("1", "call") == [(0, b"first")]


def test_scores_outlast_their_worker(store: Store, clock: Clock) -> None:
    store.submit(new("1"))
    claimed(store, "w1")
    store.save_chunk("1", "call", 0, b"scores")
    clock.pass_s(60)
    assert claimed(store, "w2") == "1"
    assert store.load_chunks("1", "call") == [(0, b"scores")]


@pytest.mark.parametrize("end", ["finish", "fail", "cancel"])
def test_no_scores_are_kept_of_a_job_that_ended(store: Store, end: str) -> None:
    store.submit(new("1"))
    claimed(store)
    store.save_chunk("1", "call", 0, b"scores")
    if end == "cancel":
        store.cancel("1")
    else:
        store.finish("1", "w1", b"done" if end == "finish" else PROBLEM)
    assert store.load_chunks("1", "call") == []
    store.save_chunk("1", "call", 0, b"late")
    assert store.load_chunks("1", "call") == []


# ---- results of earlier requests -------------------------------------------------------------------------------------
def test_a_result_is_recalled_as_it_was(store: Store) -> None:
    assert store.get_cached("k") is None
    store.put_cached("k", b"\x00result\xff")
    assert store.get_cached("k") == b"\x00result\xff"
    store.put_cached("k", b"the same key again")
    assert store.get_cached("k") == b"the same key again"


def test_the_least_recently_used_results_go_first(place: Place) -> None:
    store = place.open(result_bytes=303)
    for key in "abc":
        store.put_cached(key, bytes(100))
    assert store.get_cached("a") is not None
    store.put_cached("d", bytes(100))
    assert [key for key in "abcd" if store.get_cached(key) is not None] == ["a", "c", "d"]
    store.put_cached("e", bytes(201))  # room for it, and for one more
    assert [key for key in "acde" if store.get_cached(key) is not None] == ["d", "e"]
    store.put_cached("d", bytes(1))  # a key takes its own room only
    store.put_cached("f", bytes(96))
    assert [key for key in "def" if store.get_cached(key) is not None] == ["d", "e", "f"]
    store.close()


def test_a_result_larger_than_the_bound_is_not_kept_and_drives_nothing_out(place: Place) -> None:
    store = place.open(result_bytes=100)
    store.put_cached("a", bytes(50))
    store.put_cached("b", bytes(100))  # with its key one more
    assert store.get_cached("b") is None
    assert store.get_cached("a") == bytes(50)
    store.put_cached("c", bytes(99))
    assert store.get_cached("c") == bytes(99)
    assert store.get_cached("a") is None
    store.close()


def test_a_bound_of_0_keeps_nothing(place: Place) -> None:
    store = place.open(result_bytes=0)
    for result in (b"", b"result"):
        store.put_cached("k", result)
        assert store.get_cached("k") is None
    store.close()


def test_a_smaller_bound_drives_out_what_an_earlier_one_let_in(place: Place) -> None:
    large = place.open(result_bytes=1000)
    for key in "abc":
        large.put_cached(key, bytes(100))
    large.close()
    small = place.open(result_bytes=202)
    small.put_cached("d", bytes(100))
    assert [key for key in "abcd" if small.get_cached(key) is not None] == ["c", "d"]
    small.close()
