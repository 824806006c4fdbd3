"""What the service tells beside explanations: what they will cost, how far they are, the state of jobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

from wavescope_client._types import Explanation, Indices

Found = TypeVar("Found", bound=Explanation | list[Explanation])
"""What was asked for: an explanation, or those of a batch."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a request will cost, before it is sent.

    Attributes:
        forwards: images to be scored in all; with the adaptive plan the most it may take.
        expected_s: seconds of scoring; ``None`` where the model's speed is not known yet.
        queue_s: seconds it would wait now before it begins.
        cached: whether the service has the result already, which would then cost nothing.
    """

    forwards: int
    expected_s: float | None
    queue_s: float
    cached: bool


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a request has come.

    Attributes:
        forwards: images scored so far.
        planned: images to be scored in all; with the adaptive plan the most it may take.
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

    Attributes:
        image: place among the images of the request.
        forwards: images scored of this image so far.
        rows: complete design rows so far; ``None`` with the adaptive plan.
        indices: of the image's first target.
    """

    image: int
    forwards: int
    rows: int | None
    indices: Indices


@dataclass(frozen=True, slots=True, eq=False)
class Result(Generic[Found]):
    """The last event of a stream: what was asked for."""

    reply: Found


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """What the service tells of a job.

    Attributes:
        state: the last three are final.
        kind, model, images: what was asked for; ``images`` is their number.
        created_at, started_at, finished_at: in UTC.
        forwards: images scored so far.
        planned: images to be scored in all; 0 before that is known.
        eta_s: seconds left at the pace so far; ``None`` before anything is scored, and once it has ended.
        error: why it failed: ``code``, ``message``, ``field``, ``limits``. :meth:`Job.result` raises
            :class:`JobFailed` with it.
    """

    id: str
    state: Literal["queued", "running", "succeeded", "failed", "cancelled"]
    kind: str
    model: str
    images: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    forwards: int
    planned: int
    eta_s: float | None
    error: Mapping[str, Any] | None

    @property
    def ended(self) -> bool:
        """Whether the state is final."""
        return self.state in ("succeeded", "failed", "cancelled")
