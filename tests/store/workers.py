"""What other processes do with a store; they import no test."""

from __future__ import annotations

import os
import signal

from tests.store.servers import Place

LEASE_S = 600.0


def drain(place: Place, worker: str) -> list[str]:
    """Claims and finishes jobs until there are none; their ids."""
    store = place.open()
    ids: list[str] = []
    while (found := store.claim(worker, LEASE_S)) is not None:
        job, payload = found
        assert payload == job.id.encode()
        assert store.finish(job.id, worker, worker.encode())
        ids.append(job.id)
    store.close()
    return ids


def submit(place: Place, worker: str) -> list[str]:
    """Opens the store with all others at once and submits under the same keys as they do; the ids that were made."""
    from wavescope.store.protocols import NewJob

    store = place.open()
    made: list[str] = []
    for number in range(20):
        job_id = f"{worker}-{number}"
        job = NewJob(id=job_id, owner="", payload=b"", content="", idempotency_key=str(number))
        if store.submit(job)[1]:
            made.append(job_id)
    store.close()
    return made


def die_in_the_middle(place: Place) -> None:
    """Claims a job for a moment, keeps scores, and is killed."""
    store = place.open()
    found = store.claim("the dead", 0.0)
    assert found is not None
    store.save_chunk(found[0].id, "call", 0, b"scores")
    os.kill(os.getpid(), signal.SIGKILL)
