"""Arrays on the wire: the datatypes of the Open Inference Protocol, and what is accepted as scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from wavescope.models.remote.faults import Refused

# Binary tensors are little-endian and row-major, whatever the machines.
DTYPES: dict[str, np.dtype[Any]] = {"FP16": np.dtype("<f2"), "FP32": np.dtype("<f4"), "FP64": np.dtype("<f8")}
PRECISIONS = {"FP16": "float16", "FP32": "float32", "FP64": "float64"}
BF16 = "BF16"
FLOATS = (*DTYPES, BF16)
DEFAULT_INPUT = "input-0"  # KServe's own name for it


@dataclass(frozen=True, slots=True)
class Tensor:
    """Metadata of an input or output of a server; an axis of any size is -1."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Described:
    """A model as its server describes it; nothing where it does not.

    Attributes:
        inputs, outputs: of the model.
        version: of the model that answers; empty where the server does not say.
        platform: what the server says runs it.
    """

    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    version: str = ""
    platform: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Scores that a server returned for one batch.

    Attributes:
        values: raw outputs.
        version: of the model that computed them; empty where the server does not say.
    """

    values: Float[np.ndarray, "*outputs"]
    version: str = ""


def from_bytes(name: str, datatype: str, shape: Sequence[int], raw: bytes | memoryview) -> np.ndarray:
    """The array of a binary tensor, in float32 at least.

    Raises:
        Refused: not a float tensor, or not as many bytes as its shape has elements.
    """
    shape = _shape(name, shape)
    if datatype == BF16:
        dtype = np.dtype("<u2")
    elif datatype in DTYPES:
        dtype = DTYPES[datatype]
    else:
        raise Refused(f"output {name!r} is of {datatype!r}, not one of {', '.join(FLOATS)}")
    expected = _elements(shape) * dtype.itemsize
    if len(raw) != expected:
        raise Refused(f"output {name!r} of {datatype} {list(shape)} has {len(raw)} bytes, not {expected}")
    values = np.frombuffer(raw, dtype)
    if datatype == BF16:  # the upper half of a float32
        values = (values.astype(np.uint32) << 16).view(np.float32)
    return values.reshape(shape)


def from_numbers(name: str, shape: Sequence[int] | None, data: Any) -> np.ndarray:
    """The array of numbers in JSON or in typed contents, nested or flat.

    Args:
        name: of the tensor.
        shape: of the array; ``None`` keeps that of ``data``.
        data: the numbers.

    Raises:
        Refused: they are not numbers, or not as many as the shape has elements.
    """
    try:
        values = np.asarray(data)
    except ValueError as error:
        raise Refused(f"output {name!r} holds rows of different lengths") from error
    if values.dtype.kind not in "fiu" or values.dtype.itemsize > 8:
        raise Refused(f"output {name!r} does not hold numbers alone")
    if shape is None:
        return values
    shape = _shape(name, shape)
    if values.size != _elements(shape):
        raise Refused(f"output {name!r} of {list(shape)} has {values.size} numbers, not {_elements(shape)}")
    return values.reshape(shape)


def as_scores(values: np.ndarray, rows: int) -> Float32[np.ndarray, "n classes"]:
    """Raw outputs (n, classes) in float32; trailing axes of one are dropped.

    Raises:
        Refused: another shape.
        ArithmeticError: a number is not finite.
    """
    shape = values.shape
    if len(shape) < 2 or shape[0] != rows or shape[1] < 1 or any(side != 1 for side in shape[2:]):
        raise Refused(f"{rows} images gave an output of {shape}, not ({rows}, classes)")
    with np.errstate(over="ignore"):
        scores = np.ascontiguousarray(values.reshape(rows, -1), dtype=np.float32)
    if not np.isfinite(scores).all():
        raise ArithmeticError("not finite")
    return scores


def _shape(name: str, shape: Sequence[int]) -> tuple[int, ...]:
    if not all(isinstance(side, int) and side >= 0 for side in shape):
        raise Refused(f"output {name!r} has the shape {list(shape)}")
    return tuple(shape)


def _elements(shape: Sequence[int]) -> int:
    count = 1
    for side in shape:  # Python's integers do not overflow
        count *= side
    return count
