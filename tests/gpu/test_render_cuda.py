"""Rendering, scores and a whole explanation on a CUDA device, held against NumPy. Needs torch, no Ray."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import special
from tests.fakes.classifiers import TorchClassifier, details, linear_classifier, random_picture
from tests.gpu.device import DEVICE, MARKS, only_cuda, torch
from tests.oracles.rendering import mask_rows, slow_finish, slow_render

from wavescope.core.partition import Partition, fourier_partition, partition, pixel_partition
from wavescope.core.rendering.batch_renderer import BatchRenderer
from wavescope.core.rendering.fourier import FourierSynthesis
from wavescope.core.rendering.pixel import PixelSynthesis
from wavescope.core.rendering.renderer import Finish, Renderer, Synthesis
from wavescope.core.rendering.wavelet import WaveletSynthesis
from wavescope.core.scores import SCORES, scores
from wavescope.core.sobol.design import Design, sobol
from wavescope.core.sobol.estimators import Scores, jansen, jansen_first
from wavescope.core.wavelets import analyse
from wavescope.engine.run import explain
from wavescope.engine.types import ExplanationRequest

pytestmark = MARKS

SIZE = (45, 62)  # odd, not square
LEVELS = 3
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
WAVELETS = ["haar", "db4", "bior4.4", "dmey"]
POLICIES = ["clip", "minmax", "none"]


def on_device(array: np.ndarray) -> Any:
    return torch.asarray(array, device=DEVICE)


def on_host(array: Any) -> np.ndarray:
    return array.cpu().numpy()


def coefficients(wavelet: str) -> np.ndarray:
    image = np.random.default_rng(0).random((3, *SIZE)).astype(np.float32)
    return analyse(image, wavelet, LEVELS)


def factors(approximation: str = "perturb") -> Partition:
    return partition("grid", 48, 64, LEVELS, grid_size=5, approximation=approximation)  # type: ignore[arg-type]


def renderer(wavelet: str, policy: str, *, approximation: str = "perturb", **options: int) -> Renderer:
    mean, std = (on_device(v.astype(np.float32)[:, None, None]) for v in (MEAN, STD))
    finish = Finish(policy, mean, std)  # type: ignore[arg-type]
    return render_with(finish, wavelet, factors(approximation), **options)


def unclipped(wavelet: str) -> Renderer:
    """A renderer whose rows are neither clipped nor normalised: finishing leaves every bit as it is."""
    zeros, ones = (on_device(np.full((3, 1, 1), value, np.float32)) for value in (0, 1))
    finish = Finish("none", zeros, ones)
    return render_with(finish, wavelet, factors())


def render_with(finish: Finish, wavelet: str, made: Partition, **options: int) -> Renderer:
    synthesis = WaveletSynthesis(coefficients(wavelet), SIZE, wavelet, LEVELS, made, finish.mean)
    return Renderer(synthesis, made.n_factors, finish, batched=True, **options)


def design() -> Design:
    return sobol(factors().n_factors, 2, 0)


def rounding(wavelet: str) -> float:
    """As in the tests of NumPy: a hundred float32 steps of the largest coefficient."""
    return 100 * float(np.finfo(np.float32).eps) * float(np.abs(coefficients(wavelet)).max())


@pytest.mark.parametrize("wavelet", WAVELETS)
def test_the_shortcut_equals_mask_and_invert_to_float32_rounding(wavelet: str) -> None:
    """Fails too where matrix products are allowed the TF32 format, which keeps three digits."""
    render, packed, rows = unclipped(wavelet), coefficients(wavelet), design()
    for row, mask in enumerate(mask_rows(rows.a, rows.b)):
        expected = slow_render(packed, SIZE, wavelet, LEVELS, factors().factors, mask, 1.0)
        found = render.rows(rows, row, row + 1)[0]
        assert found.device.type == torch.device(DEVICE).type
        assert found.dtype == torch.float32
        np.testing.assert_allclose(on_host(found), expected, rtol=0, atol=rounding(wavelet))


@pytest.mark.parametrize("approximation", ["perturb", "keep", "drop"])
@pytest.mark.parametrize("policy", POLICIES)
def test_finished_rows_equal_the_plain_path(policy: str, approximation: str) -> None:
    made = factors(approximation)
    rows = sobol(made.n_factors, 2, 0)
    found = on_host(
        renderer("db4", policy, approximation=approximation).rows(rows, 0, 2 * (made.n_factors + 2))
    )
    for image, mask in zip(found, mask_rows(rows.a, rows.b), strict=True):
        plain = slow_render(coefficients("db4"), SIZE, "db4", LEVELS, made.factors, mask, made.held)
        contrast = float(np.ptp(plain)) if policy == "minmax" else 1.0
        expected = slow_finish(plain, policy, MEAN, STD)
        assert np.abs(image - expected).max() <= 1e-5 + 3 * rounding("db4") / float(STD.min()) / contrast


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("wavelet", WAVELETS)
def test_rows_have_the_same_bits_whatever_the_batches_and_the_cache(wavelet: str, policy: str) -> None:
    rows, count = design(), 2 * 27
    whole = renderer(wavelet, policy).rows(rows, 0, count)
    uncached = renderer(wavelet, policy, cache_bytes=0)
    for start, stop in [(30, 54), (0, 1), (1, 13), (13, 30)]:
        assert torch.equal(uncached.rows(rows, start, stop), whole[start:stop])


def other_renderer(
    transform: str, move: Callable[[np.ndarray], Any], **options: int
) -> tuple[Renderer, Design]:
    """The same image's frequencies in cells, or its pixels against a blurred copy, with a design of two rows."""
    image = np.random.default_rng(0).random((3, *SIZE)).astype(np.float32)
    mean, std = (move(v.astype(np.float32)[:, None, None]) for v in (MEAN, STD))
    if transform == "fourier":
        made = fourier_partition("grid", *SIZE, grid_size=5)
        synthesis: Synthesis = FourierSynthesis(image, made, mean)
    else:
        made = pixel_partition(*SIZE, 5)
        synthesis = PixelSynthesis(image, made, "blur", mean)
    renderer = Renderer(
        synthesis, made.n_factors, Finish("clip", mean, std), batched=move is on_device, **options
    )
    return renderer, sobol(made.n_factors, 2, 0)


@pytest.mark.parametrize("transform", ["fourier", "pixel"])
def test_frequencies_and_pixels_are_rendered_as_by_numpy(transform: str) -> None:
    (ours, rows), (theirs, _) = (other_renderer(transform, move) for move in (on_device, np.asarray))
    count = 2 * (rows.n_factors + 2)
    np.testing.assert_allclose(on_host(ours.rows(rows, 0, count)), theirs.rows(rows, 0, count), atol=5e-5)
    np.testing.assert_allclose(on_host(ours.masks(rows.a)), theirs.masks(rows.a), atol=5e-5)
    np.testing.assert_allclose(on_host(ours.image(rows.b[1])), theirs.image(rows.b[1]), atol=1e-5)


@pytest.mark.parametrize("transform", ["fourier", "pixel"])
def test_frequencies_and_pixels_have_the_same_bits_whatever_the_batches_and_the_cache(transform: str) -> None:
    whole, rows = other_renderer(transform, on_device)
    uncached, _ = other_renderer(transform, on_device, cache_bytes=0)
    images = whole.rows(rows, 0, 30)
    for start, stop in [(17, 30), (0, 1), (1, 13), (13, 17)]:
        assert torch.equal(uncached.rows(rows, start, stop), images[start:stop])


def test_rows_write_into_a_buffer_on_the_device() -> None:
    buffer = torch.full((8, 3, *SIZE), float("nan"), device=DEVICE)
    found = renderer("haar", "clip").rows(design(), 3, 8, out=buffer)
    assert found.data_ptr() == buffer.data_ptr()
    assert torch.isnan(buffer[5:]).all()


def test_a_flat_image_stretched_by_minmax_is_black_and_not_nan() -> None:
    one = torch.ones((1, 1, 1), device=DEVICE)
    flat = Finish("minmax", 0 * one, one)(torch.full((1, 4, 4), 0.3, device=DEVICE))
    assert (flat == 0).all()


@only_cuda
def test_memory_is_bounded_by_the_batch_the_cache_and_the_work_bytes() -> None:
    """54 images of 3×45×62 float32 are 1.8 MB; beside a buffer of four, some six arrays of two images are held."""
    image_bytes = 4 * 3 * SIZE[0] * SIZE[1]
    mean, std = (on_device(v.astype(np.float32)[:, None, None]) for v in (MEAN, STD))
    synthesis = WaveletSynthesis(coefficients("db4"), SIZE, "db4", LEVELS, factors(), mean)
    finish, rows = Finish("clip", mean, std), design()
    render = BatchRenderer(synthesis, 25, finish, cache_bytes=0, work_bytes=2 * image_bytes)
    buffer = torch.empty((4, 3, *SIZE), device=DEVICE)
    render.rows(rows, 0, buffer)  # the libraries' workspaces stay
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    for start in range(0, 52, 4):
        render.rows(rows, start, buffer)
    assert torch.cuda.max_memory_allocated() - before <= (6 * 2 + 4 * 4) * image_bytes


def test_an_accelerator_is_given_whole_batches_without_being_asked() -> None:
    mean = on_device(np.zeros((3, 1, 1), np.float32))
    synthesis = WaveletSynthesis(coefficients("haar"), SIZE, "haar", LEVELS, factors(), mean)
    found = Renderer(synthesis, 25, Finish("clip", mean, mean + 1))
    assert (found._batches is not None) == (DEVICE == "cuda")


@pytest.mark.parametrize("outputs", ["logits", "probabilities", "sigmoid"])
@pytest.mark.parametrize("score", SCORES)
def test_scores_agree_with_numpy(outputs: str, score: str) -> None:
    if (outputs, score) == ("probabilities", "logit"):
        pytest.skip("a logit cannot be had from probabilities")
    logits = 3 * np.random.default_rng(0).normal(size=(5, 1000))
    raw = {
        "logits": logits,
        "probabilities": special.softmax(logits, axis=1),
        "sigmoid": special.expit(logits),
    }[outputs]
    found = on_host(scores(on_device(raw), outputs, score, [2, 0, 278]))
    np.testing.assert_allclose(found, scores(raw, outputs, score, [2, 0, 278]), rtol=1e-9)


def test_estimates_agree_with_numpy() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=8), rng.normal(size=8), rng.normal(size=(5, 8))
    tensors = [on_device(v) for v in values]
    for estimate in (jansen, jansen_first):
        np.testing.assert_allclose(on_host(estimate(Scores(*tensors))), estimate(Scores(*values)), rtol=1e-12)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_whole_explanation_agrees_with_numpy(policy: str) -> None:
    weights = np.random.default_rng(1).normal(size=(3, 32, 32))
    picture = random_picture((3, 32, 32), seed=2)
    request = ExplanationRequest(grid_size=8, levels=2, score="logit", target=0, value_policy=policy)
    on_cuda = on_device(weights.astype(np.float32))

    def outputs(images: Any) -> Any:
        values = (images * 0.25 + 0.4).mul(on_cuda).sum(dim=(1, 2, 3))
        return torch.stack([values, -values], dim=1)

    theirs = TorchClassifier(outputs, details((3, 32, 32), batch_size=16), DEVICE)
    found, expected = (
        explain(picture, request, classifier, identity="same", max_forwards=10_000)
        for classifier in (theirs, linear_classifier(weights, batch_size=16))
    )
    np.testing.assert_allclose(found.indices.total, expected.indices.total, rtol=1e-2, atol=1e-6)
    np.testing.assert_allclose(found.image, expected.image, atol=1e-5)
