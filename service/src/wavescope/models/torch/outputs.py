"""The scores among what a program returns: one tensor, or the one part of a tuple, dictionary or record that can be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch

from wavescope.models.output_names import FEATURES

LOGITS = "logits"

Key = str | int
Path = tuple[Key, ...]


class NoScoresError(Exception):
    """A model returns no part that is the scores, or several that could be."""


def find_scores(output: object, rows: int) -> Path:
    """The place of the scores: the one floating-point part (rows, classes), or the one such part named ``logits``.

    Parts that are named as features are, such as ``pooler_output``, are none.

    Args:
        output: of a model, for so many images.
        rows: number of the images.

    Raises:
        NoScoresError: there is none, or several.
    """
    if isinstance(output, torch.Tensor):
        return ()
    parts = list(_parts(output))
    able = [
        path
        for path, part in parts
        if part.is_floating_point() and _is_scores(part, rows) and not FEATURES.search(str(path[-1]))
    ]
    named = [path for path in able if path[-1] == LOGITS]
    found = able if len(able) == 1 else named
    if len(found) == 1:
        return found[0]
    listed = ", ".join(
        f"{'.'.join(map(str, path))}: {str(part.dtype).removeprefix('torch.')} {tuple(part.shape)}"
        for path, part in parts[:8]
    )
    count = "none" if not able else str(len(able))
    raise NoScoresError(
        f"it returns a {type(output).__name__} of {len(parts)} tensors ({listed}), of which {count} can be scores"
        " (images, classes): export it with the scores as its one output"
    )


def scores_at(output: Any, path: Path) -> torch.Tensor:
    """The tensor at a place that :func:`find_scores` found, without axes of length one after the first."""
    for key in path:
        by_name = not isinstance(output, Mapping) and isinstance(key, str)
        output = getattr(output, str(key)) if by_name else output[key]
    if output.ndim > 2 and sum(side != 1 for side in output.shape[1:]) <= 1:
        return output.flatten(1)
    return output


def _is_scores(part: torch.Tensor, rows: int) -> bool:
    sides = part.shape[1:]
    return (
        part.ndim >= 2 and part.shape[0] == rows and (part.ndim == 2 or sum(side != 1 for side in sides) == 1)
    )


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
