"""The whole product in one process."""

from __future__ import annotations

import time
from collections.abc import Callable

from wavescope.engine import products, scoreboard
from wavescope.engine.plan import make_plan
from wavescope.engine.protocols import Classifier, Recorder
from wavescope.engine.scoring import PlanScorer
from wavescope.engine.types import Explanation, ExplanationRequest, Picture


def explain(
    picture: Picture,
    request: ExplanationRequest,
    classifier: Classifier,
    *,
    identity: str,
    max_forwards: int,
    progress: Callable[[int, int], None] | None = None,
    recorder: Recorder | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Explanation:
    """Explains one picture with one classifier.

    Args:
        picture: the model's preprocessed crop in [0, 1].
        request: every parameter; a target given by name must have been turned into an index.
        classifier: the model.
        identity: the explanation's id.
        max_forwards: the most forwards admitted.
        progress: called with (forwards done, forwards in all) after every device batch.
        recorder: told what was rendered and scored.
        clock: seconds, monotonic.

    Raises:
        InvalidRequest: names the field that does not suit the image or the model.
        ModelFailure: the model returned something that is not a number.
    """
    began = clock()
    plan = make_plan(picture, request, max_forwards=max_forwards)
    scorer = PlanScorer(plan, classifier, recorder=recorder, clock=clock)
    details = classifier.details
    clean = products.read_clean(scorer.image(), scorer.predict(), details, request)
    planned = clock()
    board = scoreboard.empty(plan.rows, plan.n_factors)
    for start, stop in scorer.batches(0, plan.rows):
        values = scorer.score(start, stop, request.score, [clean.target.index])
        board = scoreboard.update(board, start, values[:, 0])
        if progress is not None:
            progress(stop, plan.rows)
    scored = clock()
    timing = {"plan_s": planned - began, "score_s": scored - planned, "total_s": scored - began}
    return products.build(plan, request, details, clean, board, identity=identity, timing=timing)
