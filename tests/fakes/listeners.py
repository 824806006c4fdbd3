"""A listener that keeps all it hears."""

from __future__ import annotations

from wavescope.engine.events import ComputePartial, PartialIndices


class Listening:
    """Keeps everything, in order.

    Attributes:
        announced: forwards in all, once per request.
        counts: images of every report.
        computations: of indices so far.
    """

    def __init__(self) -> None:
        self.announced: list[int] = []
        self.counts: list[int] = []
        self.computations: list[ComputePartial] = []

    @property
    def partials(self) -> list[PartialIndices]:
        """Indices so far, computed now; where the score did not vary there are none."""
        return [partial for compute in self.computations if (partial := compute()) is not None]

    def planned(self, forwards: int) -> None:
        self.announced.append(forwards)

    def scored(self, image_count: int) -> None:
        self.counts.append(image_count)

    def partial(self, compute: ComputePartial) -> None:
        self.computations.append(compute)
