"""Ray runner: the steps of an explanation, carried out on generators and model replicas."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, ParamSpec, TypeVar

import numpy as np
import ray
from jaxtyping import Float, Float32
from ray import ObjectRef
from ray.exceptions import ObjectLostError
from ray.serve.handle import DeploymentHandle

from wavescope.core.gradients import GradientPath, GradientSums
from wavescope.core.scores import Column
from wavescope.engine.plan import Plan, Stack, chunks, make_stack
from wavescope.engine.protocols import AnyRows
from wavescope.engine.scoring import scoreboard
from wavescope.engine.scoring.scoreboard import Scored
from wavescope.engine.scoring.scorer import GRADIENT_BLOCK
from wavescope.engine.types import ExplanationRequest, ModelDetails
from wavescope.errors import ModelUnavailable
from wavescope.retries import RetryPolicy
from wavescope.serving.admission.planning import PLAN_S, Planning, corrupt_seconds, groups
from wavescope.serving.calls.dispatch import call, fan_out
from wavescope.serving.calls.retries import CHUNKS as CHUNK_RETRIES
from wavescope.serving.generator_client import GeneratorClient
from wavescope.serving.jobs.score_cache import ChunkCache, call_key
from wavescope.store.protocols import ChunkScores
from wavescope.telemetry.counters import Counters
from wavescope.telemetry.metrics import CHUNKS

log = logging.getLogger(__name__)

PUTS = 3  # of one plan's object before its request is given up

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Replicas:
    """Deployments that a runner calls, with chunk sizes and retries.

    Attributes:
        generator: plans.
        model: scores.
        name: of the model.
        window: chunks in flight.
        chunk_rows: rows of one chunk.
        chunk_retries: of chunks whose replica dies.
    """

    generator: GeneratorClient
    model: DeploymentHandle
    name: str
    window: int
    chunk_rows: int
    chunk_retries: RetryPolicy = CHUNK_RETRIES


class RayRunner:
    """Plans on generators and scores on model replicas; a :class:`wavescope.engine.protocols.Runner`.

    Args:
        images: the encoded files of the request.
        details: of the model; replicas of another revision refuse to score.
        replicas: generators and model replicas to be called.
        counters: of the process.
        ledger: stores the scores of a job; ``None`` for a request that is no job.
        job_id: of the job.
        planning: the request's turns to have its images decoded; ``None`` where nobody else wants to.
    """

    def __init__(
        self,
        images: Sequence[bytes],
        details: ModelDetails,
        replicas: Replicas,
        counters: Counters,
        *,
        ledger: ChunkScores | None = None,
        job_id: str = "",
        planning: Planning | None = None,
    ) -> None:
        self._planning = planning
        self._images = images
        self._details = details
        self._replicas = replicas
        self._counters = counters
        self._cache = None if ledger is None else ChunkCache(ledger, job_id)
        # This process owns the objects: replicas fetch each once, whatever happens to the generator.
        self._references: dict[str, asyncio.Future[ObjectRef[Any]]] = {}

    @property
    def details(self) -> ModelDetails:
        return self._details

    async def plan(self, position: int, request: ExplanationRequest, zoom: int) -> Plan:
        async with self._turn(range(position, position + 1), PLAN_S):
            plan, reference = await self._replicas.generator.plan(
                self._images[position], request, zoom, self._details.preprocessing, self._details.outputs
            )
        self._remember(plan, reference)
        return plan

    async def corrupt(
        self, position: int, request: ExplanationRequest
    ) -> tuple[tuple[tuple[str, int], ...], Stack]:
        preprocessing = self._details.preprocessing
        async with self._turn(range(position, position + 1), corrupt_seconds(preprocessing)):
            return await self._replicas.generator.corrupt(self._images[position], request, preprocessing)

    async def clean(self, plan: Plan) -> tuple[Float32[np.ndarray, "c h w"], Float[np.ndarray, " classes"]]:
        return await self._ask(
            plan,
            lambda reference: self._replicas.model.predict.remote(
                self._details.revision, plan.digest, [reference]
            ),
            f"prediction by {self._replicas.name!r}",
        )

    async def outputs(
        self, names: Sequence[str]
    ) -> tuple[Float32[np.ndarray, "n classes"], tuple[tuple[str, ...], ...]]:
        """Raw outputs of the model for every image of the request, and per image what was assumed of its file.

        Args:
            names: what the caller calls each image, for errors.

        Raises:
            NotAnImage, ImageTooLarge: names the image.
            ModelFailure: the model returned something that is not a number.
        """
        stack = await self._stack(names)
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
        return np.concatenate([found[start] for start in sorted(found)]), stack.assumptions

    async def steps(self, plan: Plan) -> Float32[np.ndarray, "k n"]:
        return await self._ask(
            plan,
            lambda reference: self._replicas.model.steps.remote(
                self._details.revision, plan.digest, [reference]
            ),
            "the design of a plan",
        )

    async def score(
        self,
        work: Plan | Stack,
        rows: AnyRows | None,
        score: str,
        targets: tuple[Column, ...],
        *,
        on_scores: Callable[[Scored], bool] | None = None,
    ) -> Scored:
        key = call_key(work, rows, score, targets, self._details.revision) if self._cache else ""
        count = work.rows if rows is None else rows.count
        board = await self._load_board(key, count, scoreboard.width(work, rows, targets))
        if on_scores is not None and board.done and not on_scores(board):
            return board

        async def send(start: int, stop: int) -> Scored:
            scored = await self._ask(
                work,
                lambda reference: self._replicas.model.score.remote(
                    self._details.revision, work.digest, [reference], rows, start, stop, score, targets
                ),
                f"chunk {start}..{stop}",
            )
            if self._cache is not None:
                await self._cache.save(key, start, scored)
            return scored

        def take(start: int, chunk: Scored) -> bool:
            nonlocal board
            board = scoreboard.update(board, start, chunk)
            self._counters.add(CHUNKS, model=self._replicas.name, outcome="scored")
            return on_scores is None or on_scores(board)

        wanted = scoreboard.missing(board)
        size = self._chunk_size(sum(stop - start for start, stop in wanted))
        ranges = ((start + at, start + to) for start, stop in wanted for at, to in chunks(stop - start, size))
        await fan_out(ranges, send, take, window=self._replicas.window)
        return board

    async def gradients(
        self,
        plan: Plan,
        path: GradientPath,
        score: str,
        target: int,
        *,
        on_samples: Callable[[int], bool] | None = None,
    ) -> GradientSums | None:
        found: GradientSums | None = None
        early: dict[int, GradientSums] = {}

        async def send(start: int, stop: int) -> GradientSums:
            return await self._ask(
                plan,
                lambda reference: self._replicas.model.gradients.remote(
                    self._details.revision, plan.digest, [reference], path, start, stop, score, target
                ),
                f"gradients {start}..{stop}",
            )

        def take(start: int, block: GradientSums) -> bool:
            nonlocal found
            early[start] = block
            self._counters.add(CHUNKS, model=self._replicas.name, outcome="scored")
            # Added in the order of the samples, whichever block comes first.
            while (following := early.pop(0 if found is None else found.stop, None)) is not None:
                found = following if found is None else found + following
            return on_samples is None or found is None or on_samples(found.stop)

        await fan_out(chunks(path.samples, GRADIENT_BLOCK), send, take, window=self._replicas.window)
        return found

    async def compute(
        self, work: Callable[Arguments, Result], *args: Arguments.args, **named: Arguments.kwargs
    ) -> Result:
        return await asyncio.to_thread(work, *args, **named)

    async def _stack(self, names: Sequence[str]) -> Stack:
        """Stack of every image after the model's preprocessing; those that take long are decoded one by one."""
        decode_s = self._planning.decode_s if self._planning else [0.0] * len(self._images)
        found: list[Stack] = []
        for places in groups(decode_s):
            images, called = zip(*((self._images[place], names[place]) for place in places), strict=True)
            async with self._turn(places, 0.0):
                stack, reference = await self._replicas.generator.stack(
                    images, called, self._details.preprocessing
                )
            self._remember(stack, reference)
            found.append(stack)
        if len(found) == 1:
            return found[0]
        self._references.clear()
        assumptions = tuple(sentences for stack in found for sentences in stack.assumptions)
        return make_stack(np.concatenate([stack.images for stack in found]), assumptions)

    def _turn(self, images: range, more_s: float) -> AbstractAsyncContextManager[None]:
        """Turn to decode these images, with so many seconds of other planning."""
        if self._planning is None:
            return nullcontext()
        return self._planning.turn(sum(self._planning.decode_s[image] for image in images) + more_s)

    async def _load_board(self, key: str, rows: int, width: int) -> Scored:
        """A board with the cached scores of a scoring call."""
        board = scoreboard.empty(rows, width)
        if self._cache is not None:
            for start, chunk in await self._cache.load(key):
                board = scoreboard.update(board, start, chunk)
                self._counters.add(CHUNKS, model=self._replicas.name, outcome="recalled")
        return board

    def _chunk_size(self, count: int) -> int:
        """Rows of a chunk: the setting's, or whole device batches of fewer where those would leave replicas idle."""
        batch = self._details.batch_size
        share = -(-count // (self._replicas.window * batch)) * batch
        return max(1, min(self._replicas.chunk_rows, share))

    async def _ask(self, work: Plan | Stack, send: Callable[[ObjectRef[Any]], Any], what: str) -> Any:
        """Calls a replica about a plan or stack; its object is put again where Ray has lost it.

        Raises:
            ModelUnavailable: the object was lost again and again.
        """
        for _ in range(PUTS):
            known = self._reference(work)
            reference = await asyncio.shield(known)
            try:
                return await call(
                    partial(send, reference),
                    what=what,
                    policy=self._replicas.chunk_retries,
                    retried=self._count_retry,
                )
            except ObjectLostError as lost:
                log.warning("%s: the object of the plan was lost: %s", what, type(lost).__name__)
                self._count_retry()
                if self._references.get(work.digest) is known:  # no other chunk was first
                    del self._references[work.digest]
        raise ModelUnavailable(f"{what}: the object of the plan was lost {PUTS} times")

    def _reference(self, work: Plan | Stack) -> asyncio.Future[ObjectRef[Any]]:
        """Object that replicas fetch; put once, by the first call that needs it."""
        if work.digest not in self._references:
            # In a thread: a stack of corrupted images is copied for tens of milliseconds.
            self._references[work.digest] = asyncio.ensure_future(asyncio.to_thread(ray.put, work))
        return self._references[work.digest]

    def _remember(self, work: Plan | Stack, reference: ObjectRef[Any] | None) -> None:
        """Remembers the object that a generator has returned, where it is one."""
        if reference is not None:
            known = self._references[work.digest] = asyncio.get_running_loop().create_future()
            known.set_result(reference)

    def _count_retry(self) -> None:
        self._counters.add(CHUNKS, model=self._replicas.name, outcome="retried")
