"""Scoring rows of a plan: any batch, any chunk, any library."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import special
from tests.fakes.classifiers import (
    FunctionClassifier,
    TorchClassifier,
    details,
    linear_classifier,
    random_picture,
)
from tests.fakes.recorders import Tally, Ticks
from tests.oracles.rendering import mask_rows, slow_finish, slow_render

from wavescope.engine.plan import Plan, make_plan
from wavescope.engine.protocols import Classifier, Recorder, Silent
from wavescope.engine.scoring import PlanScorer, to_numpy
from wavescope.engine.types import ExplanationRequest
from wavescope.errors import ModelFailure

SHAPE = (3, 17, 22)
PICTURE = random_picture(SHAPE, seed=1)
REQUEST = ExplanationRequest(grid_size=4, nb_design=2, levels=2)


def make(**fields: str) -> Plan:
    return make_plan(PICTURE, replace(REQUEST, **fields), max_forwards=10_000)  # type: ignore[arg-type]


def weights() -> np.ndarray:
    return np.random.default_rng(2).normal(size=SHAPE)


def test_the_fakes_are_what_the_engine_asks_for() -> None:
    assert isinstance(linear_classifier(weights()), Classifier)
    assert isinstance(Tally(), Recorder)
    assert isinstance(Silent(), Recorder)


@pytest.mark.parametrize("policy", ["clip", "minmax", "none"])
def test_scores_are_those_of_the_plainly_rendered_images(policy: str) -> None:
    """From masks built out in full through PyWavelets to the model's logit, all slowly."""
    plan, classifier = make(value_policy=policy), linear_classifier(weights())
    partition, design = plan.spec.make_partition(), plan.spec.make_design(plan.n_factors)
    mean, std = (
        np.array(v) for v in (classifier.details.preprocessing.mean, classifier.details.preprocessing.std)
    )
    expected = []
    for mask in mask_rows(design.a, design.b):
        plain = slow_render(plan.coefficients, SHAPE[1:], "haar", 2, partition.factors, mask, partition.held)
        expected.append(classifier.forward(slow_finish(plain, policy, mean, std)[None])[0, 0])
    scorer = PlanScorer(plan, classifier)
    found = [scorer.score(start, stop, "logit", [0]) for start, stop in scorer.batches(0, plan.rows)]
    np.testing.assert_allclose(np.concatenate(found)[:, 0], expected, atol=1e-4)


def test_chunks_scored_apart_give_the_bits_of_one_run() -> None:
    plan = make()
    whole = PlanScorer(plan, linear_classifier(weights(), batch_size=plan.rows)).score(
        0, plan.rows, "logit", [0]
    )
    for size in (1, 5, 7, 32):
        for start, stop in reversed(list(plan.chunks(size))):
            scorer = PlanScorer(plan, linear_classifier(weights(), batch_size=3))  # as another replica would
            parts = [scorer.score(*batch, "logit", [0]) for batch in scorer.batches(start, stop)]
            assert (np.concatenate(parts) == whole[start:stop]).all()


def test_batches_are_device_batches_in_order() -> None:
    scorer = PlanScorer(make(), linear_classifier(weights(), batch_size=8))
    assert scorer.batches(5, 25) == [(5, 13), (13, 21), (21, 25)]
    assert scorer.batches(5, 5) == []


def test_the_model_never_sees_more_than_its_batch() -> None:
    plan, classifier = make(), linear_classifier(weights(), batch_size=5)
    scorer = PlanScorer(plan, classifier)
    for start, stop in scorer.batches(0, plan.rows):
        scorer.score(start, stop, "logit", [0])
    assert classifier.batches == [5] * 7 + [1]  # 36 rows


def test_several_targets_are_scored_in_one_pass() -> None:
    scorer = PlanScorer(make(), linear_classifier(weights()))
    both = scorer.score(0, 8, "logit", [0, 1])
    assert both.shape == (8, 2)
    assert (both[:, 1] == -both[:, 0]).all()


def test_the_clean_prediction_is_of_the_unperturbed_normalised_image() -> None:
    """Without any value policy: minmax would stretch even the image itself."""
    classifier = linear_classifier(weights())
    scorer = PlanScorer(make(value_policy="minmax"), classifier)
    np.testing.assert_allclose(scorer.image(), PICTURE.pixels, atol=1e-6)
    expected = float((weights() * PICTURE.pixels).sum())
    np.testing.assert_allclose(scorer.predict(), [expected, -expected], rtol=1e-5)


def test_renderings_and_scores_are_recorded_with_their_seconds() -> None:
    tally = Tally()
    scorer = PlanScorer(make(), linear_classifier(weights()), recorder=tally, clock=Ticks())
    scorer.score(0, 8, "logit", [0])
    scorer.score(8, 11, "logit", [0])
    assert tally.images_rendered == tally.images_scored == {"fake": 11}
    assert tally.seconds == 4.0  # two calls, each with one tick of rendering and one of scoring


def test_a_score_that_is_not_finite_names_its_row() -> None:
    plan = make()
    seen = iter(range(10_000))

    def fails_at_the_sixth(image: np.ndarray) -> tuple[float, float]:
        return (float("nan") if next(seen) == 5 else float(image.sum())), 0.0

    scorer = PlanScorer(plan, FunctionClassifier(fails_at_the_sixth, details(SHAPE)))
    with pytest.raises(
        ModelFailure, match="returned a logit that is not finite for perturbation 13"
    ) as caught:
        scorer.score(8, 16, "logit", [0])
    assert caught.value.limits == {"row": 13}


def test_a_clean_prediction_that_is_not_a_number_is_a_failure() -> None:
    scorer = PlanScorer(make(), FunctionClassifier(lambda _: (float("nan"), 1.0), details(SHAPE)))
    with pytest.raises(ModelFailure, match="not a number for the unperturbed image"):
        scorer.predict()


def test_a_class_that_the_model_rules_out_by_minus_infinity_is_no_failure() -> None:
    outputs = FunctionClassifier(lambda image: (float(image.sum()), -float("inf")), details(SHAPE))
    scorer = PlanScorer(make(), outputs)
    assert scorer.predict()[1] == -np.inf
    assert np.isfinite(scorer.score(0, 8, "logit", [0])).all()


def test_probabilities_over_a_thousand_classes_are_summed_in_float64() -> None:
    raw = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    classifier = FunctionClassifier(lambda _: raw, details(SHAPE, classes=1000))
    found = PlanScorer(make(), classifier).score(0, 1, "probability", [7])
    assert found.dtype == np.float64
    np.testing.assert_allclose(found[0, 0], special.softmax(raw.astype(np.float64))[7], rtol=1e-12)


def test_torch_on_the_cpu_scores_as_numpy_does() -> None:
    torch = pytest.importorskip("torch")
    plan = make()
    w = torch.asarray(weights(), dtype=torch.float32)

    def outputs(images: Any) -> Any:
        values = (images * 0.25 + 0.4).mul(w).sum(dim=(1, 2, 3))
        return torch.stack([values, -values], dim=1)

    ours = PlanScorer(plan, linear_classifier(weights())).score(0, 8, "logit", [0])
    theirs = PlanScorer(plan, TorchClassifier(outputs, details(SHAPE), "cpu")).score(0, 8, "logit", [0])
    assert isinstance(theirs, np.ndarray)
    np.testing.assert_allclose(theirs, ours, rtol=1e-4, atol=1e-3)


def test_host_arrays_pass_through_without_a_copy() -> None:
    array = np.ones(3)
    assert to_numpy(array) is array
