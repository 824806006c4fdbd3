"""The step that every kind begins with: one plan, full or adaptive, scored for all targets in one pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from wavescope.core.rows import Moved
from wavescope.engine import adaptive, products, warnings
from wavescope.engine.deadline import Deadline, TimeOver
from wavescope.engine.events import Deaf, Listener, Partial
from wavescope.engine.plan import Plan, Stack
from wavescope.engine.products import Clean, Found
from wavescope.engine.protocols import Rows, Runner
from wavescope.engine.scoreboard import Scored
from wavescope.engine.types import Explanation, ExplanationRequest, Indices, Prediction
from wavescope.errors import ConstantScore, DeadlineExceeded

# Design rows of which there are indices: one alone has no variance that is worth the name.
LEAST_ROWS = 2
# Indices so far are told anew after so many further design rows.
TOLD_ROWS = 2

Find = Callable[[], Found]
Heard = Callable[[Scored], bool]


@dataclass(slots=True)
class Spent:
    """Images scored for the steps after the indices."""

    forwards: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One image of a request and the means to explain it.

    Attributes:
        runner: carries out the steps.
        request: every parameter.
        image: the image's place among those of the request.
        targets: the classes to be explained; ``None`` for the predicted one.
        plan: of the image.
        second: of the other image (``compare``) or of the enlarged one (``zoom``).
        planned_s: seconds that the plans took.
        clock: seconds, monotonic.
        listener: told what is scored, and the indices so far of the first class.
        deadline: of this image.
        spent: by :meth:`score`.
    """

    runner: Runner
    request: ExplanationRequest
    image: int
    targets: tuple[int | None, ...]
    plan: Plan
    second: Plan | None
    planned_s: float
    clock: Callable[[], float]
    listener: Listener
    deadline: Deadline
    spent: Spent = field(default_factory=Spent)

    def check_time(self) -> None:
        """Raises TimeOver after the deadline."""
        if self.deadline.over:
            raise TimeOver

    async def board(
        self,
        work: Plan | Stack,
        rows: Rows | Moved | None,
        score: str,
        targets: tuple[int, ...],
        *,
        heard: Heard | None = None,
    ) -> Scored:
        """As :meth:`wavescope.engine.protocols.Runner.score`; the listener is told what is scored."""
        if heard is None and type(self.listener) is Deaf:
            return await self.runner.score(work, rows, score, targets)
        known = 0

        def tell(board: Scored) -> bool:
            nonlocal known
            new, known = board.done - known, board.done
            if new:
                self.listener.scored(new)
            return heard is None or heard(board)

        return await self.runner.score(work, rows, score, targets, heard=tell)

    async def score(
        self, work: Plan | Stack, rows: Rows | Moved | None, score: str, targets: tuple[int, ...]
    ) -> Scored:
        """All rows within the deadline: arguments as :meth:`board`.

        Raises:
            TimeOver: the deadline came first; what was scored is in ``spent`` all the same.
            ModelFailure: the model returned something that is not a number.
        """
        self.check_time()

        def heard(board: Scored) -> bool:
            del board
            return not self.deadline.over

        scored = await self.board(work, rows, score, targets, heard=heard if self.deadline.given else None)
        self.spent.forwards += scored.done
        if scored.done < (work.rows if rows is None else rows.count):
            raise TimeOver
        return scored


async def attribute(case: Case, plan: Plan, targets: tuple[int | None, ...]) -> list[Explanation]:
    """One explanation per target, without products and without an id; further targets cost no forwards.

    Args:
        case: the image's.
        plan: its own, or its second.
        targets: class indices; ``None`` for the class predicted for this plan's image.

    Raises:
        InvalidRequest: a score the model cannot give.
        ModelFailure: the model returned something that is not a number.
        DeadlineExceeded: too little was scored to tell anything.
    """
    runner, request = case.runner, case.request
    began = case.clock()
    image, outputs = await runner.clean(plan)
    cleans = [
        products.read_clean(image, outputs, runner.details, request.score, target) for target in targets
    ]
    # The runners-up go along: scoring another class of the same images costs nothing.
    wanted = [
        entry.index for clean in cleans for entry in (clean.target, clean.runner_up) if entry is not None
    ]
    classes = tuple(dict.fromkeys(wanted))
    predicted = case.clock()
    finds, forwards, ended = await (_survey if request.plan == "adaptive" else _sample)(
        case, plan, cleans, classes
    )
    timing = {"plan_s": case.planned_s + predicted - began, "score_s": case.clock() - predicted}
    built = [
        await runner.compute(
            products.build, plan, request, runner.details, clean, find, forwards=forwards, timing=timing
        )
        for clean, find in zip(cleans, finds, strict=True)
    ]
    if ended is None:
        return built
    return [replace(one, partial=True, warnings=(*one.warnings, ended)) for one in built]


async def _sample(
    case: Case, plan: Plan, cleans: list[Clean], classes: tuple[int, ...]
) -> tuple[list[Find], int, str | None]:
    """The full pick-freeze sample: what it says of every target, its forwards, and how the deadline ended it."""
    heard = None
    if case.deadline.given or type(case.listener) is not Deaf:
        heard = _Hearing(case, plan).hear
    scored = await case.board(plan, None, case.request.score, classes, heard=heard)

    def scores(entry: Prediction | None) -> products.Scores | None:
        return None if entry is None else scored.pick_freeze(plan.n_factors, classes.index(entry.index))

    def find(clean: Clean) -> Find:
        target = scores(clean.target)
        assert target is not None
        return partial(products.of_sample, case.request, target, scores(clean.runner_up))

    return [find(clean) for clean in cleans], scored.done, _ended(case, plan, scored)


def _ended(case: Case, plan: Plan, scored: Scored) -> str | None:
    """What is said of a sample that its deadline ended."""
    if scored.done == plan.rows:
        return None
    rows, complete = plan.spec.nb_design, len(scored.pick_freeze(plan.n_factors, 0)[0])
    if complete < LEAST_ROWS:
        raise DeadlineExceeded(
            f"deadline_s is {case.request.deadline_s:g}; it was over after {complete} of {rows} design rows, and there "
            f"are no indices of fewer than {LEAST_ROWS}",
            field="deadline_s",
            complete_rows=complete,
            minimum_rows=LEAST_ROWS,
        )
    return warnings.of_ended_sample(complete, rows)


class _Hearing:
    """Hears the scores of a full plan as they come: tells the indices so far, and watches the time.

    Args:
        case: with whom to tell, and the deadline.
        plan: that is scored; its first class is the one that is told of.
    """

    def __init__(self, case: Case, plan: Plan) -> None:
        self._case, self._plan = case, plan
        self._tells = plan is case.plan  # not of a second one
        self._told = 0

    def hear(self, board: Scored) -> bool:
        """Whether to go on."""
        rows = board.complete(self._plan.n_factors + 2)
        if self._tells and rows >= self._told + TOLD_ROWS:
            self._told = rows
            find = partial(self._find, board, rows)
            self._case.listener.partial(Partial(self._case.image, board.done, rows, find))
        return not self._case.deadline.over

    def _find(self, board: Scored, rows: int) -> Indices | None:
        factors = self._plan.n_factors
        sample = board.head(rows * (factors + 2)).pick_freeze(factors, 0)
        return _varying(partial(products.sample_indices, self._case.request, sample))


async def _survey(
    case: Case, plan: Plan, cleans: list[Clean], classes: tuple[int, ...]
) -> tuple[list[Find], int, str | None]:
    """The adaptive plan: what it says of every target, its forwards, and how the deadline ended it."""
    request = case.request

    async def score(rows: Moved) -> np.ndarray:
        return (await case.board(plan, rows, request.score, classes)).values

    def told(forwards: int, find: adaptive.Find) -> None:
        def indices() -> Indices | None:
            return _varying(lambda: products.survey_indices(find()))

        if plan is case.plan:  # not of a second one
            case.listener.partial(Partial(case.image, forwards, None, indices))

    try:
        survey, screening = await adaptive.screen(
            case.runner, plan, request, score=score, deadline=case.deadline, told=told
        )
    except ConstantScore as constant:
        return [partial(_fail, constant) for _ in cleans], plan.spec.nb_design, None
    ended = None
    if screening.stopped == "deadline_s":
        assert request.max_forwards is not None
        ended = warnings.of_ended_screening(len(screening.rounds), survey.spent, request.max_forwards)
    finds = [
        partial(
            products.of_survey,
            survey,
            screening,
            classes.index(clean.target.index),
            None if clean.runner_up is None else classes.index(clean.runner_up.index),
        )
        for clean in cleans
    ]
    return finds, survey.spent, ended


def _varying(find: Callable[[], Indices]) -> Indices | None:
    try:
        return find()
    except ConstantScore:
        return None


def _fail(error: ConstantScore) -> Found:
    raise error
