"""From explanations to tensors: what each kind gives, and the batch of what was computed.

A tensor is an array of the npz archive, under the name that it has there, with a leading dimension of one entry per
explanation.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wavescope.engine.choices import KINDS
from wavescope.engine.types import Explanation
from wavescope.errors import ConstantScore, InvalidRequest
from wavescope.ingress.oip.tensors import Output
from wavescope.ingress.replies import encode_json, to_arrays

# By name: the datatype and the dimensions after the first, -1 where the request or the model decides.
Told = dict[str, tuple[str, tuple[int, ...]]]
_EXPLANATION: Told = {"explanation": ("BYTES", ())}
_ALWAYS: Told = {"outcome": ("BYTES", ()), "target": ("INT64", ()), "forwards": ("INT64", ())}
_INDICES: Told = {
    "total": ("FP64", (-1,)),
    "first": ("FP64", (-1,)),
    "standard_error": ("FP64", (-1,)),
    "interval_95": ("FP64", (-1, 2)),
    "resolved": ("BOOL", (-1,)),
    "upper_bound": ("FP64", (-1,)),
}
_MAP = ("FP32", (-1, -1))
_MAPS: dict[str, Told] = {
    "wavelet": {"wcam": _MAP, "spatial_wcam": _MAP},
    "fourier": {"fam": _MAP},
    "pixel": {"sobol": _MAP},
}
_LEVELS: Told = {"levels": ("FP64", (-1, 3))}
_IMAGE = ("FP32", (-1, -1, -1))
_SUFFICIENCY: Told = {
    "sufficient_image": _IMAGE,
    "curve/n": ("INT32", (-1,)),
    "curve/probability": ("FP64", (-1,)),
    "curve/predicted": ("INT32", (-1,)),
    "sufficiency/top_factor_image": _IMAGE,
    "sufficiency/positive_image": _IMAGE,
    "sufficiency/order": ("INT32", (-1,)),
}
_FAITHFULNESS: Told = {
    f"faithfulness/{domain}/{curve}": ("FP64", (-1,))
    for domain in (0, 1)
    for curve in ("fraction", "insertion_curve", "deletion_curve")
}


def outputs_of(kind: str) -> Told:
    """Every tensor that explanations of a kind can have, in the order of their replies."""
    arrays = _arrays_of(KINDS[kind])
    if kind in ("sufficient-image", "robustness"):
        arrays |= _SUFFICIENCY
    if kind == "compare":
        arrays |= {"comparison/place_change": _MAP} | _within("comparison/other/", arrays)
    if kind == "zoom":
        arrays |= _within("zoom/zoomed/", arrays)
    levels = _LEVELS if KINDS[kind] == "wavelet" else {}
    return _ALWAYS | arrays | levels | _EXPLANATION


def _arrays_of(domain: str) -> Told:
    return _INDICES | {"factors": ("INT32", (-1, -1))} | _MAPS[domain] | _FAITHFULNESS | {"image": _IMAGE}


def _within(prefix: str, arrays: Told) -> Told:
    return {prefix + name: told for name, told in arrays.items()}


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
    """Why a tensor that was asked for cannot be given."""
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
