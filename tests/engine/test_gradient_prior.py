"""The gradient prior of the adaptive plan: known derivatives, what is charged, who has none, and equal bits."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tests.fakes.classifiers import (
    FunctionClassifier,
    GradientClassifier,
    details,
    random_picture,
)
from tests.fakes.listeners import Listening
from tests.fakes.recorders import Tally

from wavescope.core.rendering.masks import DerivativeRows, PickFreezeRows
from wavescope.core.sobol.diagnostics import spearman
from wavescope.engine import adaptive
from wavescope.engine.checks import resolve_prior
from wavescope.engine.gradient_cost import gradient_forwards
from wavescope.engine.plan import Plan, make_plan
from wavescope.engine.protocols import Differentiable
from wavescope.engine.requests import make_request
from wavescope.engine.run import explain
from wavescope.engine.scoring import scoreboard
from wavescope.engine.scoring.batching import Batcher
from wavescope.engine.scoring.scorer import DeviceBatches, Part, Rendering, Scorer
from wavescope.engine.types import Explanation, ExplanationRequest
from wavescope.errors import InvalidRequest, ModelFailure, NoGradients

SHAPE = (2, 32, 32)
PICTURE = random_picture(SHAPE, seed=0)
SMALL: dict[str, Any] = {"plan": "adaptive", "grid_size": 8, "levels": 2, "max_forwards": 300}
EXACT: dict[str, Any] = {"value_policy": "none", "score": "logit", "target": 0}
ROWS = DerivativeRows(np.arange(4, dtype=np.int32))


def weights(classes: int = 3) -> torch.Tensor:
    """That look at the upper left more than elsewhere."""
    down, across = np.indices(SHAPE[1:]) / 32
    w = np.random.default_rng(1).normal(size=(classes, *SHAPE)) / 10
    return torch.from_numpy(w * np.exp(-3 * (down + across)))


def linear(library: str = "numpy", **options: Any) -> GradientClassifier:
    w, of = weights(), details(SHAPE, classes=3, **options)
    return GradientClassifier(lambda images: torch.einsum("nchw,kchw->nk", images, w), of, library)


def quadratic() -> GradientClassifier:
    """The first output is the square of the linear one."""

    def outputs(images: torch.Tensor) -> torch.Tensor:
        plain = torch.einsum("nchw,kchw->nk", images, weights())
        return torch.cat([plain[:, :1] ** 2, plain[:, 1:]], dim=1)

    return GradientClassifier(outputs, details(SHAPE, classes=3))


def curved(outputs: str, library: str = "numpy") -> GradientClassifier:
    """Three classes of whatever outputs."""
    last = {"logits": lambda x: x, "probabilities": lambda x: x.softmax(-1), "sigmoid": torch.sigmoid}[
        outputs
    ]

    def run(images: torch.Tensor) -> torch.Tensor:
        return last(torch.einsum("nchw,kchw->nk", torch.tanh(images), weights()))

    return GradientClassifier(run, details(SHAPE, classes=3, outputs=outputs), library)  # type: ignore[arg-type]


def plan_of(**fields: Any) -> Plan:
    return make_plan(PICTURE, make_request(**SMALL | fields), max_forwards=10_000)


def derivatives(model: Any, plan: Plan, score: str = "logit") -> np.ndarray:
    return Scorer(plan, model).score(ROWS, 0, 4, score, (0,)).values


def differences(model: Any, plan: Plan, score: str, factors: list[int], step: float) -> np.ndarray:
    """(4, factors) slopes from A_j with one mask value moved to either side."""
    design = plan.spec.make_design(plan.n_factors)

    class Moved:
        count = 8 * len(factors)

        def masks(self, start: int, stop: int) -> np.ndarray:
            rows = np.repeat(design.a[:4], 2 * len(factors), axis=0)
            for row in range(len(rows)):
                factor, side = divmod(row % (2 * len(factors)), 2)
                rows[row, factors[factor]] += step if side else -step
            return rows[start:stop].astype(np.float32)

    scorer, rows = Scorer(plan, model), Moved()
    parts = [scorer.score(rows, *part, score, (0,)).values[:, 0] for part in scorer.batches(0, rows.count)]
    ends = np.concatenate(parts).reshape(4, len(factors), 2)
    return (ends[:, :, 1] - ends[:, :, 0]) / (2 * step)


def run(model: Any, **fields: Any) -> Explanation:
    options = {key: fields.pop(key) for key in ("listener", "clock", "recorder") if key in fields}
    request = make_request(**SMALL | fields)
    return explain(PICTURE, request, model, identity="known", max_forwards=100_000, **options)


def same_bits(one: Explanation, other: Explanation) -> bool:
    assert one.indices is not None
    assert other.indices is not None
    return bool((one.indices.total == other.indices.total).all())


# ---- derivatives -------------------------------------------------------------------------------
def test_the_fake_has_gradients() -> None:
    assert isinstance(linear(), Differentiable)
    assert linear().details.gradients


def test_derivatives_of_a_linear_score_are_its_coefficients_at_every_row() -> None:
    """Σ m_k g_k, with g_k what factor k's image adds to the logit."""
    plan, model = plan_of(**EXACT), linear()
    alone = Rendering(plan, model)._renderer._synthesis.alone(0, 64)  # type: ignore[union-attr]
    g = np.einsum("kchw,chw->k", np.asarray(alone, np.float64), weights()[0].numpy()) / 0.25
    for row in derivatives(model, plan):
        np.testing.assert_allclose(row, g, atol=1e-5)


def test_derivatives_of_a_quadratic_score_are_twice_the_coefficient_times_the_linear_one() -> None:
    plan = plan_of(**EXACT)
    root = np.sqrt(Scorer(plan, quadratic()).score(a_rows(4), 0, 4, "logit", (0,)).values)
    slopes = derivatives(linear(), plan)
    found = derivatives(quadratic(), plan)
    np.testing.assert_allclose(np.abs(found), np.abs(2 * root * slopes), rtol=1e-4, atol=1e-5)


def a_rows(count: int) -> PickFreezeRows:
    return PickFreezeRows(np.arange(count, dtype=np.int32), np.full(count, -1, np.int32))


@pytest.mark.parametrize("policy", ["clip", "minmax", "none"])
@pytest.mark.parametrize(
    ("outputs", "score"),
    [
        ("logits", "logit"),
        ("logits", "probability"),
        ("logits", "log_probability"),
        ("logits", "margin"),
        ("probabilities", "log_probability"),
        ("probabilities", "margin"),
        ("sigmoid", "logit"),
        ("sigmoid", "probability"),
    ],
)
def test_derivatives_are_the_slopes_of_the_score_through_clip_and_normalisation(
    outputs: str, score: str, policy: str
) -> None:
    plan, model, factors = plan_of(value_policy=policy), curved(outputs), [0, 3, 9, 20, 50]
    expected = differences(model, plan, score, factors, 1e-3)
    found = derivatives(model, plan, score)[:, factors]
    np.testing.assert_allclose(found, expected, rtol=0.02, atol=0.02 * np.abs(expected).max())


@pytest.mark.parametrize("kind", ["wcam", "fam", "sobol"])
@pytest.mark.parametrize("score", ["logit", "probability"])
def test_numpy_and_torch_have_the_same_derivatives(kind: str, score: str) -> None:
    plan = plan_of(kind=kind)
    one, other = (derivatives(curved("logits", library), plan, score) for library in ("numpy", "torch"))
    np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-5 * np.abs(one).max())


def test_derivatives_of_a_chunk_are_the_bits_of_the_whole() -> None:
    plan, model = plan_of(), curved("logits")
    whole = derivatives(model, plan)
    for row in range(4):
        assert (Scorer(plan, model).score(ROWS, row, row + 1, "logit", (0,)).values[0] == whole[row]).all()


def test_derivatives_share_a_device_batch_with_rows_that_are_scored() -> None:
    plan, model = plan_of(), curved("logits")
    batcher, rendering = Batcher(DeviceBatches(model)), Rendering(plan, model)
    parts = [
        Part(rendering, a_rows(3), 0, 3, "logit", (0, 1)),
        Part(rendering, ROWS, 0, 4, "logit", (0,)),
        Part(rendering, a_rows(3), 0, 3, "logit", (2,)),
    ]
    futures = [batcher.submit(part) for part in parts]
    batcher.drain()
    scored = [future.result(0) for future in futures]
    # The last digits of a matrix product depend on the number of its rows, on some processors.
    np.testing.assert_allclose(scored[1].values, derivatives(model, plan), rtol=1e-5, atol=1e-7)
    assert [board.values.shape for board in scored] == [(3, 2), (4, 64), (3, 1)]
    whole = Scorer(plan, model).score(a_rows(3), 0, 3, "logit", (0, 1, 2)).values
    np.testing.assert_allclose(np.hstack([scored[0].values, scored[2].values]), whole, rtol=1e-5, atol=1e-7)
    assert scoreboard.width(plan, ROWS, (0,)) == 64


def test_gradients_that_are_not_finite_come_back_as_they_are_and_fail_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan, model = plan_of(), curved("logits")
    whole, good = derivatives(model, plan), model.gradients

    def one_bad_row(images: Any, by: Any) -> Any:
        outputs, found = good(images, by)
        found[0] = np.nan
        return outputs, found

    monkeypatch.setattr(model, "gradients", one_bad_row)
    batcher, rendering = Batcher(DeviceBatches(model)), Rendering(plan, model)
    bad = batcher.submit(Part(rendering, ROWS, 0, 4, "logit", (0,)))
    fine = batcher.submit(Part(rendering, a_rows(3), 0, 3, "logit", (0,)))
    batcher.drain()
    found = bad.result(0)
    assert (found.done, np.isnan(found.values[0]).any()) == (4, True)
    assert (found.values[1:] == whole[1:]).all()
    assert np.isfinite(fine.result(0).values).all()


def test_a_model_without_gradients_fails_whoever_asks_for_them() -> None:
    black_box = FunctionClassifier(lambda image: image.sum((1, 2)), details(SHAPE))
    with pytest.raises(ModelFailure, match="model 'fake' has no gradients"):
        derivatives(black_box, plan_of())


# ---- the prior ---------------------------------------------------------------------------------
def test_the_order_of_a_linear_scores_factors_is_known_before_any_of_them_is_perturbed() -> None:
    listening = Listening()
    done = run(linear(), listener=listening, prior="gradients", **EXACT)
    plan = plan_of(**EXACT)
    known = np.abs(derivatives(linear(), plan)[0])
    assert done.indices is not None
    sizes, gradients = (partial.indices for partial in listening.partials[:2])
    assert not gradients.resolved.any()
    # Totals end at 1, lower ends of intervals far below; sizes have their part in both priors.
    assert spearman(sizes.interval_95[:, 0], known) < 0.9
    assert spearman(gradients.interval_95[:, 0], known) > 0.95


@pytest.mark.parametrize(("score", "cost"), [("logit", 3), ("probability", 4), ("margin", 4)])
@pytest.mark.parametrize("budget", [32, 100, 301])
def test_forwards_and_gradients_at_their_rate_stay_within_the_budget(
    budget: int, score: str, cost: int
) -> None:
    model, listening, tally = linear(), Listening(), Tally()
    done = run(model, prior="gradients", score=score, max_forwards=budget, listener=listening, recorder=tally)
    assert done.screening is not None
    assert done.screening.prior == done.parameters["prior"] == "gradients"
    assert done.screening.gradients == sum(model.differentiated) > 0
    # Where the outputs must be known before, they were forwarded for that.
    before = sum(model.differentiated) if cost == 4 else 0
    assert done.forwards == sum(model.batches) - 1 - before == done.screening.rounds[-1].forwards
    assert tally.images_scored == {"fake": done.forwards + before}
    assert tally.images_differentiated == {"fake": sum(model.differentiated)}
    spent = done.forwards + cost * done.screening.gradients
    assert budget - 4 < spent <= budget
    assert sum(listening.counts) == spent


def test_the_price_of_a_gradient_follows_from_the_score_and_the_outputs() -> None:
    assert gradient_forwards("logits", "logit") == gradient_forwards("sigmoid", "log_probability") == 3
    assert gradient_forwards("sigmoid", "margin") == gradient_forwards("logits", "probability") == 4


def test_a_black_box_goes_on_as_with_sizes_to_the_bit() -> None:
    w = weights().numpy()
    box = FunctionClassifier(lambda image: np.tensordot(w, image, 3), details(SHAPE, classes=3))
    auto, size = run(box), run(box, prior="size")
    assert same_bits(auto, size)
    assert auto.parameters["prior"] == size.parameters["prior"] == "size"
    assert auto.screening == size.screening
    assert auto.screening is not None
    assert (auto.screening.prior, auto.screening.gradients) == ("size", 0)


def test_a_model_with_gradients_does_not_compute_them_for_sizes() -> None:
    model = linear()
    run(model, prior="size")
    assert not model.differentiated


def test_the_same_request_has_the_same_bits_and_a_resumed_one_too() -> None:
    assert same_bits(run(curved("logits"), prior="gradients"), run(curved("logits"), prior="gradients"))


def test_derivatives_that_are_all_0_leave_the_sizes() -> None:
    """A graph that passes no gradient on, as that of a rounding does."""
    w = weights()

    def outputs(images: torch.Tensor) -> torch.Tensor:
        plain = torch.einsum("nchw,kchw->nk", images, w)
        return plain.detach() + 0 * plain

    done = run(GradientClassifier(outputs, details(SHAPE, classes=3)), prior="gradients", max_forwards=300)
    assert done.screening is not None
    assert done.outcome == "explained"
    assert done.screening.prior == "size"
    rows = done.screening.gradients
    assert done.warnings[-1] == (
        f"derivatives of the logit by every factor are 0 at all {rows} rows: it is flat there, or rounded to a "
        "constant; prior 'size' was used"
    )
    spent = 3 * rows
    box = FunctionClassifier(lambda image: np.tensordot(w.numpy(), image, 3), details(SHAPE, classes=3))
    size = run(box, max_forwards=300 - spent, nb_design=done.parameters["nb_design"])
    assert done.indices is not None
    assert size.indices is not None
    np.testing.assert_allclose(done.indices.total, size.indices.total, rtol=1e-6)


def rooted(dark: Any) -> GradientClassifier:
    """Linear, with derivatives of 0 · inf, as of the root of 0, where ``dark`` holds of the logits."""

    def outputs(images: torch.Tensor) -> torch.Tensor:
        plain = torch.einsum("nchw,kchw->nk", images, weights())
        return plain + 0 * torch.sqrt(torch.where(dark(plain), 0 * plain, 1 + 0 * plain))

    return GradientClassifier(outputs, details(SHAPE, classes=3))


def test_a_prior_is_made_of_the_rows_whose_gradients_are_finite() -> None:
    edge = float(Scorer(plan_of(**EXACT), linear()).score(a_rows(16), 0, 8, "logit", (0,)).values.mean())
    model = rooted(lambda logits: (logits > edge)[:, :1])
    done = run(model, **EXACT)
    assert done.screening is not None
    rows = done.screening.gradients
    assert (done.outcome, done.screening.prior) == ("explained", "gradients")
    assert re.fullmatch(
        f"derivatives of the logit are not finite at ([1-9]|1[0-5]) of {rows} rows; prior 'gradients' was made of the "
        "others",
        done.warnings[-1],
    )
    assert done.parameters["prior"] == "auto"
    assert same_bits(run(model, **EXACT), done)


def test_gradients_none_of_which_is_finite_leave_the_sizes_to_auto() -> None:
    done = run(rooted(lambda logits: torch.full_like(logits, 1) > 0), **EXACT)
    assert done.screening is not None
    rows = done.screening.gradients
    assert (done.outcome, done.screening.prior) == ("explained", "size")
    assert done.warnings[-1] == (
        f"derivatives of the logit are not finite at any of {rows} rows; prior 'size' was used"
    )
    spent = 3 * rows
    size = run(
        linear(),
        prior="size",
        **EXACT | {"max_forwards": 300 - spent, "nb_design": done.parameters["nb_design"]},
    )
    assert done.indices is not None
    assert size.indices is not None
    np.testing.assert_allclose(done.indices.total, size.indices.total, rtol=1e-6)


def test_gradients_none_of_which_is_finite_are_refused_where_they_are_named() -> None:
    with pytest.raises(
        InvalidRequest,
        match=r"of the logit of model 'fake' are not finite at any of \d+ rows; take prior 'size', or 'auto'",
    ) as caught:
        run(rooted(lambda logits: torch.full_like(logits, 1) > 0), prior="gradients", **EXACT)
    assert (caught.value.field, caught.value.limits) == ("prior", {"supported": ["auto", "size"]})


def test_a_model_that_shows_too_late_that_it_has_no_gradients_is_explained_from_sizes() -> None:
    """Whose operators all have rules, in a form that these do not cover."""
    model = linear()

    def refuse(images: Any, weights: Any) -> Any:
        raise NoGradients("model 'fake' has no gradients: Pad by reflection", reason="Pad by reflection")

    model.gradients = refuse  # type: ignore[method-assign]
    done, size = run(model, prior="gradients"), run(linear(), prior="size")
    assert same_bits(done, size)
    assert done.screening == size.screening
    assert done.warnings == (
        *size.warnings,
        "the model has no gradients, which showed only now: Pad by reflection; prior 'size' was used",
    )


def test_gradients_do_not_begin_after_the_deadline_and_the_reply_says_so() -> None:
    model = linear()
    done = run(
        model, prior="gradients", deadline_s=3.0, max_forwards=600, clock=lambda: float(sum(model.batches))
    )
    assert done.partial
    assert done.screening is not None
    assert (done.screening.prior, done.screening.gradients, model.differentiated) == ("size", 0, [])


@pytest.mark.parametrize("budget", [32, 100, 314, 628, 5000])
def test_gradients_take_a_power_of_two_rows_and_a_quarter_of_the_budget_at_most(budget: int) -> None:
    rows = adaptive.gradient_rows(make_request(plan="adaptive", max_forwards=budget), 3)
    assert rows == 2 ** int(np.log2(rows))
    assert 1 <= rows <= adaptive.MOST_GRADIENTS
    assert 3 * rows <= adaptive.GRADIENT_SHARE * budget


# ---- requests ----------------------------------------------------------------------------------
def test_gradients_of_a_model_without_are_refused_with_the_reason_and_the_remedy() -> None:
    of = replace(details(SHAPE), no_gradients="the operator Sin has no rule")
    box = FunctionClassifier(lambda image: image.sum((1, 2)), of)
    with pytest.raises(
        InvalidRequest,
        match="model 'fake' has no gradients: the operator Sin has no rule; take prior 'size', or 'auto'",
    ) as caught:
        run(box, prior="gradients")
    assert caught.value.field == "prior"
    assert not box.batches


def test_a_full_plan_takes_no_prior() -> None:
    with pytest.raises(InvalidRequest, match="plan 'full' measures all of them") as caught:
        run(linear(), plan="full", max_forwards=None, prior="size")
    assert caught.value.field == "prior"


def test_an_unknown_prior_is_refused_with_those_there_are() -> None:
    with pytest.raises(InvalidRequest, match="prior 'sizes' is unknown; supported: auto, size, gradients"):
        run(linear(), prior="sizes")


def test_auto_is_resolved_by_the_plan_and_the_model() -> None:
    with_them, without = linear().details, details(SHAPE)
    automatic = make_request(**SMALL)
    assert resolve_prior(automatic, without) == "size"
    assert resolve_prior(automatic, with_them) in ("size", "gradients")
    assert resolve_prior(ExplanationRequest(), with_them) == "auto"  # a full plan has none


def test_a_request_that_names_a_prior_has_the_plan_that_takes_one() -> None:
    assert make_request(kind="fam", prior="size").plan == "adaptive"
    assert make_request(kind="fam", prior="auto").plan == "full"
