"""How long a request would wait: the turns of those before it are played through."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Priority = Literal["interactive", "batch"]
# Of the starts while both kinds wait, every so many belongs to batch, so that it is slow and never starved.
BATCH_TURN = 4


@dataclass(frozen=True, slots=True)
class Part:
    """A request as far as waiting goes.

    Attributes:
        seconds: of computing by itself.
        followed: whether another like it comes when it ends, as jobs do.
    """

    priority: Priority
    seconds: float
    followed: bool = False


def wait_s(
    priority: Priority,
    running: Iterable[Part],
    waiting: Iterable[Part],
    *,
    places: int,
    batch_places: int,
    starts: int = 0,
) -> float:
    """Seconds until a request that comes now would start.

    Those that run share the machine evenly; the earlier one came, the more of it is done. When one ends, the next takes
    its place.

    Args:
        priority: of the newcomer.
        running: computed now, in order of arrival.
        waiting: in order of arrival.
        places: for requests that are computed at once.
        batch_places: of these, those that batch may take; at least one.
        starts: so far, which tell whose turn is next.
    """
    newcomer = Part(priority, 0.0)
    queues: dict[Priority, deque[Part]] = {"interactive": deque(), "batch": deque()}
    for part in (*waiting, newcomer):
        queues[part.priority].append(part)
    running = tuple(running)
    left = [(part.seconds * (place + 1) / (len(running) + 1), part) for place, part in enumerate(running)]
    elapsed_s = 0.0
    while True:
        while len(left) < places:
            batch_room = sum(part.priority == "batch" for _, part in left) < batch_places
            chosen = next_turn(starts, bool(queues["interactive"]), bool(queues["batch"]) and batch_room)
            if chosen is None:
                break
            starts += 1
            part = queues[chosen].popleft()
            if part is newcomer:
                return elapsed_s
            left.append((part.seconds, part))
        shortest = min(range(len(left)), key=lambda place: left[place][0])
        least_s, ended = left.pop(shortest)
        elapsed_s += least_s * (len(left) + 1)
        left = [(seconds - least_s, part) for seconds, part in left]
        if ended.followed:
            queues[ended.priority].append(ended)


def next_turn(starts: int, interactive: bool, batch: bool) -> Priority | None:
    """Whose turn it is after so many starts, of the kinds of which one could start."""
    turn: Priority = "batch" if starts % BATCH_TURN == BATCH_TURN - 1 else "interactive"
    able: dict[Priority, bool] = {"interactive": interactive, "batch": batch}
    if able[turn]:
        return turn
    return next((kind for kind, can in able.items() if can), None)
