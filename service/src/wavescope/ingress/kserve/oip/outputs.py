"""Output tensors: those of each kind, and the batch of computed explanations.

A tensor is an array of the npz archive, under the name that it has there, with a leading dimension of one entry per
explanation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import is_dataclass

import numpy as np

from wavescope.engine.kinds import KINDS
from wavescope.engine.kinds.kind import Kind
from wavescope.engine.types import Explanation, Faithfulness, Indices, Maps
from wavescope.errors import ConstantScore, InvalidRequest
from wavescope.ingress.kserve.oip.tensors import Output
from wavescope.ingress.layout import SECTION_KEYS, ReplyField, reply_fields, without_none
from wavescope.ingress.replies import UNNAMED_SECTIONS, encode_json, to_arrays

# By name: the datatype and the dimensions after the first, -1 where the request or the model decides.
TensorSpecs = dict[str, tuple[str, tuple[int, ...]]]
_EXPLANATION: TensorSpecs = {"explanation": ("BYTES", ())}
_ALWAYS: TensorSpecs = {"outcome": ("BYTES", ()), "target": ("INT64", ()), "forwards": ("INT64", ())}
_LEVELS: TensorSpecs = {"levels": ("FP64", (-1, 3))}
_IMAGE = ("FP32", (-1, -1, -1))
# A kind's map is measured in one or two domains.
_DOMAINS = (0, 1)
_DATATYPES = {"float32": "FP32", "int32": "INT32", "bool": "BOOL"}


def outputs_of(kind: str) -> TensorSpecs:
    """Every tensor that explanations of a kind can have, in the order of their replies."""
    record = KINDS[kind]
    usual = _arrays_of(record)
    arrays = dict(usual)
    for section in record.sections:
        for field in _fields_of(section):
            arrays |= _arrays_within(field, "", usual)
    levels = _LEVELS if record.transform == "wavelet" else {}
    return _ALWAYS | arrays | levels | _EXPLANATION


def _fields_of(section: str) -> tuple[ReplyField, ...]:
    """The fields of the reply that hold a section of an explanation."""
    return SECTION_KEYS.get(section) or tuple(
        field for field in reply_fields(Explanation) if field.name == section
    )


def _arrays_within(field: ReplyField, prefix: str, explanation: TensorSpecs) -> TensorSpecs:
    """Every array of a field, by its name in the archive; a list has none of a fixed number."""
    name = prefix.removesuffix("/") if field.name in UNNAMED_SECTIONS else f"{prefix}{field.name}"
    if field.form is not None:
        return {name: _tensor(field)}
    hint, found = without_none(field.hint), {}
    if hint is Explanation:
        return {f"{name}/{inner}": tensor for inner, tensor in explanation.items()}
    if is_dataclass(hint):
        for inner in reply_fields(hint):
            found |= _arrays_within(inner, f"{name}/", explanation)
    return found


def _tensor(field: ReplyField) -> tuple[str, tuple[int, ...]]:
    """The datatype and the dimensions of an array."""
    array = without_none(field.hint)
    datatype = _DATATYPES.get(array.dtypes[0], "FP64")
    return datatype, tuple(int(name) if name.isdigit() else -1 for name in array.dim_str.split())


def _arrays_of(kind: Kind) -> TensorSpecs:
    """The arrays of every explanation of a kind, but those of its sections."""
    indices = {
        field.name: _tensor(field)
        for field in reply_fields(Indices)
        if field.form is not None and not kind.gradients
    }
    maps = {field.name: _tensor(field) for field in reply_fields(Maps)}
    own = {name: maps[name] for name in ("factors", *kind.maps)}
    curves = {
        f"faithfulness/{domain}/{field.name}": _tensor(field)
        for domain in _DOMAINS
        for field in reply_fields(Faithfulness)
        if field.form is not None
    }
    return indices | own | curves | {"image": _IMAGE}


def check_wanted(wanted: Sequence[str], known: Sequence[str], model: str) -> None:
    """Refuse outputs that a model never gives.

    Raises:
        InvalidRequest: names the first of them.
    """
    for name in wanted:
        if name not in known:
            raise InvalidRequest(
                f"{name[:64]!r} is no output of model {model}; its outputs are {', '.join(known)}",
                field="outputs",
                supported=list(known),
            )


def batch(explanations: Sequence[Explanation], wanted: Sequence[str]) -> tuple[Output, ...]:
    """The tensors of explanations of one kind.

    Args:
        explanations: at least one.
        wanted: the names asked for, in the order of the reply; empty for all that every explanation has in one shape.

    Raises:
        ConstantScore: a tensor is asked for by name that an explanation has not, because its score did not vary.
        InvalidRequest: one is asked for that this request does not compute, or whose shapes differ.
        InternalError: a number is not finite.
    """
    found = [_numbers(explanation) for explanation in explanations]
    outputs: list[Output] = []
    for name in wanted or outputs_of(explanations[0].kind):
        if name == "explanation":
            texts = tuple(encode_json(explanation).decode("utf-8") for explanation in explanations)
            outputs.append(Output(name, texts))
        elif name == "outcome":
            outputs.append(Output(name, tuple(explanation.outcome for explanation in explanations)))
        elif (stacked := _stack(name, found)) is not None:
            outputs.append(Output(name, stacked))
        elif wanted:
            raise _absent(name, explanations, found)
    return tuple(outputs)


def _numbers(explanation: Explanation) -> dict[str, np.ndarray]:
    numbers = to_arrays(explanation)
    numbers["target"] = np.array(explanation.target.index, dtype=np.int64)
    numbers["forwards"] = np.array(explanation.forwards, dtype=np.int64)
    if explanation.levels is not None:
        numbers["levels"] = np.array(
            [(level.sum, level.share, level.mean_share) for level in explanation.levels]
        )
    return numbers


def _stack(name: str, found: Sequence[dict[str, np.ndarray]]) -> np.ndarray | None:
    """One array of all; ``None`` where they do not have it in one shape."""
    shapes = {numbers[name].shape if name in numbers else None for numbers in found}
    return None if None in shapes or len(shapes) > 1 else np.stack([numbers[name] for numbers in found])


def _absent(
    name: str, explanations: Sequence[Explanation], found: Sequence[dict[str, np.ndarray]]
) -> ConstantScore | InvalidRequest:
    """Error of a requested tensor that cannot be given."""
    constant = [i for i, explanation in enumerate(explanations) if explanation.outcome == "constant_score"]
    if constant:
        return ConstantScore(
            f"output {name} is undefined for explanation {constant[0]} of this request, whose score does not vary; "
            "ask for the outputs outcome and explanation alone",
            field="outputs",
            constant=constant,
        )
    if any(name not in numbers for numbers in found):
        return InvalidRequest(f"output {name} is not computed with these parameters", field="outputs")
    shapes = sorted({numbers[name].shape for numbers in found})
    return InvalidRequest(
        f"output {name} has different shapes for the images of this request ({', '.join(map(str, shapes))}): "
        "send them one by one, or ask for the output explanation",
        field="outputs",
    )
