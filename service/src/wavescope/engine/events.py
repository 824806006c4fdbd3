"""What can be told of an explanation while it is being computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from wavescope.engine.types import Explanation, Indices


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a request has come.

    Attributes:
        forwards: images scored so far.
        planned: images to be scored in all; with adaptive plans the most it may take.
        elapsed_s: since the request began.
        eta_s: seconds left at the pace so far; ``None`` before anything is scored.
    """

    forwards: int
    planned: int
    elapsed_s: float
    eta_s: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Partial:
    """Indices so far: a valid answer, with larger errors than the last.

    Of an image to compare with and of an enlarged one nothing is told.

    Attributes:
        image: place among the images of the request.
        forwards: images scored of this image so far.
        rows: complete design rows so far; ``None`` with the adaptive plan.
        find: computes the indices of the first target, from what was known when this was told; in any thread and at
            any time. ``None`` where the score did not vary so far.
    """

    image: int
    forwards: int
    rows: int | None
    find: Callable[[], Indices | None]


@dataclass(frozen=True, slots=True, eq=False)
class Finished:
    """The last event: what was asked for.

    Attributes:
        explanations: image-major, one per image and target.
    """

    explanations: tuple[Explanation, ...]


@runtime_checkable
class Listener(Protocol):
    """Told what happens, in the thread of the event loop: returns at once."""

    def planned(self, forwards: int) -> None:
        """Once, before anything is scored: images to be scored in all; with adaptive plans the most it may take."""
        ...

    def scored(self, images: int) -> None:
        """Images that were scored just now."""
        ...

    def partial(self, partial: Partial) -> None:
        """New indices.

        Of a full plan after its second and then every further two design rows; of an adaptive plan first from the sizes
        of the factors, after some rows of A, and then after every round.
        """
        ...


class Deaf:
    """A listener that hears nothing."""

    def planned(self, forwards: int) -> None:
        return None

    def scored(self, images: int) -> None:
        return None

    def partial(self, partial: Partial) -> None:
        return None


DEAF = Deaf()
