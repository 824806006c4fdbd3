"""A data plane, a recorder, a gRPC context and a drawing that answer at once, and an explanation made by hand."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field, is_dataclass, replace
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import grpc
import httpx
import numpy as np
from fastapi import FastAPI

from wavescope.core.scores import resolve_score
from wavescope.engine.events import Finished, PartialIndices, Progress
from wavescope.engine.kinds import KINDS
from wavescope.engine.requests import make_request
from wavescope.engine.types import (
    Attributions,
    BandImportance,
    CropBox,
    Explanation,
    ExplanationRequest,
    Faithfulness,
    Indices,
    Kept,
    LevelImportance,
    LevelMap,
    Maps,
    ModelDetails,
    Prediction,
    Preprocessing,
    Round,
    Screening,
    Sufficiency,
    Target,
    Worth,
)
from wavescope.errors import JobCancelled, JobUnfinished, UnknownJob, UnknownModel
from wavescope.ingress.app import build_app
from wavescope.ingress.job_replies import job_failed
from wavescope.ingress.layout import array_form, without_none
from wavescope.ingress.openapi.request_examples import TINY_PNG
from wavescope.ingress.plane import (
    CallContext,
    Estimate,
    Event,
    ExplainRequest,
    IngressLimits,
    JobStatus,
    Predictions,
    PredictRequest,
)
from wavescope.ingress.stream_limits import OpenStreams

IMAGE = base64.b64decode(TINY_PNG)
FIGURE = b"\x89PNG\r\n\x1a\n a figure"
MODEL = "efficientnet-lite0"
DETAILS = ModelDetails(
    name=MODEL,
    preprocessing=Preprocessing(),
    outputs="probabilities",
    labels=("class 0", "class 1", "class 2"),
    device="cpu",
    precision="float32",
    runtime="a runtime",
    batch_size=8,
)


def make_explanation(kind: str = "wcam", seed: int = 0) -> Explanation:
    """An explanation with every section that its kind has, none of its numbers round."""
    rng = np.random.default_rng([seed, *kind.encode()])
    k = 9
    total = rng.random(k)
    predictions = tuple(Prediction(i, f"class {i}", float(p)) for i, p in enumerate(rng.random(5)))
    return Explanation(
        id="an-id",
        kind=kind,
        model=MODEL,
        outcome="explained",
        target=predictions[1],
        prediction=predictions,
        indices=Indices(
            total,
            rng.random(k),
            rng.random(k),
            np.stack([total - 0.1, total + 0.1], axis=1),
            effect=tuple((total - 0.5).tolist()),
            effect_error=tuple((total / 4).tolist()),
        )
        if not KINDS[kind].gradients
        else None,
        maps=_maps(kind, rng),
        levels=_levels(rng) if KINDS[kind].transform == "wavelet" else None,
        crop=CropBox(0.5, 1.25, 100.75, 99.0),
        forwards=88,
        timing={"plan_s": 0.125, "total_s": 1.5},
        parameters=make_request(kind=kind, score="logit").parameters(),
        image=rng.random((3, 15, 11), dtype=np.float32),
        warnings=("one", "two"),
        worth=None
        if KINDS[kind].gradients
        else Worth(*rng.random(2).tolist(), predictions[0], float(rng.random())),
        **_sections(kind, seed, rng),
    )


def _maps(kind: str, rng: np.random.Generator) -> Maps:
    shapes = {"wcam": (16, 12), "wam": (16, 12)}
    return Maps(
        factors=rng.integers(-1, 9, (16, 12), dtype=np.int32),
        **{name: rng.random(shapes.get(name, (15, 11)), dtype=np.float32) for name in KINDS[kind].maps},
    )


def _levels(rng: np.random.Generator) -> tuple[LevelImportance, ...]:
    band = BandImportance(*rng.random(3).tolist())
    return (
        LevelImportance(0, (4, None), *rng.random(3).tolist(), None, None, None),
        LevelImportance(
            1, (2, 4), *rng.random(3).tolist(), band, replace(band, sum=0.5), replace(band, sum=0.25)
        ),
    )


def _sections(kind: str, seed: int, rng: np.random.Generator) -> dict[str, Any]:
    """The sections of a kind and of its transform, their numbers drawn; faithfulness with ``wcam``."""
    names = [*KINDS[kind].sections, *(["radial"] if KINDS[kind].transform == "fourier" else [])]
    hints = get_type_hints(Explanation)
    sections: dict[str, Any] = {
        name: _sufficiency(rng) if name == "sufficiency" else _drawn(hints[name], kind, seed, rng)
        for name in names
    }
    if kind == "wcam":
        sections["faithfulness"] = tuple(_faithfulness(domain, rng) for domain in ("pixel", "wavelet"))
    return sections


def _drawn(hint: Any, kind: str, seed: int, rng: np.random.Generator, *, absent: bool = False) -> Any:
    """A value of a type, drawn; ``absent`` for ``None`` where it may be."""
    if NoneType in get_args(hint):
        return None if absent else _drawn(without_none(hint), kind, seed, rng)
    if hint is Explanation:
        return replace(make_explanation("wcam", seed + 1), kind=kind, contrast=None)
    if hint is Indices:
        return Indices(
            *rng.random((3, 9)), np.stack([rng.random(9)] * 2, axis=1), effect=(0.5,) * 8 + (-0.25,)
        )
    if hint is Attributions:
        total = rng.random(9)
        maps = tuple(LevelMap(level, (2, 4), rng.random((15, 11), dtype=np.float32)) for level in (0, 1))
        return Attributions(
            "integrated_gradients", 25, total, total - 0.5, None, None, *rng.random(3).tolist(), maps
        )
    if is_dataclass(hint):
        parts = get_type_hints(hint).items()
        return hint(**{name: _drawn(part, kind, seed, rng, absent=absent) for name, part in parts})
    if array_form(hint) is not None:
        return rng.random((15, 11), dtype=np.float32)
    if get_origin(hint) is tuple:
        members = get_args(hint)
        if members[-1] is Ellipsis:  # the first entry has all that may be absent absent, the second nothing
            return tuple(_drawn(members[0], kind, seed, rng, absent=first) for first in (True, False))
        return tuple(_drawn(member, kind, seed, rng, absent=absent) for member in members)
    if get_origin(hint) is dict:
        return {"fog": float(rng.random()), "frost": 1.0}
    if get_origin(hint) is Literal:
        return get_args(hint)[0]
    draw = {
        int: rng.integers(1, 5).item(),
        float: float(rng.random()),
        bool: bool(rng.integers(2)),
        str: "fog",
    }
    return draw[hint]


def _sufficiency(rng: np.random.Generator) -> Sufficiency:
    first, second, third = rng.random((3, 3, 15, 11), dtype=np.float32)
    return Sufficiency(
        outcome="sufficient",
        depth=3,
        order=rng.permutation(9).astype(np.int32),
        probability=rng.random(10),
        predicted=rng.integers(0, 5, 10, dtype=np.int32),
        positive_factors=7,
        image=first,
        top_image=second,
        positive_image=third,
        kept=Kept(123, 576, float(rng.random()), 210, 480),
    )


def _faithfulness(domain: Any, rng: np.random.Generator) -> Faithfulness:
    insertion, deletion, mu = rng.random(3).tolist()
    curves = rng.random((2, 5))
    parameters = {"steps": 4, "baseline": "zero", "seed": 0, "grid_size": 9 if domain == "pixel" else None}
    return Faithfulness(
        domain, insertion, deletion, mu, None, np.linspace(0, 1, 5), curves[0], curves[1], parameters
    )


def constant(explanation: Explanation) -> Explanation:
    """The same, had the score not varied."""
    derived = (
        "indices", "maps", "levels", "worth", "radial", "profile", "sufficiency", "comparison", "robustness", "zoom",
        "faithfulness", "screening", "contrast", "attributions",
    )  # fmt: skip
    return replace(explanation, outcome="constant_score", **dict.fromkeys(derived))


def adaptive(explanation: Explanation) -> Explanation:
    """The same, had most factors been perturbed in groups alone; as it is of a kind that perturbs none."""
    if explanation.indices is None:
        return explanation
    total = explanation.indices.total
    measured = [place % 3 == 0 for place in range(len(total))]
    effect = tuple(value if alone else None for value, alone in zip(total.tolist(), measured, strict=True))
    indices = replace(
        explanation.indices,
        first=None,
        resolved=np.array(measured),
        upper_bound=total + 0.25,
        effect=effect,
        effect_error=(*effect[:-1], None),
    )
    rounds = (Round(40, 1, 0.375, 0.75, 0.125), Round(64, 3, 0.15, 0.875, 0.0625))
    parameters = make_request(
        kind=explanation.kind, score="logit", plan="adaptive", max_forwards=64
    ).parameters()
    screening = Screening("max_forwards", 4, rounds)
    return replace(explanation, indices=indices, screening=screening, parameters=parameters, forwards=64)


def without_depth(explanation: Explanation) -> Explanation:
    """The same, had no number of factors sufficed."""
    assert explanation.sufficiency is not None
    absent = replace(explanation.sufficiency, outcome="none_suffices", depth=None, image=None, kept=None)
    return replace(explanation, sufficiency=absent)


@dataclass(frozen=True)
class Asked:
    """One call of the plane."""

    images: tuple[bytes, ...]
    model: str
    request: ExplanationRequest
    targets: tuple[tuple[Target, ...], ...]
    other: bytes | None
    request_id: str = ""
    call: CallContext | None = field(default=None, compare=False)


@dataclass
class FakePlane:
    """Answers with one explanation for every image and target, or raises one error; jobs wait until told to go on."""

    explanation: Explanation
    error: Exception | None = None
    is_ready: bool = True
    calls: list[Asked] = field(default_factory=list)
    jobs: dict[str, JobStatus] = field(default_factory=dict)
    keys: dict[tuple[str, str], str] = field(default_factory=dict)
    results: dict[str, tuple[tuple[Explanation, ...], bool]] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)
    closed: int = 0
    registered: dict[str, dict[str, Any]] = field(
        default_factory=lambda: {
            MODEL: {"ready": True, "state": "ready", "device": "cpu", "preprocessing": {"size": [224, 224]}},
            "other": {"ready": False, "state": "loading", "device": "cuda:0"},
        }
    )

    def _ask(self, request: ExplainRequest, call: CallContext) -> tuple[Explanation, ...]:
        images = request.images[: len(request.targets)]
        asked = Asked(
            images, request.model, request.request, request.targets, request.other, call.request_id, call
        )
        self.calls.append(asked)
        self._check(request.model)
        targets = [target for image in request.targets for target in image]
        return tuple(
            replace(
                self.explanation,
                id=f"{self.explanation.id}-{position}" if len(targets) > 1 else self.explanation.id,
                parameters={
                    **request.request.parameters(),
                    "target": target,
                    "score": resolve_score(request.request.score, "logits"),
                },
            )
            for position, target in enumerate(targets)
        )

    def _check(self, model: str) -> None:
        if self.error is not None:
            raise self.error
        if model != MODEL:
            raise UnknownModel.among(model, self.model_names())

    async def explain(self, request: ExplainRequest, call: CallContext) -> tuple[Explanation, ...]:
        return self._ask(request, call)

    async def stream(self, request: ExplainRequest, call: CallContext) -> AsyncGenerator[Event, None]:
        try:
            explanations = self._ask(request, call)
            yield Progress(0, 88, 0.0, None)
            yield Progress(44, 88, 1.5, 1.5)
            if self.explanation.indices is not None:  # of a constant score there are none
                yield PartialIndices(0, 22, 2, self.explanation.indices)
            yield Finished(explanations)
        finally:
            self.closed += 1

    async def estimate(self, request: ExplainRequest, call: CallContext) -> Estimate:
        self._ask(request, call)
        return Estimate(88, 1.5, 0.25, cached=False)

    async def predict(self, request: PredictRequest, call: CallContext) -> Predictions:
        self._check(request.model)
        outputs = np.tile(np.array([0.25, 0.5, 0.125], dtype=np.float32), (len(request.images), 1))
        top = (Prediction(1, "class 1", 0.5), Prediction(0, "class 0", 0.25), Prediction(2, "class 2", 0.125))
        warnings = tuple((f"image {place} is nearly black",) for place in range(len(request.images)))
        return Predictions(DETAILS, outputs, (top[: request.top_k],) * len(request.images), warnings)

    async def submit(
        self, request: ExplainRequest, call: CallContext, idempotency_key: str | None
    ) -> JobStatus:
        explanations = self._ask(request, call)
        if idempotency_key is not None and (call.caller, idempotency_key) in self.keys:
            return self.jobs[self.keys[call.caller, idempotency_key]]
        job_id = f"job-{len(self.jobs) + 1}"
        self.jobs[job_id] = JobStatus(
            id=job_id,
            state="queued",
            kind=request.request.kind,
            model=request.model,
            image_count=len(request.targets),
            created_at=1000.0,
        )
        self.owners[job_id] = call.caller
        self.results[job_id] = (explanations, request.batch)
        if idempotency_key is not None:
            self.keys[call.caller, idempotency_key] = job_id
        return self.jobs[job_id]

    async def job(self, job_id: str, call: CallContext) -> JobStatus:
        if job_id not in self.jobs or self.owners[job_id] != call.caller:
            raise UnknownJob(f"no job is {job_id!r}", field="id")
        return self.jobs[job_id]

    async def watch(self, job_id: str, call: CallContext) -> AsyncGenerator[JobStatus, None]:
        """Goes through the states of a job that succeeds, unless it has ended already."""
        job = await self.job(job_id, call)
        yield job
        if job.state == "queued":
            yield replace(job, state="running", started_at=1001.0, forwards=44, planned=88, eta_s=1.5)
            self.finish(job_id)
            yield self.jobs[job_id]

    def finish(self, job_id: str) -> None:
        self.jobs[job_id] = replace(
            self.jobs[job_id],
            state="succeeded",
            started_at=1001.0,
            finished_at=1002.5,
            forwards=88,
            planned=88,
        )

    async def result(self, job_id: str, call: CallContext) -> tuple[tuple[Explanation, ...], bool]:
        job = await self.job(job_id, call)
        if job.state == "failed":
            raise job_failed(job)
        if job.state == "cancelled":
            raise JobCancelled(f"job {job_id!r} was cancelled")
        if job.state != "succeeded":
            raise JobUnfinished(f"job {job_id!r} is {job.state}")
        return self.results[job_id]

    async def cancel(self, job_id: str, call: CallContext) -> JobStatus:
        job = await self.job(job_id, call)
        if job.state in ("queued", "running"):
            self.jobs[job_id] = replace(job, state="cancelled", finished_at=1003.0)
        return self.jobs[job_id]

    async def models(self) -> dict[str, dict[str, Any]]:
        return self.registered

    async def model(self, name: str) -> dict[str, Any]:
        if name not in self.registered:
            raise UnknownModel.among(name, self.registered)
        return self.registered[name]

    def model_names(self) -> tuple[str, ...]:
        return tuple(self.registered)

    async def ready(self) -> bool:
        return self.is_ready

    async def metrics(self) -> str:
        return "# HELP wavescope_forwards_total Images.\nwavescope_forwards_total 1.0\n"


@dataclass
class MemoryRecorder:
    """Keeps what was recorded, durations apart."""

    requests: list[tuple[str, str, str, str]] = field(default_factory=list)
    durations_s: list[float] = field(default_factory=list)
    by_kserve: list[str] = field(default_factory=list)

    def request(self, *, kind: str, model: str, protocol: str, code: str, duration_s: float) -> None:
        self.requests.append((kind, model, protocol, code))
        self.durations_s.append(duration_s)

    def kserve_explain(self, *, model: str, duration_s: float) -> None:
        assert duration_s == self.durations_s[-1]
        self.by_kserve.append(model)


@dataclass
class FakeContext:
    """What Ray Serve's gRPC context does of a servicer's context."""

    metadata: list[tuple[str, str]] = field(default_factory=list)
    code: grpc.StatusCode | None = None
    details: str = ""
    trailing: dict[str, str] = field(default_factory=dict)
    address: str = "ipv4:127.0.0.1:50000"

    def set_code(self, code: grpc.StatusCode) -> None:
        self.code = code

    def set_details(self, details: str) -> None:
        self.details = details

    def set_trailing_metadata(self, trailing_metadata: list[tuple[str, str]]) -> None:
        self.trailing = dict(trailing_metadata)

    def invocation_metadata(self) -> list[tuple[str, str]]:
        return self.metadata

    def trailing_metadata(self) -> list[tuple[str, str]]:
        return list(self.trailing.items())

    def peer(self) -> str:
        return self.address


def draw(explanation: Explanation) -> bytes:
    return FIGURE


def make_app(
    plane: FakePlane,
    recorder: MemoryRecorder | None = None,
    streams: OpenStreams | None = None,
    **limits: int,
) -> FastAPI:
    return build_app(plane, limits=IngressLimits(**limits), draw=draw, recorder=recorder, streams=streams)


def send(app: FastAPI, method: str, path: str, **options: Any) -> httpx.Response:
    """One request straight into the application."""

    async def run() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return await client.request(method, path, **options)

    return asyncio.run(run())


def body(fields: dict[str, Any] | None = None) -> dict[str, Any]:
    """A JSON request of these fields, with an image where they bring none, and with the one that ``compare`` needs."""
    fields = fields or {}
    image = {"base64": TINY_PNG}
    images = {} if "images" in fields or "image" in fields else {"image": image}
    return images | ({"other": image} if fields.get("kind") == "compare" else {}) | fields


def post(app: FastAPI, fields: dict[str, Any] | None = None, **options: Any) -> httpx.Response:
    """One request for an explanation: the fields beside the image as JSON, or what the options say."""
    if not options.keys() & {"content", "files"}:
        options["json"] = body(fields)
    return send(app, "POST", "/v1/explanations", **options)


async def chunks(count: int, size: int, sent: list[int]) -> AsyncIterator[bytes]:
    """A body without a declared length; ``sent`` grows with each chunk that was asked for."""
    for index in range(count):
        sent.append(index)
        yield b"x" * size
