"""A listener that keeps all it is told."""

from __future__ import annotations

from wavescope.engine.events import Partial


class Listening:
    """Keeps everything, in order.

    Attributes:
        announced: forwards in all, once per request.
        counts: images of every report.
        partials: indices so far.
    """

    def __init__(self) -> None:
        self.announced: list[int] = []
        self.counts: list[int] = []
        self.partials: list[Partial] = []

    def planned(self, forwards: int) -> None:
        self.announced.append(forwards)

    def scored(self, images: int) -> None:
        self.counts.append(images)

    def partial(self, partial: Partial) -> None:
        self.partials.append(partial)
