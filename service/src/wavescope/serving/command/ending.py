"""Taking Ray Serve down without waiting for replicas that never began."""

from __future__ import annotations

import threading
from contextlib import suppress

import ray
from ray import serve
from ray.exceptions import RayError

from wavescope.serving.logs import ours_only
from wavescope.serving.models.capacity import pending_replicas

SWEEP_S = 0.2


def shutdown() -> None:
    """Ends every replica: those that run may finish what they have, those without a process are removed at once.

    Ray Serve asks each to leave and waits ``drain_s`` for the answer, which a replica without a place cannot give.
    """
    ours_only()
    ended = threading.Event()
    sweeping = threading.Thread(target=_sweep, args=(ended,), name="sweep", daemon=True)
    sweeping.start()
    try:
        serve.shutdown()
    finally:
        ended.set()
        sweeping.join()


def _sweep(ended: threading.Event) -> None:
    while not ended.wait(SWEEP_S):
        with suppress(RayError, ValueError):  # it got its process, or left, meanwhile
            for name in pending_replicas():
                ray.kill(ray.get_actor(name, namespace="serve"))
