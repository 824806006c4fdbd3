"""One run of a model shows what its file leaves open: the order of axes, the output with the scores, its batches."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float32

from wavescope.errors import RegistryInvalid
from wavescope.models.faults import lacks_memory
from wavescope.models.onnx.faults import RUN_ERRORS, probe_refusal
from wavescope.models.onnx.runtime import ort
from wavescope.models.onnx.signature import ImageInput
from wavescope.models.score_output import choose_scores, class_count
from wavescope.models.spec import ModelSpec

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Signature:
    """The input and output of a model, as a run has shown them.

    Attributes:
        input: as the model takes it.
        output: name of the output with the scores.
        row_shape: of one row of that output.
        score_dtype: of that output.
    """

    input: ImageInput
    output: str
    row_shape: tuple[int, ...]
    score_dtype: np.dtype[Any]


def probe(
    spec: ModelSpec,
    session: ort.InferenceSession,
    readings: Sequence[ImageInput],
    names: Sequence[str],
    images: Float32[np.ndarray, "n c h w"],
) -> Signature:
    """Run ``session`` in each of the ``readings`` of its input, and find the scores among its outputs.

    Args:
        spec: of the model, for messages.
        session: of the model.
        readings: of its input.
        names: of outputs of floats.
        images: two or more; a model that says its batches are free and takes one image alone is found out.

    Raises:
        RegistryInvalid: it runs in no reading or in two, or has no scores or two outputs that may hold them.
    """
    failed: Exception | None = None
    rows = images.shape[0]
    for rows in _row_counts(readings[0], images.shape[0]):
        feed = np.resize(images, (rows, *images.shape[1:]))
        ran: list[tuple[ImageInput, dict[str, np.ndarray]]] = []
        for reading in readings:
            try:
                values = session.run(list(names), {reading.name: reading.arrange(feed)})
            except RUN_ERRORS as error:
                if failed is None or lacks_memory(str(error)):
                    failed = error
            else:
                found = dict(zip(names, map(np.asarray, values), strict=True))
                ran.append((reading, found))
        usable = [one for one in ran if any(class_count(value.shape, rows) for value in one[1].values())]
        if len(usable) > 1:
            raise _ambiguous_layout(spec, readings[0])
        if ran:
            reading, found = (usable or ran)[0]
            output = _choose_output(spec, {name: value.shape for name, value in found.items()}, rows)
            if reading.rows is None and rows < images.shape[0]:
                log.info("model %r: it takes one image at a time, whatever its file says", spec.name)
                reading = replace(reading, rows=rows)
            return Signature(reading, output, found[output].shape[1:], found[output].dtype)
    assert failed is not None
    raise probe_refusal(spec, (rows, *images.shape[1:]), failed) from failed


def _row_counts(reading: ImageInput, count: int) -> Iterator[int]:
    if reading.rows is not None:
        yield reading.rows
    else:
        yield count
        yield 1


def _ambiguous_layout(spec: ModelSpec, reading: ImageInput) -> RegistryInvalid:
    return spec.invalid(
        "input_layout",
        f"input {reading.name!r} may be (batch, channels, height, width) or (batch, height, width, channels), and the"
        " model runs with both: write input_layout: nchw or input_layout: nhwc",
        allowed=["nchw", "nhwc"],
    )


def _choose_output(spec: ModelSpec, shapes: dict[str, tuple[int, ...]], rows: int) -> str:
    found = choose_scores(shapes, rows, spec.output)
    able = found.able
    if len(able) > 1:
        raise spec.invalid(
            "output",
            f"several may hold the scores: {_describe(shapes, able, rows)}; write output: {able[0]}, or another",
            allowed=list(able),
        )
    if not able and found.features:
        raise spec.invalid(
            "output",
            f"{_describe(shapes, found.features, rows)} is named as features are, not the scores of classes: export"
            f" the model with its head, or, if these are scores, write output: {found.features[0]}",
            allowed=list(found.features),
        )
    if not able:
        raise spec.invalid(
            "source" if spec.output is None else "output",
            f"not a classifier: for {rows} {'image' if rows == 1 else 'images'} it returned"
            f" {_describe(shapes, list(shapes), 0)}, not (n, classes). {_guess(next(iter(shapes.values())), rows)}",
        )
    if len(shapes) > 1:
        log.info("model %r: the scores are taken from the output %r", spec.name, able[0])
    return able[0]


def _describe(shapes: dict[str, tuple[int, ...]], names: Sequence[str], rows: int) -> str:
    def text(shape: tuple[int, ...]) -> str:
        sides = [str(side) for side in shape]
        if rows and shape and shape[0] == rows:
            sides[0] = "n"
        return f"({', '.join(sides)})"

    return ", ".join(f"{name} {text(shapes[name])}" for name in names)


def _guess(shape: tuple[int, ...], rows: int) -> str:
    if shape and shape[0] == rows and len(shape) == 4:
        return "It is a feature extractor without its head, a segmentation model or a detector"
    if shape and shape[0] == rows and len(shape) == 3:
        return "It is a feature extractor without its head (a row of features per token), or a detector"
    return "It is a detector, or has lost the axis of the batch"
