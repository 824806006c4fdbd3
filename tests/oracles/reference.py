"""What the authors' code computes, step by step and one image at a time, for square images.

Written from a description of its choices, none of its code: the normalised image is transformed, every perturbed image
is min–maxed to 8 bits and normalised again, the raw output of the label is the score, V is that of A alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pywt
from scipy.stats import qmc

Model = Callable[[np.ndarray], np.ndarray]  # normalised (n, c, h, w) float32 to (n, classes) raw outputs


@dataclass(frozen=True)
class Setting:
    """How an image becomes the model's input, and how many designs are drawn.

    Attributes:
        mean, std: per channel.
        grid_size: cells per side, or rings.
        nb_design: N.
        levels: of the wavelet transform.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    grid_size: int
    nb_design: int
    levels: int = 3
    seed: int = 42

    def normalise(self, picture: np.ndarray) -> np.ndarray:
        """(c, h, w) float32 in [0, 1] to the model's input, channel by channel, in single precision."""
        channels = [
            (channel - np.float32(mean)) / np.float32(std)
            for channel, mean, std in zip(picture, self.mean, self.std, strict=True)
        ]
        return np.stack(channels).astype(np.float32)


@dataclass(frozen=True)
class Indices:
    """Total indices with the scores behind them: (N,), (N,), (K, N), (K,); NaN where f(A) does not vary."""

    f_a: np.ndarray
    f_b: np.ndarray
    f_c: np.ndarray
    total: np.ndarray


# ---- images -------------------------------------------------------------------------------------


def to_eight_bits(render: np.ndarray) -> np.ndarray:
    """Over all channels and pixels: the smallest becomes 0, the largest 255, fractions are cut off."""
    low, high = render.min(), render.max()
    return ((render - low) / (high - low) * 255).astype(np.uint8)


def finish(render: np.ndarray, setting: Setting) -> np.ndarray:
    """8 bits, back to [0, 1], normalised."""
    return setting.normalise(to_eight_bits(render).astype(np.float32) / np.float32(255))


def upsampled(mask: np.ndarray, grid_size: int, side: int) -> np.ndarray:
    """A row of the design as g × g cells over a square array: the cell of index i is floor(i·g / side)."""
    cell = [math.floor(i * grid_size / side) for i in range(side)]
    return mask.reshape(grid_size, grid_size)[cell][:, cell]


def wcam_render(
    picture: np.ndarray, mask: np.ndarray, setting: Setting, *, approximation: bool = True
) -> np.ndarray:
    """Masked wavelet coefficients of the normalised image, inverted; not yet min–maxed."""
    channels = []
    for channel in setting.normalise(picture):
        coefficients = pywt.wavedec2(channel, "haar", level=setting.levels)
        packed, places = pywt.coeffs_to_array(coefficients)
        assert packed.dtype == np.float32
        if not approximation:
            packed[places[0]] = 0.0
        masked = packed * upsampled(mask, setting.grid_size, len(packed))
        back = pywt.array_to_coeffs(masked, places, output_format="wavedec2")
        channels.append(pywt.waverec2(back, "haar"))
    return np.stack(channels)


def ring(kind: str, down: int, across: int, side: int, rings: int) -> int:
    """The ring of a frequency that lies (down, across) from the centre.

    ``circle``: rings side/g wide by the distance; ``square``: (side/2)/g wide by the larger offset, at most g − 1. In
    integers, so that a frequency on an edge is in the outer ring.
    """
    if kind == "circle":
        return math.isqrt(rings**2 * (down**2 + across**2)) // side
    return min(2 * rings * max(abs(down), abs(across)) // side, rings - 1)


def fam_mask(kind: str, mask: np.ndarray, grid_size: int, side: int) -> np.ndarray:
    """The row of the design over the centred spectrum; ``grid`` has g² cells, without regard to mirrors."""
    if kind == "grid":
        return upsampled(mask, grid_size, side)
    return mask[all_rings(kind, grid_size, side)]


@lru_cache
def all_rings(kind: str, rings: int, side: int) -> np.ndarray:
    """The ring of every frequency, the centre at side // 2."""
    offsets = [i - side // 2 for i in range(side)]
    return np.array([[ring(kind, down, across, side, rings) for across in offsets] for down in offsets])


def fam_render(picture: np.ndarray, mask: np.ndarray, setting: Setting, *, kind: str) -> np.ndarray:
    """|IDFT(DFT(x) · m)| of the normalised image, per channel; not yet min–maxed."""
    full = fam_mask(kind, mask, setting.grid_size, picture.shape[-1])
    channels = []
    for channel in setting.normalise(picture).astype(np.float64):
        centred = np.fft.fftshift(np.fft.fft2(channel)) * full
        channels.append(np.abs(np.fft.ifft2(np.fft.ifftshift(centred))))
    return np.stack(channels)


# ---- indices ------------------------------------------------------------------------------------

Render = Callable[[np.ndarray], np.ndarray]  # one mask row to one unfinished image


def design_rows(factors: int, setting: Setting) -> Iterator[np.ndarray]:
    """A, then B, then C⁽¹⁾ … C⁽ᴷ⁾, N rows each."""
    points = qmc.Sobol(2 * factors, scramble=True, seed=setting.seed).random(setting.nb_design)
    a, b = points[:, :factors], points[:, factors:]
    yield from a
    yield from b
    for k in range(factors):
        c = a.copy()
        c[:, k] = b[:, k]
        yield from c


def indices(render: Render, factors: int, model: Model, label: int, setting: Setting) -> Indices:
    """Jansen's total indices of the raw output of ``label``: Σ_j (a_j − c_kj)² / (2 N V), V over A alone, ddof 1."""
    n = setting.nb_design
    scores = np.array(
        [
            float(model(finish(render(mask), setting)[None])[0][label])
            for mask in design_rows(factors, setting)
        ]
    )
    f_a, f_b, f_c = scores[:n], scores[n : 2 * n], scores[2 * n :].reshape(factors, n)
    mean = math.fsum(f_a) / n
    variance = math.fsum((value - mean) ** 2 for value in f_a) / (n - 1)
    total = np.array(
        [
            math.fsum((a - c) ** 2 for a, c in zip(f_a, row, strict=True)) / (2 * n * variance)
            if variance
            else math.nan
            for row in f_c
        ]
    )
    return Indices(f_a, f_b, f_c, total)


def wcam(
    picture: np.ndarray, model: Model, label: int, setting: Setting, *, approximation: bool = True
) -> Indices:
    """K = g² whether the approximation is perturbed or set to 0."""

    def render(mask: np.ndarray) -> np.ndarray:
        return wcam_render(picture, mask, setting, approximation=approximation)

    return indices(render, setting.grid_size**2, model, label, setting)


def fam(picture: np.ndarray, model: Model, label: int, setting: Setting, *, kind: str) -> Indices:
    """K = g rings, dead ones included, or g² cells."""

    def render(mask: np.ndarray) -> np.ndarray:
        return fam_render(picture, mask, setting, kind=kind)

    return indices(render, setting.grid_size ** (2 if kind == "grid" else 1), model, label, setting)


# ---- maps ---------------------------------------------------------------------------------------


def cubic(distance: float) -> float:
    """The kernel of cubic convolution with a = −0.75."""
    a, x = -0.75, abs(distance)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    if x < 2:
        return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
    return 0.0


def bicubic(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """Enlarged: half-pixel centres, edges replicated; rows first, then columns."""

    def along_rows(array: np.ndarray, target: int) -> np.ndarray:
        source = len(array)
        found = np.zeros((target, array.shape[1]))
        for i in range(target):
            at = (i + 0.5) * source / target - 0.5
            for near in range(math.floor(at) - 1, math.floor(at) + 3):
                found[i] += cubic(at - near) * array[min(max(near, 0), source - 1)]
        return found

    return along_rows(along_rows(values, height).T, width).T


def wcam_map(total: np.ndarray, grid_size: int, side: int) -> np.ndarray:
    """g × g indices enlarged to the packed array."""
    return bicubic(total.reshape(grid_size, grid_size), side, side)


def quarters(packed: np.ndarray, level: int, levels: int) -> list[np.ndarray]:
    """[h, v, d] of a level: below, right of, and diagonally from what is coarser. Level 0: within the approximation."""
    half = len(packed) // 2 ** (levels - level + 1)
    return [
        packed[half : 2 * half, :half],
        packed[:half, half : 2 * half],
        packed[half : 2 * half, half : 2 * half],
    ]


def spatial(packed: np.ndarray, levels: int) -> np.ndarray:
    """The approximation's block and the three of every level, each enlarged to the image, summed."""
    side = len(packed)
    blocks = [packed[: side // 2**levels, : side // 2**levels]]
    for level in range(1, levels + 1):
        blocks += quarters(packed, level, levels)
    return np.sum([bicubic(block, side, side) for block in blocks], axis=0)


def level_shares(packed: np.ndarray, levels: int) -> np.ndarray:
    """mean(h) + mean(v) + mean(d) of levels 0..L, over the sum of all."""
    found = np.array(
        [sum(block.mean() for block in quarters(packed, level, levels)) for level in range(levels + 1)]
    )
    return found / found.sum()


def fam_map(kind: str, total: np.ndarray, grid_size: int, side: int) -> np.ndarray:
    """circle, square: log(Σ_k m_k S_Tk), −∞ where that is 0; grid: log(1 + S_T)."""
    if kind == "grid":
        return np.log(1 + upsampled(total, grid_size, side))
    summed = np.zeros((side, side))
    for k, index in enumerate(total):
        one = np.zeros(len(total))
        one[k] = 1.0
        summed += fam_mask(kind, one, grid_size, side) * index
    with np.errstate(divide="ignore"):
        return np.log(summed)


# ---- reconstruction -----------------------------------------------------------------------------


def ranking(total: np.ndarray) -> list[int]:
    """Factors by their index min–maxed to 8 bits, largest first; among equals, in factor order."""
    grey = to_eight_bits(total)
    return sorted(range(len(total)), key=lambda k: (-int(grey[k]), k))


def depth(picture: np.ndarray, model: Model, total: np.ndarray, setting: Setting) -> int | None:
    """Rebuilt from ever more factors: how many images were refused before one is given the clean image's label."""
    clean = int(np.argmax(model(setting.normalise(picture)[None])[0]))
    mask = np.zeros(len(total))
    for count, factor in enumerate(ranking(total)):
        mask[factor] = 1.0
        rebuilt = finish(wcam_render(picture, mask, setting), setting)
        if int(np.argmax(model(rebuilt[None])[0])) == clean:
            return count
    return None
