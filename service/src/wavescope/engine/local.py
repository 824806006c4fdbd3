"""Local runner: the steps of an explanation, carried out in this process."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, ParamSpec, TypeVar

import numpy as np
from jaxtyping import Float, Float32, UInt8

from wavescope.core.gradients import GradientPath, GradientSums
from wavescope.core.scores import Column
from wavescope.engine.plan import Plan, Stack, chunks, make_plan, make_stack
from wavescope.engine.protocols import AnyRows, Classifier, Recorder, Source
from wavescope.engine.scoring import scoreboard
from wavescope.engine.scoring.scoreboard import Scored
from wavescope.engine.scoring.scorer import GRADIENT_BLOCK, Scorer
from wavescope.engine.types import ExplanationRequest, ModelDetails, Picture
from wavescope.errors import InvalidRequest

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class Preprocessed:
    """A picture that is preprocessed already, and so can be neither enlarged nor corrupted."""

    def __init__(self, picture: Picture) -> None:
        self._picture = picture

    def picture(self, zoom: int) -> Picture:
        """The picture itself.

        Raises:
            InvalidRequest: asked to be enlarged.
        """
        if zoom != 1:
            raise InvalidRequest(
                "kind 'zoom' needs the original image, not a preprocessed picture", field="kind"
            )
        return self._picture

    def corrupted(
        self, seed: int, *, reference: bool
    ) -> Iterator[tuple[str, int, UInt8[np.ndarray, "c h w"]]]:
        """Refused.

        Raises:
            InvalidRequest: always.
        """
        raise InvalidRequest(
            "kind 'robustness' needs the original image, not a preprocessed picture", field="kind"
        )


class LocalRunner:
    """Plans and scores with one classifier, step after step.

    Args:
        sources: the images of the request.
        classifier: the model.
        max_forwards: the most forwards admitted for one explanation.
        recorder: counts rendered and scored images.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        classifier: Classifier,
        *,
        max_forwards: int,
        recorder: Recorder | None,
        clock: Callable[[], float],
    ) -> None:
        self._sources = sources
        self._classifier = classifier
        self._max_forwards = max_forwards
        self._recorder = recorder
        self._clock = clock
        self._kept: tuple[str, Scorer] | None = None

    @property
    def details(self) -> ModelDetails:
        return self._classifier.details

    async def plan(self, position: int, request: ExplanationRequest, zoom: int) -> Plan:
        return make_plan(
            self._sources[position].picture(zoom),
            request,
            max_forwards=self._max_forwards,
            outputs=self.details.outputs,
        )

    async def corrupt(
        self, position: int, request: ExplanationRequest
    ) -> tuple[tuple[tuple[str, int], ...], Stack]:
        return corrupt(self._sources[position], request)

    async def clean(self, plan: Plan) -> tuple[Float32[np.ndarray, "c h w"], Float[np.ndarray, " classes"]]:
        scorer = self._scorer(plan)
        return scorer.image(), scorer.predict()

    async def steps(self, plan: Plan) -> Float32[np.ndarray, "k n"]:
        return self._scorer(plan).steps()

    async def score(
        self,
        work: Plan | Stack,
        rows: AnyRows | None,
        score: str,
        targets: tuple[Column, ...],
        *,
        on_scores: Callable[[Scored], bool] | None = None,
    ) -> Scored:
        scorer = self._scorer(work)
        count = work.rows if rows is None else rows.count
        board = scoreboard.empty(count, scoreboard.width(work, rows, targets))
        for start, stop in scorer.batches(0, count):
            board = scoreboard.update(board, start, scorer.score(rows, start, stop, score, targets))
            if on_scores is not None and not on_scores(board):
                break
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
        scorer, found = self._scorer(plan), None
        for start, stop in chunks(path.samples, GRADIENT_BLOCK):
            block = scorer.gradients(path, start, stop, score, target)
            found = block if found is None else found + block
            if on_samples is not None and not on_samples(stop):
                break
        return found

    async def compute(
        self, work: Callable[Arguments, Result], *args: Arguments.args, **named: Arguments.kwargs
    ) -> Result:
        return work(*args, **named)

    def _scorer(self, work: Plan | Stack) -> Scorer:
        """The scorer of this work; that of the last is kept, as its patches serve many calls."""
        if self._kept is None or self._kept[0] != work.digest:
            self._kept = None  # its memory first
            made = Scorer(work, self._classifier, recorder=self._recorder, clock=self._clock)
            self._kept = (work.digest, made)
        return self._kept[1]


def corrupt(source: Source, request: ExplanationRequest) -> tuple[tuple[tuple[str, int], ...], Stack]:
    """(corruption, severity) of every corrupted image of a source, and the images."""
    found = list(source.corrupted(request.seed, reference=request.compat == "reference"))
    names = tuple((name, severity) for name, severity, _ in found)
    return names, make_stack(np.stack([image for _, _, image in found]))


def drive(steps: Coroutine[Any, Any, Result]) -> Result:
    """Runs a coroutine whose every step is carried out at once, as a local runner's are, and returns its result."""
    try:
        steps.send(None)
    except StopIteration as done:
        return done.value
    steps.close()
    raise RuntimeError("a local runner never waits")
