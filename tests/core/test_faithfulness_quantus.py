"""Insertion, deletion and µ-fidelity of a small network against Quantus, an independent library.

Apart from the other tests of the module, since Quantus takes seconds to import.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import quantus
import torch
from tests.oracles.faithfulness import masked

from wavescope.core.faithfulness import mu_fidelity, rank_groups
from wavescope.core.rendering.masks import NestedMasks

TARGET = 2  # class of the network whose probability is followed


@pytest.fixture(scope="module", autouse=True)
def single_thread() -> Iterator[None]:
    """Images this small are scored faster than threads are woken, above all on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    generator = torch.Generator().manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 6, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(6, 8, 3),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(8 * 4 * 4, 5),
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.25 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(1).uniform(0.1, 1, (3, 12, 12)).astype(np.float32)


def probabilities(network: torch.nn.Module, images: list[np.ndarray]) -> np.ndarray:
    with torch.no_grad():
        return network(torch.from_numpy(np.stack(images))).softmax(-1)[:, TARGET].double().numpy()


def pixel_flipping(network: torch.nn.Module, image: np.ndarray, values: np.ndarray, step: int) -> np.ndarray:
    """Quantus' probabilities after each ``step`` pixels (all channels of them) are black, most important first."""
    metric = quantus.PixelFlipping(
        features_in_step=3 * step, perturb_baseline=0.0, normalise=False, disable_warnings=True
    )
    found = metric(
        network,
        image[None],
        np.array([TARGET]),
        np.broadcast_to(values, (1, 3, 12, 12)),
        softmax=True,
        device="cpu",
    )
    return np.array(found[0])


@pytest.mark.parametrize("step", [4, 12, 48])
def test_deletion_over_pixels_is_quantus_pixel_flipping(
    network: torch.nn.Module, image: np.ndarray, step: int
) -> None:
    values = np.random.default_rng(2).normal(size=(12, 12)).astype(np.float32)
    steps = 144 // step
    groups = rank_groups(values, steps)
    rows = NestedMasks(np.arange(steps, dtype=np.int32), np.arange(steps + 1, dtype=np.int32), keep=False)
    curve = probabilities(network, [masked(image, groups, mask) for mask in rows.masks(0, rows.count)])
    flipped = pixel_flipping(network, image, values, step)
    assert curve[1:] == pytest.approx(flipped, abs=1e-5)
    assert curve[0] == pytest.approx(probabilities(network, [image])[0], abs=1e-6)
    assert np.ptp(curve) > 0.05  # there is something to agree on


def test_insertion_over_pixels_is_quantus_pixel_flipping_from_the_least_important(
    network: torch.nn.Module, image: np.ndarray
) -> None:
    values = np.random.default_rng(3).normal(size=(12, 12)).astype(np.float32)
    groups = rank_groups(values, 24)
    rows = NestedMasks(np.arange(24, dtype=np.int32), np.arange(25, dtype=np.int32))
    curve = probabilities(network, [masked(image, groups, mask) for mask in rows.masks(0, rows.count)])
    # With the n least important pixels black, the others are inserted.
    assert curve[:-1][::-1] == pytest.approx(pixel_flipping(network, image, -values, 6), abs=1e-5)


def test_mu_fidelity_is_quantus_faithfulness_correlation_over_the_same_subsets(
    network: torch.nn.Module, image: np.ndarray
) -> None:
    grey = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 1, bias=False), network).eval()
    with torch.no_grad():
        grey[0].weight.copy_(torch.tensor([0.5, 1.0, -0.7]).reshape(3, 1, 1, 1))
    values = image[0] * np.random.default_rng(4).normal(size=(12, 12)).astype(np.float32)
    drawn: list[np.ndarray] = []

    def black(arr: np.ndarray, indices: np.ndarray, **_: object) -> np.ndarray:
        drawn.append(indices[0].copy())
        return quantus.perturb_func.batch_baseline_replacement_by_indices(arr, indices, perturb_baseline=0.0)

    similarities = (quantus.similarity_func.correlation_pearson, quantus.similarity_func.correlation_spearman)
    for which, similarity in enumerate(similarities):
        drawn.clear()
        metric = quantus.FaithfulnessCorrelation(
            similarity_func=similarity,
            nr_runs=60,
            subset_size=29,
            perturb_func=black,
            normalise=False,
            return_aggregate=False,
            disable_warnings=True,
        )
        [expected] = metric(
            grey, image[None, :1], np.array([TARGET]), values[None, None], softmax=True, device="cpu"
        )
        masks = np.ones((60, 144), np.float32)
        for mask, indices in zip(masks, drawn, strict=True):
            mask[indices] = 0
        scores = probabilities(grey, [image[:1] * mask.reshape(12, 12) for mask in masks])
        [clean] = probabilities(grey, [image[:1]])
        found = mu_fidelity(values.ravel().astype(np.float64), masks, float(clean), scores)
        assert found[which] == pytest.approx(expected, abs=1e-3 if which else 1e-5)
