"""Kind ``wam``: attributions of linear and quadratic models by hand, of a network by torch, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import pywt
import torch
from tests.fakes.classifiers import (
    DifferentiableClassifier,
    FunctionClassifier,
    details,
    linear_classifier,
    picture,
    random_picture,
)
from tests.fakes.listeners import Listening
from tests.fakes.recorders import Tally

from wavescope.core.gradients import GradientPath
from wavescope.core.partition import factor_sums
from wavescope.core.rendering.pixel import baseline_image
from wavescope.core.wavelets import analyse, bands
from wavescope.engine.checks import check_request
from wavescope.engine.explain import ResolvedRequest
from wavescope.engine.gradient_cost import gradient_forwards
from wavescope.engine.kinds import KINDS
from wavescope.engine.requests import make_request
from wavescope.engine.run import explain, explain_many
from wavescope.engine.types import Explanation, Outputs
from wavescope.errors import CostLimitExceeded, DeadlineExceeded, InvalidRequest, ModelFailure, NoGradients

SHAPE = (3, 16, 24)
PICTURE = random_picture(SHAPE, seed=0)
PATHS = {"method": "integrated_gradients"}


def run(
    classifier: FunctionClassifier, *, of: Any = PICTURE, options: dict[str, Any] | None = None, **fields: Any
) -> Explanation:
    given = {"kind": "wam", "target": 0, "levels": 2, "grid_size": 4, "score": "logit"} | fields
    usual: dict[str, Any] = {"identity": "known", "max_forwards": 10_000}
    return explain(of, make_request(**given), classifier, **usual | (options or {}))


def random(*shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def linear(weights: np.ndarray, **of: Any) -> DifferentiableClassifier:
    """Logit Σ weights · x of the image x in [0, 1], and its negative."""
    plain = linear_classifier(weights)
    std = plain.details.preprocessing.std[0]
    return DifferentiableClassifier(
        plain._of_image,
        lambda image, weight: (weight[0] - weight[1]) * weights * std,
        replace(plain.details, **of),
    )


def powers(weights: np.ndarray, power: int) -> DifferentiableClassifier:
    """Logit Σ weights · x^power of the image x in [0, 1]."""
    of = details(weights.shape)  # type: ignore[arg-type]
    mean, std = of.preprocessing.mean[0], of.preprocessing.std[0]

    def pixels(image: np.ndarray) -> np.ndarray:
        return image.astype(np.float64) * std + mean

    return DifferentiableClassifier(
        lambda image: (float((weights * pixels(image) ** power).sum()), 0.0),
        lambda image, weight: weight[0] * weights * power * pixels(image) ** (power - 1) * std,
        of,
    )


# ---- closed forms ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("wavelet", ["haar", "db3", "sym4"])
def test_the_gradient_of_a_linear_model_is_the_transform_of_its_weights(wavelet: str) -> None:
    """By the coefficients of an orthogonal wavelet, whatever the noise."""
    weights = random(*SHAPE)
    found = run(linear(weights), wavelet=wavelet, samples=5)
    expected = np.abs(analyse(weights, wavelet, 2).astype(np.float64).mean(axis=0))
    np.testing.assert_allclose(found.maps.wam, expected, rtol=1e-4, atol=1e-5)
    by_factor = np.bincount(found.maps.factors.ravel(), expected.ravel())
    np.testing.assert_allclose(found.attributions.factors, by_factor, rtol=1e-4)
    np.testing.assert_allclose(found.attributions.standard_error, 0, atol=1e-5 * by_factor.max())
    assert (found.attributions.signed, found.attributions.baseline_score) == (None, None)
    assert found.indices is None


@pytest.mark.parametrize("baseline", ["zero", "mean", "blur"])
@pytest.mark.parametrize("shape", [SHAPE, (3, 15, 21)])
def test_the_path_of_a_linear_model_is_its_weights_times_the_way(baseline: str, shape: Any) -> None:
    """Signed attributions add up to the difference of the scores."""
    weights, of = random(*shape), random_picture(shape, seed=3)
    found = run(linear(weights), of=of, baseline=baseline, samples=3, **PATHS)
    way = of.pixels - baseline_image(baseline, of.pixels)
    difference = float((weights * way).sum())
    attributions = found.attributions
    assert attributions.score - attributions.baseline_score == pytest.approx(difference, abs=1e-3)
    assert attributions.signed.sum() == pytest.approx(difference, abs=1e-3)
    assert attributions.completeness_error == pytest.approx(0, abs=1e-3)
    if (
        shape == SHAPE
    ):  # no padding: of an orthogonal wavelet the derivatives are the transform of the weights
        each = (analyse(way, "haar", 2).astype(np.float64) * analyse(weights, "haar", 2)).sum(axis=0)
        np.testing.assert_allclose(found.maps.wam, np.abs(each), rtol=1e-3, atol=1e-4)
        signed = np.bincount(found.maps.factors.ravel(), each.ravel())
        np.testing.assert_allclose(attributions.signed, signed, rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(
            attributions.factors, np.bincount(found.maps.factors.ravel(), np.abs(each).ravel()), rtol=1e-3
        )


def test_the_path_of_a_quadratic_model_is_complete_by_trapezoids() -> None:
    """Its gradient is linear along the path, so that the rule is exact from two samples on."""
    weights = random(*SHAPE)
    for samples in (2, 9):
        found = run(powers(weights, 2), samples=samples, **PATHS)
        expected = float((weights * PICTURE.pixels.astype(np.float64) ** 2).sum())
        assert found.attributions.signed.sum() == pytest.approx(expected, rel=1e-4)
        assert not found.warnings


def test_levels_and_maps_are_made_of_the_coefficients() -> None:
    found = run(linear(random(*SHAPE)), samples=2)
    packed, maps = found.maps.wam, found.attributions.level_maps
    sums = np.zeros(3)
    for band in bands(16, 24, 2):
        sums[band.level] += packed[band.slices].sum()
    np.testing.assert_allclose([level.sum for level in found.levels], sums, rtol=1e-5)
    np.testing.assert_allclose([level.share for level in found.levels], sums / sums.sum(), rtol=1e-5)
    assert [(each.level, each.scale_px, each.map.shape) for each in maps] == [
        (0, (4, None), (4, 6)), (1, (2, 4), (4, 6)), (2, (1, 2), (8, 12)),
    ]  # fmt: skip
    np.testing.assert_allclose([each.map.sum() for each in maps], sums, rtol=1e-5)
    enlarged = sum(np.kron(each.map, np.ones((16 // each.map.shape[0],) * 2)) for each in maps)
    np.testing.assert_allclose(found.maps.spatial_wam, enlarged, rtol=1e-5)


# ---- an independent implementation ----------------------------------------------------------------------------------
SIDE, LEVELS = 8, 2


def synthesis_matrix(wavelet: str) -> torch.Tensor:
    """Pixels of every coefficient of the packed array alone, by PyWavelets' own inverse in two dimensions."""
    _, slices = pywt.coeffs_to_array(pywt.wavedec2(np.zeros((SIDE, SIDE)), wavelet, "periodization", LEVELS))
    columns = []
    for place in range(SIDE * SIDE):
        unit = np.zeros(SIDE * SIDE)
        unit[place] = 1
        coefficients = pywt.array_to_coeffs(unit.reshape(SIDE, SIDE), slices, output_format="wavedec2")
        columns.append(pywt.waverec2(coefficients, wavelet, "periodization").ravel())
    return torch.from_numpy(np.array(columns).T)


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 6, 3, padding=1), torch.nn.Softplus(), torch.nn.Flatten(), torch.nn.Linear(384, 3)
    )
    return module.double().eval()


def of_network(
    module: torch.nn.Module, *, outputs: Outputs = "logits", batch_size: int = 8
) -> DifferentiableClassifier:
    head = {"logits": lambda z: z, "probabilities": lambda z: z.softmax(-1), "sigmoid": torch.sigmoid}[
        outputs
    ]

    def score(image: torch.Tensor) -> torch.Tensor:
        return head(module(image[None]))[0]

    def gradient(image: np.ndarray, weight: np.ndarray) -> np.ndarray:
        given = torch.from_numpy(image.astype(np.float64)).requires_grad_()
        (found,) = torch.autograd.grad(
            (score(given) * torch.from_numpy(weight.astype(np.float64))).sum(), given
        )
        return found.numpy()

    of = details((3, SIDE, SIDE), outputs=outputs, classes=3, batch_size=batch_size)
    plain = lambda image: score(torch.from_numpy(image.astype(np.float64))).detach().numpy()  # noqa: E731
    return DifferentiableClassifier(plain, gradient, of)


@pytest.mark.parametrize("wavelet", ["haar", "db2", "bior2.2"])
@pytest.mark.parametrize("method", ["smoothgrad", "integrated_gradients"])
def test_attributions_are_those_of_autograd_by_the_coefficients(method: str, wavelet: str) -> None:
    """The coefficients themselves are the leaves of torch's graph, and PyWavelets makes the image of them."""
    module, of = network(), random_picture((3, SIDE, SIDE), seed=5)
    fields = {"samples": 6, "noise": 0.2, "seed": 7, "method": method}
    found = run(of_network(module), of=of, wavelet=wavelet, levels=LEVELS, **fields)
    matrix = synthesis_matrix(wavelet)
    image = of.pixels.astype(np.float64)
    images = GradientPath(method, 6, 0.2, 7, "zero").images(of.pixels, 0, 6).astype(np.float64)

    def by_coefficients(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients of an image, and derivatives of the logit by them."""
        z = torch.linalg.solve(matrix, torch.from_numpy(pixels.reshape(3, -1).T)).requires_grad_()
        rebuilt = (matrix @ z).T.reshape(1, 3, SIDE, SIDE)
        (gradient,) = torch.autograd.grad(module((rebuilt - 0.4) / 0.25)[0, 0], z)
        return z.detach().numpy(), gradient.numpy()

    gradients = [by_coefficients(each)[1] for each in images]
    if method == "smoothgrad":
        expected = np.mean([np.abs(each.mean(axis=1)) for each in gradients], axis=0)
    else:
        integral = np.trapezoid(gradients, dx=1 / 5, axis=0)
        expected = np.abs((by_coefficients(image)[0] * integral).sum(axis=1))
    np.testing.assert_allclose(
        found.maps.wam, expected.reshape(SIDE, SIDE), rtol=1e-3, atol=1e-4 * expected.max()
    )


@pytest.mark.parametrize("outputs", ["logits", "probabilities", "sigmoid"])
@pytest.mark.parametrize("score", ["probability", "logit", "log_probability", "margin"])
def test_the_path_is_complete_for_every_score(outputs: Outputs, score: str) -> None:
    if (outputs, score) == ("probabilities", "logit"):
        return
    of = random_picture((3, SIDE, SIDE), seed=5)
    found = run(of_network(network(), outputs=outputs), of=of, score=score, samples=200, **PATHS)
    attributions = found.attributions
    difference = attributions.score - attributions.baseline_score
    assert abs(attributions.completeness_error) < 0.02 * abs(difference)


# ---- seeds, batches, classes ----------------------------------------------------------------------------------------
def arrays(explanation: Explanation) -> Iterator[Any]:
    found = explanation.attributions
    yield from (explanation.maps.wam, explanation.maps.spatial_wam, found.factors, found.standard_error)


def test_a_seed_gives_the_same_bits_in_batches_of_any_size_and_another_seed_does_not() -> None:
    of = random_picture((3, SIDE, SIDE), seed=5)
    first, second, other = (
        run(of_network(network(), batch_size=batch_size), of=of, samples=19, seed=seed)
        for batch_size, seed in ((8, 3), (3, 3), (8, 4))
    )
    for one, two, three in zip(arrays(first), arrays(second), arrays(other), strict=True):
        np.testing.assert_array_equal(one, two)
        assert (one != three).any()
    assert first.attributions.split_half == second.attributions.split_half > 0.5


def test_images_of_a_path_are_the_same_bits_in_any_range() -> None:
    for method in ("smoothgrad", "integrated_gradients"):
        path = GradientPath(method, 5, 0.25, 11, "mean")
        whole = path.images(PICTURE.pixels, 0, 5)
        np.testing.assert_array_equal(whole[2:4], path.images(PICTURE.pixels, 2, 4))
    noisy = GradientPath("smoothgrad", 200, 0.25, 0, "zero").images(PICTURE.pixels, 0, 200) - PICTURE.pixels
    spread = float(PICTURE.pixels.max() - PICTURE.pixels.min())
    assert noisy.std() == pytest.approx(0.25 * spread, rel=0.01)
    assert abs(noisy.mean()) < 0.01


def test_standard_errors_are_those_of_the_mean_over_seeds() -> None:
    of, model = random_picture((3, SIDE, SIDE), seed=5), of_network(network())
    runs = [run(model, of=of, samples=8, seed=seed, grid_size=2) for seed in range(60)]
    means = np.array([each.attributions.factors for each in runs])
    said = np.array([each.attributions.standard_error for each in runs])
    np.testing.assert_allclose(np.sqrt((said**2).mean(axis=0)), means.std(axis=0, ddof=1), rtol=0.35)


def test_every_class_has_gradients_of_its_own() -> None:
    of, model = random_picture((3, SIDE, SIDE), seed=5), of_network(network())
    request = make_request(kind="wam", levels=2, grid_size=4, samples=4, score="logit")
    resolved = ResolvedRequest(request, ((0, 2),), ("a", "b"))
    listener = Listening()
    both = explain_many([of], resolved, model, max_forwards=100, listener=listener)
    alone = [run(model, of=of, target=target, samples=4) for target in (0, 2)]
    for one, other in zip(both, alone, strict=True):
        np.testing.assert_array_equal(one.maps.wam, other.maps.wam)
        assert (one.forwards, one.reused) == (12, 0)
    assert (both[0].maps.wam != both[1].maps.wam).any()
    assert (listener.announced, sum(listener.counts)) == ([24], 24)


# ---- cost -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("outputs", "score", "cost"),
    [
        ("logits", "logit", 3),
        ("logits", "probability", 4),
        ("logits", "margin", 4),
        ("probabilities", "log_probability", 3),
        ("probabilities", "margin", 4),
        ("sigmoid", "logit", 3),
        ("sigmoid", "probability", 3),
    ],
)
def test_a_gradient_counts_as_the_forwards_whose_time_it_takes(
    outputs: Outputs, score: str, cost: int
) -> None:
    """In the reply, in the limit, and in what replicas count."""
    of, model, tally = (
        random_picture((3, SIDE, SIDE), seed=5),
        of_network(network(), outputs=outputs),
        Tally(),
    )
    found = run(model, of=of, score=score, options={"recorder": tally})
    assert (found.forwards, gradient_forwards(outputs, score)) == (25 * cost, cost)
    assert sum(model.differentiated) == found.attributions.samples == 25
    first = 25 * (cost - 3)  # outputs that the derivative needs
    assert sum(model.batches) == 1 + first  # and the clean prediction
    assert (tally.images_scored.get("fake", 0), tally.images_differentiated) == (first, {"fake": 25})
    refused = f"samples 25 needs {25 * cost} forwards, of which a gradient counts as {cost}"
    with pytest.raises(CostLimitExceeded, match=refused) as caught:
        run(model, of=of, score=score, options={"max_forwards": 25 * cost - 1})
    assert caught.value.field == "samples"


def test_a_deadline_ends_a_mean_early_and_leaves_a_path_without_an_answer() -> None:
    times = iter(range(100))
    options = {"clock": lambda: float(next(times))}
    found = run(linear(random(*SHAPE)), deadline_s=12.0, options=options)
    assert found.partial
    assert found.attributions.samples in (8, 16)
    assert f"ended after {found.attributions.samples} of 25 samples by deadline_s" in found.warnings
    times = iter(range(100))
    with pytest.raises(
        DeadlineExceeded, match="'integrated_gradients' needs 25: raise deadline_s, or lower samples"
    ):
        run(linear(random(*SHAPE)), deadline_s=12.0, options=options, **PATHS)


# ---- what is refused, and warned of ---------------------------------------------------------------------------------
def test_a_model_without_gradients_is_refused_with_the_reason_and_the_remedy() -> None:
    model = linear_classifier(random(*SHAPE))
    model._details = replace(model.details, no_gradients="the operator Sin has no rule")
    with pytest.raises(
        InvalidRequest, match=r"'fake' has none: the operator Sin has no rule\. Take kind 'wcam'"
    ) as caught:
        run(model)
    assert caught.value.field == "kind"
    assert not model.batches


def test_a_model_that_shows_too_late_that_it_has_none_is_refused_in_the_same_way() -> None:
    def refuse(image: np.ndarray, weight: np.ndarray) -> np.ndarray:
        raise NoGradients("model 'fake' has no gradients: Pad by reflection", reason="Pad by reflection")

    plain = linear_classifier(random(*SHAPE))
    model = DifferentiableClassifier(plain._of_image, refuse, plain.details)
    with pytest.raises(InvalidRequest, match=r"'fake' has none: Pad by reflection\. Take kind 'wcam'"):
        run(model)


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"plan": "adaptive"}, "plan", "plan 'adaptive' has no meaning for kind 'wam'"),
        ({"max_forwards": 100}, "max_forwards", "max_forwards is of plans that perturb factors"),
        ({"accuracy": 0.9}, "accuracy", "accuracy is of plans that perturb factors"),
        ({"prior": "size"}, "prior", "prior is of plans that perturb factors"),
        ({"compat": "reference"}, "compat", "compat 'reference' has no meaning"),
        ({"value_policy": "clip"}, "value_policy", "or write 'none'"),
        ({"approximation": "keep"}, "approximation", "or write 'perturb'"),
        ({"against": 1}, "against", "against is for kinds"),
        ({"samples": 1, **PATHS}, "samples", "needs 2 at least, the ends of its path"),
        ({"samples": 0}, "samples", "must be between 1 and 1000"),
        ({"noise": 1.5}, "noise", "noise is 1.5; it must be between 0 and 1"),
        ({"noise": float("nan")}, "noise", "must be between 0 and 1"),
        ({"method": "saliency"}, "method", "supported: smoothgrad, integrated_gradients"),
    ],
)
def test_what_has_no_meaning_is_refused(fields: dict[str, Any], field: str, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words) as caught:
        run(linear(random(*SHAPE)), **fields)
    assert caught.value.field == field


@pytest.mark.parametrize("kind", [name for name in KINDS if not KINDS[name].gradients])
@pytest.mark.parametrize("fields", [{"samples": 10}, {"noise": 0.1}, {"method": "integrated_gradients"}])
def test_fields_of_gradients_are_refused_where_factors_are_perturbed(
    kind: str, fields: dict[str, Any]
) -> None:
    (field,) = fields
    with pytest.raises(
        InvalidRequest, match=rf"{field} is of kinds that differentiate the model \(wam\); kind '{kind}'"
    ) as caught:
        check_request(make_request(kind=kind, **fields), SHAPE[1:])
    assert caught.value.field == field
    # As replies echo them.
    check_request(make_request(kind=kind, levels=1, method="smoothgrad", samples=25, noise=0.25), SHAPE[1:])


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"nb_design": 4}, "nb_design plays no part in kind 'wam' with method 'smoothgrad'"),
        (
            {"sampler": "latin_hypercube", "estimator": "homma"},
            "sampler and estimator play no part in kind 'wam'",
        ),
        ({"baseline": "mean"}, "baseline plays no part in kind 'wam' with method 'smoothgrad'"),
        ({"noise": 0.1, **PATHS}, "noise plays no part in kind 'wam' with method 'integrated_gradients'"),
    ],
)
def test_fields_that_play_no_part_are_warned_of(fields: dict[str, Any], sentence: str) -> None:
    assert run(linear(random(*SHAPE)), **fields).warnings[0].startswith(sentence)


def test_a_gradient_that_is_not_finite_is_refused_with_a_kind_that_needs_none() -> None:
    plain = linear_classifier(random(*SHAPE))
    model = DifferentiableClassifier(
        plain._of_image, lambda image, weight: np.full(SHAPE, np.nan), plain.details
    )
    with pytest.raises(
        InvalidRequest,
        match=r"kind 'wam' needs gradients that are finite: .* gradient of its logit that is not finite for sample 0\. "
        "Take kind 'wcam'",
    ) as caught:
        run(model)
    assert (caught.value.field, caught.value.limits["supported"][0]) == ("kind", "wcam")


def test_a_score_that_is_not_finite_is_a_failure_of_the_model() -> None:
    broken = DifferentiableClassifier(
        lambda image: (np.nan if image.min() < -1.6 else 1.0, 0.0),
        lambda image, weight: np.ones(SHAPE),
        details(SHAPE),
    )
    with pytest.raises(ModelFailure, match="a logit that is not finite for sample 0"):
        run(broken)


@pytest.mark.parametrize("method", ["smoothgrad", "integrated_gradients"])
def test_a_score_that_is_flat_has_no_map(method: str) -> None:
    found = run(linear(np.zeros(SHAPE)), method=method)
    assert (found.outcome, found.attributions, found.maps, found.levels) == (
        "constant_score",
        None,
        None,
        None,
    )
    assert found.warnings == (
        "the gradient of the logit is 0 at all 25 samples: it is flat there, or rounded to a constant; try another "
        "score, or kind 'wcam'",
    )


@pytest.mark.parametrize("wavelet", ["haar", "db4"])
@pytest.mark.parametrize("baseline", ["mean", "blur"])
def test_an_image_that_is_its_own_baseline_has_no_path_from_it(baseline: str, wavelet: str) -> None:
    even = picture(np.full(SHAPE, 0.3))
    model = linear(random(*SHAPE))
    found = run(model, of=even, baseline=baseline, wavelet=wavelet, **PATHS)
    assert (found.outcome, found.attributions) == ("constant_score", None)
    assert found.warnings[-1:] == (
        f"the image is its own baseline {baseline!r}: the path from one to the other has no length, and nothing to "
        "attribute; take another baseline, or method 'smoothgrad'",
    )
    assert run(model, of=even, baseline="zero", wavelet=wavelet, **PATHS).outcome == "explained"


@pytest.mark.parametrize("wavelet", ["haar", "db4"])
def test_noise_of_an_image_of_one_value_is_none(wavelet: str) -> None:
    found = run(linear(random(*SHAPE)), of=picture(np.full(SHAPE, 0.3)), wavelet=wavelet)
    assert found.warnings[-1:] == (
        "the image is of one value, and noise a share of its range: all 25 samples are the image itself, and one would "
        "do",
    )


def test_warnings_say_what_stands_against_a_map() -> None:
    assert "noise is 0: all 3 samples" in run(linear(random(*SHAPE)), noise=0.0, samples=3).warnings[0]
    found = run(
        powers(random(*SHAPE), 3), samples=2, **PATHS
    )  # the integral is 1, the rule gives (0 + 3) / 2
    score = found.attributions.score
    assert found.attributions.completeness_error == pytest.approx(score / 2, rel=1e-3)
    assert "the path has too few samples" in found.warnings[-1]


def test_faithfulness_is_measured_of_the_attributions() -> None:
    found = run(linear(random(*SHAPE)), samples=2, faithfulness=True)
    assert [entry.domain for entry in found.faithfulness] == ["pixel", "wavelet"]
    assert found.forwards == 6 + 302 + 2 * 17 + 200


def test_coefficients_of_no_factor_are_left_out_of_the_sums() -> None:
    factors = np.array([[0, -1], [1, 1]], np.int32)
    np.testing.assert_array_equal(factor_sums(np.array([[1.0, 8], [2, 4]]), factors, 2), [1, 6])
