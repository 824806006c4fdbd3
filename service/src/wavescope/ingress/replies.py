"""The reply: from an :class:`Explanation` to JSON and to an npz archive, and its models for the document.

The dictionaries are built by hand, not through pydantic: a reply holds thousands of our own numbers, and a
test holds every reply against the models.
"""

from __future__ import annotations

import base64
import io
import json
from dataclasses import asdict
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from wavescope.engine.types import Explanation, Indices, LevelImportance, Maps
from wavescope.errors import InternalError


class _Reply(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ClassReply(_Reply):
    """One class of the model, with its probability on the unperturbed image where it has one."""

    index: int
    label: str
    probability: float | None


class IndicesReply(_Reply):
    """Sobol indices per factor, in factor order (row-major for a grid)."""

    total: list[float]
    first: list[float]
    standard_error: list[float] | None = Field(description="Of total; null below N = 4.")
    interval_95: list[list[float]] | None = Field(description="[low, high] of total; null below N = 4.")


class TensorReply(_Reply):
    """An array in row-major order."""

    shape: list[int]
    dtype: Literal["float32", "int32"]
    data: str = Field(description="Little-endian bytes in base64.")


class MapsReply(_Reply):
    """The packed map, its sum over sub-bands in space, and each coefficient's factor (-1: none)."""

    wcam: TensorReply
    spatial_wcam: TensorReply
    factors: TensorReply


class BandReply(_Reply):
    """Importance of one orientation of a level."""

    sum: float
    share: float
    mean_share: float


class LevelReply(_Reply):
    """Importance of one level: 0 the approximation, 1 the coarsest detail."""

    level: int
    scale_px: list[int | None] = Field(description="[from, to]; to is null for the approximation.")
    sum: float
    share: float
    mean_share: float
    horizontal: BandReply | None
    vertical: BandReply | None
    diagonal: BandReply | None


class CropReply(_Reply):
    """What the model sees, in pixels of the original after EXIF rotation."""

    left: float
    top: float
    right: float
    bottom: float


class FigureReply(_Reply):
    """The figure, where ``Accept`` asked for it."""

    media_type: Literal["image/png"]
    base64: str


class ExplanationReply(_Reply):
    """A whole explanation; indices, maps and levels are null when the outcome is constant_score."""

    id: str
    kind: str
    model: str
    outcome: Literal["explained", "constant_score"]
    target: ClassReply
    prediction: list[ClassReply]
    indices: IndicesReply | None
    maps: MapsReply | None
    levels: list[LevelReply] | None
    crop: CropReply
    forwards: int
    timing: dict[str, float]
    parameters: dict[str, Any]
    warnings: list[str]
    figure: FigureReply | None = None


def to_reply(explanation: Explanation) -> dict[str, Any]:
    """The reply as a JSON-ready dictionary.

    Raises:
        InternalError: a number is not finite.
    """
    return {
        **scalars(explanation),
        "indices": None if explanation.indices is None else _indices(explanation.indices),
        "maps": None if explanation.maps is None else _maps(explanation.maps),
    }


def scalars(explanation: Explanation) -> dict[str, Any]:
    """Everything but the indices and the arrays, JSON-ready."""
    levels = explanation.levels
    return {
        "id": explanation.id,
        "kind": explanation.kind,
        "model": explanation.model,
        "outcome": explanation.outcome,
        "target": asdict(explanation.target),
        "prediction": [asdict(prediction) for prediction in explanation.prediction],
        "levels": None if levels is None else [_level(level) for level in levels],
        "crop": asdict(explanation.crop),
        "forwards": explanation.forwards,
        "timing": explanation.timing,
        "parameters": explanation.parameters,
        "warnings": list(explanation.warnings),
    }


def encode_json(explanation: Explanation, figure: bytes | None = None) -> bytes:
    """The reply as UTF-8 JSON, with the figure (PNG) inside where there is one.

    Raises:
        InternalError: a number is not finite.
    """
    reply = to_reply(explanation)
    if figure is not None:
        reply["figure"] = {"media_type": "image/png", "base64": base64.b64encode(figure).decode("ascii")}
    return _dumps(reply).encode("utf-8")


def encode_npz(explanation: Explanation) -> bytes:
    """The arrays as an npz archive, everything else as the JSON string ``explanation``.

    Names: wcam, spatial_wcam, factors, total, first, standard_error, interval_95, and image (channels,
    height, width; in [0, 1]). What the explanation does not have is left out.

    Raises:
        InternalError: a number is not finite.
    """
    indices, maps = explanation.indices, explanation.maps
    arrays: dict[str, np.ndarray | None] = {"image": explanation.image}
    if maps is not None:
        arrays |= {"wcam": maps.wcam, "spatial_wcam": maps.spatial_wcam, "factors": maps.factors}
    if indices is not None:
        arrays |= {name: getattr(indices, name) for name in IndicesReply.model_fields}
    present = {name: finite(array, name) for name, array in arrays.items() if array is not None}
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, explanation=np.array(_dumps(scalars(explanation))), **present)
    return buffer.getvalue()


def finite(array: np.ndarray, name: str) -> np.ndarray:
    """The array itself.

    Raises:
        InternalError: it holds NaN or an infinity, which neither JSON nor a reader of importances can use.
    """
    if not np.isfinite(array).all():
        raise InternalError(f"{name} of an explanation is not finite")
    return array


def little_endian(array: np.ndarray, name: str) -> tuple[list[int], Literal["float32", "int32"], bytes]:
    """(shape, dtype, bytes in row-major order) of a float32 or int32 array.

    Raises:
        InternalError: a number is not finite.
    """
    dtype: Literal["float32", "int32"] = "int32" if np.issubdtype(array.dtype, np.integer) else "float32"
    # Explicit byte order: replicas of another architecture must send the same bytes.
    data = np.ascontiguousarray(finite(array, name), dtype=np.dtype(dtype).newbyteorder("<")).tobytes()
    return list(array.shape), dtype, data


def _dumps(content: dict[str, Any]) -> str:
    try:
        return json.dumps(content, allow_nan=False, separators=(",", ":"))
    except ValueError as error:
        raise InternalError("a number of an explanation is not finite") from error


def _indices(indices: Indices) -> dict[str, list[Any] | None]:
    arrays = ((name, getattr(indices, name)) for name in IndicesReply.model_fields)
    return {name: None if array is None else finite(array, name).tolist() for name, array in arrays}


def _maps(maps: Maps) -> dict[str, dict[str, Any]]:
    return {name: _tensor(getattr(maps, name), name) for name in MapsReply.model_fields}


def _tensor(array: np.ndarray, name: str) -> dict[str, Any]:
    shape, dtype, data = little_endian(array, name)
    return {"shape": shape, "dtype": dtype, "data": base64.b64encode(data).decode("ascii")}


def _level(level: LevelImportance) -> dict[str, Any]:
    reply = asdict(level)
    reply["scale_px"] = list(level.scale_px)
    return reply
