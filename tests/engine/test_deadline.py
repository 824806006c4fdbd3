"""A deadline for every plan and kind: what is known then is the answer. Every image takes a second."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.fakes.classifiers import FunctionClassifier, details, random_picture
from tests.fakes.listeners import Listening

from wavescope.engine.checks import check_request
from wavescope.engine.deadline import Deadline
from wavescope.engine.explain import ResolvedRequest, explain_planned, plan_request
from wavescope.engine.kinds import KINDS, PERTURBING
from wavescope.engine.local import LocalRunner, Preprocessed
from wavescope.engine.requests import make_request
from wavescope.engine.run import explain, explain_many
from wavescope.engine.types import Explanation, ExplanationRequest, Picture
from wavescope.errors import CostLimitExceeded, DeadlineExceeded, InvalidRequest

SHAPE = (2, 16, 16)
PICTURE = random_picture(SHAPE, seed=0)
OTHER = random_picture(SHAPE, seed=1)
WIDTH = 4 * 4 + 2  # rows of the sample for each row of the design
FULL: dict[str, Any] = {"plan": "full", "grid_size": 4, "levels": 2, "nb_design": 8}
CLEAN = 1


class Zoomable:
    """A picture with an enlarged one and corrupted ones."""

    def picture(self, zoom: int) -> Picture:
        return random_picture(SHAPE, seed=zoom - 1)

    def corrupted(self, seed: int, *, reference: bool) -> Iterator[tuple[str, int, np.ndarray]]:
        del seed, reference
        for severity in range(1, 6):
            yield "brightness", severity, np.full(SHAPE, 51 * severity, dtype=np.uint8)


def curved() -> FunctionClassifier:
    """Three classes whose factors act together; a device batch is a row of the design."""
    w = np.random.default_rng(1).normal(size=(3, *SHAPE)) / 4
    return FunctionClassifier(
        lambda image: np.tanh(np.tensordot(w, image, 3)) * 3, details(SHAPE, classes=3, batch_size=WIDTH)
    )


def run(
    request: ExplanationRequest, deadline_s: float | None = None, model: Any = None, **options: Any
) -> Explanation:
    model = model or curved()
    return explain(
        options.pop("of", PICTURE),
        replace(request, deadline_s=deadline_s),
        model,
        identity="",
        max_forwards=10**6,
        clock=lambda: float(sum(model.batches)),
        **options,
    )


# ---- the sample --------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [2, 4])
def test_a_full_plan_that_is_ended_is_the_plan_of_so_many_rows(rows: int) -> None:
    model = curved()
    done = run(make_request(**FULL), CLEAN + rows * WIDTH, model)
    assert done.partial
    assert done.forwards == sum(model.batches) - CLEAN == rows * WIDTH
    whole = run(make_request(**FULL | {"nb_design": rows}))
    np.testing.assert_array_equal(done.indices.total, whole.indices.total)
    np.testing.assert_array_equal(done.indices.first, whole.indices.first)
    np.testing.assert_array_equal(done.maps.wcam, whole.maps.wcam)
    assert done.worth == whole.worth
    assert done.parameters["nb_design"] == 8


def test_the_warning_says_how_many_rows_it_is_made_of() -> None:
    three = run(make_request(**FULL), CLEAN + 3 * WIDTH)
    assert three.warnings[-1] == (
        "ended after 3 of 8 design rows by deadline_s, and standard errors need at least 4"
    )
    assert three.indices.standard_error is None
    five = run(make_request(**FULL), CLEAN + 5 * WIDTH)
    assert five.warnings[-1] == "ended after 5 of 8 design rows by deadline_s"
    assert five.indices.standard_error is not None


def test_forwards_of_an_incomplete_row_are_counted_and_not_used() -> None:
    w = np.random.default_rng(1).normal(size=(3, *SHAPE)) / 4
    model = FunctionClassifier(
        lambda image: np.tanh(np.tensordot(w, image, 3)) * 3, details(SHAPE, classes=3, batch_size=27)
    )
    done = run(make_request(**FULL), CLEAN + 81, model)
    assert done.forwards == 81
    assert done.warnings[-1] == "ended after 4 of 8 design rows by deadline_s"
    np.testing.assert_array_equal(
        done.indices.total, run(make_request(**FULL | {"nb_design": 4})).indices.total
    )


@pytest.mark.parametrize("deadline_s", [1e-9, CLEAN + 1.0, CLEAN + WIDTH])
def test_fewer_than_two_design_rows_are_an_error_that_counts_them(deadline_s: float) -> None:
    with pytest.raises(
        DeadlineExceeded, match=r"it was over after 1 of 8 design rows, .* fewer than 2$"
    ) as late:
        run(make_request(**FULL), deadline_s)
    assert late.value.field == "deadline_s"
    assert late.value.limits == {"complete_rows": 1, "minimum_rows": 2}


@pytest.mark.parametrize("kind", sorted(PERTURBING))
@pytest.mark.parametrize("plan", ["full", "adaptive"])
def test_a_deadline_that_is_kept_changes_no_bit(kind: str, plan: str) -> None:
    given = FULL | {"plan": plan, "kind": kind, "faithfulness": True}
    if plan == "adaptive":
        given |= {"max_forwards": 64}
    request = make_request(**given)
    of, other = (Zoomable(), None) if kind != "compare" else (PICTURE, OTHER)
    alone = run(request, of=of, other=other)
    # Half of the image's time is kept for a second one.
    done = run(request, 2.0 * alone.forwards + 10, of=of, other=other)
    assert not done.partial
    assert done.indices.total.tobytes() == alone.indices.total.tobytes()
    assert (done.worth, done.forwards, done.warnings) == (alone.worth, alone.forwards, alone.warnings)
    assert (done.robustness, done.screening) == (alone.robustness, alone.screening)


def test_the_last_row_in_time_is_a_whole_plan_however_late() -> None:
    done = run(make_request(**FULL), CLEAN + 8 * WIDTH - 0.5)
    assert not done.partial
    assert done.warnings == run(make_request(**FULL)).warnings


def test_a_score_that_does_not_vary_is_an_outcome_after_a_deadline_too() -> None:
    model = FunctionClassifier(lambda _: (2.0, 1.0), details(SHAPE, batch_size=WIDTH))
    done = run(make_request(**FULL), CLEAN + 3 * WIDTH, model)
    assert (done.outcome, done.partial, done.forwards) == ("constant_score", True, 3 * WIDTH)


def test_further_targets_share_the_rows_that_there_are() -> None:
    model = curved()
    request = make_request(**FULL, deadline_s=CLEAN + 4 * WIDTH)
    resolved = ResolvedRequest(request, ((0, 1),), ("a", "b"))
    found = explain_many(
        [PICTURE], resolved, model, max_forwards=10**6, clock=lambda: float(sum(model.batches))
    )
    for target, one in enumerate(found):
        assert one.partial
        alone = run(make_request(**FULL | {"nb_design": 4, "target": target}))
        np.testing.assert_allclose(one.indices.total, alone.indices.total, rtol=1e-12)


def test_the_last_answer_on_the_way_is_the_one_that_is_kept() -> None:
    listening = Listening()
    done = run(make_request(**FULL), CLEAN + 4 * WIDTH, listener=listening)
    assert [partial.rows for partial in listening.partials] == [2, 4]
    assert listening.partials[-1].indices.total.tobytes() == done.indices.total.tobytes()
    assert sum(listening.counts) == done.forwards < listening.announced[0]


# ---- what comes after --------------------------------------------------------------------------


def left_out(step: str) -> str:
    return f"{step} left out: deadline_s was over before all of it was scored"


def test_the_sufficient_image_is_left_out_where_there_is_no_time_for_it() -> None:
    request = make_request(**FULL, kind="sufficient-image")
    model = curved()
    never = run(request, CLEAN + 8 * WIDTH, model)
    assert (never.partial, never.sufficiency, never.forwards) == (True, None, 8 * WIDTH)
    assert never.warnings[-1] == left_out("the sufficient image")
    assert sum(model.batches) == CLEAN + 8 * WIDTH


def test_what_a_step_scored_before_it_was_left_off_is_counted() -> None:
    w = np.random.default_rng(1).normal(size=(3, *SHAPE)) / 4
    model = FunctionClassifier(
        lambda image: np.tanh(np.tensordot(w, image, 3)) * 3, details(SHAPE, classes=3, batch_size=6)
    )
    done = run(make_request(**FULL, kind="sufficient-image"), CLEAN + 8 * WIDTH + 12, model)
    assert (done.sufficiency, done.partial) == (None, True)
    assert done.forwards == 8 * WIDTH + 12 == sum(model.batches) - CLEAN
    whole = run(make_request(**FULL, kind="sufficient-image"))
    np.testing.assert_array_equal(done.indices.total, whole.indices.total)


def test_robustness_keeps_the_depth_where_there_is_no_time_for_corruptions() -> None:
    request = make_request(**FULL, kind="robustness")
    done = run(request, CLEAN + 8 * WIDTH + 17, of=Zoomable())
    assert done.sufficiency is not None
    assert (done.robustness, done.partial) == (None, True)
    assert done.warnings[-1] == left_out("robustness")
    assert done.forwards == 8 * WIDTH + 17


def test_faithfulness_is_left_out_and_the_map_stays() -> None:
    done = run(make_request(**FULL, faithfulness=True), CLEAN + 8 * WIDTH)
    assert (done.faithfulness, done.partial) == (None, True)
    assert done.maps is not None
    assert done.warnings[-1] == left_out("faithfulness")
    model = curved()
    later = run(make_request(**FULL, faithfulness=True), CLEAN + 8 * WIDTH + 40, model)
    assert later.faithfulness is None
    assert later.forwards == sum(model.batches) - CLEAN > 8 * WIDTH


# ---- second images -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["compare", "zoom"])
def test_both_images_get_the_same_time(kind: str) -> None:
    of, other = (PICTURE, OTHER) if kind == "compare" else (Zoomable(), None)
    deadline_s = 2 * (CLEAN + 4 * WIDTH)
    given = FULL | {"partition": "grid"}
    done = run(make_request(**given, kind=kind), deadline_s, of=of, other=other)
    second = done.comparison.other if kind == "compare" else done.zoom.zoomed
    assert done.partial
    assert second.partial
    assert second.forwards == 4 * WIDTH
    assert done.forwards == 8 * WIDTH
    said = "ended after 4 of 8 design rows by deadline_s"
    assert said in done.warnings
    assert said in second.warnings
    told = (
        f"other image: {said}"
        if kind == "compare"
        else "deadline_s ended the explanation of the enlarged image early, as its own warnings say"
    )
    assert told in done.warnings


def test_no_time_for_the_second_image_is_an_error() -> None:
    class Slow(FunctionClassifier):
        """Takes an hour for the eighth batch."""

        def forward(self, images: np.ndarray) -> np.ndarray:
            found = super().forward(images)
            if len(self.batches) == 5:
                self.batches.append(3600)
            return found

    quick = curved()
    model = Slow(quick._of_image, quick.details)
    with pytest.raises(
        DeadlineExceeded, match="over before the second image of kind 'compare' was begun"
    ) as late:
        run(make_request(**FULL, kind="compare"), 200.0, model, other=OTHER)
    assert late.value.field == "deadline_s"


# ---- batches and waiting -----------------------------------------------------------------------


def batch(deadline_s: float, count: int, **options: Any) -> tuple[Explanation, ...]:
    model = curved()
    resolved = ResolvedRequest(
        make_request(**FULL, deadline_s=deadline_s),
        ((None,),) * count,
        tuple("abcdef"[:count]),
        tuple(f"images[{place}]" for place in range(count)),
    )
    pictures = [random_picture(SHAPE, seed=place) for place in range(count)]
    return explain_many(
        pictures, resolved, model, max_forwards=10**6, clock=lambda: float(sum(model.batches)), **options
    )


def test_images_of_a_batch_share_one_deadline() -> None:
    found = batch(3 * (CLEAN + 4 * WIDTH), 3)
    assert [one.forwards for one in found] == [4 * WIDTH] * 3


def test_what_an_image_leaves_over_goes_to_those_after_it() -> None:
    """The first of three overdraws by half a row: the others have a little less."""
    found = batch(3 * (CLEAN + 4 * WIDTH) + 9, 3)
    assert [one.forwards // WIDTH for one in found] == [5, 4, 4]
    # Two of three end in time: the last has all that is left.
    found = batch(2 * (CLEAN + 8 * WIDTH) + 200, 2)
    assert [one.partial for one in found] == [False, False]


def test_an_image_that_has_too_little_is_named() -> None:
    with pytest.raises(DeadlineExceeded, match=r"^images\[0\]: deadline_s is 10; it was over after 1 of 8"):
        batch(10, 2)


def test_a_share_is_an_even_part_of_what_is_left() -> None:
    now = 2.0
    whole = Deadline(14.0, lambda: now)
    assert whole.share(3).at == 6.0
    assert whole.share(1) is whole
    now = 20.0
    assert whole.share(2).over
    assert not Deadline(float("inf"), lambda: now).share(2).over


def prepared(request: ExplanationRequest, model: FunctionClassifier, **options: Any) -> Any:
    runner = LocalRunner(
        [Preprocessed(PICTURE)],
        model,
        max_forwards=options.pop("max_forwards", 10**6),
        recorder=None,
        clock=lambda: float(sum(model.batches)),
    )
    resolved = ResolvedRequest(request, ((None,),), ("a",))
    return plan_request(runner, resolved, clock=lambda: float(sum(model.batches)))


def test_time_spent_waiting_counts() -> None:
    async def waited() -> Explanation:
        model = curved()
        ready = await prepared(make_request(**FULL, deadline_s=100.0), model)
        (done,) = await explain_planned(ready, began=-100.0 + CLEAN + 2 * WIDTH)
        return done

    assert asyncio.run(waited()).forwards == 2 * WIDTH


def test_preparing_counts_the_forwards_and_scores_nothing() -> None:
    model = curved()
    given = FULL | {"kind": "sufficient-image", "faithfulness": True}
    ready = asyncio.run(prepared(make_request(**given), model))
    assert model.batches == []
    listening = Listening()
    (done,) = asyncio.run(explain_planned(ready, listener=listening))
    assert listening.announced == [ready.forwards] == [done.forwards]


@pytest.mark.parametrize(
    ("given", "options", "error"),
    [
        ({"levels": 9}, {}, InvalidRequest),
        ({"score": "logit", "deadline_s": -1.0}, {}, InvalidRequest),
        ({}, {"max_forwards": 100}, CostLimitExceeded),
    ],
)
def test_what_is_wrong_is_told_while_preparing(
    given: dict[str, Any], options: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        asyncio.run(prepared(make_request(**FULL | given), curved(), **options))


def test_a_score_the_model_cannot_give_is_told_while_preparing() -> None:
    model = FunctionClassifier(lambda _: (1.0,), details(SHAPE, classes=1))
    with pytest.raises(InvalidRequest, match="margin"):
        asyncio.run(prepared(make_request(**FULL, score="margin"), model))
    assert model.batches == []


# ---- requests ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("given", [{}, {"nb_design": 4}, {"max_forwards": 100}])
def test_a_deadline_leaves_the_plan_as_it_would_be_without(kind: str, given: dict[str, Any]) -> None:
    request = make_request(kind=kind, **given)
    assert make_request(kind=kind, deadline_s=2.0, **given) == replace(request, deadline_s=2.0)


@pytest.mark.parametrize("plan", ["full", "adaptive"])
@pytest.mark.parametrize("deadline_s", [0.0, -1.0, float("nan"), float("inf")])
def test_a_deadline_of_no_seconds_is_refused(plan: str, deadline_s: float) -> None:
    with pytest.raises(
        InvalidRequest, match=r"^deadline_s is .*; it must be above 0( and finite)?$"
    ) as caught:
        check_request(make_request(plan=plan, deadline_s=deadline_s), (32, 32))
    assert caught.value.field == "deadline_s"
