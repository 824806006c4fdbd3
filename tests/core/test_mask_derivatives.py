"""Derivatives by mask values: transposed transforms, the value policy's chain rule, and scores' slopes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from wavescope.core import wavelets
from wavescope.core.arrays import to_numpy
from wavescope.core.partition import fourier_partition, partition, pixel_partition
from wavescope.core.rendering.fourier import FourierSynthesis
from wavescope.core.rendering.pixel import PixelSynthesis
from wavescope.core.rendering.synthesis import Finish, Synthesis
from wavescope.core.rendering.wavelet import WaveletSynthesis
from wavescope.core.scores import SCORES, check_score, has_fixed_direction, score_gradients, scores
from wavescope.errors import InvalidRequest

LIBRARIES = ("numpy", "torch")
SIZE = (19, 26)


def to_library(library: str, array: np.ndarray) -> Any:
    return torch.from_numpy(array) if library == "torch" else array


def images(count: int = 3) -> np.ndarray:
    return np.random.default_rng(5).random((count, 3, *SIZE)).astype(np.float32)


def synthesis(name: str, library: str) -> tuple[Synthesis, int]:
    image, reference = images(1)[0], to_library(library, np.zeros(1, np.float32))
    if name == "fourier":
        factors = fourier_partition("circle", *SIZE, grid_size=5)
        return FourierSynthesis(image, factors, reference), factors.n_factors
    if name in ("zero", "blur"):
        factors = pixel_partition(*SIZE, 4)
        return PixelSynthesis(image, factors, name, reference), factors.n_factors  # type: ignore[arg-type]
    packed = wavelets.analyse(image, name, 2)
    factors = partition("grid", *packed.shape[1:], 2, grid_size=5, approximation="keep")
    return WaveletSynthesis(packed, SIZE, name, 2, factors, reference), factors.n_factors


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("name", ["haar", "db2", "bior3.1", "fourier", "zero", "blur"])
def test_inner_products_are_those_with_what_each_factor_adds_to_the_image(name: str, library: str) -> None:
    """One by one, over the pixels; a biorthogonal wavelet's synthesis has another transpose than its inverse."""
    made, count = synthesis(name, library)
    given = images()
    found = made.inner_products(to_library(library, given))
    alone = to_numpy(made.alone(0, count)).astype(np.float64)
    expected = np.einsum("nchw,kchw->nk", given.astype(np.float64), alone)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=0, atol=3e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", ["haar", "bior2.2"])
def test_inner_products_of_an_image_have_the_same_bits_in_any_batch(name: str) -> None:
    made, _ = synthesis(name, "numpy")
    whole = made.inner_products(images())
    for row in range(3):
        assert (made.inner_products(images()[row : row + 1])[0] == whole[row]).all()


@pytest.mark.parametrize("name", ["haar", "db3", "bior3.1"])
def test_the_transposed_transform_moves_over_in_inner_products(name: str) -> None:
    packed, given = np.random.default_rng(0).normal(size=(2, 24, 16)).astype(np.float32)
    matrices = [
        (wavelets.synthesis(name, 24 >> step), wavelets.synthesis(name, 16 >> step)) for step in (2, 1, 0)
    ]
    left = (wavelets.synthesise(packed, matrices) * given).sum()
    assert left == pytest.approx((packed * wavelets.transpose(given, matrices)).sum(), rel=1e-5)
    if name == "haar":
        np.testing.assert_allclose(
            wavelets.transpose_haar(given, 3), wavelets.transpose(given, matrices), atol=1e-5
        )


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("policy", ["clip", "minmax", "none"])
def test_the_value_policy_is_differentiated_as_torch_does(policy: str, library: str) -> None:
    """Values beyond both ends, some at the very ends, and several extremes of one image."""
    given = (2 * images() - 0.5).astype(np.float32)
    given[:, 0, 0, :4] = [0.0, 1.0, 0.0, 1.0]
    given[1, 1, 2, :2] = given[1].max() + 1
    given[2, 1, 2, :3] = given[2].min() - 1
    gradients = np.random.default_rng(1).normal(size=given.shape).astype(np.float32)
    tensor = torch.from_numpy(given).double().requires_grad_()
    if policy == "clip":
        valued = tensor.clamp(0, 1)
    elif policy == "minmax":
        low, high = tensor.amin((1, 2, 3), keepdim=True), tensor.amax((1, 2, 3), keepdim=True)
        valued = (tensor - low) / (high - low)
    else:
        valued = tensor * 1
    (expected,) = torch.autograd.grad(valued, tensor, torch.from_numpy(gradients).double())
    one = to_library(library, np.ones((3, 1, 1), np.float32))
    found = Finish(policy, one, one).pull_back(  # type: ignore[arg-type]
        to_library(library, given), to_library(library, gradients)
    )
    np.testing.assert_allclose(to_numpy(found), expected.numpy(), atol=1e-4)


def test_a_flat_image_is_not_stretched_and_its_derivatives_are_finite() -> None:
    one = np.ones((3, 1, 1), np.float32)
    flat = np.full((1, 3, *SIZE), 0.3, np.float32)
    found = Finish("minmax", one, one).pull_back(flat, images(1))
    assert np.isfinite(found).all()
    assert abs(found.sum()) < 1e-2  # moved alike, all of it stays black


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("kind", ["logits", "probabilities", "sigmoid"])
def test_slopes_of_scores_are_torchs_of_the_scores_themselves(kind: str, score: str, library: str) -> None:
    raw = torch.from_numpy(np.random.default_rng(3).normal(size=(4, 5)) * 2)
    outputs = {"logits": raw, "probabilities": raw.softmax(-1), "sigmoid": raw.sigmoid()}[kind]
    try:
        check_score(score, kind, classes=5)
    except InvalidRequest:
        return
    tensor = outputs.clone().requires_grad_()
    (expected,) = torch.autograd.grad(scores(tensor, kind, score, [2]).sum(), tensor)
    found = to_numpy(score_gradients(to_library(library, outputs.numpy()), kind, score, 2))
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-9, atol=1e-12)
    if has_fixed_direction(kind, score):
        assert not np.delete(found, 2, axis=1).any()


def test_a_probability_that_is_clipped_does_not_move_its_logarithm() -> None:
    outputs = np.array([[0.0, 1.0], [0.25, 0.75]])
    np.testing.assert_allclose(
        score_gradients(outputs, "sigmoid", "logit", 0)[:, 0], [1.0, 4 + 4 / 3]
    )  # ln(1 - p) still moves
    np.testing.assert_allclose(
        score_gradients(outputs, "probabilities", "log_probability", 0)[:, 0], [0.0, 4.0]
    )
