"""Corruptions of ImageNet-C at five severities, seeded (paper, appendix B.3; Hendrycks and Dietterich 2019).

They are those of the package ``corrupt-tta``, bit for bit, on the model's crop, as ImageNet-C was made. Strengths are
in pixels of a crop of 224 x 224: on a larger one the same blur is milder, on a smaller one stronger. The package is
imported with the first corrupted image: 60 MB that a process which only scores images never loads.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import FunctionType
from typing import Any, Final

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from wavescope.errors import InvalidRequest
from wavescope.imaging.decode import MIN_SIDE_PX

CORRUPTIONS: Final[tuple[str, ...]] = (
    *("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise"),
    *("gaussian_blur", "glass_blur", "defocus_blur", "motion_blur", "zoom_blur"),
    *("fog", "frost", "snow", "spatter"),
    *("contrast", "brightness", "saturate", "jpeg_compression", "pixelate", "elastic_transform"),
)
SEVERITIES: Final[tuple[int, ...]] = (1, 2, 3, 4, 5)
# ``compat: "reference"``: the authors used 14, which their paper does not name. These are the 15 that ImageNet-C calls
# common, without frost, the only one that needs pictures besides the program.
REFERENCE_CORRUPTIONS: Final[tuple[str, ...]] = (
    *("gaussian_noise", "shot_noise", "impulse_noise"),
    *("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    *("snow", "fog", "brightness"),
    *("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
)


def corruptions(
    pixels: Float32[np.ndarray, "c h w"], *, seed: int, names: Sequence[str] = CORRUPTIONS
) -> Iterator[tuple[str, int, UInt8[np.ndarray, "c h w"]]]:
    """Corrupt an image by every named corruption at every severity: (name, severity, image in 0..255).

    Images are made one by one as the iterator advances: all 95 of 224 x 224 take about two seconds, half of that for
    ``glass_blur``.

    Args:
        pixels: (1 or 3, h, w) in [0, 1], each side at least 8 px. Grey is corrupted as the RGB image of three equal
            channels, whose luminance (ITU-R 601) is returned.
        seed: at least 0. The same seed gives the same bits whatever the other names: each corruption and severity has
            random numbers of its own.
        names: names out of ``CORRUPTIONS``, in any order.

    Raises:
        InvalidRequest: the corruption is unknown, the image is too small or has another number of channels, or the
            extra ``robustness`` is not installed.
    """
    image = _to_eight_bits(pixels)
    for name in names:
        for severity in SEVERITIES:
            yield name, severity, _corrupt(image, name, severity, seed, grey=len(pixels) == 1)


def reference_corruptions(
    pixels: Float32[np.ndarray, "c h w"], *, seed: int
) -> Iterator[tuple[str, int, UInt8[np.ndarray, "c h w"]]]:
    """Corrupt an image as the authors do: by ``REFERENCE_CORRUPTIONS``, severity 5 twice; see :func:`corruptions`."""
    for name, severity, image in corruptions(pixels, seed=seed, names=REFERENCE_CORRUPTIONS):
        yield name, severity, image
        if severity == SEVERITIES[-1]:
            yield name, severity, image


def _to_eight_bits(pixels: Float32[np.ndarray, "c h w"]) -> UInt8[np.ndarray, "h w 3"]:
    channels, height, width = pixels.shape
    if channels not in (1, 3):
        raise InvalidRequest(
            f"the model takes {channels} channels; only images of 1 or 3 can be corrupted",
            field="model",
            allowed=[1, 3],
        )
    if min(height, width) < MIN_SIDE_PX:
        raise InvalidRequest(
            f"the image is {width}x{height}; only sides of at least {MIN_SIDE_PX} px can be corrupted",
            field="model",
            min_side_px=MIN_SIDE_PX,
        )
    grey_or_colour = np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)
    return np.ascontiguousarray(np.broadcast_to(grey_or_colour, (height, width, 3)))


def _corrupt(
    image: UInt8[np.ndarray, "h w 3"], corruption: str, severity: int, seed: int, *, grey: bool
) -> UInt8[np.ndarray, "c h w"]:
    if corruption not in CORRUPTIONS:
        raise InvalidRequest(
            f"there is no corruption {corruption!r}, only {', '.join(CORRUPTIONS)}",
            field="corruption",
            allowed=list(CORRUPTIONS),
        )
    # Seeded by the name, not its position: other names in the list change no numbers.
    entropy = np.random.SeedSequence((seed, zlib.crc32(corruption.encode()), severity))
    corrupted = _seed_function(corruption, entropy)(image, severity)
    eight_bits = np.asarray(corrupted).astype(np.uint8)  # ImageNet-C truncates
    if grey:
        return np.asarray(Image.fromarray(eight_bits).convert("L"))[None]
    return np.ascontiguousarray(eight_bits.transpose(2, 0, 1))


class _SeededNumPy:
    """NumPy with another ``random``."""

    def __init__(self, random: np.random.RandomState) -> None:
        self.random = random

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


def _seed_function(
    corruption: str, entropy: np.random.SeedSequence
) -> Callable[[np.ndarray, int], np.ndarray]:
    """Make a copy of one of the package's functions that draws its random numbers from ``entropy``.

    The originals draw from NumPy's global state, and ``random_noise`` from the operating system. The copies are bound
    to globals of their own, so that nothing global is seeded, which other threads would see or disturb.
    """
    try:
        import corrupt_tta.corruptions as package
    except ImportError as error:
        raise InvalidRequest(
            "corrupted images need wavescope[robustness], which is not installed or does not load"
            f" (without libGL, replace opencv-python by opencv-python-headless): {error}",
            field="kind",
            extra="robustness",
        ) from error
    names = vars(package) | {
        "np": _SeededNumPy(np.random.RandomState(np.random.MT19937(entropy))),
        "random_noise": partial(package.random_noise, rng=np.random.default_rng(entropy)),
    }
    for name, value in vars(package).items():
        if isinstance(value, FunctionType) and value.__module__ == package.__name__:
            names[name] = FunctionType(value.__code__, names, name, value.__defaults__, value.__closure__)
    return names[corruption]
