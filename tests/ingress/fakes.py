"""A data plane, a recorder, a gRPC context and a drawing that answer at once, and an explanation made by hand."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import grpc
import httpx
import numpy as np
from fastapi import FastAPI

from wavescope.engine.types import (
    BandImportance,
    CropBox,
    Explanation,
    ExplanationRequest,
    Indices,
    LevelImportance,
    Maps,
    Prediction,
)
from wavescope.errors import UnknownModel
from wavescope.ingress.examples import TINY_PNG
from wavescope.ingress.http import build_app
from wavescope.ingress.plane import IngressLimits

IMAGE = base64.b64decode(TINY_PNG)
FIGURE = b"\x89PNG\r\n\x1a\n a figure"
MODEL = "efficientnet-lite0"


def make_explanation(seed: int = 0) -> Explanation:
    """An explanation with every field set, none of them round."""
    rng = np.random.default_rng(seed)
    k = 9
    total = rng.random(k)
    band = BandImportance(*rng.random(3).tolist())
    levels = (
        LevelImportance(0, (4, None), *rng.random(3).tolist(), None, None, None),
        LevelImportance(
            1, (2, 4), *rng.random(3).tolist(), band, replace(band, sum=0.5), replace(band, sum=0.25)
        ),
    )
    predictions = tuple(Prediction(i, f"class {i}", float(p)) for i, p in enumerate(rng.random(5)))
    return Explanation(
        id="an-id",
        kind="wcam",
        model=MODEL,
        outcome="explained",
        target=predictions[1],
        prediction=predictions,
        indices=Indices(total, rng.random(k), rng.random(k), np.stack([total - 0.1, total + 0.1], axis=1)),
        maps=Maps(
            wcam=rng.random((16, 12), dtype=np.float32),
            spatial_wcam=rng.random((15, 11), dtype=np.float32),
            factors=rng.integers(-1, k, (16, 12), dtype=np.int32),
        ),
        levels=levels,
        crop=CropBox(0.5, 1.25, 100.75, 99.0),
        forwards=88,
        timing={"plan_s": 0.125, "total_s": 1.5},
        parameters=ExplanationRequest().parameters(),
        image=rng.random((3, 15, 11), dtype=np.float32),
        warnings=("one", "two"),
    )


def constant(explanation: Explanation) -> Explanation:
    """The same, had the score not varied."""
    return replace(explanation, outcome="constant_score", indices=None, maps=None, levels=None)


@dataclass
class FakePlane:
    """Answers with one explanation, or raises one error."""

    explanation: Explanation
    error: Exception | None = None
    is_ready: bool = True
    calls: list[tuple[bytes, str, ExplanationRequest, str]] = field(default_factory=list)

    async def explain(
        self, image: bytes, model: str, request: ExplanationRequest, *, request_id: str
    ) -> Explanation:
        self.calls.append((image, model, request, request_id))
        if self.error is not None:
            raise self.error
        if model != MODEL:
            raise UnknownModel(f"no model is named {model!r}", field="model", supported=[MODEL])
        return replace(self.explanation, parameters=request.parameters())

    async def models(self) -> dict[str, dict[str, Any]]:
        return {MODEL: {"ready": True, "device": "cpu"}, "other": {"ready": False, "device": "cuda:0"}}

    async def ready(self) -> bool:
        return self.is_ready

    async def metrics(self) -> str:
        return "# HELP wavescope_forwards_total Images.\nwavescope_forwards_total 1.0\n"


@dataclass
class MemoryRecorder:
    """Keeps what was recorded, durations apart."""

    requests: list[tuple[str, str, str, str]] = field(default_factory=list)
    durations_s: list[float] = field(default_factory=list)

    def request(self, *, kind: str, model: str, protocol: str, code: str, duration_s: float) -> None:
        self.requests.append((kind, model, protocol, code))
        self.durations_s.append(duration_s)


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

    def peer(self) -> str:
        return self.address


def draw(explanation: Explanation) -> bytes:
    return FIGURE


def make_app(plane: FakePlane, recorder: MemoryRecorder | None = None, **limits: int) -> FastAPI:
    return build_app(plane, limits=IngressLimits(**limits), draw=draw, recorder=recorder)


def send(app: FastAPI, method: str, path: str, **options: Any) -> httpx.Response:
    """One request straight into the application."""

    async def run() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return await client.request(method, path, **options)

    return asyncio.run(run())


def post(app: FastAPI, fields: dict[str, Any] | None = None, **options: Any) -> httpx.Response:
    """One request for an explanation: the fields beside the image as JSON, or what the options say."""
    if not options.keys() & {"content", "files"}:
        options["json"] = {"image": {"base64": TINY_PNG}, **(fields or {})}
    return send(app, "POST", "/v1/explanations", **options)


async def chunks(count: int, size: int, sent: list[int]) -> AsyncIterator[bytes]:
    """A body without a declared length; ``sent`` grows with each chunk that was asked for."""
    for index in range(count):
        sent.append(index)
        yield b"x" * size
