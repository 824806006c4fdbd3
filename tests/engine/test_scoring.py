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

from wavescope.core.arrays import to_numpy
from wavescope.core.rendering.masks import NestedMasks
from wavescope.engine.plan import Plan, chunks, make_plan, make_stack, pixel_plan
from wavescope.engine.protocols import Classifier, NullRecorder, Recorder
from wavescope.engine.scoring.scorer import DeviceBatches, Rendering, Scorer
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
    assert isinstance(NullRecorder(), Recorder)


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
        plain = slow_render(plan.array, SHAPE[1:], "haar", 2, partition.factors, mask, partition.held)
        expected.append(classifier.forward(slow_finish(plain, policy, mean, std)[None])[0, 0])
    scorer = Scorer(plan, classifier)
    found = [
        scorer.score(None, start, stop, "logit", [0]).values for start, stop in scorer.batches(0, plan.rows)
    ]
    np.testing.assert_allclose(np.concatenate(found)[:, 0], expected, atol=1e-4)


def test_chunks_scored_apart_give_the_bits_of_one_run() -> None:
    plan = make()
    whole = (
        Scorer(plan, linear_classifier(weights(), batch_size=plan.rows))
        .score(None, 0, plan.rows, "logit", [0])
        .values
    )
    for size in (1, 5, 7, 32):
        for start, stop in reversed(list(chunks(plan.rows, size))):
            scorer = Scorer(plan, linear_classifier(weights(), batch_size=3))  # as another replica would
            parts = [scorer.score(None, *batch, "logit", [0]).values for batch in scorer.batches(start, stop)]
            assert (np.concatenate(parts) == whole[start:stop]).all()


def test_batches_are_device_batches_in_order() -> None:
    scorer = Scorer(make(), linear_classifier(weights(), batch_size=8))
    assert scorer.batches(5, 25) == [(5, 13), (13, 21), (21, 25)]
    assert scorer.batches(5, 5) == []


def test_the_model_never_sees_more_than_its_batch() -> None:
    plan, classifier = make(), linear_classifier(weights(), batch_size=5)
    scorer = Scorer(plan, classifier)
    for start, stop in scorer.batches(0, plan.rows):
        scorer.score(None, start, stop, "logit", [0])
    assert classifier.batches == [5] * 7 + [1]  # 36 rows


def test_several_targets_are_scored_in_one_pass() -> None:
    scorer = Scorer(make(), linear_classifier(weights()))
    both = scorer.score(None, 0, 8, "logit", [0, 1]).values
    assert both.shape == (8, 2)
    assert (both[:, 1] == -both[:, 0]).all()


def test_the_clean_prediction_is_of_the_unperturbed_normalised_image() -> None:
    """Without any value policy: minmax would stretch even the image itself."""
    classifier = linear_classifier(weights())
    scorer = Scorer(make(value_policy="minmax"), classifier)
    np.testing.assert_allclose(scorer.image(), PICTURE.pixels, atol=1e-6)
    expected = float((weights() * PICTURE.pixels).sum())
    np.testing.assert_allclose(scorer.predict(), [expected, -expected], rtol=1e-5)


def test_renderings_and_scores_are_recorded_with_their_seconds() -> None:
    tally = Tally()
    scorer = Scorer(make(), linear_classifier(weights()), recorder=tally, clock=Ticks())
    scorer.score(None, 0, 8, "logit", [0])
    scorer.score(None, 8, 11, "logit", [0])
    assert tally.images_rendered == tally.images_scored == {"fake": 11}
    assert (
        tally.seconds == 6.0
    )  # two calls, each with a tick of rendering, one of the forward, one of reading back


def test_a_score_that_is_not_finite_names_its_row() -> None:
    plan = make()
    seen = iter(range(10_000))

    def fails_at_the_sixth(image: np.ndarray) -> tuple[float, float]:
        return (float("nan") if next(seen) == 5 else float(image.sum())), 0.0

    scorer = Scorer(plan, FunctionClassifier(fails_at_the_sixth, details(SHAPE)))
    with pytest.raises(
        ModelFailure, match="returned a logit that is not finite for perturbation 13"
    ) as caught:
        scorer.score(None, 8, 16, "logit", [0])
    assert caught.value.limits == {"row": 13}


def test_a_clean_prediction_that_is_not_a_number_is_a_failure() -> None:
    scorer = Scorer(make(), FunctionClassifier(lambda _: (float("nan"), 1.0), details(SHAPE)))
    with pytest.raises(ModelFailure, match="not a number for the unperturbed image"):
        scorer.predict()


def test_a_class_that_the_model_rules_out_by_minus_infinity_is_no_failure() -> None:
    outputs = FunctionClassifier(lambda image: (float(image.sum()), -float("inf")), details(SHAPE))
    scorer = Scorer(make(), outputs)
    assert scorer.predict()[1] == -np.inf
    assert np.isfinite(scorer.score(None, 0, 8, "logit", [0]).values).all()


def test_probabilities_over_a_thousand_classes_are_summed_in_float64() -> None:
    raw = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    classifier = FunctionClassifier(lambda _: raw, details(SHAPE, classes=1000))
    found = Scorer(make(), classifier).score(None, 0, 1, "probability", [7]).values
    assert found.dtype == np.float64
    np.testing.assert_allclose(found[0, 0], special.softmax(raw.astype(np.float64))[7], rtol=1e-12)


def test_torch_on_the_cpu_scores_as_numpy_does() -> None:
    torch = pytest.importorskip("torch")
    plan = make()
    w = torch.asarray(weights(), dtype=torch.float32)

    def outputs(images: Any) -> Any:
        values = (images * 0.25 + 0.4).mul(w).sum(dim=(1, 2, 3))
        return torch.stack([values, -values], dim=1)

    ours = Scorer(plan, linear_classifier(weights())).score(None, 0, 8, "logit", [0]).values
    theirs = (
        Scorer(plan, TorchClassifier(outputs, details(SHAPE), "cpu")).score(None, 0, 8, "logit", [0]).values
    )
    assert isinstance(theirs, np.ndarray)
    np.testing.assert_allclose(theirs, ours, rtol=1e-4, atol=1e-3)


def test_every_row_comes_with_the_class_it_is_given_and_that_classs_probability() -> None:
    scorer = Scorer(make(), linear_classifier(weights()))
    found = scorer.score(None, 0, 8, "logit", [0, 1])
    assert (found.predicted == np.where(found.values[:, 0] > 0, 0, 1)).all()
    np.testing.assert_allclose(found.confidence, special.softmax(found.values, axis=1).max(axis=1))


def test_mask_rows_are_scored_as_their_plainly_rendered_images() -> None:
    plan, classifier = make(value_policy="none"), linear_classifier(weights())
    partition = plan.make_partition()
    rows = NestedMasks(np.arange(plan.n_factors, dtype=np.int32)[::-1].copy(), np.array([0, 3, 16], np.int32))
    found = Scorer(plan, classifier).score(rows, 0, 3, "logit", [0]).values[:, 0]
    for mask, score in zip(rows.masks(0, 3), found, strict=True):
        plain = slow_render(plan.array, SHAPE[1:], "haar", 2, partition.factors, mask.astype(float), 1.0)
        np.testing.assert_allclose(score, float((weights() * plain).sum()), atol=1e-4)


def test_given_factors_of_pixels_are_removed_to_black() -> None:
    groups = (np.arange(SHAPE[1] * SHAPE[2]) % 3).reshape(SHAPE[1:]).astype(np.int32)
    plan = pixel_plan(make(), PICTURE.pixels, groups)
    rows = NestedMasks(np.array([2, 0, 1], np.int32), np.array([1], np.int32), keep=False)
    (found,) = Scorer(plan, linear_classifier(weights())).score(rows, 0, 1, "logit", [0]).values[:, 0]
    np.testing.assert_allclose(found, float((weights() * PICTURE.pixels * (groups != 2)).sum()), rtol=1e-5)


def test_a_stack_of_images_is_scored_as_it_is() -> None:
    images = np.random.default_rng(3).integers(0, 256, (5, *SHAPE), dtype=np.uint8)
    scorer = Scorer(make_stack(images), linear_classifier(weights(), batch_size=2))
    found = [scorer.score(None, *batch, "logit", [0]).values for batch in scorer.batches(0, 5)]
    expected = (weights() * (images / 255)).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(np.concatenate(found)[:, 0], expected, rtol=1e-5, atol=1e-4)


def test_a_stack_of_floats_is_in_0_to_1_already() -> None:
    images = np.random.default_rng(3).random((5, *SHAPE)).astype(np.float32)
    scorer = Scorer(make_stack(images), linear_classifier(weights(), batch_size=5))
    found = scorer.score(None, 0, 5, "logit", [0]).values[:, 0]
    np.testing.assert_allclose(found, (weights() * images).sum(axis=(1, 2, 3)), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(("start", "stop"), [(0, 5), (1, 2), (2, 5)])
def test_raw_outputs_of_images_are_those_of_the_model_batch_after_batch(start: int, stop: int) -> None:
    images = np.random.default_rng(3).random((5, *SHAPE)).astype(np.float32)
    model = linear_classifier(weights(), batch_size=2)
    found = DeviceBatches(model).outputs(Rendering(make_stack(images), model), start, stop)
    value = (weights() * images).sum(axis=(1, 2, 3))[start:stop]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.stack([value, -value], axis=1), rtol=1e-5, atol=1e-4)
    assert max(model.batches) <= 2


def test_raw_outputs_that_are_no_numbers_name_the_image() -> None:
    images = np.zeros((5, *SHAPE), dtype=np.float32)
    images[3] = 1
    model = FunctionClassifier(
        lambda image: (np.nan if image.max() > 1 else 0.0, 1.0), details(SHAPE, batch_size=2)
    )
    with pytest.raises(ModelFailure, match="not a number for image 3") as caught:
        DeviceBatches(model).outputs(Rendering(make_stack(images), model), 0, 5)
    assert caught.value.limits == {"row": 3}


def test_host_arrays_pass_through_without_a_copy() -> None:
    array = np.ones(3)
    assert to_numpy(array) is array
