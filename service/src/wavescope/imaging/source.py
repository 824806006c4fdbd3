"""Image source: an image of a request, preprocessed for a model on demand."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from wavescope.engine.types import Picture, Preprocessing
from wavescope.imaging import corruptions
from wavescope.imaging.arguments import read_argument
from wavescope.imaging.decode import decode, prepare
from wavescope.imaging.limits import DEFAULT_LIMITS, ImageLimits


class ImageSource:
    """Image source over the bytes of a file, a PIL image or an array (:class:`wavescope.engine.protocols.Source`).

    Args:
        image: image as :func:`wavescope.imaging.decode.decode` and :func:`wavescope.imaging.decode.prepare` take it.
        preprocessing: preprocessing of the model.
        limits: limits of the image.
    """

    def __init__(
        self, image: Any, preprocessing: Preprocessing, *, limits: ImageLimits = DEFAULT_LIMITS
    ) -> None:
        self._image = image
        self._preprocessing = preprocessing
        self._limits = limits

    def picture(self, zoom: int) -> Picture:
        """Decode the model's crop of the image enlarged ``zoom`` times.

        Raises:
            NotAnImage, ImageTooLarge, InvalidRequest: the image cannot be decoded.
        """
        if isinstance(self._image, bytes):
            return decode(self._image, self._preprocessing, limits=self._limits, zoom=zoom)
        return prepare(self._image, self._preprocessing, limits=self._limits, zoom=zoom)

    def corrupted(
        self, seed: int, *, reference: bool
    ) -> Iterator[tuple[str, int, UInt8[np.ndarray, "c h w"]]]:
        """Iterate over the corruptions of the model's crop: (name, severity, image); errors as :meth:`picture`."""
        return iterate_corruptions(self.picture(1).pixels, seed, reference=reference)


class FileSource:
    """Image source over a file that is read when it is decoded (:class:`wavescope.engine.protocols.Source`).

    Args:
        path: of the file.
        preprocessing: preprocessing of the model.
        limits: limits of the image.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        preprocessing: Preprocessing,
        *,
        limits: ImageLimits = DEFAULT_LIMITS,
    ) -> None:
        self._path = path
        self._preprocessing = preprocessing
        self._limits = limits

    def picture(self, zoom: int) -> Picture:
        """Decode the file; as :meth:`ImageSource.picture`.

        Raises:
            InvalidRequest: it cannot be read.
        """
        return self._read().picture(zoom)

    def corrupted(
        self, seed: int, *, reference: bool
    ) -> Iterator[tuple[str, int, UInt8[np.ndarray, "c h w"]]]:
        """Iterate over the corruptions; as :meth:`ImageSource.corrupted`."""
        return self._read().corrupted(seed, reference=reference)

    def _read(self) -> ImageSource:
        return ImageSource(read_argument(self._path, "image"), self._preprocessing, limits=self._limits)


def iterate_corruptions(
    pixels: Float32[np.ndarray, "c h w"], seed: int, *, reference: bool
) -> Iterator[tuple[str, int, UInt8[np.ndarray, "c h w"]]]:
    """Iterate over the corruptions of a crop: (name, severity, image)."""
    if reference:
        return corruptions.reference_corruptions(pixels, seed=seed)
    return corruptions.corruptions(pixels, seed=seed)
