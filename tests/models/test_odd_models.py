"""Every kind of explanation of models whose inputs are grey, not square, of odd sides or of other means."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import astuple, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from tests.fakes.onnx_models import CLASSES, GREY, MULTISPECTRAL, ODD, TOYS, OnnxToy

import wavescope
from wavescope.engine.kinds import KINDS, PERTURBING
from wavescope.engine.protocols import Classifier
from wavescope.engine.types import Explanation, Preprocessing
from wavescope.errors import InvalidRequest
from wavescope.imaging.corruptions import corruptions
from wavescope.imaging.decode import prepare

Explained = Callable[[str], Explanation]

LEVELS = 2
SMALL = {"grid_size": 4, "nb_design": 4, "levels": LEVELS, "seed": 0}
WAVELET_KINDS = sorted(name for name, kind in KINDS.items() if kind.transform == "wavelet")
PHOTOGRAPH = skimage.data.chelsea()
OTHER = PHOTOGRAPH[::-1]


@pytest.fixture(scope="module", params=TOYS, ids=lambda toy: toy.name)
def toy(request: pytest.FixtureRequest) -> OnnxToy:
    return request.param


@pytest.fixture(scope="module")
def model(toy: OnnxToy, tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    return wavescope.load_model(toy.write(tmp_path_factory.mktemp("toys")))


@pytest.fixture(scope="module")
def explained(model: Classifier) -> Explained:
    """One explanation of each kind, made once per model."""
    return cache(lambda kind: explain(model, kind))


def explain(model: Classifier, kind: str, **given: Any) -> Explanation:
    other = {"other": OTHER} if kind == "compare" else {}
    return wavescope.explain(PHOTOGRAPH, model=model, kind=kind, **other, **SMALL | given)


def numbers(value: Any, path: str = "") -> Iterator[tuple[str, float | np.ndarray]]:
    """Every number and array within an explanation, with where it stands."""
    if is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from numbers(getattr(value, field.name), f"{path}.{field.name}")
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from numbers(item, f"{path}.{key}")
    elif isinstance(value, tuple | list):
        for place, item in enumerate(value):
            yield from numbers(item, f"{path}[{place}]")
    elif isinstance(value, float | np.ndarray):
        yield path, value


def packed_size(size: tuple[int, int], levels: int) -> tuple[int, ...]:
    """Each side padded to a multiple of 2^levels."""
    return tuple(math.ceil(side / 2**levels) * 2**levels for side in size)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_explains_the_model_in_finite_numbers(explained: Explained, kind: str) -> None:
    explanation = explained(kind)
    assert explanation.outcome == "explained"
    assert explanation.kind == kind
    assert explanation.importance is not None
    assert explanation.importance.max() > 0
    found = dict(numbers(explanation))
    assert len(found) > 10
    for path, value in found.items():
        assert np.isfinite(value).all(), path


def test_a_prediction_is_that_of_the_graph_on_the_normalised_crop(explained: Explained, toy: OnnxToy) -> None:
    explanation = explained("profile")
    np.testing.assert_allclose(explanation.image, prepare(PHOTOGRAPH, toy.preprocessing).pixels, atol=1e-5)
    logits = toy.logits(explanation.image)
    assert explanation.target.index == np.argmax(logits)
    probability = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    assert {one.index: one.probability for one in explanation.prediction} == pytest.approx(
        dict(enumerate(probability[:CLASSES])), abs=1e-4
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_crop_is_the_middle_of_the_original(explained: Explained, toy: OnnxToy, kind: str) -> None:
    explanation = explained(kind)
    assert explanation.image.shape == toy.preprocessing.shape
    zoomed = () if explanation.zoom is None else ((explanation.zoom.zoomed, 2),)
    for one, times in ((explanation, 1), *zoomed):
        assert astuple(one.crop) == pytest.approx(middle(toy.preprocessing, times), abs=1e-9)


def middle(preprocessing: Preprocessing, times: int) -> tuple[float, ...]:
    """Left, top, right and bottom of the centre crop of the photograph, from the definition of the resize."""
    height, width = PHOTOGRAPH.shape[:2]  # wider than high
    crop_height, crop_width = preprocessing.size
    if preprocessing.resize is None:
        resized_height, resized_width = times * crop_height, times * crop_width
    else:
        resized_height = times * preprocessing.resize
        resized_width = int(resized_height * width / height)
    across, down = width / resized_width, height / resized_height
    left, top = round((resized_width - crop_width) / 2), round((resized_height - crop_height) / 2)
    return left * across, top * down, (left + crop_width) * across, (top + crop_height) * down


@pytest.mark.parametrize("kind", WAVELET_KINDS)
def test_wavelet_maps_have_the_packed_and_the_models_size(
    explained: Explained, toy: OnnxToy, kind: str
) -> None:
    explanation = explained(kind)
    assert explanation.maps is not None
    assert explanation.maps.packed.shape == packed_size(toy.preprocessing.size, LEVELS)
    assert explanation.maps.factors.shape == explanation.maps.packed.shape
    assert explanation.maps.spatial.shape == toy.preprocessing.size
    assert [level.level for level in explanation.levels] == list(range(LEVELS + 1))
    assert sum(level.share for level in explanation.levels) == pytest.approx(1)


def test_the_fourier_map_has_the_models_size(explained: Explained, toy: OnnxToy) -> None:
    explanation = explained("fam")
    assert explanation.maps.fam.shape == explanation.maps.factors.shape == toy.preprocessing.size
    assert sum(ring.share for ring in explanation.radial) == pytest.approx(1)


def test_the_pixel_map_has_the_models_size(explained: Explained, toy: OnnxToy) -> None:
    explanation = explained("sobol")
    assert explanation.maps.sobol.shape == explanation.maps.factors.shape == toy.preprocessing.size
    assert len(explanation.indices.total) == 16


def test_a_profile_has_a_share_for_every_sub_band(explained: Explained) -> None:
    profile = explained("profile").profile
    assert len(profile) == 3 * LEVELS + 1
    assert sum(band.share for band in profile) == pytest.approx(1)


def test_sufficient_images_have_the_models_shape_and_label(explained: Explained, toy: OnnxToy) -> None:
    explanation = explained("sufficient-image")
    sufficiency = explanation.sufficiency
    for image in (sufficiency.image, sufficiency.top_image, sufficiency.positive_image):
        assert image.shape == toy.preprocessing.shape
        assert image.min() >= 0
        assert image.max() <= 1
    assert np.argmax(toy.logits(sufficiency.image)) == explanation.target.index
    assert len(sufficiency.probability) == len(explanation.indices.total) + 1


def test_two_images_are_compared_place_by_place(explained: Explained, toy: OnnxToy) -> None:
    comparison = explained("compare").comparison
    assert comparison.place_change.shape == toy.preprocessing.size
    assert 0 < comparison.scale_shift <= 1
    assert 0 < comparison.place_shift <= 1


def test_every_corruption_is_classified_as_the_graph_does(explained: Explained, toy: OnnxToy) -> None:
    explanation = explained("robustness")
    corrupted = explanation.robustness.corrupted
    assert len(corrupted) == 95
    for one, (name, severity, image) in zip(corrupted, corruptions(explanation.image, seed=0), strict=True):
        assert (one.corruption, one.severity) == (name, severity)
        logits = toy.logits(image / 255)
        probability = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        assert one.probability == pytest.approx(probability[explanation.target.index], abs=1e-4)


def test_the_enlarged_image_has_one_level_more(explained: Explained, toy: OnnxToy) -> None:
    zoom = explained("zoom").zoom
    seen = prepare(PHOTOGRAPH, toy.preprocessing, zoom=2).pixels
    np.testing.assert_allclose(zoom.zoomed.image, seen, atol=1e-5)
    assert zoom.zoomed.maps.wcam.shape == packed_size(toy.preprocessing.size, LEVELS + 1)
    assert [level.level for level in zoom.levels] == list(range(LEVELS + 2))
    assert 0 <= zoom.new_share <= 1


@pytest.mark.parametrize("kind", ["wcam", "fam", "sobol"])
def test_faithfulness_is_measured(model: Classifier, kind: str) -> None:
    explanation = explain(model, kind, faithfulness=True)
    assert explanation.faithfulness
    for one in explanation.faithfulness:
        assert 0 <= one.insertion <= 1
        assert 0 <= one.deletion <= 1
    for path, value in numbers(explanation.faithfulness):
        assert np.isfinite(value).all(), path


@pytest.mark.parametrize("kind", PERTURBING)
def test_the_reference_computation_takes_any_size(model: Classifier, kind: str) -> None:
    """The authors' code crashes on images that are not square or have odd sides."""
    explanation = explain(model, kind, compat="reference")
    assert explanation.outcome == "explained"
    for path, value in numbers(explanation):
        assert np.isfinite(value).all(), path


@pytest.mark.parametrize("wavelet", ["db4", "bior2.2"])
def test_longer_filters_take_odd_sides(wavelet: str, tmp_path: Path) -> None:
    explanation = explain(wavescope.load_model(ODD.write(tmp_path)), "wcam", wavelet=wavelet)
    assert explanation.maps.wcam.shape == (36, 48)
    assert np.isfinite(explanation.indices.total).all()


def test_an_image_in_colour_is_seen_as_luminance_by_a_grey_model(tmp_path: Path) -> None:
    model = wavescope.load_model(GREY.write(tmp_path))
    colour = explain(model, "profile")
    luminance = np.rint(PHOTOGRAPH @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)  # ITU-R 601
    grey = wavescope.explain(luminance, model=model, kind="profile", **SMALL)
    np.testing.assert_allclose(grey.image, colour.image, atol=1.01 / 255)
    np.testing.assert_allclose(grey.indices.total, colour.indices.total, atol=0.05)


def test_bands_of_other_means_are_not_mixed_up(tmp_path: Path) -> None:
    """With standard deviations 30 times apart the model's answer depends on their order."""
    explanation = explain(wavescope.load_model(MULTISPECTRAL.write(tmp_path)), "profile")
    turned = MULTISPECTRAL.logits(explanation.image[::-1])
    assert np.abs(turned - MULTISPECTRAL.logits(explanation.image)).max() > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_of_two_channels_is_refused_in_words(tmp_path: Path, kind: str) -> None:
    toy = OnnxToy("two", Preprocessing(size=(32, 32), resize=None, mean=(0.5,) * 2, std=(0.5,) * 2))
    model = wavescope.load_model(toy.write(tmp_path))
    with pytest.raises(InvalidRequest, match="takes 2 channels; a picture has 1 or 3"):
        explain(model, kind)
