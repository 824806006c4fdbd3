"""Many threads and processes at one store, and processes that die."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import pytest
from tests.store import workers
from tests.store.servers import Place

from wavescope.store.protocols import NewJob, Store

PROCESSES = 3
SPAWN = multiprocessing.get_context("spawn")


def fill(store: Store, jobs: int) -> set[str]:
    ids = {f"job {number}" for number in range(jobs)}
    for job_id in sorted(ids):
        store.submit(NewJob(id=job_id, owner="", payload=job_id.encode(), content=job_id))
    return ids


def everything_was_done_once(store: Store, done: dict[str, list[str]], ids: set[str]) -> None:
    assert sorted(job_id for by_worker in done.values() for job_id in by_worker) == sorted(ids)
    for worker, by_worker in done.items():
        assert {store.result(job_id) for job_id in by_worker} <= {worker.encode()}
    assert {store.get(job_id).attempts for job_id in ids} == {1}


@pytest.mark.parametrize("shared", [True, False], ids=["one store", "stores of their own"])
def test_threads_claim_every_job_once(place: Place, shared: bool) -> None:
    store = place.open()
    ids = fill(store, 120)

    def drain(worker: str) -> list[str]:
        mine: list[str] = []
        opened = store if shared else place.open()
        while (found := opened.claim(worker, workers.LEASE_S)) is not None:
            assert opened.heartbeat(found[0].id, worker, workers.LEASE_S, forwards=1, planned=2)
            assert opened.finish(found[0].id, worker, worker.encode())
            mine.append(found[0].id)
        if not shared:
            opened.close()
        return mine

    names = [f"w{number}" for number in range(8)]
    with ThreadPoolExecutor(len(names)) as pool:
        done = dict(zip(names, pool.map(drain, names), strict=True))
    everything_was_done_once(store, done, ids)
    store.close()


def test_processes_claim_every_job_once(place: Place) -> None:
    store = place.open()
    ids = fill(store, 120)
    names = [f"w{number}" for number in range(PROCESSES)]
    with ProcessPoolExecutor(PROCESSES, mp_context=SPAWN) as pool:
        done = dict(zip(names, pool.map(workers.drain, [place] * PROCESSES, names), strict=True))
    everything_was_done_once(store, done, ids)
    store.close()


def test_processes_that_open_a_new_store_at_once_make_one_job_per_key(place: Place) -> None:
    names = [f"w{number}" for number in range(PROCESSES)]
    with ProcessPoolExecutor(PROCESSES, mp_context=SPAWN) as pool:
        made = [job_id for ids in pool.map(workers.submit, [place] * PROCESSES, names) for job_id in ids]
    assert sorted(int(job_id.partition("-")[2]) for job_id in made) == list(range(20))
    store = place.open()
    assert store.count_unfinished() == 20
    store.close()


def test_the_job_of_a_killed_process_goes_on_with_the_scores_it_had(place: Place) -> None:
    store = place.open()
    fill(store, 1)
    with ProcessPoolExecutor(1, mp_context=SPAWN) as pool, pytest.raises(BrokenProcessPool):
        pool.submit(workers.die_in_the_middle, place).result()
    found = store.claim("another", workers.LEASE_S)
    assert found is not None
    assert (found[0].id, found[0].attempts) == ("job 0", 2)
    assert store.load_chunks("job 0", "call") == [(0, b"scores")]
    store.close()


def test_a_forked_process_has_connections_of_its_own(place: Place) -> None:
    store = place.open()
    ids = fill(store, 2)
    claimed = store.claim("parent", workers.LEASE_S)
    child = os.fork()
    if child == 0:  # leaves without pytest's or anybody's clean-up
        found = store.claim("child", workers.LEASE_S)
        done = found is not None and store.finish(found[0].id, "child", b"done")
        os._exit(0 if done else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert claimed is not None
    assert store.finish(claimed[0].id, "parent", b"done")
    assert {store.get(job_id).state for job_id in ids} == {"succeeded"}
    store.close()
