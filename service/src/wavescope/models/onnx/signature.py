"""Inputs and outputs of ONNX models: number formats, the order of axes, and which output has the scores.

As much as can be is read from the file. Where a file leaves two readings, a run of the model decides
(:mod:`wavescope.models.onnx.probe`), or else the registry has to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from jaxtyping import Float32

from wavescope.engine.types import Preprocessing
from wavescope.models.layouts import Layout
from wavescope.models.onnx.runtime import ort
from wavescope.models.spec import ModelSpec

# What images may be sent as. uint8 are pixel values, which the model normalises by itself.
INPUT_TYPES: Final[dict[str, Any]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
}
SCORE_TYPES: Final[dict[str, Any]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
}
NHWC: Final = (0, 2, 3, 1)
_FEW_CHANNELS: Final = (1, 3, 4)


@dataclass(frozen=True, slots=True)
class ImageInput:
    """The input of a model.

    Attributes:
        name: of the tensor.
        dtype: of the tensor.
        layout: order of its axes.
        rows: images of a batch axis that is fixed; ``None`` for one that is free.
    """

    name: str
    dtype: Any
    layout: Layout
    rows: int | None

    def arrange(self, images: Float32[np.ndarray, "n c h w"]) -> np.ndarray:
        """Images as the model takes them; for uint8, [0, 1] becomes 0..255, and what lies outside is clipped."""
        if self.dtype == np.uint8:
            images = np.rint(np.clip(images, 0, 1) * np.float32(255))
        if self.layout == "nhwc":
            images = images.transpose(NHWC)
        return np.ascontiguousarray(images, dtype=self.dtype)


def read_inputs(
    spec: ModelSpec, session: ort.InferenceSession, preprocessing: Preprocessing
) -> tuple[ImageInput, ...]:
    """The readings of the one input that its declared shape allows: one, or one per order of the axes.

    Raises:
        RegistryInvalid: it is no input of images, or of others than ``preprocessing`` makes.
    """
    inputs = session.get_inputs()
    if len(inputs) != 1:
        raise spec.invalid(
            "source",
            f"a classifier has one input, the images; this model has {len(inputs)}: {_list_nodes(inputs)}."
            " Export it with the others as constants",
        )
    (node,) = inputs
    if node.type not in INPUT_TYPES:
        allowed = [np.dtype(dtype).name for dtype in INPUT_TYPES.values()]
        raise spec.invalid(
            "source",
            f"input {node.name!r} is {type_name(node.type)}; images are sent as {', '.join(allowed)}:"
            " export it with one of those",
            allowed=allowed,
        )
    if node.type == "tensor(uint8)":
        _check_neutral(spec, node.name, preprocessing)
    shape = [side if isinstance(side, int) else None for side in node.shape] or [None] * 4
    if len(shape) != 4:
        raise spec.invalid(
            "source",
            f"input {node.name!r} has shape {_shape(node.shape)}, not (batch, channels, height, width)"
            " or (batch, height, width, channels)",
        )
    if 0 in shape:
        raise spec.invalid(
            "source",
            f"input {node.name!r} is {_shape(node.shape)}, and an axis of length 0 holds no image: export it with a"
            " free axis, which has a name instead of a length",
        )
    asked: tuple[Layout, ...] = ("nchw", "nhwc") if spec.input_layout is None else (spec.input_layout,)
    fitting: list[Layout] = [layout for layout in asked if _fits(shape[1:], layout, preprocessing)]
    if not fitting:
        _refuse_shape(spec, node, shape[1:], preprocessing)
    return tuple(ImageInput(node.name, INPUT_TYPES[node.type], layout, shape[0]) for layout in fitting)


def read_outputs(spec: ModelSpec, session: ort.InferenceSession) -> list[str]:
    """Names of the outputs that may hold the scores: the one that the registry names, or all of floats.

    Raises:
        RegistryInvalid: there is none.
    """
    outputs = session.get_outputs()
    if spec.output is not None:
        outputs = [node for node in outputs if node.name == spec.output]
        if not outputs:
            names = [node.name for node in session.get_outputs()]
            raise spec.invalid(
                "output", f"there is none called {spec.output!r}: {', '.join(names)}", allowed=names
            )
    names = [node.name for node in outputs if node.type in SCORE_TYPES]
    if not names:
        raise spec.invalid(
            "source" if spec.output is None else "output",
            f"there is no output of float scores, one per class, but {_list_nodes(outputs)}. {_no_scores(outputs)}",
        )
    return names


def type_name(name: str) -> str:
    """ONNX Runtime's name of a type in NumPy's words, for messages."""
    inner = name.removeprefix("tensor(").removesuffix(")") if name.startswith("tensor(") else name
    return {"float": "float32", "double": "float64"}.get(inner, inner)


def _fits(sides: Sequence[int | None], layout: Layout, preprocessing: Preprocessing) -> bool:
    wanted = _ordered(preprocessing.shape, layout)
    return all(found in (None, side) for found, side in zip(sides, wanted, strict=True))


def _ordered(shape: tuple[int, int, int], layout: Layout) -> tuple[int, int, int]:
    channels, height, width = shape
    return (channels, height, width) if layout == "nchw" else (height, width, channels)


def _check_neutral(spec: ModelSpec, name: str, preprocessing: Preprocessing) -> None:
    count = len(preprocessing.mean)
    if any(preprocessing.mean) or set(preprocessing.std) != {1}:
        zeros, ones = [0] * count, [1] * count
        raise spec.invalid(
            "preprocessing.mean",
            f"input {name!r} is uint8: it takes the pixels themselves, 0 to 255, and the model normalises them;"
            f" write mean: {zeros} and std: {ones}",
            expected=zeros,
        )


def _refuse_shape(
    spec: ModelSpec, node: Any, sides: Sequence[int | None], preprocessing: Preprocessing
) -> None:
    layout: Layout = spec.input_layout or _likely_layout(sides, len(preprocessing.mean))
    found = list(sides) if layout == "nchw" else [sides[2], sides[0], sides[1]]
    wanted = preprocessing.shape
    takes = f"input {node.name!r} is {_shape(node.shape)}, read as {layout}"
    if found[0] not in (None, wanted[0]):
        field = "input_layout" if spec.input_layout is not None else "preprocessing.mean"
        raise spec.invalid(
            field,
            f"{takes}: {found[0]} {'channel' if found[0] == 1 else 'channels'}, where preprocessing.mean and std have"
            f" {wanted[0]}, one per channel; change them, or input_layout",
            expected=found[0],
        )
    height, width = (
        side if side is not None else own for side, own in zip(found[1:], wanted[1:], strict=True)
    )
    raise spec.invalid(
        "preprocessing.size",
        f"{takes}: it takes images of {height} x {width} (height x width), where preprocessing.size is"
        f" {wanted[1]} x {wanted[2]}; write size: [{height}, {width}]",
        expected=[height, width],
    )


def _likely_layout(sides: Sequence[int | None], channels: int) -> Layout:
    first, last = sides[0], sides[2]
    few = (channels, *_FEW_CHANNELS)
    return "nhwc" if last in few and first not in few else "nchw"


def _no_scores(outputs: Sequence[Any]) -> str:
    kinds = [node.type for node in outputs]
    if any(kind.startswith("seq(map") for kind in kinds):
        return "Export it without ZipMap (skl2onnx: options={'zipmap': False})"
    if any("bfloat16" in kind for kind in kinds):
        return "Export it with outputs in float32 or float16"
    return "Export the model with the scores that the label is taken from"


def _list_nodes(nodes: Sequence[Any]) -> str:
    return ", ".join(f"{node.name} {type_name(node.type)} {_shape(node.shape)}" for node in nodes)


def _shape(shape: Sequence[Any]) -> str:
    return f"({', '.join(str(side) if side is not None else '?' for side in shape)})"
