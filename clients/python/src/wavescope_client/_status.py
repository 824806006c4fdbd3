"""Estimates, events of a stream and the state of jobs: the replies of the service beside explanations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

from wavescope_client._types import Explanation, Indices

ResultT = TypeVar("ResultT", bound=Explanation | list[Explanation])
"""Result of a request: an explanation, or the list of those of a batch."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Estimated cost of a request.

    Attributes:
        forwards: number of images to be scored; an upper bound for the adaptive plan.
        expected_s: seconds of scoring; ``None`` if the model's speed is not known yet.
        queue_s: seconds that it would wait in the queue now.
        cached: whether the service has the result already and nothing would be scored.
    """

    forwards: int
    expected_s: float | None
    queue_s: float
    cached: bool


@dataclass(frozen=True, slots=True)
class Progress:
    """Event of a stream: progress of the request.

    Attributes:
        forwards: images scored so far.
        planned: number of images to be scored; an upper bound for the adaptive plan.
        elapsed_s: seconds since the request began.
        eta_s: seconds left at the pace so far; ``None`` before anything is scored.
    """

    forwards: int
    planned: int
    elapsed_s: float
    eta_s: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Partial:
    """Event of a stream: indices estimated so far, valid but with larger errors than the final ones.

    Attributes:
        image: position among the images of the request.
        forwards: images scored of this image so far.
        rows: complete design rows so far; ``None`` with the adaptive plan.
        indices: indices of the image's first target.
    """

    image: int
    forwards: int
    rows: int | None
    indices: Indices


@dataclass(frozen=True, slots=True, eq=False)
class Result(Generic[ResultT]):
    """Last event of a stream: the result.

    Attributes:
        reply: the explanation, or the list of those of a batch.
    """

    reply: ResultT


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """State of a job.

    Attributes:
        id: id of the job.
        state: the last three are final.
        kind, model: fields of the request.
        images: number of images of the request.
        created_at, started_at, finished_at: times in UTC.
        forwards: images scored so far.
        planned: number of images to be scored; 0 before it is known.
        eta_s: seconds left at the pace so far; ``None`` before anything is scored, and once it has ended.
        error: reason of a failure: ``code``, ``message``, ``field``, ``limits``. :meth:`Job.result` raises
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
