"""Perturbed images as the authors' code makes them (``compat: "reference"``), and its partitions.

Unlike in our own rendering, the *normalised* image is transformed; masks are multiplied in double precision; Fourier
renders are rectified; and every perturbed image is stretched to its own darkest and brightest value over all channels,
floored to 8 bits, and normalised again. That stretch couples every pixel to every factor, so each row is masked and
inverted in full: there is no shortcut. Their choices are for square images, whose side 2^levels divides, and for Haar;
on others, where their code fails, the same steps run on the reflected padding of :mod:`wavescope.core.wavelets`.

Values that a request sets itself win. With ``value_policy`` ``clip`` or ``none`` a render is brought back to units of
[0, 1] (times std plus mean), clipped or left, and normalised again, without stretch and without rounding to 8 bits.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pywt
from jaxtyping import Float, Float32, Float64, Int, Int32, UInt8

from wavescope.core.arrays import Array, like
from wavescope.core.partition import Approximation, Partition, check_grid_size, grid, partition
from wavescope.core.rendering.renderer import ValuePolicy
from wavescope.core.sobol.design import Design
from wavescope.core.wavelets import MODE, bands, padded_size

Transform = Literal["wavelet", "fourier"]

# A spread within float32 rounding of the clean image is no contrast; stretched, it would fill the render with noise.
FLAT = 32 * float(np.finfo(np.float32).eps)


def reference_partition(
    transform: Transform,
    name: str,
    height: int,
    width: int,
    levels: int,
    *,
    grid_size: int,
    approximation: Approximation,
) -> Partition:
    """Factors as the authors' code has them.

    Wavelet, ``grid`` with ``drop``: K stays grid_size², cells within the approximation are factors of no coefficient.
    Everything else of the wavelet domain is as in :func:`wavescope.core.partition.partition`. Fourier: K is
    ``grid_size`` for ``circle`` and ``square``, though outer rings may hold no frequency, and grid_size² for ``grid``,
    whose cells do not know that a frequency has a mirror.

    Args:
        transform: whose coefficients.
        name: ``circle``, ``square`` or ``grid`` of the centred spectrum; any of ``PARTITIONS`` of the packed array.
        height, width: of the image, px.
        levels: dyadic levels, for the wavelet transform.
        grid_size: rings, or cells per side; 1..min(height, width) of the partitioned array.
        approximation: of the wavelet transform.

    Raises:
        InvalidRequest: ``grid_size`` beyond its range.
    """
    if transform == "fourier":
        return _fourier_partition(name, height, width, grid_size)
    tall, wide = padded_size(height, width, levels)
    made = partition(name, tall, wide, levels, grid_size=grid_size, approximation=approximation)
    if name != "grid" or approximation != "drop":
        return made
    factors = grid(tall, wide, levels, grid_size).astype(np.int32)
    factors[bands(tall, wide, levels)[0].slices] = -1
    return Partition(factors, grid_size**2, held=0.0)


def reference_rings(name: str, height: int, width: int, rings: int) -> Int[np.ndarray, "h w"]:
    """The ring of every frequency of the centred spectrum.

    On a square image of side s a ring of ``circle`` is s / rings frequencies wide by the distance from the centre, one
    of ``square`` (s / 2) / rings wide by the larger of both offsets; the outermost offset falls into the last ring.
    Elsewhere offsets are taken in cycles per pixel, which on a square image is the same.
    """
    rows = np.abs(np.arange(height) - height // 2)[:, None] * width
    columns = np.abs(np.arange(width) - width // 2)[None, :] * height
    side = height * width  # what both offsets are in units of, as integers: no frequency slips over an edge
    if name == "circle":
        radius = np.sqrt(rows.astype(np.float64) ** 2 + columns.astype(np.float64) ** 2)
        return (radius * rings / side).astype(np.int64)
    return np.minimum(np.maximum(rows, columns) * 2 * rings // side, rings - 1)


def _fourier_partition(name: str, height: int, width: int, grid_size: int) -> Partition:
    check_grid_size(grid_size, height, width, "the spectrum is")
    if name == "grid":
        return Partition(grid(height, width, 0, grid_size).astype(np.int32), grid_size**2)
    return Partition(reference_rings(name, height, width, grid_size).astype(np.int32), grid_size)


class ReferenceRenderer:
    """Renders rows of one image, partition and design as the authors' code does; on the host, in double precision.

    The surface is that of :class:`wavescope.core.rendering.renderer.Renderer`. The same row has the same bits whatever
    the batch it is rendered in, and on every device. Memory is bounded by the batch asked for.

    Args:
        image: (c, h, w) float32 in [0, 1], in NumPy.
        partition: of :func:`reference_partition` for the same transform and size.
        transform: whose coefficients are masked.
        wavelet: a discrete wavelet of PyWavelets; unused for ``fourier``.
        levels: of the wavelet transform; unused for ``fourier``.
        value_policy: ``minmax`` is the authors' stretch to 8 bits; see the module for the others.
        mean, std: (c, 1, 1), in units of [0, 1]; they decide the library and the device of every render.
    """

    def __init__(
        self,
        image: Float32[np.ndarray, "c h w"],
        partition: Partition,
        transform: Transform,
        wavelet: str,
        levels: int,
        value_policy: ValuePolicy,
        mean: Float32[Array, "c 1 1"],
        std: Float32[Array, "c 1 1"],
    ) -> None:
        channels, height, width = image.shape
        self.shape: tuple[int, int, int] = (channels, height, width)
        self._image = image
        self._policy = value_policy
        self._like = mean
        self._mean, self._std = _on_host(mean), _on_host(std)
        normalised = (image - self._mean) / self._std
        self._flat = FLAT * float(np.abs(normalised).max())
        self._invert = (
            _MaskedSpectrum(normalised, partition)
            if transform == "fourier"
            else _MaskedWavelets(normalised, partition, wavelet, levels)
        )
        grey = np.arange(256, dtype=np.float32) / np.float32(255)
        self._of_level = ((grey - self._mean[:, 0]) / self._std[:, 0]).astype(np.float32)  # (c, 256)

    def clean(self) -> Float32[Array, "c h w"]:
        """The unperturbed image, bit for bit: neither stretched nor rounded to 8 bits."""
        # The image may be read-only memory, which torch cannot share.
        return like(self._image.copy(), self._like)

    def image(self, mask: Float[np.ndarray, " k"]) -> Float32[np.ndarray, "c h w"]:
        """The render of one mask row as a viewer sees it: value policy applied, not normalised.

        Returns:
            in [0, 1], in steps of 1/255 for ``minmax``; ``none`` may leave [0, 1].
        """
        if self._policy == "minmax":
            return self._levels(mask).astype(np.float32) / np.float32(255)
        return self._picture(mask)

    def rows(
        self, design: Design, start: int, stop: int, out: Float32[Array, "_ c h w"] | None = None
    ) -> Float32[Array, "n c h w"]:
        """Renders rows start..stop of the pick-freeze sample, finished for the model.

        Row j·(K + 2) is A_j, the next B_j, then C_j⁽¹⁾ … C_j⁽ᴷ⁾, as everywhere in Wavescope. (The authors score all of
        A, then all of B, then every C⁽ᵏ⁾; an image does not depend on it.)

        Args:
            design: rows A and B of K columns.
            start, stop: half-open range within 0..N(K + 2).
            out: where to write, (stop − start, c, h, w) or more rows; a new array if ``None``.
        """
        rendered = np.empty((stop - start, *self.shape), dtype=np.float32)
        for place, row in enumerate(range(start, stop)):
            self._finished(_mask(design, row), rendered[place])
        return self._hand_over(rendered, out)

    def masks(
        self, masks: Float[np.ndarray, "n k"], out: Float32[Array, "_ c h w"] | None = None
    ) -> Float32[Array, "n c h w"]:
        """Renders any mask rows, finished for the model; ``out`` as for :meth:`rows`."""
        rendered = np.empty((len(masks), *self.shape), dtype=np.float32)
        for place, mask in enumerate(masks):
            self._finished(mask, rendered[place])
        return self._hand_over(rendered, out)

    def _finished(self, mask: Float[np.ndarray, " k"], out: Float32[np.ndarray, "c h w"]) -> None:
        if self._policy == "minmax":
            for channel, levels in enumerate(self._levels(mask)):
                out[channel] = self._of_level[channel][levels]
        else:
            out[...] = (self._picture(mask) - self._mean) / self._std

    def _levels(self, mask: Float[np.ndarray, " k"]) -> UInt8[np.ndarray, "c h w"]:
        """Stretched over all channels and pixels to 0..255, and floored; all 0 for a flat image."""
        render = self._invert(mask)
        low, high = float(render.min()), float(render.max())
        if high - low <= self._flat:
            return np.zeros(self.shape, dtype=np.uint8)
        render -= low
        render /= high - low
        render *= 255
        return render.astype(np.uint8)

    def _picture(self, mask: Float[np.ndarray, " k"]) -> Float32[np.ndarray, "c h w"]:
        picture = (self._invert(mask) * self._std + self._mean).astype(np.float32)
        return np.clip(picture, 0.0, 1.0) if self._policy == "clip" else picture

    def _hand_over(
        self, rendered: Float32[np.ndarray, "n c h w"], out: Float32[Array, "_ c h w"] | None
    ) -> Float32[Array, "n c h w"]:
        found: Array = like(rendered, self._like)
        if out is None:
            return found
        out[: len(rendered), ...] = found
        return out[: len(rendered), ...]


class _MaskedWavelets:
    """Packed coefficients in single precision, as PyWavelets keeps them; masked and inverted in double precision."""

    def __init__(
        self, image: Float32[np.ndarray, "c h w"], partition: Partition, wavelet: str, levels: int
    ) -> None:
        _, height, width = image.shape
        tall, wide = padded_size(height, width, levels)
        padding = ((0, 0), (0, tall - height), (0, wide - width))
        self._size = (height, width)
        self._wavelet = wavelet
        self._partition = partition
        self._bands = bands(tall, wide, levels)
        # Not wavelets.analyse, which computes in double precision: a rounding could move a pixel by one of 256 levels.
        current = np.pad(image, padding, mode="reflect")
        self._packed: Float32[np.ndarray, "c H W"] = np.empty(current.shape, dtype=np.float32)
        for first in range(len(self._bands) - 3, 0, -3):
            current, details = pywt.dwt2(current, wavelet, MODE, axes=(-2, -1))
            for band, detail in zip(self._bands[first : first + 3], details, strict=True):
                self._packed[:, *band.slices] = detail
        self._packed[:, *self._bands[0].slices] = current

    def __call__(self, mask: Float[np.ndarray, " k"]) -> Float64[np.ndarray, "c h w"]:
        packed = self._packed * _spread(mask, self._partition.factors, self._partition.held)
        context, *details = [packed[:, *band.slices] for band in self._bands]
        current = context
        for horizontal, vertical, diagonal in zip(details[::3], details[1::3], details[2::3], strict=True):
            level = current, (horizontal, vertical, diagonal)
            current = pywt.idwt2(level, self._wavelet, MODE, axes=(-2, -1))
        return np.ascontiguousarray(current[:, : self._size[0], : self._size[1]])


class _MaskedSpectrum:
    """|IDFT(DFT(x) · m)| per channel: the modulus of what is complex where a mask is not symmetric."""

    def __init__(self, image: Float32[np.ndarray, "c h w"], partition: Partition) -> None:
        from scipy import fft  # here: of the processes that import this module few get so far

        self._inverse = fft.ifft2
        self._spectrum = fft.fft2(image.astype(np.float64), axes=(-2, -1))
        self._factors: Int32[np.ndarray, "h w"] = np.fft.ifftshift(partition.factors)
        self._held = partition.held

    def __call__(self, mask: Float[np.ndarray, " k"]) -> Float64[np.ndarray, "c h w"]:
        masked = self._spectrum * _spread(mask, self._factors, self._held)
        return np.abs(self._inverse(masked, axes=(-2, -1), overwrite_x=True))


def _spread(
    mask: Float[np.ndarray, " k"], factors: Int32[np.ndarray, "H W"], held: float
) -> Float64[np.ndarray, "H W"]:
    """The mask value of every coefficient's factor, ``held`` where it has none."""
    return np.append(mask.astype(np.float64), held)[factors]  # -1 picks the appended value


def _mask(design: Design, row: int) -> Float[np.ndarray, " k"]:
    j, column = divmod(row, design.n_factors + 2)
    if column < 2:
        return (design.a, design.b)[column][j]
    mask = design.a[j].copy()
    mask[column - 2] = design.b[j, column - 2]
    return mask


def _on_host(values: Array) -> np.ndarray:
    return np.asarray(values.cpu() if hasattr(values, "cpu") else values)
