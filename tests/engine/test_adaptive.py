"""The adaptive plan end to end: when it stops, what it refuses, what it tells on the way, on models known by hand."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from tests.fakes.classifiers import FunctionClassifier, details, linear_classifier, picture, random_picture
from tests.fakes.listeners import Listening

from wavescope.core.partition import partition
from wavescope.core.sobol.diagnostics import spearman
from wavescope.core.wavelets import analyse
from wavescope.engine.adaptive import SETTLED, factor_features
from wavescope.engine.checks import check_adaptive, check_request
from wavescope.engine.choices import ADAPTIVE_ACCURACY, ADAPTIVE_FORWARDS
from wavescope.engine.explain import ResolvedRequest
from wavescope.engine.kinds import PERTURBING
from wavescope.engine.limits import LEAST_FORWARDS, MAX_ADAPTIVE_FACTORS
from wavescope.engine.plan import make_plan
from wavescope.engine.requests import independent_rows, make_request
from wavescope.engine.run import explain, explain_many
from wavescope.engine.types import Explanation, ExplanationRequest, Picture
from wavescope.errors import CostLimitExceeded, InvalidRequest

SHAPE = (2, 32, 32)
PICTURE = random_picture(SHAPE, seed=0)
SMALL: dict[str, Any] = {"plan": "adaptive", "grid_size": 8, "levels": 2, "max_forwards": 300}
EXACT: dict[str, Any] = {"value_policy": "none", "score": "logit", "target": 0}


class Zoomable:
    """A picture with an enlarged one."""

    def picture(self, zoom: int) -> Picture:
        return random_picture(SHAPE, seed=zoom - 1)

    def corrupted(self, seed: int, *, reference: bool) -> Iterator[tuple[str, int, np.ndarray]]:
        del seed, reference
        for severity in range(1, 6):
            yield "brightness", severity, np.full(SHAPE, 51 * severity, dtype=np.uint8)


def run(request: ExplanationRequest, model: FunctionClassifier | None = None, **options: Any) -> Explanation:
    options = {"identity": "known", "max_forwards": 100_000} | options
    of = options.pop("of", PICTURE)
    return explain(of, request, smooth() if model is None else model, **options)


def smooth() -> FunctionClassifier:
    """Three classes of a linear model that looks at the upper left more than elsewhere."""
    w = np.random.default_rng(1).normal(size=(3, *SHAPE)) / 10
    down, across = np.indices(SHAPE[1:]) / 32
    w *= np.exp(-3 * (down + across))
    return FunctionClassifier(lambda image: np.tensordot(w, image, 3), details(SHAPE, classes=3))


def assert_explained(done: Explanation) -> None:
    assert done.outcome == "explained"
    assert done.indices is not None
    assert done.indices.first is None
    for values in (
        done.indices.total,
        done.indices.standard_error,
        done.indices.interval_95,
        done.indices.upper_bound,
    ):
        assert np.isfinite(values).all()
        assert (values >= 0).all()
    assert done.indices.resolved.dtype == bool


# ---- known answers -----------------------------------------------------------------------------


def test_a_linear_classifier_of_coefficients_has_the_indices_that_follow_by_hand() -> None:
    """S_Tk = g_k² / Σ g² of a score Σ m_k g_k, with g_k what factor k's image adds to the logit."""
    w = np.random.default_rng(2).normal(size=SHAPE)
    request = make_request(plan="adaptive", grid_size=4, levels=2, max_forwards=8000, nb_design=256, **EXACT)
    packed, weights = analyse(PICTURE.pixels, "haar", 2), analyse(w.astype(np.float32), "haar", 2)
    factors = partition("grid", 32, 32, 2, grid_size=4, approximation="perturb").factors
    product = (packed.astype(np.float64) * weights).sum(axis=0)  # the transform is orthogonal
    g = np.array([product[factors == k].sum() for k in range(16)])
    done = run(request, linear_classifier(w))
    truth = g**2 / (g**2).sum()
    assert np.abs(done.indices.total - truth).max() < 0.1 * truth.max()
    assert done.indices.resolved.all()
    assert done.screening.stopped == "all_resolved"
    np.testing.assert_allclose(done.indices.effect, g, rtol=1e-3, atol=1e-3)
    assert max(done.indices.effect_error) < 1e-3


def test_factors_that_were_only_predicted_have_no_signed_effect() -> None:
    listening = Listening()
    found = [run(make_request(**SMALL), listener=listening).indices]
    for indices in found + [partial.indices for partial in listening.partials]:
        known = np.array([effect is not None for effect in indices.effect])
        np.testing.assert_array_equal(known, indices.resolved)
        assert not [
            error for error, there in zip(indices.effect_error, known, strict=True) if error and not there
        ]
    assert 0 < sum(effect is not None for effect in found[0].effect) < 64


# ---- stops -------------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [32, 100, 301])
def test_forwards_are_what_the_classifier_saw_less_the_clean_one_and_within_the_budget(budget: int) -> None:
    model = smooth()
    done = run(make_request(**SMALL | {"max_forwards": budget}), model)
    assert done.screening.stopped == "max_forwards"
    assert done.forwards == sum(model.batches) - 1 == done.screening.rounds[-1].forwards
    assert budget - 4 < done.forwards <= budget
    assert_explained(done)


def test_all_draws_of_all_factors_are_an_end_before_the_budget() -> None:
    done = run(make_request(plan="adaptive", grid_size=2, levels=1, nb_design=8, max_forwards=5000))
    assert done.screening.stopped == "all_resolved"
    assert done.indices.resolved.all()
    # The groups' own rows beside those of A and of the factors; one where a mask value hardly changes may not be drawn.
    assert 8 + 4 * 6 <= done.forwards < 8 * (4 + 1) + 8 * done.screening.groups + 1


def test_no_round_begins_after_the_deadline_and_the_one_in_hand_is_finished() -> None:
    """Every image takes a second."""
    request = make_request(**SMALL | {"max_forwards": 600})

    def timed(**options: Any) -> Explanation:
        model = smooth()
        fields = {"deadline_s": options.pop("deadline_s", None)}
        return run(replace(request, **fields), model, clock=lambda: float(sum(model.batches)), **options)

    ends = [one.forwards for one in timed().screening.rounds]
    assert len(ends) >= 4
    for last, (before, end) in enumerate(itertools.pairwise([0, *ends[:4]])):
        done = timed(deadline_s=(before + end) / 2)
        assert done.screening.stopped == "deadline_s"
        assert [one.forwards for one in done.screening.rounds] == ends[: last + 1]
        assert done.partial
        rounds = "1 round" if last == 0 else f"{last + 1} rounds"
        assert done.warnings[-1] == f"ended after {rounds} and {end} of 600 forwards by deadline_s"
        assert_explained(done)
    done = timed(deadline_s=601.0)
    assert (done.screening.stopped, done.partial) == ("max_forwards", False)


def test_a_small_enough_standard_error_is_an_end_and_the_first_such_round() -> None:
    whole = run(make_request(**SMALL | {"max_forwards": 1000}))
    errors = [one.standard_error for one in whole.screening.rounds]
    limit = 1.01 * min(errors[1:])
    done = run(make_request(**SMALL | {"max_forwards": 1000, "standard_error": limit}))
    assert done.screening.stopped == "standard_error"
    assert done.indices.standard_error.max() <= limit
    assert done.screening.rounds[-1].resolved
    expected = next(one for one in whole.screening.rounds if one.standard_error <= limit and one.resolved)
    assert done.screening.rounds[-1] == expected


def test_largest_factors_that_stay_the_same_are_an_end() -> None:
    listening = Listening()
    done = run(
        make_request(**SMALL | {"max_forwards": 2000, "top_k": 3, "score": "probability"}), listener=listening
    )
    told = [
        frozenset(np.argsort(-partial.indices.total, kind="stable")[:3].tolist())
        for partial in listening.partials[1:]  # the first is no round's
    ]
    assert done.screening.stopped == "top_k"
    assert len(set(told[-SETTLED:])) == 1
    assert all(len(set(told[end - SETTLED : end])) > 1 for end in range(SETTLED, len(told)))
    assert done.forwards < 2000


def test_factors_count_as_settled_after_three_rounds_and_no_sooner() -> None:
    listening = Listening()
    done = run(make_request(**SMALL | {"max_forwards": 2000, "top_k": 1}), listener=listening)
    told = [int(np.argmax(partial.indices.total)) for partial in listening.partials[1:]]
    assert done.screening.stopped == "top_k"
    assert len(set(told[-3:])) == 1
    assert len(told) == 3 or told[-4] != told[-3]


def test_indices_that_are_accurate_enough_are_an_end_and_the_first_such_round() -> None:
    whole = run(make_request(**SMALL | {"max_forwards": 1000}))
    assert not [one for one in whole.warnings if "accuracy" in one]
    known = [min(one.correlation, 1 - one.level_error) for one in whole.screening.rounds]
    assert known[-1] > known[0]
    goal = 0.999 * max(known[1:])
    done = run(make_request(**SMALL | {"max_forwards": 1000, "accuracy": goal}))
    assert done.screening.stopped == "accuracy"
    assert done.screening.rounds[-1] == next(
        one for one, accuracy in zip(whole.screening.rounds, known, strict=True) if accuracy >= goal
    )
    assert not [one for one in done.warnings if "accuracy" in one]


def test_an_accuracy_that_was_not_reached_is_warned_of_with_what_was() -> None:
    done = run(make_request(**SMALL | {"max_forwards": 64, "accuracy": 0.999}))
    last = done.screening.rounds[-1]
    assert done.screening.stopped == "max_forwards"
    (warning,) = [one for one in done.warnings if one.startswith("accuracy 0.999 was not reached")]
    assert f"at {last.correlation:.3f}" in warning
    assert f"by {last.level_error:.3f}" in warning
    assert warning.endswith("raise max_forwards")


def test_no_accuracy_is_enough_before_a_factor_was_perturbed_by_itself() -> None:
    done = run(
        make_request(plan="adaptive", grid_size=4, levels=1, nb_design=8, max_forwards=400, accuracy=0.5)
    )
    assert done.screening.stopped == "accuracy"
    assert any(one is not None for one in done.indices.effect)
    assert len(done.screening.rounds) > 1


def test_the_last_round_is_of_the_target_itself() -> None:
    resolved = ResolvedRequest(make_request(**SMALL | {"score": "logit"}), ((0, 1),), ("a", "b"))
    found = explain_many([PICTURE], resolved, smooth(), max_forwards=100_000)
    first, second = (one.screening.rounds for one in found)
    assert first[:-1] == second[:-1]
    assert first[-1].forwards == second[-1].forwards
    assert first[-1].correlation != second[-1].correlation


def test_an_accuracy_is_the_default_goal_where_no_other_limit_is_given() -> None:
    assert make_request(plan="adaptive").accuracy == ADAPTIVE_ACCURACY
    assert make_request(plan="full").accuracy is None
    for stop in ({"max_forwards": 628}, {"standard_error": 0.1}, {"top_k": 5}):
        assert make_request(plan="adaptive", **stop).accuracy is None
    assert make_request(plan="adaptive", accuracy=0.9).accuracy == 0.9
    assert make_request(accuracy=0.9, kind="profile").plan == "adaptive"
    for accuracy in (0.4, 1.0):
        with pytest.raises(InvalidRequest, match=r"at least 0\.5 and below 1") as caught:
            run(make_request(**SMALL | {"accuracy": accuracy}))
        assert caught.value.field == "accuracy"


def test_groups_alone_are_never_precise_enough() -> None:
    """After their round no error is above 1, but no factor was perturbed by itself."""
    done = run(make_request(**SMALL | {"standard_error": 1.0}))
    assert done.screening.stopped == "standard_error"
    assert done.screening.rounds[0].standard_error < 1
    assert done.screening.rounds[0].resolved == 0
    assert done.screening.rounds[-1].resolved > 0


# ---- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "field", "message"),
    [
        (
            {"sampler": "latin_hypercube"},
            "sampler",
            r"has no nested designs; .* sobol, halton or monte_carlo$",
        ),
        ({"estimator": "homma"}, "estimator", r"^estimator 'homma' needs the rows of B; .* takes jansen$"),
        ({"compat": "reference"}, "plan", r"the authors' design: it takes plan 'full'$"),
        ({"max_forwards": 31}, "max_forwards", r"^max_forwards is 31; it must be between 32 and 1000000000$"),
        (
            {"max_forwards": None},
            "max_forwards",
            r"^plan 'adaptive' needs max_forwards: the most it may score$",
        ),
        ({"top_k": 0}, "top_k", r"^top_k is 0; it must be between 1 and 4096$"),
        ({"deadline_s": 0.0}, "deadline_s", r"^deadline_s is 0; it must be above 0$"),
        ({"deadline_s": float("nan")}, "deadline_s", r"^deadline_s is nan; it must be above 0 and finite$"),
        (
            {"standard_error": 0.0},
            "standard_error",
            r"^standard_error is 0; it must be above 0 and at most 1$",
        ),
        (
            {"standard_error": 1.5},
            "standard_error",
            r"^standard_error is 1.5; it must be above 0 and at most 1$",
        ),
        ({"nb_design": 2}, "nb_design", r"^nb_design is 2; .* max_forwards 300 it must be between 4 and 150"),
        (
            {"nb_design": 256},
            "nb_design",
            r"^nb_design is 256; .* it must be between 4 and 150: the rest goes to",
        ),
    ],
)
def test_what_an_adaptive_plan_cannot_take_is_refused_by_name_with_the_limit(
    given: dict[str, Any], field: str, message: str
) -> None:
    with pytest.raises(InvalidRequest, match=message) as caught:
        run(make_request(**SMALL | given))
    assert caught.value.field == field


@pytest.mark.parametrize(("field", "value"), [("max_forwards", 300), ("standard_error", 0.1), ("top_k", 3)])
def test_a_full_plan_takes_no_stop(field: str, value: float) -> None:
    with pytest.raises(
        InvalidRequest, match=f"^{field} ends a plan 'adaptive'; plan 'full' scores"
    ) as caught:
        check_request(make_request(plan="full", **{field: value}), (32, 32))
    assert caught.value.field == field


def test_the_least_of_every_limit_is_taken() -> None:
    least = {
        "max_forwards": LEAST_FORWARDS,
        "deadline_s": 1e-9,
        "standard_error": 1.0,
        "top_k": 1,
        "nb_design": 4,
    }
    assert_explained(run(make_request(**SMALL | least)))


def test_more_factors_than_a_covariance_is_kept_of_are_refused() -> None:
    request = make_request(plan="adaptive")
    check_adaptive(request, MAX_ADAPTIVE_FACTORS)
    with pytest.raises(
        InvalidRequest, match="4097 factors; plan 'adaptive' holds at most 4096: lower grid_size"
    ) as caught:
        check_adaptive(request, MAX_ADAPTIVE_FACTORS + 1)
    assert caught.value.field == "grid_size"
    assert caught.value.limits == {"maximum_factors": 4096}
    check_adaptive(make_request(plan="full"), MAX_ADAPTIVE_FACTORS + 1)


def test_a_budget_beyond_what_is_admitted_is_refused_with_all_that_the_kind_needs() -> None:
    with pytest.raises(
        CostLimitExceeded, match="max_forwards is 300: 600 forwards in all; at most 599"
    ) as caught:
        run(make_request(kind="compare", **SMALL), other=PICTURE, max_forwards=599)
    assert caught.value.field == "max_forwards"
    assert caught.value.limits == {"forwards": 600, "maximum": 599}


def test_a_budget_settles_the_rows_of_a_and_what_is_given_wins() -> None:
    assert make_request(plan="adaptive").max_forwards == ADAPTIVE_FORWARDS == 628
    assert make_request(plan="adaptive").nb_design == 64
    assert make_request(plan="adaptive", max_forwards=314).nb_design == 32
    assert make_request(plan="adaptive", max_forwards=314, nb_design=16).nb_design == 16
    assert [independent_rows(budget) for budget in (32, 127, 128, 2048, 10**6)] == [8, 8, 16, 256, 256]


# ---- bits --------------------------------------------------------------------------------------


def test_the_same_request_has_the_same_bits_and_another_seed_other_draws() -> None:
    request = make_request(**SMALL)
    found = [run(one) for one in (request, request, replace(request, seed=1))]
    assert found[0].indices.total.tobytes() == found[1].indices.total.tobytes()
    assert found[0].indices.interval_95.tobytes() == found[1].indices.interval_95.tobytes()
    assert (found[0].screening, found[0].worth) == (found[1].screening, found[1].worth)
    assert found[0].indices.total.tobytes() != found[2].indices.total.tobytes()


@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_bits_do_not_depend_on_the_batch_size(batch_size: int) -> None:
    w = np.random.default_rng(1).normal(size=(2, *SHAPE)) / 10

    def explained(size: int) -> Explanation:
        of = details(SHAPE, batch_size=size)
        return run(make_request(**SMALL), FunctionClassifier(lambda image: np.tensordot(w, image, 3), of))

    found, reference = explained(batch_size), explained(7)
    assert found.indices.total.tobytes() == reference.indices.total.tobytes()
    assert found.screening == reference.screening


# ---- on the way --------------------------------------------------------------------------------


def test_what_is_told_after_every_round_is_a_valid_answer_and_the_last_is_the_reply() -> None:
    listening = Listening()
    done = run(make_request(**SMALL | {"max_forwards": 800}), listener=listening)
    partials = listening.partials
    told = [(partial.indices, partial.forwards) for partial in partials]
    assert {(partial.image, partial.rows) for partial in partials} == {(0, None)}
    assert len(told) - 1 == len(done.screening.rounds) >= 4
    for (indices, forwards), one in zip(told[1:], done.screening.rounds, strict=True):
        assert forwards == one.forwards
        assert int(indices.resolved.sum()) == one.resolved
        assert float(indices.standard_error.max()) == one.standard_error
    for indices, _ in told:
        for values in (indices.total, indices.standard_error, indices.interval_95, indices.upper_bound):
            assert np.isfinite(values).all()
            assert (values >= 0).all()
    for (before, fewer), (after, more) in itertools.pairwise(told):
        assert fewer < more
        assert (after.resolved | ~before.resolved).all()  # once perturbed, always
    last, forwards = told[-1]
    assert forwards == done.forwards
    assert last.total.tobytes() == done.indices.total.tobytes()


@pytest.mark.parametrize(("budget", "rows"), [(628, 32), (314, 16), (2048, 128), (40, 4)])
def test_the_first_answer_comes_within_a_tenth_of_the_budget_if_that_is_four_rows(
    budget: int, rows: int
) -> None:
    listening = Listening()
    run(make_request(**SMALL | {"max_forwards": budget}), listener=listening)
    first = listening.partials[0]
    assert first.forwards == rows <= max(4, budget / 10)


def test_the_first_answer_is_what_sizes_tell_before_anything_is_perturbed() -> None:
    """The prior of the field with its errors: factors in the order of their sizes within every sub-band."""
    request = make_request(**SMALL | {"max_forwards": 628})
    listening = Listening()
    run(request, listener=listening)
    found = listening.partials[0].indices
    known = factor_features(make_plan(PICTURE, request, max_forwards=10**6))
    assert not found.resolved.any()
    np.testing.assert_array_equal(found.upper_bound, 1)
    for band in np.unique(known.band):
        inside = known.band == band
        assert (np.diff(found.total[inside][np.argsort(known.size[inside])]) >= 0).all()
    assert (found.standard_error > found.total / 2).all()  # and it says how little that is
    assert (found.interval_95[:, 0] < found.total).all()


def test_rows_of_a_that_score_alike_have_no_first_answer_and_the_rest_goes_on() -> None:
    calls = itertools.count()
    w = np.random.default_rng(1).normal(size=SHAPE) / 10

    def outputs(image: np.ndarray) -> tuple[float, float]:
        # The clean image, then 32 rows of A.
        return (0.0, 0.0) if next(calls) <= 32 else (float((w * image).sum()), 0.0)

    listening = Listening()
    done = run(
        make_request(**SMALL | {"max_forwards": 628, "target": 0}),
        FunctionClassifier(outputs, details(SHAPE)),
        listener=listening,
    )
    assert [compute() is None for compute in listening.computations[:2]] == [True, False]
    assert done.outcome == "explained"


def test_what_was_told_stays_what_it_was_whenever_it_is_asked_for() -> None:
    eager, late = Listening(), Listening()
    told: list[bytes] = []
    eager.partial = lambda compute: told.append(compute().indices.total.tobytes())  # type: ignore[method-assign]
    request = make_request(**SMALL | {"max_forwards": 800})
    run(request, listener=eager)
    run(request, listener=late)
    assert [partial.indices.total.tobytes() for partial in late.partials] == told


def test_listening_changes_no_bit() -> None:
    request = make_request(**SMALL | {"max_forwards": 628})
    heard, alone = run(request, listener=Listening()), run(request)
    assert heard.indices.total.tobytes() == alone.indices.total.tobytes()
    assert heard.screening == alone.screening


def test_progress_counts_every_image_and_never_passes_what_was_announced() -> None:
    listening = Listening()
    done = run(make_request(**SMALL), listener=listening)
    assert listening.announced == [300]
    assert all(count > 0 for count in listening.counts)
    assert sum(listening.counts) == done.forwards <= 300


# ---- kinds and targets -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(PERTURBING))
@pytest.mark.parametrize("sampler", ["sobol", "halton", "monte_carlo"])
def test_every_kind_takes_an_adaptive_plan(kind: str, sampler: str) -> None:
    model = smooth()
    request = make_request(kind=kind, sampler=sampler, faithfulness=True, **SMALL)
    done = run(request, model, of=Zoomable(), other=PICTURE if kind == "compare" else None)
    assert_explained(done)
    assert done.screening.rounds
    assert done.parameters["plan"] == "adaptive"
    drawn = [values for values in (done.maps.wcam, done.maps.fam, done.maps.sobol) if values is not None]
    assert len(drawn) == 1
    assert np.isfinite(drawn[0]).all()
    if kind == "profile":
        assert sum(band.share for band in done.profile) == pytest.approx(1)
        assert all(band.share_standard_error is None for band in done.profile)
    if kind in ("compare", "zoom"):
        other = done.comparison.other if kind == "compare" else done.zoom.zoomed
        assert_explained(other)
        assert other.screening.rounds[-1].forwards <= 300
    if kind in ("sufficient-image", "robustness"):
        assert len(done.sufficiency.order) == len(done.indices.total)
    # Clean images are not counted: one of every image.
    assert done.forwards == sum(model.batches) - (2 if kind in ("compare", "zoom") else 1)


@pytest.mark.parametrize("name", ["grid", "aligned", "subbands", "levels"])
@pytest.mark.parametrize("approximation", ["perturb", "keep", "drop"])
def test_every_partition_and_approximation_takes_an_adaptive_plan(name: str, approximation: str) -> None:
    assert_explained(run(make_request(partition=name, approximation=approximation, **SMALL)))


def test_further_targets_cost_nothing_and_the_first_is_as_if_asked_for_alone() -> None:
    model = smooth()
    request = make_request(**SMALL)
    resolved = ResolvedRequest(request, ((0, 1, 2),), ("a", "b", "c"))
    found = explain_many([PICTURE], resolved, model, max_forwards=100_000)
    assert sum(model.batches) - 1 == found[0].forwards <= 300
    assert [one.reused for one in found] == [0, found[0].forwards, found[0].forwards]
    assert len({one.indices.total.tobytes() for one in found}) == 3
    for one in found:
        assert_explained(one)
    alone = run(replace(request, target=0))
    np.testing.assert_allclose(found[0].indices.total, alone.indices.total, rtol=1e-9)


def test_a_score_that_does_not_vary_costs_the_rows_of_a_alone() -> None:
    model = FunctionClassifier(lambda _: (2.0, 1.0), details(SHAPE))
    done = run(make_request(**SMALL), model)
    assert done.outcome == "constant_score"
    assert done.indices is done.screening is None
    assert any("does not vary" in warning for warning in done.warnings)
    assert done.forwards == sum(model.batches) - 1 == 32


def test_a_target_that_does_not_vary_leaves_the_others_explained() -> None:
    w = np.random.default_rng(1).normal(size=SHAPE) / 10
    model = FunctionClassifier(lambda image: (float((w * image).sum()), 1.0, 0.0), details(SHAPE, classes=3))
    resolved = ResolvedRequest(make_request(score="logit", **SMALL), ((0, 1),), ("a", "b"))
    found = explain_many([PICTURE], resolved, model, max_forwards=100_000)
    assert [one.outcome for one in found] == ["explained", "constant_score"]


def test_a_picture_with_black_bars_is_explained() -> None:
    """Their factors have no coefficients: they cost nothing and their index is 0."""
    pixels = PICTURE.pixels.copy()
    pixels[:, :16] = 0
    done = run(make_request(kind="sobol", **SMALL), of=picture(pixels))
    assert_explained(done)
    assert not done.indices.total.reshape(8, 8)[:4].any()
    assert done.indices.resolved.reshape(8, 8)[:4].all()
    assert_explained(
        run(make_request(partition="aligned", **SMALL | {"max_forwards": 2000}), of=picture(pixels))
    )


def test_warnings_of_an_adaptive_plan_ask_for_forwards_not_for_rows() -> None:
    done = run(make_request(**SMALL | {"grid_size": 16, "max_forwards": 64}))
    asked = [warning for warning in done.warnings if "raise" in warning or "read them as" in warning]
    assert asked
    assert all("max_forwards" in warning and "nb_design" not in warning for warning in asked)


# ---- a real model ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real() -> Callable[[dict[str, Any]], Explanation]:
    """The embedded model on a photograph of a cat."""
    from wavescope.imaging.decode import decode
    from wavescope.models.load import load
    from wavescope.models.spec import DEFAULT_MODEL
    from wavescope.settings import Settings

    model = load(DEFAULT_MODEL, cache_dir=Settings().cache_dir, threads=2)
    cat = (Path(skimage.data.__file__).parent / "chelsea.png").read_bytes()
    seen = decode(cat, model.details.preprocessing)

    def explained(given: dict[str, Any]) -> Explanation:
        request = make_request(grid_size=14, **given)
        return explain(seen, request, model, identity="cat", max_forwards=100_000)

    return explained


def test_314_forwards_rank_a_photographs_factors_as_a_full_plan_of_another_seed_does(
    real: Callable[[dict[str, Any]], Explanation],
) -> None:
    full = real({"plan": "full", "nb_design": 8, "seed": 7})
    assert full.forwards == 8 * 198
    for seed in range(3):
        done = real({"plan": "adaptive", "max_forwards": 314, "seed": seed})
        assert done.forwards <= 314
        assert spearman(done.indices.total, full.indices.total) > 0.6
