"""What it costs to send a chunk to a replica through Ray and to have its scores back."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

from bench.setup import MODEL, Setup, photograph, spread, timed

from wavescope.engine.plan import make_plan
from wavescope.engine.requests import make_request
from wavescope.engine.scoring.scorer import Scorer
from wavescope.imaging.source import ImageSource
from wavescope.serving.names import model_application

NAME = "round_trip"
ROWS = (1, 64)


def measure(setup: Setup) -> dict[str, Any]:
    """An empty call; chunks of 1 and 64 rows through Ray, and the same rows in this process, alternating."""
    assert setup.service  # running
    import ray  # which reads its environment when it is imported: the service has set it
    from ray import serve

    handle: Any = serve.get_app_handle(model_application(MODEL))
    source = ImageSource(photograph(), setup.model.details.preprocessing)
    plan = make_plan(source.picture(1), make_request(plan="full"), max_forwards=10**6)
    reference, scorer = ray.put(plan), Scorer(plan, setup.model)

    def through(rows: int, start: int) -> None:
        handle.score.remote(plan.digest, [reference], None, start, start + rows, "logit", (281,)).result()

    def here(rows: int, start: int) -> None:
        for batch in scorer.batches(start, start + rows):
            scorer.score(None, *batch, "logit", (281,))

    for work in (through, here):
        work(64, 0)  # warm: the plan fetched, the base of the first design row rendered
    calls = 10 if setup.quick else 200
    chunks = {}
    for rows in ROWS:
        times = _alternate(through, here, rows, max(calls // rows, 10))
        extra = median(there - here for there, here in zip(times["ray"], times["in_process"], strict=True))
        chunks[rows] = {"ms": times, "extra_ms": extra}
    empty = [timed(lambda: handle.details.remote().result()) * 1e3 for _ in range(calls)]
    return {"empty_ms": empty, "chunks": chunks}


def markdown(results: dict[str, Any]) -> list[str]:
    """The section's table."""
    lines = [
        "## One chunk to a replica and its scores back, through Ray",
        "",
        "| | median ms (min–max) | same rows in process | Ray adds, median ms |",
        "|---|---|---|---|",
        f"| call without rows | {spread(results['empty_ms'], 2)} | | {median(results['empty_ms']):.2f} |",
    ]
    return lines + [
        f"| chunk of {rows} | {spread(chunk['ms']['ray'], 2)} | {spread(chunk['ms']['in_process'], 2)} "
        f"| {chunk['extra_ms']:.2f} |"
        for rows, chunk in results["chunks"].items()
    ]


def _alternate(
    through: Callable[[int, int], None], here: Callable[[int, int], None], rows: int, calls: int
) -> dict[str, list[float]]:
    """Milliseconds; all rows are of the first design row, whose base is rendered already."""
    times: dict[str, list[float]] = {"ray": [], "in_process": []}
    for turn in range(calls):
        start = 2 + turn % 8 * 64
        times["ray"].append(timed(lambda start=start: through(rows, start)) * 1e3)
        times["in_process"].append(timed(lambda start=start: here(rows, start)) * 1e3)
    return times
