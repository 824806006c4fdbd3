"""The use case whole, in one process: outcomes, progress, bits, and what goes into the reply."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import special
from tests.fakes.classifiers import FunctionClassifier, details, linear_classifier, picture, random_picture
from tests.fakes.listeners import Listening
from tests.fakes.recorders import Tally, Ticks

from wavescope.engine.run import explain
from wavescope.engine.types import Explanation, ExplanationRequest
from wavescope.errors import CostLimitExceeded, InvalidRequest, ModelFailure

SHAPE = (3, 32, 32)
PICTURE = random_picture(SHAPE, seed=0)
SMALL = ExplanationRequest(grid_size=4, levels=2)


def weights(seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=SHAPE) / 20


def run(
    classifier: FunctionClassifier | None = None,
    request: ExplanationRequest = SMALL,
    of: Any = PICTURE,
    **options: Any,
) -> Explanation:
    options = {"identity": "an id", "max_forwards": 100_000} | options
    return explain(of, request, classifier or linear_classifier(weights()), **options)


def test_the_defaults_cost_6288_forwards_beside_the_clean_prediction() -> None:
    classifier = linear_classifier(weights(), batch_size=32)
    done = run(classifier, ExplanationRequest())
    assert done.forwards == 6288
    assert sum(classifier.batches) == 6288 + 1
    assert len(done.indices.total) == 784


def test_every_part_of_the_reply_has_its_shape() -> None:
    done = run(
        of=random_picture((3, 30, 41), seed=0), classifier=linear_classifier(np.full((3, 30, 41), 1e-3))
    )
    assert (done.id, done.kind, done.model, done.outcome) == ("an id", "wcam", "fake", "explained")
    indices, maps = done.indices, done.maps
    assert [a.shape for a in (indices.total, indices.first, indices.standard_error)] == [(16,)] * 3
    assert indices.interval_95.shape == (16, 2)
    assert maps.wcam.shape == maps.factors.shape == (32, 44)
    assert maps.spatial_wcam.shape == (30, 41)
    assert (maps.wcam.dtype, maps.spatial_wcam.dtype, maps.factors.dtype) == (
        np.float32,
        np.float32,
        np.int32,
    )
    assert done.image.shape == (3, 30, 41)
    assert [level.level for level in done.levels] == [0, 1, 2]
    assert [level.scale_px for level in done.levels] == [(4, None), (2, 4), (1, 2)]
    assert done.levels[0].horizontal is None
    assert done.levels[2].diagonal.sum >= 0
    assert done.crop == random_picture((3, 30, 41), seed=0).crop


def test_no_part_of_the_reply_is_nan() -> None:
    for policy in ("clip", "minmax", "none"):
        done = run(request=replace(SMALL, value_policy=policy))
        arrays = [
            done.indices.total,
            done.indices.first,
            done.indices.standard_error,
            done.indices.interval_95,
        ]
        arrays += [done.maps.wcam, done.maps.spatial_wcam]
        assert all(np.isfinite(array).all() for array in arrays)


def test_the_target_is_the_predicted_class_unless_one_is_asked_for() -> None:
    outputs = FunctionClassifier(
        lambda image: np.array([1.0, 3.0, 2.0, -1.0, 0.0, -3.0, -2.0]) * image.sum(),
        details(SHAPE, classes=7),
    )
    total = float(((PICTURE.pixels - 0.4) / 0.25).sum())
    likely = special.softmax(np.array([1.0, 3.0, 2.0, -1.0, 0.0, -3.0, -2.0]) * total)
    predicted = run(outputs, replace(SMALL, score="logit"))
    best = np.argsort(-likely)
    assert predicted.target.index == best[0]
    assert [p.index for p in predicted.prediction] == best[:5].tolist()
    assert predicted.target.label == f"class {best[0]}"
    np.testing.assert_allclose(predicted.target.probability, likely.max(), rtol=1e-4)
    asked = run(outputs, replace(SMALL, score="logit", target=5))
    assert (asked.target.index, asked.parameters["target"]) == (5, 5)
    assert asked.prediction == predicted.prediction


def test_class_zero_can_be_asked_for() -> None:
    outputs = FunctionClassifier(lambda image: (image[0].sum(), 1e4), details(SHAPE))
    assert run(outputs, replace(SMALL, score="logit", target=0)).target.index == 0


def test_all_effective_parameters_come_back() -> None:
    request = replace(SMALL, seed=7, wavelet="db2", score="margin")
    done = run(request=request)
    assert done.parameters == request.parameters() | {"target": done.target.index}


def test_progress_reaches_the_total_step_by_step() -> None:
    listening = Listening()
    run(linear_classifier(weights(), batch_size=10), listener=listening)
    assert listening.announced == [144]  # 8·(16 + 2) rows
    assert listening.counts == [10] * 14 + [4]


def test_timing_adds_up_and_comes_from_the_clock_that_is_given() -> None:
    timing = run(clock=Ticks()).timing
    assert timing["plan_s"] + timing["score_s"] <= timing["total_s"]
    assert all(value > 0 for value in timing.values())


def test_the_recorder_is_told_every_forward_of_the_plan() -> None:
    tally = Tally()
    run(recorder=tally)
    assert tally.images_scored == tally.images_rendered == {"fake": 144}


@pytest.mark.parametrize("batch_size", [1, 3, 8, 64, 200])
def test_the_bits_do_not_depend_on_the_batch_size(batch_size: int) -> None:
    reference = run(linear_classifier(weights(), batch_size=7))
    found = run(linear_classifier(weights(), batch_size=batch_size))
    assert (found.indices.total == reference.indices.total).all()
    assert (found.indices.first == reference.indices.first).all()
    assert (found.indices.standard_error == reference.indices.standard_error).all()
    assert (found.maps.spatial_wcam == reference.maps.spatial_wcam).all()
    assert found.levels == reference.levels


def test_another_seed_gives_other_estimates_and_the_same_seed_the_same() -> None:
    first, again, other = (run(request=replace(SMALL, seed=seed)).indices.total for seed in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()


def test_a_constant_score_is_an_outcome_with_a_warning_and_no_nan() -> None:
    done = run(FunctionClassifier(lambda _: (2.0, 1.0), details(SHAPE)))
    assert done.outcome == "constant_score"
    assert done.indices is done.maps is done.levels is None
    assert done.forwards == 144
    assert any("does not vary" in warning for warning in done.warnings)
    assert done.target.index == 0


def test_a_picture_without_content_has_a_constant_score() -> None:
    done = run(of=picture(np.zeros(SHAPE)))
    assert done.outcome == "constant_score"


def test_a_model_that_returns_nan_is_a_failure_not_a_result() -> None:
    with pytest.raises(ModelFailure, match="not a number for the unperturbed image"):
        run(FunctionClassifier(lambda _: (float("nan"), 0.0), details(SHAPE)))

    def nan_on_dark_images(image: np.ndarray) -> tuple[float, float]:
        return (float("nan") if image.mean() < 0 else 1.0), 0.0

    with pytest.raises(ModelFailure, match="logit that is not finite for perturbation"):
        run(FunctionClassifier(nan_on_dark_images, details(SHAPE)), of=picture(np.full(SHAPE, 0.6)))


def test_a_score_that_the_model_cannot_give_is_refused_before_scoring() -> None:
    classifier = FunctionClassifier(lambda _: (0.5, 0.5), details(SHAPE, outputs="probabilities"))
    with pytest.raises(InvalidRequest, match="score is 'logit', but this model returns probabilities"):
        run(classifier, replace(SMALL, score="logit"))
    assert sum(classifier.batches) <= 1


def test_a_cost_over_the_limit_is_refused_before_the_model_is_asked() -> None:
    classifier = linear_classifier(weights())
    with pytest.raises(CostLimitExceeded, match="144 forwards; at most 143"):
        run(classifier, max_forwards=143)
    assert classifier.batches == []


def test_few_design_rows_have_null_errors_and_a_warning() -> None:
    done = run(request=replace(SMALL, nb_design=2))
    assert done.outcome == "explained"
    assert done.indices.standard_error is None
    assert done.indices.interval_95 is None
    assert any("at least 4" in warning for warning in done.warnings)


def test_grey_images_and_every_output_kind_are_explained() -> None:
    for outputs in ("logits", "probabilities", "sigmoid"):
        classifier = FunctionClassifier(
            lambda image: special.softmax([image.mean(), image[0, :16].mean()]),
            details((1, 32, 32), outputs=outputs),
        )
        done = run(classifier, replace(SMALL, score="margin"), of=random_picture((1, 32, 32), seed=3))
        assert done.outcome == "explained"


def test_an_explanation_through_numpy_never_imports_torch() -> None:
    program = (
        "import sys; from tests.engine.test_explain import run;"
        "assert run().outcome == 'explained';"
        "assert not {'torch', 'ray', 'pydantic', 'fastapi'} & set(sys.modules), sorted(sys.modules)"
    )
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", program], cwd=root, check=True)
