"""The steps of an explanation carried out on replicas."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

import numpy as np
import ray
from jaxtyping import Float, Float32
from ray import ObjectRef
from ray.serve.handle import DeploymentHandle

from wavescope.core.rows import Moved
from wavescope.engine import scoreboard
from wavescope.engine.plan import Plan, Stack, chunks
from wavescope.engine.protocols import Rows
from wavescope.engine.scoreboard import Scored
from wavescope.engine.types import ExplanationRequest, ModelDetails
from wavescope.errors import WavescopeError
from wavescope.serving.dispatch import call, fan_out
from wavescope.telemetry.counters import Counters
from wavescope.telemetry.metrics import CHUNKS

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Replicas:
    """Where the work is done.

    Attributes:
        generator: plans.
        model: scores.
        name: of the model.
        window: chunks in flight.
        chunk_rows: rows of one chunk.
    """

    generator: DeploymentHandle
    model: DeploymentHandle
    name: str
    window: int
    chunk_rows: int


class RayRunner:
    """Plans on generators and scores on model replicas; a :class:`wavescope.engine.protocols.Runner`.

    Args:
        images: the encoded files of the request.
        details: of the model.
        replicas: where the work is done.
        counters: of the process.
    """

    def __init__(
        self, images: Sequence[bytes], details: ModelDetails, replicas: Replicas, counters: Counters
    ) -> None:
        self._images = images
        self._details = details
        self._replicas = replicas
        self._counters = counters
        # This process owns the objects: replicas fetch each once, whatever happens to the generator.
        self._references: dict[str, ObjectRef[Any]] = {}

    @property
    def details(self) -> ModelDetails:
        return self._details

    async def plan(self, image: int, request: ExplanationRequest, zoom: int) -> Plan:
        plan, reference = await self._generated("plan", self._images[image], request, zoom)
        self._references[plan.digest] = reference
        return plan

    async def corrupted(
        self, image: int, request: ExplanationRequest
    ) -> tuple[tuple[tuple[str, int], ...], Stack]:
        (names, stack), _ = await self._generated("corrupt", self._images[image], request)
        return names, stack

    async def clean(self, plan: Plan) -> tuple[Float32[np.ndarray, "c h w"], Float[np.ndarray, " classes"]]:
        reference = self._reference(plan)
        return await call(
            lambda: self._replicas.model.predict.remote(plan.digest, [reference]),
            what=f"prediction by {self._replicas.name!r}",
            retried=self._retried,
        )

    async def score(
        self, work: Plan | Stack, rows: Rows | Moved | None, score: str, targets: tuple[int, ...]
    ) -> Scored:
        count = work.rows if rows is None else rows.count
        reference = self._reference(work)
        board = scoreboard.empty(count, len(targets))

        async def send(start: int, stop: int) -> Scored:
            return await call(
                lambda: self._replicas.model.score.remote(
                    work.digest, [reference], rows, start, stop, score, targets
                ),
                what=f"chunk {start}..{stop}",
                retried=self._retried,
            )

        def take(start: int, chunk: Scored) -> None:
            nonlocal board
            board = scoreboard.update(board, start, chunk)
            self._counters.add(CHUNKS, model=self._replicas.name, outcome="scored")

        await fan_out(chunks(count, self._chunk_size(count)), send, take, window=self._replicas.window)
        return board

    def _chunk_size(self, count: int) -> int:
        """Rows of a chunk: the setting's, or whole device batches of fewer where those would leave replicas idle."""
        batch = self._details.batch_size
        share = -(-count // (self._replicas.window * batch)) * batch
        return min(self._replicas.chunk_rows, share)

    async def compute(
        self, work: Callable[Arguments, Result], *args: Arguments.args, **named: Arguments.kwargs
    ) -> Result:
        return await asyncio.to_thread(work, *args, **named)

    def _reference(self, work: Plan | Stack) -> ObjectRef[Any]:
        """The object that replicas fetch; plans made here are put once."""
        if work.digest not in self._references:
            self._references[work.digest] = ray.put(work)
        return self._references[work.digest]

    async def _generated(self, method: str, *args: Any) -> tuple[Any, ObjectRef[Any]]:
        response: Any = getattr(self._replicas.generator, method).remote(*args, self._details.preprocessing)
        reference = await response._to_object_ref()  # noqa: SLF001  # Ray Serve has no public way
        try:
            return await response, reference
        except WavescopeError as error:
            raise getattr(error, "cause", error) from None  # what was raised there, not Ray's envelope

    def _retried(self) -> None:
        self._counters.add(CHUNKS, model=self._replicas.name, outcome="retried")
