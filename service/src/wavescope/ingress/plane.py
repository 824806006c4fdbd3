"""Data plane: the protocol between the transports and the rest of the service, and its types."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from jaxtyping import Float

from wavescope.admission.wait_estimate import Priority
from wavescope.engine.events import Finished, PartialIndices, Progress
from wavescope.engine.monitors.config import MonitorConfig
from wavescope.engine.monitors.state import Command
from wavescope.engine.monitors.status import Findings, ScaleStatus, Summary
from wavescope.engine.types import Explanation, ExplanationRequest, ModelDetails, Prediction, Target

Transport = Literal["http", "grpc"]
Event = Progress | PartialIndices | Finished


@dataclass(frozen=True, slots=True)
class CallContext:
    """Caller, priority and options of one call of the plane.

    Attributes:
        request_id: for the log.
        caller: name of the API key it came with; empty where no keys are configured.
        priority: interactive calls go first.
        fresh: computed anew even where the result is cached.
        idempotency_key: as it was sent with the call, not checked yet.
        job_id: of the job that is carried out, ``None`` for a request that somebody waits for. A job waits for its
            turn without limit, and its scores are cached.
    """

    request_id: str
    caller: str = ""
    priority: Priority = "interactive"
    fresh: bool = False
    idempotency_key: str | None = None
    job_id: str | None = None


@dataclass(frozen=True, slots=True)
class ExplainRequest:
    """A valid request for explanations, from the transport to the aggregator, and as it is stored with a job.

    Attributes:
        model: name of the model.
        images: encoded files, not yet decoded: those to be explained, then the one that kind ``compare`` compares with.
        targets: per image to be explained, its classes; at least one, ``None`` for the predicted class.
        request: all parameters; its ``target`` is in ``targets`` already.
        batch: whether the reply is a list, even of one.
        identities: of the explanations, image by image and target by target; given by the data plane.
        fresh: whether it is computed anew even where the result is cached.
    """

    FORMER_FIELDS: ClassVar[frozenset[str]] = frozenset({"names"})  # of jobs that are in a store already

    model: str
    images: tuple[bytes, ...]
    targets: tuple[tuple[Target, ...], ...]
    request: ExplanationRequest
    batch: bool
    identities: tuple[str, ...] = ()
    fresh: bool = False

    @property
    def other(self) -> bytes | None:
        """The file to compare with, where the kind is ``compare``."""
        return self.images[-1] if len(self.images) > len(self.targets) else None

    @property
    def image_names(self) -> tuple[str, ...]:
        """The caller's name of each image, for errors."""
        return (*name_images(len(self.targets)), *(("other",) if self.other is not None else ()))


@dataclass(frozen=True, slots=True)
class PredictRequest:
    """A valid request for predictions.

    Attributes:
        model: name of the model.
        images: encoded files, not yet decoded.
        top_k: number of the most probable classes that are named.
    """

    model: str
    images: tuple[bytes, ...]
    top_k: int


def name_images(image_count: int) -> tuple[str, ...]:
    """The caller's names of the images of a request, for errors.

    Example:
        >>> name_images(1), name_images(2)
        (('image',), ('images[0]', 'images[1]'))
    """
    if image_count == 1:
        return ("image",)
    return tuple(f"images[{position}]" for position in range(image_count))


@dataclass(frozen=True, slots=True)
class Estimate:
    """Expected cost of a request.

    Attributes:
        forwards: images to be scored in all; with adaptive plans the most it may take.
        expected_s: seconds of scoring on the replicas that run now; ``None`` where the model's speed is not known yet.
        queue_s: seconds it would wait now before it begins.
        cached: whether the result is cached already, and would cost nothing.
    """

    forwards: int
    expected_s: float | None
    queue_s: float
    cached: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """State and progress of a job.

    Attributes:
        state: ``queued``, ``running``, ``succeeded``, ``failed`` or ``cancelled``.
        kind, model, image_count: of the request.
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
    image_count: int
    created_at: float
    started_at: float | None = None
    finished_at: float | None = None
    forwards: int = 0
    planned: int = 0
    eta_s: float | None = None
    error: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """An image that a monitor observes.

    Attributes:
        image: encoded file, not yet decoded.
        reference: whether it is of the reference.
        key: identity by which a repeated one is known; empty for an image that is never one.
        label: name that its sender gives it, for reports.
        fitted: whether it is the model's input already, and is not resized again.
        traceparent: context of the trace that it came with; empty for none.
    """

    image: bytes
    reference: bool = False
    key: str = ""
    label: str = ""
    fitted: bool = False
    traceparent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MonitorStatus:
    """Status of a monitor.

    Attributes:
        name: of the monitor.
        state: ``collecting``, ``checking``, ``watching``, ``alarm``, ``stale``, ``rejected`` or ``paused``.
        created_at: when it was made, s since 1970.
        summary: of all that was measured so far.
        pending: observations that were accepted and have not ended.
        unfolded: entries of its log that the summary does not cover.
        events: observations and events that arrived, by outcome.
        last_observation_at: when the last observation was accepted; ``None`` before any.
        token: capability token of its address for events, where it was made just now; ``None`` otherwise.
    """

    name: str
    state: str
    created_at: float
    summary: Summary
    pending: int = 0
    unfolded: int = 0
    events: dict[str, int] = field(default_factory=dict[str, int])
    last_observation_at: float | None = None
    token: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MonitorReport:
    """Report of a monitor.

    Attributes:
        status: of the monitor.
        findings: evidence over time, and the most shifted observations.
        window: importance by scale within the time that was asked for; ``None`` where none was.
        images: (c, h, w) in [0, 1] of shifted observations that are kept, by their numbers.
    """

    status: MonitorStatus
    findings: Findings
    window: tuple[ScaleStatus, ...] | None = None
    images: dict[int, Float[np.ndarray, "c h w"]] = field(default_factory=dict[int, Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """Jobs that look into an alarm.

    Attributes:
        alarm: number of the alarm.
        jobs: ids of the jobs, with what each does: ``kind``, ``observation``, ``reference`` (a number or ``None``).
        reason: sentence why there are none; empty where there are some, or will be.
    """

    alarm: int
    jobs: tuple[dict[str, Any], ...]
    reason: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """Outputs of a model for images.

    Attributes:
        model: its details.
        outputs: (n, classes) float32, raw.
        top: per image, the most probable classes.
        warnings: per image, sentences about what was assumed of its file, and about the model.
    """

    model: ModelDetails
    outputs: Float[np.ndarray, "n classes"]
    top: tuple[tuple[Prediction, ...], ...] = field(default=())
    warnings: tuple[tuple[str, ...], ...] = field(default=())


class ExplainPlane(Protocol):
    """Explanations and predictions. Cancelling the caller's task stops the work: no further device batch starts."""

    async def explain(self, request: ExplainRequest, call: CallContext) -> tuple[Explanation, ...]:
        """One explanation per image and target, in image-major order.

        Raises:
            WavescopeError: the error that the caller receives; ``UnknownModel`` before any error of the model. An error
                about one image of a batch names it in ``field``: ``images[1]``.
        """
        ...

    def stream(self, request: ExplainRequest, call: CallContext) -> AsyncGenerator[Event, None]:
        """Progress and partial indices while the explanations are computed.

        Ends with :class:`Finished`, or raises as :meth:`explain`. Closing the generator cancels.
        """
        ...

    async def estimate(self, request: ExplainRequest, call: CallContext) -> Estimate:
        """Expected cost of :meth:`explain`; the images are decoded, nothing is scored. Raises as :meth:`explain`."""
        ...

    async def predict(self, request: PredictRequest, call: CallContext) -> Predictions:
        """The model's outputs for encoded images, after its own preprocessing. Raises as :meth:`explain`."""
        ...


class JobPlane(Protocol):
    """Jobs. A job of another caller is an unknown one."""

    async def submit(
        self, request: ExplainRequest, call: CallContext, idempotency_key: str | None
    ) -> JobStatus:
        """Accepts a job, which is then not lost; the same key and request again give the same job.

        Raises:
            WavescopeError: as :meth:`ExplainPlane.explain` as far as it is known before anything is scored;
                IdempotencyConflict, QueueFull, QuotaExceeded, StoreUnavailable.
        """
        ...

    async def job(self, job_id: str, call: CallContext) -> JobStatus:
        """Raises UnknownJob, StoreUnavailable."""
        ...

    def watch(self, job_id: str, call: CallContext) -> AsyncGenerator[JobStatus, None]:
        """The state now, then whenever it or the progress changes; ends after a final state. Raises as :meth:`job`."""
        ...

    async def result(self, job_id: str, call: CallContext) -> tuple[tuple[Explanation, ...], bool]:
        """The explanations of a job that succeeded, and whether its request was a batch.

        Raises:
            WavescopeError: JobUnfinished, JobCancelled, JobFailed; else as :meth:`job`.
        """
        ...

    async def cancel(self, job_id: str, call: CallContext) -> JobStatus:
        """Ends a job that has not ended. Raises as :meth:`job`."""
        ...


class ModelPlane(Protocol):
    """Models, readiness and metrics of the service."""

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


class MonitorPlane(Protocol):
    """Monitors. A monitor of another caller is an unknown one, but for its name, which is taken."""

    async def put_monitor(
        self, name: str, config: MonitorConfig, call: CallContext
    ) -> tuple[MonitorStatus, bool]:
        """Makes a monitor, or changes what does not touch its reference; says whether it is new.

        Raises:
            WavescopeError: InvalidRequest, UnknownModel, TooManyMonitors; MonitorConflict where the reference would
                be another one, or the name is another caller's.
        """
        ...

    async def monitor(self, name: str, call: CallContext) -> MonitorStatus:
        """Raises UnknownMonitor, StoreUnavailable; so do all that follow."""
        ...

    async def monitors(self, call: CallContext) -> tuple[MonitorStatus, ...]:
        """Monitors of the caller, by name."""
        ...

    async def delete_monitor(self, name: str, call: CallContext) -> None:
        """Deletes a monitor with its reference, log and images."""
        ...

    async def observe(
        self, name: str, observations: Sequence[Observation], call: CallContext
    ) -> tuple[str, ...]:
        """Accepts images, to be measured later; says of each what became of it.

        Raises:
            QueueFull: none could be accepted, as too many have not ended; they may be sent again.
            MonitorStale: the reference is of another model or request.
            MonitorConflict: the reference was rejected.
        """
        ...

    async def receive_event(
        self, name: str | None, token: str | None, headers: Mapping[str, str], body: bytes, call: CallContext
    ) -> dict[str, int]:
        """Accepts an inference event as a CloudEvent; counts its images by outcome.

        Args:
            name: of the monitor; ``None`` to find those that match the event.
            token: capability token; ``None`` where the caller's key says who it is.

        Raises:
            WavescopeError: StoreUnavailable; InvalidRequest for what is no event; Forbidden for another token.
        """
        ...

    async def command_monitor(self, name: str, command: Command, call: CallContext) -> MonitorStatus:
        """Carries out a command, after all observations that came before it.

        Raises:
            AlarmNotOpen: to acknowledge an alarm that is not open.
        """
        ...

    async def renew_token(self, name: str, call: CallContext) -> MonitorStatus:
        """Makes a new capability token; the former one is none any more."""
        ...

    async def monitor_report(
        self, name: str, call: CallContext, *, since: float | None = None, until: float | None = None
    ) -> MonitorReport:
        """The report, of observations within [since, until) where these are given, s since 1970."""
        ...

    async def diagnosis(self, name: str, alarm: int, call: CallContext) -> Diagnosis:
        """The jobs that look into an alarm.

        Raises:
            AlarmNotOpen: there was no alarm of that number.
        """
        ...

    def watch_monitor(self, name: str, call: CallContext) -> AsyncGenerator[MonitorStatus, None]:
        """The status now, then whenever it changes; ends when the monitor is deleted."""
        ...


class DataPlane(ExplainPlane, JobPlane, ModelPlane, MonitorPlane, Protocol):
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

    def kserve_explain(self, *, model: str, duration_s: float) -> None:
        """Record one call of KServe's explain endpoint, beside :meth:`request`; arguments as there."""
        ...


class NullRecorder:
    """Records nothing."""

    def request(self, *, kind: str, model: str, protocol: Transport, code: str, duration_s: float) -> None:
        """Do nothing."""

    def kserve_explain(self, *, model: str, duration_s: float) -> None:
        """Do nothing."""


class Authenticator(Protocol):
    """Authentication of callers by API key."""

    def caller(self, key: str | None) -> str:
        """Authenticate a key; return its name, empty if no keys are configured.

        Raises:
            Unauthenticated: keys are configured, and this is none of them.
        """
        ...

    def priority(self, caller: str) -> Priority:
        """Get the highest priority that the calls of a key may have."""
        ...


class NullAuthenticator:
    """Authenticator of a service without keys: everybody may call, without a name."""

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
        max_ongoing: requests and RPCs that one gateway serves at once, streams among them; probes are not counted.
        max_streams: event streams that are open at once, in all.
        max_streams_per_caller: those of one API key; not counted where none are configured.
        retry_after_s: sent to clients that may retry, where an error has no ``retry_after_s`` of its own.
        loopback_only: whether RPCs from other hosts are refused. A server whose address can be set needs no such
            check; Ray Serve's gRPC proxy listens on every interface.
    """

    max_body_bytes: int = 32 * 1024 * 1024
    max_images: int = 16
    max_targets: int = 16
    max_ongoing: int = 200
    max_streams: int = 64
    max_streams_per_caller: int = 16
    retry_after_s: int = 1
    loopback_only: bool = False
