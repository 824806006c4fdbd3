"""The figure of an explanation as a file."""

from __future__ import annotations

from os import PathLike
from pathlib import Path


class FigureFile:
    """An explanation that may have come with its figure."""

    __slots__ = ()

    figure: bytes | None

    def save_png(self, path: str | PathLike[str]) -> Path:
        """Writes the figure that came with the explanation.

        Args:
            path: of the file; one that is there is overwritten.

        Returns:
            The path.

        Raises:
            ValueError: the figure was not asked for.
            OSError: the file cannot be written.

        Example:
            >>> client.explain("cat.jpg", figure=True).save_png("cat.png").name
            'cat.png'
        """
        if self.figure is None:
            raise ValueError("this explanation came without its figure: ask with explain(..., figure=True)")
        path = Path(path)
        path.write_bytes(self.figure)
        return path
