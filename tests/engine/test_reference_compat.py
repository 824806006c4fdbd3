"""compat "reference" through the engine: every index, map and depth against a slow account of the authors' choices."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import pytest
from tests.fakes.classifiers import FunctionClassifier, details, picture
from tests.fakes.networks import Network, convolutional, perceptron
from tests.fakes.photographs import photograph
from tests.oracles import reference as oracle

from wavescope.engine.requests import make_request
from wavescope.engine.run import explain
from wavescope.engine.types import Explanation

NETWORKS = {"convolutional": convolutional(classes=5, seed=1), "perceptron": perceptron(classes=5, seed=2)}
WAVELET = {"perturb": True, "drop": False}


def classifier(model: Network, pixels: np.ndarray, *, classes: int = 5) -> FunctionClassifier:
    of = details(pixels.shape, classes=classes, batch_size=7)  # type: ignore[arg-type]
    return FunctionClassifier(lambda image: model(image[None])[0], of)


def setting(grid_size: int = 8, nb_design: int = 4, levels: int = 3, seed: int = 42) -> oracle.Setting:
    """With the normalisation of ``details``."""
    return oracle.Setting((0.4,) * 3, (0.25,) * 3, grid_size, nb_design, levels, seed)


def explained(pixels: np.ndarray, model: Network, *, classes: int = 5, **given: Any) -> Explanation:
    request = make_request(**{"compat": "reference", "grid_size": 8, "nb_design": 4} | given)
    return explain(
        picture(pixels),
        request,
        classifier(model, pixels, classes=classes),
        identity="reference",
        max_forwards=100_000,
    )


def numbers(value: object) -> Iterator[float]:
    """Every number of a reply."""
    if isinstance(value, np.ndarray):
        yield from value.ravel().astype(float)
    elif isinstance(value, (bool, int, float)):
        yield float(value)
    elif isinstance(value, dict):
        yield from numbers(tuple(value.values()))
    elif isinstance(value, (tuple, list)):
        for entry in value:
            yield from numbers(entry)
    elif is_dataclass(value):
        for field in fields(value):
            yield from numbers(getattr(value, field.name))


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", ["chelsea", "coffee"])
@pytest.mark.parametrize("approximation", WAVELET)
def test_every_wcam_index_is_the_authors(approximation: str, name: str, network: str) -> None:
    pixels, model = photograph(name, 64), NETWORKS[network]
    found = explained(pixels, model, approximation=approximation)
    label = int(np.argmax(model(setting().normalise(pixels)[None])[0]))
    assert (found.outcome, found.target.index) == ("explained", label)
    expected = oracle.wcam(pixels, model, label, setting(), approximation=WAVELET[approximation])
    assert found.indices.total.shape == (64,)
    assert np.abs(found.indices.total - expected.total).max() <= 1e-4
    assert found.worth.variance == pytest.approx(np.var(expected.f_a, ddof=1), rel=1e-4)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", ["chelsea", "coffee"])
@pytest.mark.parametrize("kind", ["circle", "square", "grid"])
def test_every_fam_index_is_the_authors(kind: str, name: str, network: str) -> None:
    pixels, model = photograph(name, 64), NETWORKS[network]
    found = explained(pixels, model, kind="fam", partition=kind, target=3)
    expected = oracle.fam(pixels, model, 3, setting(), kind=kind)
    assert np.abs(found.indices.total - expected.total).max() <= 1e-4
    drawn = oracle.fam_map(kind, expected.total, 8, 64)
    finite = np.isfinite(drawn)
    np.testing.assert_allclose(found.maps.fam[finite], drawn[finite], atol=1e-3)
    assert all(math.isfinite(number) for number in numbers(found))


def test_indices_agree_at_224_px_where_cells_straddle_two_bands() -> None:
    """g = 12 on 224 px: the approximation is 28 px wide, a cell 18.7."""
    pixels, model = photograph("coffee", 224), NETWORKS["perceptron"]
    found = explained(pixels, model, grid_size=12, nb_design=2, target=1)
    expected = oracle.wcam(pixels, model, 1, setting(12, 2))
    assert np.abs(found.indices.total - expected.total).max() <= 1e-4


@pytest.mark.parametrize("approximation", WAVELET)
def test_maps_and_levels_are_the_authors(approximation: str) -> None:
    pixels, model = photograph("chelsea", 64), NETWORKS["perceptron"]
    found = explained(pixels, model, approximation=approximation, target=0)
    expected = oracle.wcam(pixels, model, 0, setting(), approximation=WAVELET[approximation])
    packed = oracle.wcam_map(expected.total, 8, 64)
    np.testing.assert_allclose(found.maps.wcam, packed, atol=1e-4)
    np.testing.assert_allclose(found.maps.spatial_wcam, oracle.spatial(packed, 3), atol=1e-3)
    shares = [level.mean_share for level in found.levels]
    np.testing.assert_allclose(shares, oracle.level_shares(packed, 3), atol=1e-4)


@pytest.mark.parametrize("name", ["chelsea", "coffee"])
@pytest.mark.parametrize("network", NETWORKS)
def test_reconstruction_depth_is_the_authors(name: str, network: str) -> None:
    pixels, model = photograph(name, 64), NETWORKS[network]
    found = explained(pixels, model, kind="sufficient-image")
    expected = oracle.depth(pixels, model, found.indices.total, setting())
    assert found.sufficiency.depth == expected
    assert found.sufficiency.order.tolist() == oracle.ranking(found.indices.total)


def test_depth_asks_for_the_class_that_is_predicted_even_if_another_is_explained() -> None:
    pixels, model = photograph("chelsea", 64), NETWORKS["perceptron"]
    predicted = int(np.argmax(model(setting().normalise(pixels)[None])[0]))
    found = explained(pixels, model, kind="sufficient-image", target=(predicted + 1) % 5)
    assert found.sufficiency.depth == oracle.depth(pixels, model, found.indices.total, setting())


def test_class_278_is_explained_as_278() -> None:
    """Labels cast to uint8 would explain 22."""
    pixels, model = photograph("chelsea", 32), perceptron(classes=300, seed=3)
    found = explained(pixels, model, classes=300, target=278, grid_size=4, levels=2)
    assert (found.target.index, found.target.label) == (278, "class 278")
    of = setting(4, levels=2)
    assert np.abs(found.indices.total - oracle.wcam(pixels, model, 278, of).total).max() <= 1e-4
    assert np.abs(found.indices.total - oracle.wcam(pixels, model, 22, of).total).max() > 1e-2


def test_what_a_request_sets_itself_wins() -> None:
    """Seed 0 and probabilities on the authors' images; and no stretch."""
    pixels, model = photograph("coffee", 32), NETWORKS["perceptron"]
    of = setting(4, levels=2, seed=0)
    found = explained(pixels, model, target=2, grid_size=4, levels=2, seed=0)
    assert np.abs(found.indices.total - oracle.wcam(pixels, model, 2, of).total).max() <= 1e-4

    def likely(images: np.ndarray) -> np.ndarray:
        powers = np.exp(model(images))
        return powers / powers.sum(axis=1, keepdims=True)

    found = explained(pixels, model, target=2, grid_size=4, levels=2, seed=0, score="probability")
    assert np.abs(found.indices.total - oracle.wcam(pixels, likely, 2, of).total).max() <= 1e-4
    clipped = explained(pixels, model, target=2, grid_size=4, levels=2, seed=0, value_policy="clip")
    assert clipped.parameters["value_policy"] == "clip"
    assert np.abs(clipped.indices.total - oracle.wcam(pixels, model, 2, of).total).max() > 1e-3


@pytest.mark.parametrize("shape", [(3, 35, 50), (1, 33, 33), (3, 16, 64)])
@pytest.mark.parametrize(
    "given",
    [
        {"kind": "wcam"},
        {"kind": "wcam", "wavelet": "db4"},
        {"kind": "wcam", "approximation": "drop"},
        {"kind": "wcam", "approximation": "keep"},
        {"kind": "wcam", "partition": "aligned"},
        {"kind": "profile"},
        {"kind": "fam"},
        {"kind": "fam", "partition": "square"},
        {"kind": "fam", "partition": "grid"},
        {"kind": "sobol"},
    ],
    ids=lambda given: "-".join(given.values()),
)
def test_odd_and_oblong_images_are_explained_in_finite_numbers(
    shape: tuple[int, int, int], given: dict[str, str]
) -> None:
    """The authors' code fails on them."""
    pixels = np.random.default_rng(0).random(shape).astype(np.float32)
    model = convolutional(classes=5, seed=4, channels=shape[0])
    found = explained(pixels, model, grid_size=5, levels=2, **given)
    assert found.outcome == "explained"
    assert found.maps.spatial is None or found.maps.spatial.shape == shape[1:]
    assert all(math.isfinite(number) for number in numbers(found))


@pytest.mark.parametrize("kind", ["wcam", "fam", "sufficient-image"])
@pytest.mark.parametrize("nb_design", [1, 4])
def test_a_constant_score_is_an_outcome_where_theirs_is_nan(kind: str, nb_design: int) -> None:
    pixels = photograph("chelsea", 32)

    def constant(images: np.ndarray) -> np.ndarray:
        return np.tile([1.5, -1.5, 0.0, 0.0, 0.0], (len(images), 1))

    found = explained(pixels, constant, kind=kind, grid_size=4, levels=2, nb_design=nb_design)
    assert (found.outcome, found.indices) == ("constant_score", None)
    assert all(math.isfinite(number) for number in numbers(found))


def test_one_row_of_a_has_no_variance() -> None:
    """V over A alone, ddof 1, would divide by 0."""
    found = explained(photograph("chelsea", 32), NETWORKS["perceptron"], grid_size=4, levels=2, nb_design=1)
    assert found.outcome == "constant_score"
    assert all(math.isfinite(number) for number in numbers(replace(found, parameters={})))
