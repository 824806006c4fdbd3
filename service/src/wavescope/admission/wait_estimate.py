"""Wait estimate: how long a new request would wait, by simulating the queue before it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Priority = Literal["interactive", "batch"]
# While both priorities wait, every BATCH_TURN-th start is a batch one, so that batch is slow but never starved.
BATCH_TURN = 4


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """Queue entry for the wait estimate.

    Attributes:
        priority: class of the queue.
        seconds: seconds of computing, if it ran alone.
        replenished: whether a new entry takes its place when it ends, as with jobs.
    """

    priority: Priority
    seconds: float
    replenished: bool = False


def wait_s(
    priority: Priority,
    running: Iterable[QueueEntry],
    waiting: Iterable[QueueEntry],
    *,
    places: int,
    batch_places: int,
    starts: int = 0,
) -> float:
    """Estimate the seconds until a request that arrives now would start.

    Running requests share the machine evenly; an earlier one is assumed to be further on. When one ends, the next one
    takes its place.

    Args:
        priority: priority of the new request.
        running: entries that run, in order of arrival.
        waiting: entries that wait, in order of arrival.
        places: number of requests that run at once.
        batch_places: number of these that batch may take; at least one.
        starts: number of starts so far, which decides whose turn is next.

    Returns:
        Seconds.

    Example:
        >>> running = [QueueEntry("interactive", 10.0)]
        >>> wait_s("interactive", running, [], places=1, batch_places=1)
        5.0
    """
    newcomer = QueueEntry(priority, 0.0)
    queues: dict[Priority, deque[QueueEntry]] = {"interactive": deque(), "batch": deque()}
    for entry in (*waiting, newcomer):
        queues[entry.priority].append(entry)
    running = tuple(running)
    left = [(entry.seconds * (place + 1) / (len(running) + 1), entry) for place, entry in enumerate(running)]
    elapsed_s = 0.0
    while True:
        while len(left) < places:
            batch_room = sum(entry.priority == "batch" for _, entry in left) < batch_places
            chosen = next_turn(starts, bool(queues["interactive"]), bool(queues["batch"]) and batch_room)
            if chosen is None:
                break
            starts += 1
            entry = queues[chosen].popleft()
            if entry is newcomer:
                return elapsed_s
            left.append((entry.seconds, entry))
        shortest = min(range(len(left)), key=lambda place: left[place][0])
        least_s, ended = left.pop(shortest)
        elapsed_s += least_s * (len(left) + 1)
        left = [(seconds - least_s, entry) for seconds, entry in left]
        if ended.replenished:
            queues[ended.priority].append(ended)


def next_turn(starts: int, interactive: bool, batch: bool) -> Priority | None:
    """Choose the priority of the next start, of those that could start; ``None`` if neither could."""
    turn: Priority = "batch" if starts % BATCH_TURN == BATCH_TURN - 1 else "interactive"
    able: dict[Priority, bool] = {"interactive": interactive, "batch": batch}
    if able[turn]:
        return turn
    return next((kind for kind, can in able.items() if can), None)
