"""Every kind end to end in one process, on models whose answers follow by hand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any, get_args

import numpy as np
import pytest
from scipy import special
from tests.fakes.classifiers import FunctionClassifier, details, linear_classifier, picture, random_picture
from tests.fakes.listeners import Listening

from wavescope.core.partition import fourier_partition, pixel_partition
from wavescope.core.reconstruction import rank
from wavescope.core.rendering.fourier import FourierSynthesis
from wavescope.core.scores import resolve_score
from wavescope.core.sobol.design import make_design
from wavescope.engine import warnings
from wavescope.engine.choices import CHOICES
from wavescope.engine.explain import ResolvedRequest
from wavescope.engine.kinds import PERTURBING
from wavescope.engine.requests import make_request
from wavescope.engine.run import explain, explain_many
from wavescope.engine.types import CropBox, Explanation, ExplanationRequest, Indices, Outputs, Picture
from wavescope.errors import InvalidRequest

SHAPE = (2, 16, 16)
PICTURE = random_picture(SHAPE, seed=0)
FEW: dict[str, Any] = {"grid_size": 4, "levels": 2, "nb_design": 4}
EXACT: dict[str, Any] = {"value_policy": "none", "score": "logit", "target": 0}


class FakeSource:
    """An image whose zoomed crop and corrupted copies are known."""

    def __init__(self, regular: Picture, zoomed: Picture) -> None:
        self._pictures = {1: regular, 2: zoomed}

    def picture(self, zoom: int) -> Picture:
        return self._pictures[zoom]

    def corrupted(self, seed: int, *, reference: bool) -> Iterator[tuple[str, int, np.ndarray]]:
        """Brightness from black to white, by severity; the seed is one corruption's level."""
        del reference
        for severity in range(1, 6):
            yield "brightness", severity, np.full(SHAPE, 51 * severity, dtype=np.uint8)
        for severity in range(1, 6):
            yield "seeded", severity, np.full(SHAPE, seed, dtype=np.uint8)


SOURCE = FakeSource(PICTURE, random_picture(SHAPE, seed=9))


def run(classifier: FunctionClassifier, request: ExplanationRequest, **options: Any) -> Explanation:
    of = options.pop("of", SOURCE)
    options = {"identity": "known", "max_forwards": 1_000_000} | options
    return explain(of, request, classifier, **options)


def weights(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=SHAPE)


def by_hand(g: np.ndarray, request: ExplanationRequest) -> np.ndarray:
    """Jansen's estimate of an additive score Σ m_k g_k on this design."""
    design = make_design(request.sampler, len(g), request.nb_design, request.seed)
    values = np.concatenate([design.a @ g, design.b @ g])
    return g**2 * ((design.a - design.b) ** 2).mean(axis=0) / (2 * values.var(ddof=1))


# ---- attribution in the other domains ----------------------------------------------------------


@pytest.mark.parametrize("partition", ["circle", "square", "grid"])
def test_a_linear_classifier_of_frequencies_has_the_indices_that_follow_by_hand(partition: str) -> None:
    request = make_request(kind="fam", partition=partition, grid_size=6, nb_design=16, **EXACT)
    factors = fourier_partition(partition, 16, 16, grid_size=6)
    synthesis = FourierSynthesis(PICTURE.pixels, factors, np.zeros((2, 1, 1), np.float32))
    masks = np.eye(factors.n_factors)
    g = np.array([float((weights(1) * synthesis.plain(mask)).sum()) for mask in masks])
    done = run(linear_classifier(weights(1)), request)
    np.testing.assert_allclose(done.indices.total, by_hand(g, request), rtol=1e-3, atol=1e-6)
    assert done.maps.fam.shape == done.maps.factors.shape == (16, 16)
    assert done.levels is None
    assert sum(ring.share for ring in done.radial) == pytest.approx(1)


def test_the_radial_profile_of_circles_is_their_indices_against_cycles_per_pixel() -> None:
    done = run(linear_classifier(weights(2)), make_request(kind="fam", grid_size=6, **EXACT))
    assert [ring.mean for ring in done.radial] == pytest.approx(done.indices.total.tolist(), rel=1e-6)
    edges = [ring.frequency for ring in done.radial]
    assert edges[0][0] == 0
    assert edges[-1][1] == pytest.approx(np.sqrt(0.5))  # the corner of the Nyquist square
    assert all(one[1] == pytest.approx(two[0]) for one, two in pairwise(edges))


def test_a_model_of_one_frequency_gives_importance_to_its_ring_alone() -> None:
    wave = np.cos(2 * np.pi * 5 * np.arange(16) / 16)[None, None, :] * np.ones(SHAPE)
    done = run(linear_classifier(wave), make_request(kind="fam", partition="square", grid_size=8, **EXACT))
    assert int(np.argmax(done.indices.total)) == 5
    assert np.delete(done.indices.total, 5).max() < 1e-9


@pytest.mark.parametrize("nb_design", [2, 4, 16])
def test_the_signed_effect_of_a_frequency_is_what_it_adds_to_a_linear_score(nb_design: int) -> None:
    request = make_request(kind="fam", grid_size=6, nb_design=nb_design, **EXACT)
    factors = fourier_partition("circle", 16, 16, grid_size=6)
    synthesis = FourierSynthesis(PICTURE.pixels, factors, np.zeros((2, 1, 1), np.float32))
    added = [float((weights(1) * synthesis.plain(mask)).sum()) for mask in np.eye(factors.n_factors)]
    found = run(linear_classifier(weights(1)), request).indices
    assert min(added) < 0 < max(added)
    np.testing.assert_allclose(found.effect, added, rtol=1e-3, atol=1e-4)
    assert (found.effect_error is None) == (nb_design < 4)
    assert found.effect_error is None or max(found.effect_error) < 1e-3


@pytest.mark.parametrize("baseline", ["zero", "mean", "blur"])
def test_a_linear_classifier_of_pixels_has_the_indices_that_follow_by_hand(baseline: str) -> None:
    from wavescope.core.rendering.pixel import baseline_image

    request = make_request(kind="sobol", baseline=baseline, grid_size=4, nb_design=16, **EXACT)
    away = PICTURE.pixels - baseline_image(baseline, PICTURE.pixels)
    factors = pixel_partition(16, 16, 4).factors
    parts = (weights(3) * away).sum(axis=0)
    g = np.array([parts[factors == k].sum() for k in range(16)])
    done = run(linear_classifier(weights(3)), request)
    np.testing.assert_allclose(done.indices.total, by_hand(g, request), rtol=1e-3, atol=1e-6)
    np.testing.assert_array_equal(done.maps.sobol, done.indices.total.astype(np.float32)[factors])
    assert done.maps.spatial is done.maps.sobol


def test_the_profile_has_every_band_its_error_and_a_share() -> None:
    request = make_request(kind="profile", levels=2, nb_design=8, **EXACT)
    done = run(linear_classifier(weights(4)), request)
    assert done.forwards == 8 * (7 + 2)
    assert [(band.level, band.orientation) for band in done.profile] == [
        (0, "approximation"),
        *((level, name) for level in (1, 2) for name in ("horizontal", "vertical", "diagonal")),
    ]
    assert [band.total for band in done.profile] == done.indices.total.tolist()
    assert sum(band.share for band in done.profile) == pytest.approx(1)
    assert all(band.share_standard_error > 0 for band in done.profile)
    assert all(band.interval_95[0] <= band.total <= band.interval_95[1] for band in done.profile)
    levels = run(linear_classifier(weights(4)), replace(request, partition="levels")).profile
    assert [(band.level, band.orientation) for band in levels] == [(0, "approximation"), (1, None), (2, None)]


# ---- sufficient image --------------------------------------------------------------------------


def counting_classifier(labels: list[int], order: np.ndarray, request: ExplanationRequest) -> Any:
    """Class of ``labels[n]`` for the image of the n top factors alone; its logit 0 ranks factors as ``order`` does.

    It reads from the image which factors are present, by inverting the orthogonal transform.
    """
    from wavescope.core.wavelets import analyse
    from wavescope.engine.plan import make_plan

    plan = make_plan(PICTURE, request, max_forwards=10**6)
    factors = plan.make_partition().factors
    of = details(SHAPE, classes=3)
    energies = (plan.array**2).sum(axis=0)
    whole = np.array([energies[factors == k].sum() for k in range(plan.n_factors)])
    importance = np.zeros(plan.n_factors)
    importance[order] = np.linspace(3, 1, plan.n_factors)

    def outputs(image: np.ndarray) -> np.ndarray:
        packed = analyse(image * 0.25 + 0.4, request.wavelet, request.levels)
        inside = (packed**2).sum(axis=0)
        mask = np.sqrt(np.array([inside[factors == k].sum() for k in range(plan.n_factors)]) / whole)
        present = mask > 0.5
        n = int(present.sum())
        if (np.abs(mask - present) < 1e-3).all() and present[order[:n]].all():  # a reconstruction
            return np.eye(3)[labels[n]]
        return np.array([float(importance @ mask), 0.0, 0.0])

    return FunctionClassifier(outputs, of)


SCAN = make_request(kind="sufficient-image", grid_size=3, levels=1, nb_design=64, **EXACT)
ORDER = np.random.default_rng(5).permutation(9).astype(np.int32)


@pytest.mark.parametrize(
    ("labels", "outcome", "depth"),
    [
        ([1, 2, 1, 0, 0, 0, 0, 0, 0, 0], "sufficient", 3),
        ([1, 1, 0, 1, 2, 1, 1, 0, 0, 0], "sufficient", 2),  # the curve need not be monotone
        ([0, 1, 1, 1, 1, 1, 1, 1, 1, 0], "empty_suffices", 0),
        ([1, 1, 1, 1, 1, 1, 1, 1, 1, 0], "sufficient", 9),
        ([1, 1, 1, 1, 1, 1, 1, 1, 1, 2], "none_suffices", None),
    ],
)
def test_the_depth_is_the_smallest_n_that_keeps_the_label(
    labels: list[int], outcome: str, depth: int | None
) -> None:
    done = run(counting_classifier(labels, ORDER, SCAN), SCAN)
    found = done.sufficiency
    np.testing.assert_array_equal(found.order, ORDER)
    assert (found.outcome, found.depth) == (outcome, depth)
    assert found.predicted.tolist() == labels
    expected = np.exp(np.eye(3)[labels][:, 0]) / (np.e + 2)
    np.testing.assert_allclose(found.probability, expected, rtol=1e-6)
    assert done.forwards == 64 * 11 + 10
    assert (found.image is None) == (found.kept is None) == (depth is None)
    assert any("without any factor" in w for w in done.warnings) == (outcome == "empty_suffices")
    assert any("no number of top factors" in w for w in done.warnings) == (outcome == "none_suffices")


def test_the_sufficient_image_is_made_of_the_top_factors_alone() -> None:
    from wavescope.core.wavelets import analyse

    done = run(counting_classifier([1, 2, 1, 0, 0, 0, 0, 0, 0, 0], ORDER, SCAN), SCAN)
    packed = analyse(PICTURE.pixels, "haar", 1)
    inside = np.isin(done.maps.factors, ORDER[:3])
    # Its picture is clipped for viewers; the coefficients of a clip-free image come back as they were.
    assert done.sufficiency.kept.coefficients == 2 * inside.sum()
    assert done.sufficiency.kept.energy_share == pytest.approx(
        (packed[:, inside] ** 2).sum() / (packed**2).sum()
    )
    assert done.sufficiency.image.min() >= 0
    assert done.sufficiency.image.max() <= 1
    assert 0 < done.sufficiency.kept.compressed_bytes < done.sufficiency.kept.compressed_bytes_total


# ---- the score that no request names -----------------------------------------------------------


@pytest.mark.parametrize("outputs", get_args(Outputs))
@pytest.mark.parametrize("kind", PERTURBING)
def test_a_request_that_names_no_score_is_the_one_that_names_what_suits_the_model(
    kind: str, outputs: Outputs
) -> None:
    """To the bit; and its reply names that score, that of a second image too."""

    def of_image(image: np.ndarray) -> Any:
        z = np.array([image.mean(), image[0, :4].mean(), image.std()])
        likely = 1 / (1 + np.exp(-z)) if outputs == "sigmoid" else np.exp(z) / np.exp(z).sum()
        return z if outputs == "logits" else likely

    classifier = FunctionClassifier(of_image, details(SHAPE, outputs=outputs, classes=3))
    other = {"other": SOURCE} if kind == "compare" else {}
    named = resolve_score("auto", outputs)
    unnamed, same = (
        run(classifier, make_request(kind=kind, **FEW, **given), **other) for given in ({}, {"score": named})
    )
    np.testing.assert_array_equal(unnamed.indices.total, same.indices.total)
    assert unnamed.parameters == same.parameters
    assert unnamed.warnings == same.warnings
    second = unnamed.comparison.other if unnamed.comparison else unnamed.zoom and unnamed.zoom.zoomed
    for one in filter(None, (unnamed, second)):
        assert one.parameters["score"] == named


# ---- two images --------------------------------------------------------------------------------


def test_an_image_compared_with_itself_has_not_shifted() -> None:
    request = make_request(kind="compare", **FEW)
    found = run(linear_classifier(weights(6) / 20), request, other=PICTURE).comparison
    assert (found.scale_shift, found.place_shift) == (0.0, 0.0)
    assert (found.place_change == 0).all()
    assert all(scale.change == 0 for scale in found.scales)


def test_what_a_comparison_gains_is_what_it_loses_elsewhere() -> None:
    request = make_request(kind="compare", **FEW)
    done = run(linear_classifier(weights(6) / 20), request, other=random_picture(SHAPE, seed=11))
    found = done.comparison
    changes = [scale.change for scale in found.scales]
    assert sum(changes) == pytest.approx(0, abs=1e-9)
    assert found.scale_shift == pytest.approx(sum(abs(change) for change in changes) / 2)
    assert found.place_shift == pytest.approx(np.abs(found.place_change).sum() / 2, rel=1e-5)
    alone = run(
        linear_classifier(weights(6) / 20), replace(request, kind="wcam"), of=random_picture(SHAPE, seed=11)
    )
    np.testing.assert_array_equal(found.other.indices.total, alone.indices.total)
    assert done.forwards == 2 * alone.forwards


def test_each_compared_image_is_explained_for_its_own_class_unless_one_is_asked_for() -> None:
    request = make_request(kind="compare", **FEW)
    model, turned = linear_classifier(weights(6) / 20), picture(1 - PICTURE.pixels)
    done = run(model, request, other=turned)
    assert done.target.index != done.comparison.other.target.index
    labels = repr(done.target.label), repr(done.comparison.other.target.label)
    [said] = [warning for warning in done.warnings if "name a target" in warning]
    assert all(label in said for label in labels)
    asked = run(model, replace(request, target=1), other=turned)
    assert asked.target.index == asked.comparison.other.target.index == 1
    assert not any("name a target" in warning for warning in asked.warnings)


@pytest.mark.parametrize(("kind", "other"), [("compare", None), ("wcam", PICTURE)])
def test_another_image_belongs_to_compare_and_to_nothing_else(kind: str, other: Picture | None) -> None:
    with pytest.raises(InvalidRequest, match="other is") as caught:
        run(linear_classifier(weights(6)), make_request(kind=kind, **FEW), other=other)
    assert caught.value.field == "other"


def test_zoom_sets_levels_of_the_same_scale_side_by_side() -> None:
    request = make_request(kind="zoom", grid_size=4, levels=2, **EXACT)
    done = run(linear_classifier(weights(7)), request)
    found = done.zoom
    assert [level.scale_px for level in found.levels] == [(4, None), (2, 4), (1, 2), (0.5, 1)]
    assert [level.share for level in found.levels[:-1]] == [level.share for level in done.levels]
    assert found.levels[-1].share is None
    zoomed = [level.zoomed_share for level in found.levels]
    assert zoomed == [level.share for level in found.zoomed.levels]
    assert found.new_share == zoomed[-1]
    assert found.zoomed.parameters["levels"] == 3
    assert (done.parameters["nb_design"], done.parameters["partition"]) == (4, "aligned")


def test_zoom_explains_both_for_the_class_of_the_regular_image_and_says_where_they_differ() -> None:
    source = FakeSource(PICTURE, picture(1 - PICTURE.pixels))
    done = run(linear_classifier(weights(6) / 20), make_request(kind="zoom", **FEW), of=source)
    assert done.zoom.zoomed.target.index == done.target.index
    assert any("the enlarged image is 'class" in warning for warning in done.warnings)


def test_zoom_of_a_small_original_warns_that_pixels_were_invented() -> None:
    half = replace(PICTURE, crop=CropBox(4.0, 4.0, 12.0, 12.0))
    request = make_request(kind="zoom", grid_size=4, levels=2, **EXACT)
    small = run(linear_classifier(weights(7)), request, of=FakeSource(PICTURE, half))
    assert any("one pixel of the enlarged image is 0.50 of the original's" in w for w in small.warnings)
    large = run(linear_classifier(weights(7)), request)
    assert not any("enlarged image is 0" in w for w in large.warnings)


def test_a_preprocessed_picture_can_be_neither_enlarged_nor_corrupted() -> None:
    for kind in ("zoom", "robustness"):
        with pytest.raises(InvalidRequest, match=f"kind '{kind}' needs the original image"):
            run(linear_classifier(weights(7)), make_request(kind=kind, **FEW), of=PICTURE)


# ---- robustness --------------------------------------------------------------------------------


def test_robustness_is_the_share_of_corrupted_images_with_the_label() -> None:
    dark = FunctionClassifier(lambda image: (0.5 - (image * 0.25 + 0.4).mean(), 0.0), details(SHAPE))
    request = make_request(kind="robustness", seed=7, target=0, **FEW)
    done = run(dark, request)
    found = done.robustness
    assert [one.same_label for one in found.corrupted] == [True, True, False, False, False] + [True] * 5
    assert found.shares == {"brightness": 0.4, "seeded": 1.0}
    assert found.share == pytest.approx(0.7)
    probability = 1 / (1 + np.exp(-(0.5 - 51 / 255)))
    assert found.corrupted[0].probability == pytest.approx(probability, rel=1e-5)
    assert found.corrupted[0].predicted.probability == pytest.approx(probability, rel=1e-5)
    assert found.corrupted[4].predicted.index == 1
    assert done.sufficiency is not None
    assert done.forwards == 4 * 18 + 17 + 10


# ---- faithfulness ------------------------------------------------------------------------------


@pytest.mark.parametrize("score", CHOICES["score"])
def test_faithfulness_of_exact_contributions_is_perfect_in_the_wavelet_domain(score: str) -> None:
    """f = Σ g_k of kept factors, here with g growing with the index: removing costs what it is worth.

    It is measured of the probability, whatever the map explains.
    """
    request = make_request(
        kind="profile", levels=2, nb_design=4, faithfulness=True, target=0, value_policy="none", score=score
    )
    done = run(linear_classifier(weights(8) / 100), request)
    wavelet = next(entry for entry in done.faithfulness if entry.domain == "wavelet")
    assert wavelet.insertion_curve[-1] == pytest.approx(done.target.probability, rel=1e-5)
    assert wavelet.deletion_curve[0] == pytest.approx(done.target.probability, rel=1e-5)
    assert wavelet.insertion_curve[0] == pytest.approx(wavelet.deletion_curve[-1])
    np.testing.assert_allclose(wavelet.fraction, np.arange(8) / 7)
    assert wavelet.insertion == pytest.approx(np.trapezoid(wavelet.insertion_curve, wavelet.fraction))
    assert {entry.parameters["score"] for entry in done.faithfulness} == {"probability"}


@pytest.mark.parametrize(
    ("kind", "domains"),
    [
        ("wcam", ["pixel", "wavelet"]),
        ("fam", ["fourier"]),
        ("sobol", ["pixel"]),
        ("zoom", ["pixel", "wavelet"]),
    ],
)
def test_faithfulness_is_measured_in_every_domain_that_has_a_map(kind: str, domains: list[str]) -> None:
    done = run(linear_classifier(weights(8) / 50), make_request(kind=kind, faithfulness=True, **FEW))
    assert [entry.domain for entry in done.faithfulness] == domains
    for entry in done.faithfulness:
        assert 0 <= entry.insertion <= 1
        assert 0 <= entry.deletion <= 1
        assert -1 <= entry.mu_fidelity <= 1
        assert entry.parameters["baseline"] == 0
        assert entry.parameters["seed"] == 0


def test_pixels_that_matter_alone_make_insertion_high_and_deletion_low() -> None:
    """Only the upper left quarter is read: its pixels come first, and the rest changes nothing."""
    only = np.zeros(SHAPE)
    only[:, :8, :8] = 1 / 20
    request = make_request(kind="sobol", grid_size=2, nb_design=16, target=0, faithfulness=True)
    done = run(linear_classifier(only), request)
    assert done.faithfulness is not None
    (entry,) = done.faithfulness
    quarter = entry.fraction >= 0.25
    assert np.ptp(entry.insertion_curve[quarter]) < 1e-6
    assert np.ptp(entry.deletion_curve[quarter]) < 1e-6
    assert entry.insertion_curve[-1] > entry.insertion_curve[0]
    assert entry.insertion > entry.deletion


# ---- worth, targets and batches ------------------------------------------------------------------


def three_classes(seed: int = 20) -> FunctionClassifier:
    w = np.random.default_rng(seed).normal(size=(3, *SHAPE)) / 10
    return FunctionClassifier(lambda image: np.tensordot(w, image, 3), details(SHAPE, classes=3))


def test_the_runner_up_is_the_best_class_that_is_not_explained() -> None:
    predicted = run(three_classes(), make_request(**FEW))
    first, second = (entry.index for entry in predicted.prediction[:2])
    assert predicted.worth.runner_up.index == second
    assert run(three_classes(), make_request(target=second, **FEW)).worth.runner_up.index == first


@pytest.mark.parametrize("score", ["probability", "margin"])
def test_two_classes_that_mirror_each_other_have_no_contrast(score: str) -> None:
    """Probabilities p and 1 - p vary together: one map, whichever class is explained."""
    done = run(linear_classifier(weights(21) / 20), make_request(score=score, **FEW))
    assert done.worth.runner_up.index == 1 - done.target.index
    assert done.worth.class_contrast is None
    assert not [warning for warning in done.warnings if "runner-up" in warning]


@pytest.mark.parametrize(
    ("outputs", "score"), [("logits", "logit"), ("logits", "log_probability"), ("sigmoid", "probability")]
)
def test_two_classes_of_their_own_scores_have_a_contrast(outputs: Any, score: str) -> None:
    w = np.random.default_rng(22).normal(size=(2, *SHAPE)) / 20

    def of_image(image: np.ndarray) -> Any:
        z = np.tensordot(w, image, 3)
        return 1 / (1 + np.exp(-z)) if outputs == "sigmoid" else z

    done = run(
        FunctionClassifier(of_image, details(SHAPE, outputs=outputs)), make_request(score=score, **FEW)
    )
    assert done.worth.class_contrast is not None


def test_nearly_the_same_map_of_the_runner_up_is_told() -> None:
    w = weights(21) / 20
    of_image = lambda image: (value := float(np.sum(w * image)), 0.9 * value, -50.0)  # noqa: E731
    done = run(FunctionClassifier(of_image, details(SHAPE, classes=3)), make_request(score="logit", **FEW))
    assert done.worth.class_contrast == pytest.approx(0, abs=1e-9)
    (told,) = [warning for warning in done.warnings if "runner-up" in warning]
    assert "ranks the factors alike to 1.00" in told


@pytest.mark.parametrize(
    ("outputs", "score", "offset", "end", "offered"),
    [
        ("logits", "probability", 1.2, "upper", ["logit", "margin"]),
        ("logits", "probability", 0.0, "lower", ["logit", "log_probability"]),
        ("logits", "log_probability", 1.2, "upper", ["logit", "margin"]),
        ("probabilities", "probability", 1.2, "upper", ["margin"]),
        ("probabilities", "probability", 0.0, "lower", ["log_probability"]),
    ],
)
def test_a_saturated_score_is_named_with_what_the_model_can_do(
    outputs: Any, score: str, offset: float, end: str, offered: list[str]
) -> None:
    """The brightness, from -1.6 to 0.4 over the rows, decides steeply: nearly all of them are at one end."""

    def of_image(image: np.ndarray) -> Any:
        z = np.array([100 * (image.mean() + offset), 0.0, -1.0])
        if outputs == "logits":
            return z
        return np.exp(z - z.max()) / np.exp(z - z.max()).sum()

    request = make_request(score=score, target=0, grid_size=2, levels=2, nb_design=16)
    done = run(FunctionClassifier(of_image, details(SHAPE, outputs=outputs, classes=3)), request)
    told = [warning for warning in done.warnings if "saturated" in warning]
    assert len(told) == 1, done.warnings
    assert f"from its {end} end: score {score!r} of 'class 0' is saturated" in told[0]
    assert told[0].endswith(f"; try {' or '.join(f'score {name!r}' for name in offered)}, or raise nb_design")


@pytest.mark.parametrize(("score", "offset", "end"), [("logit", 1.2, "upper"), ("margin", 0.0, "lower")])
def test_a_score_without_bounds_is_not_said_to_be_saturated(score: str, offset: float, end: str) -> None:
    """Here it is its few other rows that are far off, and no other score is offered."""

    def of_image(image: np.ndarray) -> Any:
        return np.array([special.expit(100 * (image.mean() + offset)), 0.0, -1.0])

    done = run(
        FunctionClassifier(of_image, details(SHAPE, classes=3)),
        make_request(score=score, target=0, grid_size=2, levels=2, nb_design=16),
    )
    (found,) = [warning for warning in done.warnings if "few rows decide" in warning]
    assert f"from its {end} end: score {score!r} of 'class 0' varies over a few perturbations alone" in found
    assert found.endswith("decide the indices; raise nb_design")


def test_figures_in_warnings_are_those_of_the_explanation() -> None:
    done = run(three_classes(), make_request(score="probability", grid_size=16, levels=2, nb_design=2))
    assert done.worth.split_half < 0.7
    (told,) = [warning for warning in done.warnings if "odd and from even" in warning]
    [shown] = re.findall(r"alike to (0\.\d\d) only", told)
    assert 0 <= done.worth.split_half - float(shown) < 0.01


@pytest.mark.parametrize(
    ("split_half", "shown"),
    [(0.29, "0.29"), (0.57, "0.57"), (0.698, "0.69"), (0.6999, "0.69"), (-0.005, "-0.01")],
)
def test_a_reliability_below_a_threshold_reads_as_below_it(split_half: float, shown: str) -> None:
    indices = Indices(np.full(3, 1 / 3), None, None, None)
    [said] = warnings.of_contrast(indices, split_half, None, None)
    assert f"alike to {shown} only" in said


def test_a_model_of_one_class_has_no_runner_up() -> None:
    one = FunctionClassifier(lambda image: [float(image.sum())], details(SHAPE, classes=1))
    done = run(one, make_request(score="logit", **FEW))
    assert done.worth.runner_up is None
    assert done.worth.class_contrast is None


def batch(
    classifier: FunctionClassifier, request: ExplanationRequest, targets: Any, images: Any
) -> tuple[Explanation, ...]:
    count = sum(len(entry) for entry in targets)
    names = tuple(f"images[{place}]" for place in range(len(images)))
    resolved = ResolvedRequest(request, targets, tuple(str(n) for n in range(count)), names)
    return explain_many(images, resolved, classifier, max_forwards=100_000)


@pytest.mark.parametrize("kind", sorted(set(PERTURBING) - {"compare"}))
def test_a_batch_is_what_asking_one_by_one_gives(kind: str) -> None:
    request = make_request(kind=kind, faithfulness=kind == "wcam", **FEW)
    images = [SOURCE, FakeSource(random_picture(SHAPE, seed=30), random_picture(SHAPE, seed=31))]
    targets = ((0, None, 2), (1,))
    together = batch(three_classes(), request, targets, images)
    flat = [(image, target) for image, entry in zip(images, targets, strict=True) for target in entry]
    for found, (image, target) in zip(together, flat, strict=True):
        alone = run(three_classes(), replace(request, target=target), of=image)
        assert found.target == alone.target
        np.testing.assert_array_equal(found.indices.total, alone.indices.total)
        np.testing.assert_array_equal(found.indices.interval_95, alone.indices.interval_95)
        assert (found.worth, found.warnings, found.levels) == (alone.worth, alone.warnings, alone.levels)
        assert (found.forwards, found.radial, found.profile) == (alone.forwards, alone.radial, alone.profile)
        assert found.robustness == alone.robustness
        if alone.sufficiency is not None:
            np.testing.assert_array_equal(found.sufficiency.probability, alone.sufficiency.probability)
        if alone.faithfulness is not None:
            assert [e.mu_fidelity for e in found.faithfulness] == [e.mu_fidelity for e in alone.faithfulness]


def test_further_targets_of_an_image_cost_no_forwards() -> None:
    model = three_classes()
    found = batch(model, make_request(**FEW), ((0, 1, 2),), [PICTURE])
    assert sum(model.batches) == 4 * 18 + 1
    assert [one.forwards for one in found] == [72, 72, 72]
    assert sum(one.forwards - one.reused for one in found) == 72


def test_a_constant_image_leaves_the_rest_of_its_batch_alone() -> None:
    black = picture(np.zeros(SHAPE))
    found = batch(three_classes(), make_request(**FEW), ((None,), (None,)), [black, PICTURE])
    assert [one.outcome for one in found] == ["constant_score", "explained"]


@pytest.mark.parametrize("kind", sorted(PERTURBING))
def test_a_constant_score_is_an_outcome_of_every_kind(kind: str) -> None:
    constant = FunctionClassifier(lambda _: (2.0, 1.0), details(SHAPE))
    request = make_request(kind=kind, faithfulness=True, **FEW)
    done = run(constant, request, other=PICTURE if kind == "compare" else None)
    assert done.outcome == "constant_score"
    assert done.indices is done.maps is done.worth is done.faithfulness is None
    assert done.sufficiency is done.comparison is done.zoom is done.profile is done.radial is None
    assert any("does not vary" in warning for warning in done.warnings)


@pytest.mark.parametrize("kind", sorted(PERTURBING))
@pytest.mark.parametrize("sampler", ["halton", "latin_hypercube", "monte_carlo"])
def test_every_kind_takes_every_sampler_and_estimator_and_stays_finite(kind: str, sampler: str) -> None:
    for estimator in ("homma", "janon", "glen", "saltelli"):
        request = make_request(kind=kind, sampler=sampler, estimator=estimator, **FEW)
        done = run(three_classes(), request, other=PICTURE if kind == "compare" else None)
        assert done.outcome == "explained"
        for array in (done.indices.total, done.indices.first, done.indices.interval_95):
            assert np.isfinite(array).all()


@pytest.mark.parametrize("kind", sorted(PERTURBING))
@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_no_kinds_bits_depend_on_the_batch_size(kind: str, batch_size: int) -> None:
    def explained(size: int) -> Explanation:
        w = np.random.default_rng(20).normal(size=(3, *SHAPE)) / 10
        of = details(SHAPE, classes=3, batch_size=size)
        model = FunctionClassifier(lambda image: np.tensordot(w, image, 3), of)
        request = make_request(kind=kind, faithfulness=True, **FEW)
        return run(model, request, other=random_picture(SHAPE, seed=40) if kind == "compare" else None)

    found, reference = explained(batch_size), explained(7)
    np.testing.assert_array_equal(found.indices.total, reference.indices.total)
    assert found.worth == reference.worth
    for one, two in zip(found.faithfulness, reference.faithfulness, strict=True):
        np.testing.assert_array_equal(one.insertion_curve, two.insertion_curve)
        assert one.mu_fidelity == two.mu_fidelity
    assert found.robustness == reference.robustness
    if reference.sufficiency is not None:
        np.testing.assert_array_equal(found.sufficiency.probability, reference.sufficiency.probability)


def test_progress_reaches_the_total_for_every_kind() -> None:
    for kind in set(PERTURBING) - {"compare", "robustness"}:
        listening = Listening()
        run(three_classes(), make_request(kind=kind, faithfulness=True, **FEW), listener=listening)
        assert [sum(listening.counts)] == listening.announced, kind


def test_ranking_for_the_depth_is_by_exact_index() -> None:
    done = run(counting_classifier([1] * 9 + [0], ORDER, SCAN), SCAN)
    np.testing.assert_array_equal(done.sufficiency.order, rank(done.indices.total))
