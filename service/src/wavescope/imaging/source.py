"""An image of a request, before the model's preprocessing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import UInt8

from wavescope.engine.types import Picture, Preprocessing
from wavescope.imaging import corruptions
from wavescope.imaging.decode import decode, prepare
from wavescope.imaging.frames import MAX_FRAMES


class ImageSource:
    """The bytes of an image file, a PIL image or an array; a :class:`wavescope.engine.protocols.Source`.

    Args:
        image: as :func:`wavescope.imaging.decode.decode` and :func:`wavescope.imaging.decode.prepare` take it.
        preprocessing: of the model.
        max_pixels: more are refused.
        max_frames: of a file; more are refused.
    """

    def __init__(
        self, image: Any, preprocessing: Preprocessing, *, max_pixels: int, max_frames: int = MAX_FRAMES
    ) -> None:
        self._image = image
        self._preprocessing = preprocessing
        self._max_pixels = max_pixels
        self._max_frames = max_frames

    def picture(self, zoom: int) -> Picture:
        """What the model sees of the image enlarged ``zoom`` times.

        Raises:
            NotAnImage, ImageTooLarge, InvalidRequest: the image cannot be used.
        """
        if isinstance(self._image, bytes):
            return decode(
                self._image,
                self._preprocessing,
                max_pixels=self._max_pixels,
                max_frames=self._max_frames,
                zoom=zoom,
            )
        return prepare(self._image, self._preprocessing, max_pixels=self._max_pixels, zoom=zoom)

    def corrupted(
        self, seed: int, *, reference: bool
    ) -> Iterator[tuple[str, int, UInt8[np.ndarray, "c h w"]]]:
        """(corruption, severity, image) of every corruption of what the model sees; errors as :meth:`picture`."""
        pixels = self.picture(1).pixels
        if reference:
            return corruptions.reference_corruptions(pixels, seed=seed)
        return corruptions.corruptions(pixels, seed=seed)
