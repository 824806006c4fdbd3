"""What the ingress needs from the rest of the service: one data plane under thin transports."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from jaxtyping import Float

from wavescope.engine.events import Finished, Partial, Progress
from wavescope.engine.types import Explanation, ExplanationRequest, ModelDetails, Prediction

Transport = Literal["http", "grpc"]
Priority = Literal["interactive", "batch"]
Target = int | str | None
Event = Progress | Partial | Finished


@dataclass(frozen=True, slots=True)
class Call:
    """What goes with every call of the plane.

    Attributes:
        request_id: for the log.
        caller: name of the API key it came with; empty where no keys are configured.
        priority: interactive calls go first.
        fresh: computed anew even where the result is kept.
    """

    request_id: str
    caller: str = ""
    priority: Priority = "interactive"
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Parsed:
    """A valid request.

    Attributes:
        model: name of the model, not yet looked up.
        images: the encoded files, not yet decoded.
        targets: per image, the classes it is explained for; at least one, ``None`` for the predicted class.
        other: the file to compare with, where the kind is ``compare``.
        request: everything else; its ``target`` is in ``targets`` already.
        batch: whether the reply is a list, even of one.
    """

    model: str
    images: tuple[bytes, ...]
    targets: tuple[tuple[Target, ...], ...]
    other: bytes | None
    request: ExplanationRequest
    batch: bool


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a request will cost, before it is sent.

    Attributes:
        forwards: images to be scored in all; with adaptive plans the most it may take.
        expected_s: seconds of scoring on the replicas that run now; ``None`` where the model's speed is not known yet.
        queue_s: seconds it would wait now before it begins.
        cached: whether the result is kept already, and would cost nothing.
    """

    forwards: int
    expected_s: float | None
    queue_s: float
    cached: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """What is told of a job.

    Attributes:
        state: ``queued``, ``running``, ``succeeded``, ``failed`` or ``cancelled``.
        kind, model, images: what was asked for.
        created_at, started_at, finished_at: seconds since 1970.
        forwards: images scored so far.
        planned: images to be scored in all; 0 before that is known.
        eta_s: seconds left at the pace so far; ``None`` before anything is scored, and once it has ended.
        error: the problem of a failed job (``code``, ``message``, ``field``, ``limits``).
    """

    id: str
    state: Literal["queued", "running", "succeeded", "failed", "cancelled"]
    kind: str
    model: str
    images: int
    created_at: float
    started_at: float | None = None
    finished_at: float | None = None
    forwards: int = 0
    planned: int = 0
    eta_s: float | None = None
    error: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Predicted:
    """What a model says of images.

    Attributes:
        model: its details.
        outputs: (n, classes) float32, raw.
        top: per image, the most probable classes.
    """

    model: ModelDetails
    outputs: Float[np.ndarray, "n classes"]
    top: tuple[tuple[Prediction, ...], ...] = field(default=())


class Explaining(Protocol):
    """Explanations and predictions. Cancelling the caller's task stops the work: no further device batch starts."""

    async def explain(self, parsed: Parsed, call: Call) -> tuple[Explanation, ...]:
        """One explanation per image and target, in image-major order.

        Raises:
            WavescopeError: what is to be told to the caller; ``UnknownModel`` before any error of the model. An error
                about one image of a batch names it in ``field``: ``images[1]``.
        """
        ...

    def stream(self, parsed: Parsed, call: Call) -> AsyncGenerator[Event, None]:
        """The same, told while it is computed: ends with :class:`Finished`, or raises as :meth:`explain`.

        Closing the generator cancels.
        """
        ...

    async def estimate(self, parsed: Parsed, call: Call) -> Estimate:
        """What :meth:`explain` would cost; the images are decoded, nothing is scored. Raises as :meth:`explain`."""
        ...

    async def predict(self, images: tuple[bytes, ...], model: str, top_k: int, call: Call) -> Predicted:
        """What the model says of encoded images, after its own preprocessing. Raises as :meth:`explain`."""
        ...


class Working(Protocol):
    """Jobs. A job of another caller is an unknown one."""

    async def submit(self, parsed: Parsed, call: Call, idempotency_key: str | None) -> JobStatus:
        """Accepts a job, which is then not lost; the same key and request again give the same job.

        Raises:
            WavescopeError: as :meth:`Explaining.explain` as far as can be told before anything is scored;
                IdempotencyConflict, QueueFull, QuotaExceeded, StoreUnavailable.
        """
        ...

    async def job(self, job_id: str, call: Call) -> JobStatus:
        """Raises UnknownJob, StoreUnavailable."""
        ...

    def watch(self, job_id: str, call: Call) -> AsyncGenerator[JobStatus, None]:
        """The state now, then whenever it or the progress changes; ends after a final state. Raises as :meth:`job`."""
        ...

    async def result(self, job_id: str, call: Call) -> tuple[tuple[Explanation, ...], bool]:
        """The explanations of a job that succeeded, and whether its request was a batch.

        Raises:
            WavescopeError: JobUnfinished, JobCancelled, JobFailed; else as :meth:`job`.
        """
        ...

    async def cancel(self, job_id: str, call: Call) -> JobStatus:
        """Ends a job that has not ended. Raises as :meth:`job`."""
        ...


class Telling(Protocol):
    """What the service says of itself."""

    async def models(self) -> dict[str, dict[str, Any]]:
        """JSON-ready details by model name; ``ready`` (bool) and ``state`` among them."""
        ...

    async def model(self, name: str) -> dict[str, Any]:
        """The details of one model, as :meth:`models` has them; no other model is asked. Raises UnknownModel."""
        ...

    def model_names(self) -> tuple[str, ...]:
        """The registered models, in order; no model is asked."""
        ...

    async def ready(self) -> bool:
        """Whether a model can score."""
        ...

    async def metrics(self) -> str:
        """The whole application's metrics in Prometheus' text format."""
        ...


class DataPlane(Explaining, Working, Telling, Protocol):
    """The service behind the protocols."""


class RequestRecorder(Protocol):
    """Counts the requests for explanations."""

    def request(self, *, kind: str, model: str, protocol: Transport, code: str, duration_s: float) -> None:
        """Record one answered request.

        Args:
            kind: of the product, empty where the request was refused before it was known.
            model: empty where the request names no known model, so that callers cannot make up label values.
            protocol: how it came.
            code: ``ok``, or the code of the error.
            duration_s: from its headers to its whole answer, s.
        """
        ...


class NullRecorder:
    """Records nothing."""

    def request(self, *, kind: str, model: str, protocol: Transport, code: str, duration_s: float) -> None:
        """Do nothing."""


class Doorkeeper(Protocol):
    """Knows the API keys."""

    def caller(self, key: str | None) -> str:
        """The name of a key; empty where none are configured.

        Raises:
            Unauthenticated: keys are configured, and this is none of them.
        """
        ...

    def priority(self, caller: str) -> Priority:
        """The best priority that the calls of a key may have."""
        ...


class OpenDoor:
    """No keys are configured: everybody is let in, without a name."""

    def caller(self, key: str | None) -> str:
        return ""

    def priority(self, caller: str) -> Priority:
        return "interactive"


@dataclass(frozen=True, slots=True)
class IngressLimits:
    """Limits that come from the settings.

    Attributes:
        max_body_bytes: of a whole HTTP body, and of the images in an RPC together.
        max_images: of one batch.
        max_targets: classes that one image is explained for in one request.
        max_streams: event streams that are open at once, in all.
        max_streams_per_caller: those of one API key; not counted where none are configured.
        retry_after_s: told to clients that may come again, where an error has no ``retry_after_s`` of its own.
        loopback_only: whether RPCs from other hosts are refused. A server that can be told its address needs no such
            check; Ray Serve's gRPC proxy listens on every interface.
    """

    max_body_bytes: int = 32 * 1024 * 1024
    max_images: int = 16
    max_targets: int = 16
    max_streams: int = 64
    max_streams_per_caller: int = 16
    retry_after_s: int = 1
    loopback_only: bool = False
