"""Models whose exact indices follow by hand, explained end to end.

With ``value_policy: none``, score ``logit`` and an orthogonal wavelet the image is linear in the mask: clip and minmax
would couple the factors. A linear classifier of the wavelet coefficients then has the score

    f(m) = c + Σ_k m_k g_k,   g_k = Σ over factor k's coefficients of weight · coefficient,

and with m uniform on [0, 1]: S_Tk = S_k = g_k² / Σ g².
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.fakes.classifiers import linear_classifier, random_picture
from tests.oracles.rendering import slow_synthesise

from wavescope.core.partition import partition
from wavescope.core.sobol.design import sobol
from wavescope.core.wavelets import analyse, bands
from wavescope.engine.run import explain
from wavescope.engine.types import Explanation, ExplanationRequest, Picture

LINEAR = ExplanationRequest(value_policy="none", score="logit", target=0)


def run(weights: np.ndarray, of: Picture, request: ExplanationRequest) -> Explanation:
    """``weights``: (c, h, w) of class 0's logit."""
    classifier = linear_classifier(weights, batch_size=32)
    return explain(of, request, classifier, identity="known", max_forwards=1_000_000)


def pixel_weights(coefficient_weights: np.ndarray, wavelet: str, levels: int) -> np.ndarray:
    """Of an orthogonal transform: Σ w_i coefficient_i = ⟨inverse transform of w, image⟩."""
    return np.stack([slow_synthesise(channel, wavelet, levels) for channel in coefficient_weights])


def exact(
    coefficient_weights: np.ndarray, of: Picture, request: ExplanationRequest
) -> tuple[np.ndarray, np.ndarray]:
    """(g_k, S_Tk) by hand."""
    packed = analyse(of.pixels, request.wavelet, request.levels).astype(np.float64)
    made = partition(
        request.partition,
        *packed.shape[1:],
        request.levels,
        grid_size=request.grid_size,
        approximation=request.approximation,  # type: ignore[arg-type]
    )
    parts = (coefficient_weights * packed).sum(axis=0)
    g = np.array([parts[made.factors == k].sum() for k in range(made.n_factors)])
    return g, g**2 / (g**2).sum()


def by_hand(g: np.ndarray, request: ExplanationRequest) -> np.ndarray:
    """What Jansen's estimator must give on this design: g_k² · mean_j (a_jk − b_jk)² / (2 V)."""
    design = sobol(len(g), request.nb_design, request.seed)
    values = np.concatenate([design.a @ g, design.b @ g])
    return g**2 * ((design.a - design.b) ** 2).mean(axis=0) / (2 * values.var(ddof=1))


def relative_tolerance(n: int) -> float:
    """Four standard errors of Ŝ_k / S_k for a linear score, from N alone.

    Ŝ_k / S_k = [6 mean_j d_j²] / [V̂ / V] with d = a − b of two uniforms: E d² = 1/6, E d⁴ = 1/15, so 6 d² has variance
    36/15 − 1 = 1.4. V̂ over 2N values has relative variance (κ − 1) / 2N, at most 1 / N as κ ≤ 3 for sums of uniforms.
    """
    return 4 * float(np.sqrt((1.4 + 1.0) / n))


@pytest.mark.parametrize(
    ("wavelet", "name", "grid_size", "approximation"),
    [
        ("haar", "grid", 16, "perturb"),  # one factor per coefficient
        ("haar", "grid", 5, "perturb"),  # cells that straddle bands
        ("haar", "aligned", 5, "perturb"),
        ("haar", "subbands", 1, "perturb"),
        ("haar", "levels", 1, "perturb"),
        ("haar", "grid", 5, "keep"),
        ("haar", "grid", 5, "drop"),
        ("db3", "aligned", 5, "perturb"),
        ("sym4", "subbands", 1, "perturb"),
    ],
)
def test_a_linear_classifier_of_coefficients_has_the_indices_that_follow_by_hand(
    wavelet: str, name: str, grid_size: int, approximation: str
) -> None:
    request = replace(
        LINEAR,
        wavelet=wavelet,
        levels=2,
        partition=name,
        grid_size=grid_size,
        approximation=approximation,
        nb_design=32 if grid_size == 16 else 256,
    )
    of = random_picture((2, 16, 16), seed=1)
    coefficient_weights = np.random.default_rng(2).normal(size=(2, 16, 16))
    g, truth = exact(coefficient_weights, of, request)
    done = run(pixel_weights(coefficient_weights, wavelet, 2), of, request)

    # Exactly what the estimator gives for these rows; float32 renders leave 1e-6 of the largest effect.
    np.testing.assert_allclose(done.indices.total, by_hand(g, request), rtol=1e-3, atol=1e-7)
    # And so, to the sampling error of N rows, the truth.
    error = np.abs(done.indices.total - truth) / truth
    assert error.max() <= relative_tolerance(request.nb_design)
    # The largest factor's first-order index is its total index.
    k = int(np.argmax(truth))
    assert done.indices.first[k] == pytest.approx(truth[k], abs=relative_tolerance(request.nb_design))


def test_estimates_converge_to_the_truth_as_rows_are_added() -> None:
    of = random_picture((1, 16, 16), seed=3)
    coefficient_weights = np.random.default_rng(4).normal(size=(1, 16, 16))
    errors = []
    for n in (16, 1024):
        request = replace(LINEAR, levels=2, grid_size=3, nb_design=n)
        truth = exact(coefficient_weights, of, request)[1]
        total = run(pixel_weights(coefficient_weights, "haar", 2), of, request).indices.total
        errors.append(float(np.sqrt(np.mean((total - truth) ** 2))))
    assert errors[1] < errors[0] / 4  # plain Monte Carlo: 8


@pytest.mark.parametrize("index", range(7))
def test_a_model_of_one_band_gives_importance_to_that_band_alone(index: int) -> None:
    levels, of = 2, random_picture((1, 32, 32), seed=5)
    band = bands(32, 32, levels)[index]
    coefficient_weights = np.zeros((1, 32, 32))
    coefficient_weights[(0, *band.slices)] = np.random.default_rng(6).normal(size=(1, 32, 32))[
        (0, *band.slices)
    ]
    weights = pixel_weights(coefficient_weights, "haar", levels)

    bandwise = run(weights, of, replace(LINEAR, levels=levels, partition="subbands"))
    others = np.delete(bandwise.indices.total, index)
    assert others.max() < 1e-10  # zero but for the float32 rounding of the renders
    assert bandwise.indices.total[index] > 0.1

    for request in (
        replace(LINEAR, levels=levels, partition="aligned", grid_size=8),
        replace(
            LINEAR, levels=levels, partition="grid", grid_size=8
        ),  # 8 cells of 4 px align at two levels too
    ):
        done = run(weights, of, request)
        level = done.levels[band.level]
        assert level.share == pytest.approx(1.0, abs=1e-9)
        assert level.mean_share == pytest.approx(1.0, abs=1e-9)
        if band.level:
            assert getattr(level, band.orientation).share == pytest.approx(1.0, abs=1e-9)
        outside = done.maps.wcam.copy()
        outside[band.slices] = 0
        assert outside.max() < 1e-10


@pytest.mark.parametrize("policy", ["none", "clip"])
@pytest.mark.parametrize("quadrant", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_a_model_of_one_quadrant_gives_importance_to_that_place_alone(
    quadrant: tuple[int, int], policy: str
) -> None:
    """Haar cells of one quadrant change no pixel of another: the map there is exactly zero."""
    place = tuple(slice(16 * q, 16 * q + 16) for q in quadrant)
    weights = np.zeros((3, 32, 32))
    weights[(slice(None), *place)] = np.random.default_rng(7).normal(size=(3, 16, 16))
    request = replace(LINEAR, levels=2, partition="aligned", grid_size=8, value_policy=policy)
    spatial = run(weights, random_picture((3, 32, 32), seed=8), request).maps.spatial_wcam
    inside = spatial[place].copy()
    spatial[place] = 0
    assert (spatial == 0).all()
    assert (inside > 0).mean() > 0.9


def test_an_ignored_factor_has_an_index_error_and_interval_of_exactly_zero() -> None:
    weights = np.zeros((1, 32, 32))
    weights[0, :16] = 1.0  # the upper half
    request = replace(LINEAR, levels=1, partition="aligned", grid_size=4)
    done = run(weights, random_picture((1, 32, 32), seed=9), request)
    lower = np.unique(done.maps.factors[8:16, :16])  # of the approximation
    assert (done.indices.total[lower] == 0).all()
    assert (done.indices.standard_error[lower] == 0).all()
    assert (done.indices.interval_95[lower] == 0).all()
    assert done.indices.total[0] > 0


def test_a_level_and_a_place_are_found_together() -> None:
    """A model of the finest horizontal detail in the lower right: packed rows 16 + 8.., columns 8.. of 32."""
    coefficient_weights = np.zeros((1, 32, 32))
    coefficient_weights[0, 24:32, 8:16] = 1.0
    request = replace(LINEAR, levels=2, partition="aligned", grid_size=8)
    done = run(pixel_weights(coefficient_weights, "haar", 2), random_picture((1, 32, 32), seed=10), request)
    assert done.levels[2].horizontal.share == pytest.approx(1.0, abs=1e-9)
    place = done.maps.spatial_wcam[16:, 16:].sum() / done.maps.spatial_wcam.sum()
    assert place == pytest.approx(1.0, abs=1e-6)
