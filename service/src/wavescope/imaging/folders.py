"""Folders of images: their files in order of time, and those that come later."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from wavescope.errors import InvalidRequest

SUFFIXES = frozenset(
    (
        *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".avif", ".gif", ".bmp", ".dib"),
        *(".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".jpx"),
    )
)
SETTLED_S = 2.0  # a file that has not changed for so long is taken to be whole
POLL_S = 1.0


@dataclass(frozen=True, slots=True, order=True)
class ImageFile:
    """A file that is named like an image; files are in order of time, then of their paths.

    Attributes:
        at_ns: when it was last modified, ns since 1970.
        path: of the file.
        size: bytes.
    """

    at_ns: int
    path: Path
    size: int

    @property
    def at(self) -> float:
        """Time of its last change, s since 1970."""
        return self.at_ns / 1e9


@dataclass(frozen=True, slots=True)
class Listing:
    """Files of a folder.

    Attributes:
        images: in order of time.
        others: files that are not named like images.
    """

    images: tuple[ImageFile, ...]
    others: int


def list_folder(folder: Path, *, without: Sequence[Path] = ()) -> Listing:
    """Files of a folder and of the folders in it, in order of time.

    Hidden files and folders are passed over, links to folders are not followed, and what is gone when it is looked at,
    such as the end of a broken link, is not there.

    Args:
        folder: that is listed.
        without: folders in it that are left out.

    Raises:
        InvalidRequest: it is no folder, or cannot be read.
    """
    left_out = {os.path.realpath(path) for path in without}
    found: list[ImageFile] = []
    others = 0

    def refuse(error: OSError) -> None:
        if error.filename == os.fspath(folder):
            raise InvalidRequest(f"cannot read {folder}: {error.strerror}", field="folder")

    if not folder.is_dir():
        raise InvalidRequest(f"there is no folder {folder}", field="folder")
    for place, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and os.path.realpath(Path(place, name)) not in left_out
        ]
        for name in files:
            path = Path(place, name)
            if name.startswith(".") or not path.is_file():
                continue
            if path.suffix.lower() not in SUFFIXES:
                others += 1
                continue
            try:
                facts = path.stat()
            except OSError:
                continue
            found.append(ImageFile(facts.st_mtime_ns, path, facts.st_size))
    return Listing(tuple(sorted(found)), others)


def settle(
    folder: Path,
    *,
    without: Sequence[Path] = (),
    clock: Callable[[], float] = time.time,
    pause: Callable[[float], None] = time.sleep,
) -> Listing:
    """Files of a folder, each as it is once it has not changed for two seconds, or twice that time is over.

    Args:
        folder, without: see :func:`list_folder`.
        clock: s since 1970.
        pause: waits for so many seconds.

    Raises:
        InvalidRequest: as :func:`list_folder`.
    """
    for _ in range(2):
        listing = list_folder(folder, without=without)
        if all(_is_settled(file, clock()) for file in listing.images):
            return listing
        pause(SETTLED_S)
    return list_folder(folder, without=without)


def follow(
    folder: Path,
    *,
    after: ImageFile | None = None,
    without: Sequence[Path] = (),
    clock: Callable[[], float] = time.time,
    pause: Callable[[float], None] = time.sleep,
) -> Iterator[ImageFile]:
    """Files of a folder as they come, without end.

    A file that is still being written waits until it has not changed for two seconds. One that is written again, as by
    a camera that has one file, is another image.

    Args:
        folder, without: see :func:`list_folder`.
        after: the last file that is known already: it and earlier ones are passed over.
        clock: s since 1970.
        pause: waits for so many seconds between looks.

    Raises:
        InvalidRequest: it is no folder at first; later it may come and go.
    """
    listing = list_folder(folder, without=without)
    known = {file for file in listing.images if after is not None and file <= after}
    while True:
        waiting = [file for file in listing.images if file not in known and _is_settled(file, clock())]
        for file in waiting:
            known.add(file)
            yield file
        if not waiting:
            pause(POLL_S)
        try:
            listing = list_folder(folder, without=without)
        except InvalidRequest:
            listing = Listing((), 0)
            pause(POLL_S)
            continue
        known &= set(listing.images)


def _is_settled(file: ImageFile, now: float) -> bool:
    return not 0 <= now - file.at < SETTLED_S  # of a clock that is ahead, nothing is known
