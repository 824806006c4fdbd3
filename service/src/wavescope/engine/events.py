"""Events of an explanation that is being computed, and who listens to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from wavescope.engine.types import Explanation, Indices


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a request.

    Attributes:
        forwards: images scored so far.
        planned: images to be scored in all; with adaptive plans the most it may take.
        elapsed_s: seconds since the request began.
        eta_s: seconds left at the pace so far; ``None`` before anything is scored.
    """

    forwards: int
    planned: int
    elapsed_s: float
    eta_s: float | None


@dataclass(frozen=True, slots=True, eq=False)
class PartialIndices:
    """Indices so far of the first target of an image: a valid answer, with larger errors than the last.

    There are none of an image to compare with, nor of an enlarged one.

    Attributes:
        image: position among the images of the request.
        forwards: images scored of this image so far.
        rows: complete design rows so far; ``None`` with the adaptive plan.
        indices: computed from these.
    """

    image: int
    forwards: int
    rows: int | None
    indices: Indices


# From what was known when it was made, in any thread and at any time; ``None`` where the score did not vary so far.
ComputePartial = Callable[[], PartialIndices | None]


@dataclass(frozen=True, slots=True, eq=False)
class Finished:
    """The last event, with the explanations.

    Attributes:
        explanations: image-major, one per image and target.
    """

    explanations: tuple[Explanation, ...]


@runtime_checkable
class Listener(Protocol):
    """Receives events of one request, in the thread of the event loop; every method returns at once."""

    def planned(self, forwards: int) -> None:
        """Once, before anything is scored: images to be scored in all; with adaptive plans the most it may take."""
        ...

    def scored(self, image_count: int) -> None:
        """Number of images that were scored just now."""
        ...

    def partial(self, compute: ComputePartial) -> None:
        """New indices are to be had; ``compute`` is cheap to keep and costs time only once it is called.

        Of a full plan after its second and then every further two design rows; of an adaptive plan first from the sizes
        of the factors, after some rows of A, and then after every round.
        """
        ...


class NullListener:
    """Ignores every event."""

    def planned(self, forwards: int) -> None:
        return None

    def scored(self, image_count: int) -> None:
        return None

    def partial(self, compute: ComputePartial) -> None:
        return None


NULL_LISTENER = NullListener()
