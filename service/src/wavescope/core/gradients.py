"""Gradients by wavelet coefficients along noisy images or a path: the wavelet attribution method.

Source: Kasmi, Brunetto, Fel and Parekh, "One Wave To Explain Them All: A Unifying Perspective On Feature Attribution"
(ICML 2025, https://arxiv.org/abs/2410.01482), with the authors' code (https://github.com/gabrielkasmi/wam,
``lib/wam_2D.py``); SmoothGrad by Smilkov et al. (2017, https://arxiv.org/abs/1706.03825), integrated gradients by
Sundararajan, Taly and Yan (2017, https://arxiv.org/abs/1703.01365). ``docs/methods.md`` says where this differs.

An image is x = W⁻¹ z, so that the derivatives of a score by the coefficients z are the transpose of the inverse
transform applied to those by the pixels. Models have to be differentiated by pixels alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Float32, Float64

from wavescope.core.partition import Partition, factor_sums
from wavescope.core.rendering.pixel import Baseline, baseline_image
from wavescope.core.wavelets import analyse, synthesis_adjoint

Method = Literal["smoothgrad", "integrated_gradients"]
METHODS: tuple[str, ...] = get_args(Method)
LEAST_FOR_ERRORS = 4  # samples


@dataclass(frozen=True, slots=True)
class GradientPath:
    """Images at which a score is differentiated, one per sample.

    Attributes:
        method: ``smoothgrad``: the image with Gaussian noise; ``integrated_gradients``: images evenly from a baseline
            to the image, both included.
        samples: number of images; 2 at least for a path.
        noise: standard deviation of the noise, as a share of the range of the image's values.
        seed: of the noise.
        baseline: beginning of the path: see :func:`wavescope.core.rendering.pixel.baseline_image`.
    """

    method: Method
    samples: int
    noise: float
    seed: int
    baseline: Baseline

    @property
    def signed(self) -> bool:
        """Whether attributions have signs, and add up to a difference of scores."""
        return self.method == "integrated_gradients"

    def images(
        self, image: Float32[np.ndarray, "c h w"], start: int, stop: int
    ) -> Float32[np.ndarray, "n c h w"]:
        """Images start..stop, the same bits whatever the range; noise may leave [0, 1].

        Args:
            image: the unperturbed crop in [0, 1].
            start, stop: half-open range within 0..samples.

        Example:
            >>> path = GradientPath("integrated_gradients", 3, 0.0, 0, "zero")
            >>> path.images(np.ones((1, 1, 1), np.float32), 0, 3).ravel().tolist()
            [0.0, 0.5, 1.0]
        """
        if self.signed:
            begin = baseline_image(self.baseline, image)
            along = [np.float32(row / (self.samples - 1)) for row in range(start, stop)]
            return np.stack([begin + part * (image - begin) for part in along])
        deviation = np.float32(self.noise * float(image.max() - image.min()))
        noise = [
            np.random.default_rng([self.seed, row]).standard_normal(image.shape, dtype=np.float32)
            for row in range(start, stop)
        ]
        return np.stack([image + deviation * drawn for drawn in noise])

    def weight(self, row: int) -> float:
        """Weight of a sample in the sums: 1 for noise, that of the trapezoidal rule along a path."""
        if not self.signed:
            return 1.0
        return (0.5 if row in (0, self.samples - 1) else 1.0) / (self.samples - 1)


class GradientReducer:
    """Attributions of coefficients from gradients by pixels, sample by sample.

    Args:
        path: the images.
        image: the unperturbed crop in [0, 1].
        wavelet: a discrete wavelet of PyWavelets.
        levels: of the transform.
        partition: factors of the packed array.
    """

    def __init__(
        self,
        path: GradientPath,
        image: Float32[np.ndarray, "c h w"],
        wavelet: str,
        levels: int,
        partition: Partition,
    ) -> None:
        self._path = path
        self._wavelet, self._levels = wavelet, levels
        self._partition = partition
        self._way = (
            analyse(image - baseline_image(path.baseline, image), wavelet, levels) if path.signed else None
        )

    def contribution(self, gradient: Float[np.ndarray, "c h w"]) -> Float64[np.ndarray, "H W"]:
        """Attribution of every packed coefficient from the gradient at one image.

        SmoothGrad: the size of the gradient's mean over channels, as in the authors' code. Integrated gradients: the
        gradient times the whole way of the coefficient from the baseline, summed over channels.

        Args:
            gradient: derivatives of the score by the pixels in [0, 1].
        """
        found = synthesis_adjoint(gradient, self._wavelet, self._levels)
        if self._way is None:
            return np.abs(found.mean(axis=0))
        return (found * self._way).sum(axis=0)

    def sums(
        self, rows: Iterable[tuple[int, Float[np.ndarray, "c h w"], float]], start: int, stop: int
    ) -> GradientSums:
        """Sums over samples start..stop, added one by one in their order.

        Args:
            rows: number of the sample, its gradient and its score, in order.
            start, stop: half-open range of samples.
        """
        shape, factors = self._partition.factors.shape, self._partition.n_factors
        coefficients = np.zeros(shape)
        even, odd, squares = (np.zeros(factors) for _ in range(3))
        scores: list[float] = []
        for row, gradient, score in rows:
            added = self._path.weight(row) * self.contribution(gradient)
            by_factor = factor_sums(added, self._partition.factors, self._partition.n_factors)
            coefficients += added
            squares += by_factor**2
            half = odd if row % 2 else even
            half += by_factor
            scores.append(score)
        return GradientSums(start, stop, coefficients, even, odd, squares, np.array(scores))


@dataclass(frozen=True, slots=True, eq=False)
class GradientSums:
    """Sums of the contributions of samples start..stop.

    Attributes:
        start, stop: half-open range of samples.
        coefficients: (H, W) of every packed coefficient.
        even, odd: (K,) of every factor, over samples of even and of odd numbers.
        squares: (K,) of every factor, of the squares.
        scores: (stop − start,) scores of the images.
    """

    start: int
    stop: int
    coefficients: Float64[np.ndarray, "H W"]
    even: Float64[np.ndarray, " k"]
    odd: Float64[np.ndarray, " k"]
    squares: Float64[np.ndarray, " k"]
    scores: Float64[np.ndarray, " n"]

    def __add__(self, later: GradientSums) -> GradientSums:
        """Both together; ``later`` begins where this ends."""
        assert later.start == self.stop, "sums are added in the order of their samples"
        return GradientSums(
            self.start,
            later.stop,
            self.coefficients + later.coefficients,
            self.even + later.even,
            self.odd + later.odd,
            self.squares + later.squares,
            np.concatenate([self.scores, later.scores]),
        )

    @property
    def samples(self) -> int:
        """Number of samples."""
        return self.stop - self.start

    @property
    def factors(self) -> Float64[np.ndarray, " k"]:
        """(K,) sums of every factor over all samples."""
        return self.even + self.odd

    def mean_errors(self) -> Float64[np.ndarray, " k"] | None:
        """(K,) standard errors of the means of ``factors`` over independent samples; ``None`` below 4."""
        n = self.samples
        if n < LEAST_FOR_ERRORS:
            return None
        spread = np.maximum(self.squares - self.factors**2 / n, 0.0) / (n - 1)
        return np.sqrt(spread / n)
