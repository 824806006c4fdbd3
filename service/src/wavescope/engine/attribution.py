"""The step that every kind begins with: one plan, full or adaptive, scored for all targets in one pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from jaxtyping import Float32

from wavescope.core.rendering.masks import DerivativeRows, PickFreezeRows
from wavescope.core.scores import AUTO, Column
from wavescope.core.sobol.estimators import Scores
from wavescope.engine import adaptive, checks, products, warnings
from wavescope.engine.deadline import Deadline, TimeOver
from wavescope.engine.events import NULL_LISTENER, Listener, NullListener, PartialIndices
from wavescope.engine.plan import Plan, Stack
from wavescope.engine.products import CleanPrediction, SampleResult
from wavescope.engine.protocols import AnyRows, Runner
from wavescope.engine.scoring.scoreboard import Scored
from wavescope.engine.types import Explanation, ExplanationRequest, Indices
from wavescope.errors import ConstantScore, DeadlineExceeded

# Design rows of which there are indices: one alone has no variance that is worth the name.
LEAST_ROWS = 2
# Indices so far are reported after so many further design rows.
REPORT_ROWS = 2

Find = Callable[[], SampleResult]
# Of a class, and of its contrast where it has one; and the share of images in which a logit of that is a bound alone.
Finds = tuple[Find, Find | None, float]
OnScores = Callable[[Scored], bool]


@dataclass(slots=True)
class ForwardCount:
    """Number of images scored for the steps after the indices."""

    forwards: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class ImageContext:
    """One planned image of a request with all that its explanation takes.

    Attributes:
        runner: carries out the steps.
        request: every parameter.
        position: of the image among those of the request.
        targets: the classes to be explained; ``None`` for the predicted one.
        plan: of the image.
        second: of the other image (``compare``) or of the enlarged one (``zoom``).
        planned_s: seconds that the plans took.
        clock: seconds, monotonic.
        deadline: of this image; none before the request is begun.
        prior_named: whether the caller named the prior, and did not leave it to ``auto``.
        listener: hears of every score, and of the indices so far of the first class.
        spent: counted by :meth:`score`.
    """

    runner: Runner
    request: ExplanationRequest
    position: int
    targets: tuple[int | None, ...]
    plan: Plan
    second: Plan | None
    planned_s: float
    clock: Callable[[], float]
    deadline: Deadline
    prior_named: bool = False
    listener: Listener = NULL_LISTENER
    spent: ForwardCount = field(default_factory=ForwardCount)

    @property
    def forwards(self) -> int:
        """Images to be scored in all; with an adaptive plan the most it may take."""
        plans = [self.plan] if self.second is None else [self.plan, self.second]
        samples = sum(checks.sample_forwards(self.request, plan.n_factors) for plan in plans)
        outputs = self.runner.details.outputs
        return samples + len(self.targets) * checks.product_forwards(
            self.request, self.plan.n_factors, outputs
        )

    def check_time(self) -> None:
        """Raises TimeOver after the deadline."""
        if self.deadline.over:
            raise TimeOver

    async def board(
        self,
        work: Plan | Stack,
        rows: AnyRows | None,
        score: str,
        targets: tuple[Column, ...],
        *,
        on_scores: OnScores | None = None,
        cost: int = 1,
    ) -> Scored:
        """Score as :meth:`wavescope.engine.protocols.Runner.score`; the listener hears of every score.

        Args:
            cost: forwards that each row counts as.
        """
        if on_scores is None and type(self.listener) is NullListener:
            return await self.runner.score(work, rows, score, targets)
        known = 0

        def report(board: Scored) -> bool:
            nonlocal known
            new, known = board.done - known, board.done
            if new:
                self.listener.scored(new * cost)
            return on_scores is None or on_scores(board)

        return await self.runner.score(work, rows, score, targets, on_scores=report)

    async def score(
        self, work: Plan | Stack, rows: AnyRows | None, score: str, targets: tuple[Column, ...]
    ) -> Scored:
        """Score all rows within the deadline; arguments as :meth:`board`.

        Raises:
            TimeOver: the deadline came first; what was scored is in ``spent`` all the same.
            ModelFailure: the model returned something that is not a number.
        """
        self.check_time()

        def in_time(board: Scored) -> bool:
            del board
            return not self.deadline.over

        on_scores = in_time if self.deadline.given else None
        scored = await self.board(work, rows, score, targets, on_scores=on_scores)
        self.spent.forwards += scored.done
        if scored.done < (work.rows if rows is None else rows.count):
            raise TimeOver
        return scored


async def attribute(context: ImageContext, plan: Plan, targets: tuple[int | None, ...]) -> list[Explanation]:
    """One explanation per target, without products and without an id; further targets cost no forwards.

    Args:
        context: of the image.
        plan: its own, or its second.
        targets: class indices; ``None`` for the class predicted for this plan's image.

    Raises:
        InvalidRequest: a score the model cannot give; or the class to be contrasted with is the predicted one; or prior
            ``gradients`` was named, and no gradient is finite.
        ModelFailure: the model returned something that is not a number.
        DeadlineExceeded: too little was scored for any indices.
    """
    runner, request = context.runner, context.request
    began = context.clock()
    image, outputs = await runner.clean(plan)
    cleans = [products.read_clean(image, outputs, runner.details, request, target) for target in targets]
    # The runners-up and the contrasts go along: scoring them of the same images costs nothing.
    columns = tuple(dict.fromkeys(column for clean in cleans for column in clean.columns))
    predicted = context.clock()
    steps = await runner.steps(plan)
    finds, forwards, ended, unlike = await (_adaptive if request.plan == "adaptive" else _sample)(
        context, plan, cleans, columns, steps
    )
    timing = {"plan_s": context.planned_s + predicted - began, "score_s": context.clock() - predicted}
    if unlike is not None and not context.prior_named:  # the same request again is answered in the same way
        request = replace(request, prior=AUTO)
    built = [
        await runner.compute(
            products.build,
            plan,
            request,
            runner.details,
            clean,
            find,
            find_contrast,
            bounded,
            forwards=forwards,
            timing=timing,
        )
        for clean, (find, find_contrast, bounded) in zip(cleans, finds, strict=True)
    ]
    further = tuple(sentence for sentence in (unlike, ended) if sentence is not None)
    return [
        replace(one, partial=one.partial or ended is not None, warnings=(*one.warnings, *further))
        for one in built
    ]


async def _sample(
    context: ImageContext,
    plan: Plan,
    cleans: list[CleanPrediction],
    columns: tuple[Column, ...],
    steps: Float32[np.ndarray, "k n"],
) -> tuple[list[Finds], int, str | None, str | None]:
    """The full pick-freeze sample: what it says of every target, its forwards, how the deadline ended it, nothing."""
    on_scores = None
    if context.deadline.given or type(context.listener) is not NullListener:
        on_scores = _SampleMonitor(context, plan, steps).take
    scored = await context.board(plan, None, context.request.score, columns, on_scores=on_scores)

    def scores(column: Column) -> Scores:
        return scored.pick_freeze(plan.n_factors, columns.index(column))

    scored_steps = steps[:, scored.complete_rows(plan.n_factors + 2)]

    def find(clean: CleanPrediction) -> Finds:
        runner_up = None if clean.runner_up is None else scores(clean.runner_up.index)
        target = partial(
            products.of_sample, context.request, scores(clean.target.index), runner_up, scored_steps
        )
        if clean.contrast is None or clean.bounded is None:
            return target, None, 0.0
        contrast = partial(products.of_sample, context.request, scores(clean.contrast), None, scored_steps)
        bounded = float(np.nansum(scored.values[:, columns.index(clean.bounded)])) / max(scored.done, 1)
        return target, contrast, bounded

    return [find(clean) for clean in cleans], scored.done, _ended(context, plan, scored), None


def _ended(context: ImageContext, plan: Plan, scored: Scored) -> str | None:
    """Warning about a sample that its deadline ended."""
    if scored.done == plan.rows:
        return None
    rows, complete = plan.spec.nb_design, int(scored.complete_rows(plan.n_factors + 2).sum())
    if complete < LEAST_ROWS:
        raise DeadlineExceeded(
            f"deadline_s is {context.request.deadline_s:g}; it was over after {complete} of {rows} design rows, and "
            f"there are no indices of fewer than {LEAST_ROWS}",
            field="deadline_s",
            complete_rows=complete,
            minimum_rows=LEAST_ROWS,
        )
    return warnings.of_ended_sample(complete, rows)


class _SampleMonitor:
    """Follows the scores of a full plan as they come: reports the indices so far, and watches the deadline.

    Args:
        context: with the listener and the deadline.
        plan: that is scored; indices are reported of its first class.
        steps: of its design.
    """

    def __init__(self, context: ImageContext, plan: Plan, steps: Float32[np.ndarray, "k n"]) -> None:
        self._context, self._plan, self._steps = context, plan, steps
        self._reports = plan is context.plan  # not of a second one
        self._reported_rows = 0

    def take(self, board: Scored) -> bool:
        """Whether to go on."""
        rows = board.complete(self._plan.n_factors + 2)
        if self._reports and rows >= self._reported_rows + REPORT_ROWS:
            self._reported_rows = rows
            self._context.listener.partial(partial(self._compute, board, rows))
        return not self._context.deadline.over

    def _compute(self, board: Scored, rows: int) -> PartialIndices | None:
        factors = self._plan.n_factors
        sample = board.head(rows * (factors + 2)).pick_freeze(factors, 0)
        indices = _varying(
            lambda: products.sample_indices(self._context.request, sample, self._steps[:, :rows])
        )
        return indices and PartialIndices(self._context.position, board.done, rows, indices)


async def _adaptive(
    context: ImageContext,
    plan: Plan,
    cleans: list[CleanPrediction],
    columns: tuple[Column, ...],
    steps: Float32[np.ndarray, "k n"],
) -> tuple[list[Finds], int, str | None, str | None]:
    """The adaptive plan: as :func:`_sample`, and what was other than the request asked for."""
    request = context.request

    bounded = np.zeros(len(columns))  # sums of the columns that count

    async def score(rows: PickFreezeRows) -> np.ndarray:
        values = (await context.board(plan, rows, request.score, columns)).values
        nonlocal bounded
        bounded += values.sum(axis=0)
        return values

    async def derive(rows: DerivativeRows, cost: int) -> np.ndarray:
        return (await context.board(plan, rows, request.score, columns[:1], cost=cost)).values

    def report(forwards: int, find: adaptive.Find) -> None:
        def compute() -> PartialIndices | None:
            indices = _varying(lambda: products.adaptive_indices(find()))
            return indices and PartialIndices(context.position, forwards, None, indices)

        if plan is context.plan:  # not of a second one
            context.listener.partial(compute)

    try:
        estimator, screening, unlike = await adaptive.screen(
            context.runner,
            plan,
            request,
            steps,
            score=score,
            derive=derive,
            deadline=context.deadline,
            report=report,
            prior_named=context.prior_named,
        )
    except ConstantScore as constant:
        return [(partial(_fail, constant), None, 0.0) for _ in cleans], plan.spec.nb_design, None, None
    ended = None
    if screening.stopped == "deadline_s":
        assert request.max_forwards is not None
        ended = warnings.of_ended_screening(len(screening.rounds), estimator.spent, request.max_forwards)

    def find(clean: CleanPrediction) -> Finds:
        runner_up = None if clean.runner_up is None else columns.index(clean.runner_up.index)
        of_plan = partial(products.of_adaptive_plan, estimator, screening)
        target = partial(of_plan, columns.index(clean.target.index), runner_up)
        if clean.contrast is None or clean.bounded is None:
            return target, None, 0.0
        share = float(bounded[columns.index(clean.bounded)]) / estimator.spent
        return target, partial(of_plan, columns.index(clean.contrast), None), share

    return [find(clean) for clean in cleans], estimator.spent, ended, unlike


def _varying(find: Callable[[], Indices]) -> Indices | None:
    try:
        return find()
    except ConstantScore:
        return None


def _fail(error: ConstantScore) -> SampleResult:
    raise error
