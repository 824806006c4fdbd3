"""The steps of an explanation carried out on replicas."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ParamSpec, TypeVar

import numpy as np
import ray
from jaxtyping import Float, Float32
from ray import ObjectRef
from ray.exceptions import ObjectLostError
from ray.serve.handle import DeploymentHandle

from wavescope.core.rows import Moved
from wavescope.engine import scoreboard
from wavescope.engine.plan import Plan, Stack, chunks
from wavescope.engine.protocols import Rows
from wavescope.engine.scoreboard import Scored
from wavescope.engine.types import ExplanationRequest, ModelDetails
from wavescope.errors import ModelUnavailable
from wavescope.serving.dispatch import call, fan_out
from wavescope.serving.ledger import KeptScores, call_key
from wavescope.store.protocols import Ledger
from wavescope.telemetry.counters import Counters
from wavescope.telemetry.metrics import CHUNKS

log = logging.getLogger(__name__)

PUTS = 3  # of one plan's object before its request is given up

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
        details: of the model; replicas of another revision refuse to score.
        replicas: where the work is done.
        counters: of the process.
        ledger: keeps the scores of a job; ``None`` for what is no job.
        job_id: of the job.
    """

    def __init__(
        self,
        images: Sequence[bytes],
        details: ModelDetails,
        replicas: Replicas,
        counters: Counters,
        *,
        ledger: Ledger | None = None,
        job_id: str = "",
    ) -> None:
        self._images = images
        self._details = details
        self._replicas = replicas
        self._counters = counters
        self._kept = None if ledger is None else KeptScores(ledger, job_id)
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
        return await self._ask(
            plan,
            lambda reference: self._replicas.model.predict.remote(
                self._details.revision, plan.digest, [reference]
            ),
            f"prediction by {self._replicas.name!r}",
        )

    async def outputs(self, names: Sequence[str]) -> Float32[np.ndarray, "n classes"]:
        """The model's raw outputs for every image of the request, after its preprocessing.

        Args:
            names: what the caller calls each image, for errors.

        Raises:
            NotAnImage, ImageTooLarge: names the image.
            ModelFailure: the model returned something that is not a number.
        """
        stack, reference = await self._generated("stack", tuple(self._images), tuple(names))
        self._references[stack.digest] = reference
        found: dict[int, np.ndarray] = {}

        async def send(start: int, stop: int) -> np.ndarray:
            return await self._ask(
                stack,
                lambda reference: self._replicas.model.outputs.remote(
                    self._details.revision, stack.digest, [reference], start, stop
                ),
                f"prediction of images {start}..{stop}",
            )

        def take(start: int, chunk: np.ndarray) -> bool:
            found[start] = chunk
            return True

        size = self._chunk_size(stack.rows)
        await fan_out(chunks(stack.rows, size), send, take, window=self._replicas.window)
        return np.concatenate([found[start] for start in sorted(found)])

    async def score(
        self,
        work: Plan | Stack,
        rows: Rows | Moved | None,
        score: str,
        targets: tuple[int, ...],
        *,
        heard: Callable[[Scored], bool] | None = None,
    ) -> Scored:
        key = call_key(work, rows, score, targets, self._details.revision) if self._kept else ""
        board = await self._recalled(key, work.rows if rows is None else rows.count, len(targets))
        if heard is not None and board.done and not heard(board):
            return board

        async def send(start: int, stop: int) -> Scored:
            scored = await self._ask(
                work,
                lambda reference: self._replicas.model.score.remote(
                    self._details.revision, work.digest, [reference], rows, start, stop, score, targets
                ),
                f"chunk {start}..{stop}",
            )
            if self._kept is not None:
                await self._kept.keep(key, start, scored)
            return scored

        def take(start: int, chunk: Scored) -> bool:
            nonlocal board
            board = scoreboard.update(board, start, chunk)
            self._counters.add(CHUNKS, model=self._replicas.name, outcome="scored")
            return heard is None or heard(board)

        wanted = scoreboard.missing(board)
        size = self._chunk_size(sum(stop - start for start, stop in wanted))
        ranges = ((start + at, start + to) for start, stop in wanted for at, to in chunks(stop - start, size))
        await fan_out(ranges, send, take, window=self._replicas.window)
        return board

    async def compute(
        self, work: Callable[Arguments, Result], *args: Arguments.args, **named: Arguments.kwargs
    ) -> Result:
        return await asyncio.to_thread(work, *args, **named)

    async def _recalled(self, key: str, rows: int, targets: int) -> Scored:
        """A board with what was kept of a scoring call."""
        board = scoreboard.empty(rows, targets)
        if self._kept is not None:
            for start, chunk in await self._kept.recall(key):
                board = scoreboard.update(board, start, chunk)
                self._counters.add(CHUNKS, model=self._replicas.name, outcome="recalled")
        return board

    def _chunk_size(self, count: int) -> int:
        """Rows of a chunk: the setting's, or whole device batches of fewer where those would leave replicas idle."""
        batch = self._details.batch_size
        share = -(-count // (self._replicas.window * batch)) * batch
        return max(1, min(self._replicas.chunk_rows, share))

    async def _ask(self, work: Plan | Stack, send: Callable[[ObjectRef[Any]], Any], what: str) -> Any:
        """What a replica answers about a plan or stack; its object is put anew where Ray has lost it.

        Raises:
            ModelUnavailable: the object was lost again and again.
        """
        for _ in range(PUTS):
            reference = self._reference(work)
            try:
                return await call(partial(send, reference), what=what, retried=self._retried)
            except ObjectLostError as lost:
                log.warning("%s: the object of the plan was lost: %s", what, type(lost).__name__)
                self._retried()
                if self._references.get(work.digest) is reference:  # no other chunk was first
                    del self._references[work.digest]
        raise ModelUnavailable(f"{what}: the object of the plan was lost {PUTS} times")

    def _reference(self, work: Plan | Stack) -> ObjectRef[Any]:
        """The object that replicas fetch; plans made here are put once."""
        if work.digest not in self._references:
            self._references[work.digest] = ray.put(work)
        return self._references[work.digest]

    async def _generated(self, method: str, *args: Any) -> tuple[Any, ObjectRef[Any]]:
        """What a generator returns, and the object it is."""

        async def receive(response: Any) -> tuple[Any, ObjectRef[Any]]:
            reference = await response._to_object_ref()  # noqa: SLF001  # Ray Serve has no public way
            return await response, reference

        return await call(
            lambda: getattr(self._replicas.generator, method).remote(*args, self._details.preprocessing),
            what=f"generator's {method}",
            retried=lambda: None,
            receive=receive,
        )

    def _retried(self) -> None:
        self._counters.add(CHUNKS, model=self._replicas.name, outcome="retried")
