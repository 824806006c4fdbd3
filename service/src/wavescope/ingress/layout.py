"""The layout of the reply: the fields of an :class:`Explanation` as JSON, npz, tensors and messages name them.

The fields are those of the engine's types, whose docstrings describe them. Two places differ: the sections of the
sufficient image stand beside the others, and some fields are not in the reply.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from types import NoneType
from typing import Any, Literal, NamedTuple, get_args, get_type_hints

import numpy as np
from jaxtyping import Float, Float32, Int32

from wavescope.core.reconstruction import Kept
from wavescope.engine.docstrings import attribute_texts
from wavescope.engine.types import Explanation, Sufficiency

# Of an explanation: the npz archive alone has its ``image``; ``reused`` is counted in the ``forwards`` of a batch.
NOT_IN_JSON = ("image", "reused")

Form = Literal["list", "tensor", "png"]


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """The target's probability with the n top factors alone.

    Attributes:
        n: 0 to the number of factors.
        probability: of the target.
        predicted: index of the class predicted for each.
    """

    n: Int32[np.ndarray, " n"]
    probability: Float[np.ndarray, " n"]
    predicted: Int32[np.ndarray, " n"]


@dataclass(frozen=True, slots=True, eq=False)
class SufficientImage:
    """The least of the image that keeps the label, beside the top-level keys.

    Attributes:
        n_factors: number of factors.
        positive_factors: factors whose index is above 1/255 of the largest.
        top_factor_image: the image of the top factor alone.
        positive_image: the image of the positive factors alone.
        kept: of the sufficient image; ``None`` without a depth.
        order: factors by total index, largest first.
    """

    outcome: Literal["sufficient", "empty_suffices", "none_suffices"]
    n_factors: int
    positive_factors: int
    top_factor_image: Float32[np.ndarray, "c h w"]
    positive_image: Float32[np.ndarray, "c h w"]
    kept: Kept | None
    order: Int32[np.ndarray, " k"]


@dataclass(frozen=True, slots=True, eq=False)
class SufficiencyKeys:
    """The keys of the reply that hold a :class:`~wavescope.engine.types.Sufficiency`.

    Attributes:
        reconstruction_depth: kinds ``sufficient-image`` and ``robustness``: the smallest number of top factors whose
            image has the target's label; ``None`` if there is none.
        sufficient_image: the image of these factors alone.
        curve: kinds ``sufficient-image`` and ``robustness``.
        sufficiency: kinds ``sufficient-image`` and ``robustness``.
    """

    reconstruction_depth: int | None
    sufficient_image: Float32[np.ndarray, "c h w"] | None
    curve: Curve | None
    sufficiency: SufficientImage | None


class ReplyField(NamedTuple):
    """A field of the reply.

    Attributes:
        name: its key in JSON.
        hint: type of the value.
        text: description, as in a docstring.
        form: of an array in JSON; ``None`` for anything else.
        owner: the dataclass that has it.
    """

    name: str
    hint: Any
    text: str
    form: Form | None
    owner: type


@cache
def reply_fields(cls: type) -> tuple[ReplyField, ...]:
    """The fields of a dataclass in the reply, in the order of its documentation."""
    hints, texts = get_type_hints(cls), attribute_texts(cls)
    found: list[ReplyField] = []
    for field in fields(cls):
        if cls is Explanation and field.name in NOT_IN_JSON:
            continue
        if get_args(hints[field.name])[:1] == (Sufficiency,):
            found += reply_fields(SufficiencyKeys)
        else:
            hint = hints[field.name]
            found.append(ReplyField(field.name, hint, texts.get(field.name, ""), array_form(hint), cls))
    return tuple(found)


def reply_values(value: Any) -> Iterator[tuple[ReplyField, Any]]:
    """Every field of a dataclass in the reply, with its value."""
    keys = lay_out(value.sufficiency) if isinstance(value, Explanation) else None
    for field in reply_fields(type(value)):
        yield field, getattr(keys if field.owner is SufficiencyKeys and keys else value, field.name)


def lay_out(found: Sufficiency | None) -> SufficiencyKeys:
    """The keys of the reply for a sufficient image."""
    if found is None:
        return SufficiencyKeys(None, None, None, None)
    steps = np.arange(len(found.probability), dtype=np.int32)
    return SufficiencyKeys(
        reconstruction_depth=found.depth,
        sufficient_image=found.image,
        curve=Curve(steps, found.probability, found.predicted),
        sufficiency=SufficientImage(
            outcome=found.outcome,
            n_factors=len(found.order),
            positive_factors=found.positive_factors,
            top_factor_image=found.top_image,
            positive_image=found.positive_image,
            kept=found.kept,
            order=found.order,
        ),
    )


def without_none(hint: Any) -> Any:
    """The type of a value that is there: ``X`` of ``X | None``."""
    members = [member for member in get_args(hint) if member is not NoneType]
    return members[0] if NoneType in get_args(hint) and len(members) == 1 else hint


def array_form(hint: Any) -> Form | None:
    """The form of an array in JSON: a list of numbers, a tensor in base64, or a PNG in base64; ``None`` for no array.

    An array over one axis of varying size (factors, steps) is a list; over two a tensor, over three an image.

    Example:
        >>> array_form(Float32[np.ndarray, "c h w"]), array_form(Float[np.ndarray, "k 2"]), array_form(int)
        ('png', 'list', None)
    """
    dimensions = getattr(without_none(hint), "dim_str", None)
    if dimensions is None:
        return None
    varying = [name for name in dimensions.split() if not name.isdigit()]
    return ("list", "tensor", "png")[len(varying) - 1]


def item_of(hint: Any) -> Any:
    """The dataclass of a section or of the entries of a list; ``None`` for any other type."""
    hint = without_none(hint)
    item = get_args(hint)[0] if get_args(hint)[1:] == (Ellipsis,) else hint
    return item if is_dataclass(item) else None


# Sections of an explanation that have more than one key.
SECTION_KEYS = {"sufficiency": reply_fields(SufficiencyKeys)}
