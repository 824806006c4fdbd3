"""The reply: from an :class:`Explanation` to JSON and to an npz archive.

An explanation becomes one tree (:mod:`wavescope.ingress.layout`) whose leaves say how an array is written: JSON has it
in its place, npz gives it a name of its own. Nothing passes through pydantic: a reply holds thousands of our own
numbers, and a test holds every reply against the models of :mod:`wavescope.ingress.schemas.reply`.
"""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, is_dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image

from wavescope.engine.types import Explanation, Indices
from wavescope.errors import InternalError
from wavescope.ingress.layout import reply_values
from wavescope.ingress.plane import Predictions

# Names in an npz archive are short: these sections hold nothing but arrays with names of their own.
UNNAMED_SECTIONS = ("indices", "maps")


@dataclass(frozen=True, slots=True)
class Leaf:
    """An array of a reply.

    Attributes:
        array: itself.
        form: its form in JSON: a list of numbers, a tensor in base64, a PNG in base64 or not at all.
    """

    array: np.ndarray
    form: Literal["list", "tensor", "png", "npz only"]


def to_reply(explanation: Explanation) -> dict[str, Any]:
    """The reply as a JSON-ready dictionary.

    Raises:
        InternalError: a number is not finite.
    """
    return _encoded(_tree(explanation), "", _json_leaf)


def to_batch(explanations: Sequence[Explanation]) -> dict[str, Any]:
    """The reply to a batch as a JSON-ready dictionary.

    Raises:
        InternalError: a number is not finite.
    """
    return {
        "explanations": [to_reply(explanation) for explanation in explanations],
        "forwards": sum(explanation.forwards - explanation.reused for explanation in explanations),
    }


def to_indices(indices: Indices) -> dict[str, Any]:
    """Indices as the reply holds them, JSON-ready.

    Raises:
        InternalError: a number is not finite.
    """
    return _encoded(_tree(indices), "", _json_leaf)


def to_predictions(predicted: Predictions) -> dict[str, Any]:
    """The most probable classes of images, JSON-ready.

    Raises:
        InternalError: a number is not finite.
    """
    top = {"predictions": [_tree(classes) for classes in predicted.top]}
    warnings = [list(sentences) for sentences in predicted.warnings or ((),) * len(predicted.top)]
    return {"model": predicted.model.name, **_encoded(top, "", _json_leaf), "warnings": warnings}


def encode_json(explanation: Explanation, figure: bytes | None = None) -> bytes:
    """The reply as UTF-8 JSON, with the figure (PNG) inside where there is one.

    Raises:
        InternalError: a number is not finite.
    """
    reply = to_reply(explanation)
    if figure is not None:
        reply["figure"] = _figure(figure)
    return _dumps(reply).encode("utf-8")


def encode_batch_json(explanations: Sequence[Explanation], figures: Sequence[bytes] | None = None) -> bytes:
    """The reply to a batch as UTF-8 JSON, a figure in each explanation where there are any.

    Raises:
        InternalError: a number is not finite.
    """
    batch = to_batch(explanations)
    if figures is not None:
        for reply, figure in zip(batch["explanations"], figures, strict=True):
            reply["figure"] = _figure(figure)
    return _dumps(batch).encode("utf-8")


def encode_npz(explanation: Explanation) -> bytes:
    """The arrays as an npz archive, everything else as the JSON string ``explanation``.

    Arrays are named by their place in the JSON reply, such as ``curve/probability`` or ``comparison/other/wcam``; those
    of ``maps`` and ``indices`` by their own names. PNGs are arrays here: (channels, height, width) in [0, 1], as is
    ``image``, the crop that is explained. What the explanation does not have is left out.

    Raises:
        InternalError: a number is not finite.
    """
    return _savez(to_arrays(explanation))


def encode_batch_npz(explanations: Sequence[Explanation]) -> bytes:
    """One archive for a batch: names as in :func:`encode_npz`, after ``0/``, ``1/`` and so on.

    Raises:
        InternalError: a number is not finite.
    """
    arrays: dict[str, np.ndarray] = {}
    for position, explanation in enumerate(explanations):
        arrays |= to_arrays(explanation, f"{position}/")
    return _savez(arrays)


def to_arrays(explanation: Explanation, prefix: str = "") -> dict[str, np.ndarray]:
    """Everything of an explanation by its name in an archive; see :func:`encode_npz`.

    Raises:
        InternalError: a number is not finite.
    """
    arrays: dict[str, np.ndarray] = {}

    def take(path: str, leaf: Leaf) -> None:
        arrays[prefix + path] = finite(leaf.array, path)

    rest = _encoded(_tree(explanation), "", take)
    arrays[f"{prefix}explanation"] = np.array(_dumps(rest))
    return arrays


def _savez(arrays: dict[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _dumps(content: dict[str, Any]) -> str:
    return json.dumps(content, allow_nan=False, separators=(",", ":"))


def _figure(figure: bytes) -> dict[str, str]:
    return {"media_type": "image/png", "base64": base64.b64encode(figure).decode("ascii")}


def _encoded(value: Any, path: str, leaf: Callable[[str, Leaf], Any]) -> Any:
    """A tree with every leaf encoded by ``leaf``; a leaf that becomes ``None`` is left out, with an empty section.

    Raises:
        InternalError: a number is not finite.
    """
    if isinstance(value, Leaf):
        return leaf(path, value)
    if isinstance(value, dict):
        encoded = {}
        for name, part in value.items():
            place = path if name in UNNAMED_SECTIONS else f"{path}/{name}" if path else name
            content = _encoded(part, place, leaf)
            if content is not None or part is None:
                encoded[name] = content
        return encoded or (None if value else {})
    if isinstance(value, list | tuple):
        return [_encoded(part, f"{path}/{i}", leaf) for i, part in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        raise _not_finite(path)
    return value


def _json_leaf(path: str, leaf: Leaf) -> Any:
    array = finite(leaf.array, path)
    if leaf.form == "list":
        return array.tolist()
    if leaf.form == "tensor":
        # Explicit byte order: replicas of another architecture must send the same bytes.
        dtype = "int32" if np.issubdtype(array.dtype, np.integer) else "float32"
        data = np.ascontiguousarray(array, dtype=np.dtype(dtype).newbyteorder("<")).tobytes()
        return {"shape": list(array.shape), "dtype": dtype, "data": base64.b64encode(data).decode("ascii")}
    if leaf.form == "png":
        return base64.b64encode(encode_png(array)).decode("ascii")
    return None


def finite(array: np.ndarray, path: str) -> np.ndarray:
    """The array itself.

    Raises:
        InternalError: it holds NaN or an infinity, which neither JSON nor a reader of importances can use.
    """
    if not np.isfinite(array).all():
        raise _not_finite(path)
    return array


def _not_finite(path: str) -> InternalError:
    return InternalError(f"{path} of an explanation is not finite")


def encode_png(image: np.ndarray) -> bytes:
    """An 8-bit PNG file, grey or RGB.

    Args:
        image: (1 or 3, height, width) in [0, 1].
    """
    pixels = np.rint(np.clip(image, 0.0, 1.0) * 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, -1)).save(buffer, format="PNG")
    return buffer.getvalue()


def _tree(value: Any) -> Any:
    """Dataclasses as dictionaries in the layout of the reply, deeply; arrays as leaves, uncopied."""
    if isinstance(value, tuple):
        return [_tree(part) for part in value]
    if not is_dataclass(value):
        return value
    tree = {
        field.name: _tree(part) if field.form is None or part is None else Leaf(part, field.form)
        for field, part in reply_values(value)
    }
    return tree | {"image": Leaf(value.image, "npz only")} if isinstance(value, Explanation) else tree
