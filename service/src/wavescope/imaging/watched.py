"""Images that are watched, of what a caller gives."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from wavescope.engine.monitors.watching import WatchedImage
from wavescope.engine.types import Preprocessing
from wavescope.imaging.arguments import read_argument
from wavescope.imaging.limits import DEFAULT_LIMITS, ImageLimits
from wavescope.imaging.source import FileSource, ImageSource


def open_images(
    images: Iterable[Any],
    name: str,
    preprocessing: Preprocessing,
    limits: ImageLimits = DEFAULT_LIMITS,
    *,
    clock: Callable[[], float] = time.time,
) -> Iterator[WatchedImage]:
    """Images to be watched, one by one.

    A file is named by its path, is read when it is decoded, and its time is that of its last change; anything else is
    named by its place, and its time is now.

    Args:
        images: each as :func:`wavescope.imaging.arguments.read_argument` takes it.
        name: of the argument, for names and errors.
        preprocessing: preprocessing of the model.
        limits: limits of an image.
        clock: s since 1970.

    Raises:
        InvalidRequest: one is no image that could be given; a file that cannot be read is an image that fails.
    """
    for place, image in enumerate(images):
        if isinstance(image, str | os.PathLike):
            yield WatchedImage(
                os.fspath(image), _changed_at(image, clock), FileSource(image, preprocessing, limits=limits)
            )
        else:
            named = f"{name}[{place}]"
            opened = ImageSource(read_argument(image, named), preprocessing, limits=limits)
            yield WatchedImage(named, clock(), opened)


def _changed_at(path: str | os.PathLike[str], clock: Callable[[], float]) -> float:
    try:
        return Path(path).stat().st_mtime
    except OSError:
        return clock()
