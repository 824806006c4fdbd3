"""The scores among what a program returns: one tensor, or the one part of a tuple, dictionary or record that can be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch

from wavescope.models.score_output import choose_scores

Key = str | int
Path = tuple[Key, ...]


class NoScoresError(Exception):
    """A model returns no part that is the scores, or several that could be."""


def find_scores(output: object, rows: int, named: str | None = None) -> Path:
    """The place of the scores among the floating-point parts, chosen as those of every model are.

    Args:
        output: of a model, for so many images.
        rows: number of the images.
        named: the part that the registry names, whose keys are joined by dots.

    Raises:
        NoScoresError: there is none, or several.
    """
    if isinstance(output, torch.Tensor):
        if named is not None:
            raise NoScoresError("it returns one tensor, of no name: remove output")
        return ()
    parts = list(_parts(output))
    paths = {_name(path): path for path, part in parts if part.is_floating_point()}
    shapes = {_name(path): tuple(part.shape) for path, part in parts if part.is_floating_point()}
    able = choose_scores(shapes, rows, named).able
    if len(able) == 1:
        return paths[able[0]]
    listed = ", ".join(
        f"{_name(path)}: {str(part.dtype).removeprefix('torch.')} {tuple(part.shape)}"
        for path, part in parts[:8]
    )
    found = f"it returns a {type(output).__name__} of {len(parts)} tensors ({listed})"
    if named is not None:
        raise NoScoresError(f"{found}, of which {named!r} is none that can be scores (images, classes)")
    remedy = f"write output: {able[0]}, or another" if able else "export it with the scores among them"
    raise NoScoresError(f"{found}, of which {len(able) or 'none'} can be scores (images, classes): {remedy}")


def scores_at(output: Any, path: Path) -> torch.Tensor:
    """The tensor at a place that :func:`find_scores` found, without axes of length one after the first."""
    for key in path:
        by_name = not isinstance(output, Mapping) and isinstance(key, str)
        output = getattr(output, str(key)) if by_name else output[key]
    if output.ndim > 2 and sum(side != 1 for side in output.shape[1:]) <= 1:
        return output.flatten(1)
    return output


def _name(path: Path) -> str:
    return ".".join(map(str, path))


def _parts(output: object, path: Path = ()) -> Iterator[tuple[Path, torch.Tensor]]:
    if isinstance(output, torch.Tensor):
        yield path, output
    elif isinstance(output, Mapping):
        for key, value in output.items():
            if isinstance(key, str | int):
                yield from _parts(value, (*path, key))
    elif isinstance(output, tuple | list):
        names = getattr(output, "_fields", range(len(output)))
        for name, value in zip(names, output, strict=True):
            yield from _parts(value, (*path, name))
    elif is_dataclass(output) and not isinstance(output, type):
        for field in fields(output):
            yield from _parts(getattr(output, field.name), (*path, field.name))
