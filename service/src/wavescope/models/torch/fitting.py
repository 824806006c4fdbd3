"""Fitting of a state dictionary to a module, whatever prefixes its names have, or the reason why it does not fit."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from wavescope.models.spec import ModelSpec
from wavescope.models.torch.checkpoints import StateDict

log = logging.getLogger(__name__)

MAX_NAMED = 3
MAX_NAME_LENGTH = 100
# A classifier and its bias; with distillation, two of them.
MAX_HEAD_TENSORS = 4
_COMPILED = "_orig_mod."
# What a model in evaluation mode does not use: counts of batches, and the auxiliary classifiers of Inception models.
_UNUSED = re.compile(r"(^|\.)num_batches_tracked$|^(AuxLogits|aux1|aux2)\.")
# What training modules keep beside their model: losses, metrics, and the count of an average of weights.
_BESIDE = re.compile(
    r"(\w+_)?(loss|criterion|metrics?|acc|accuracy|auroc|f1|n_averaged)(_\w+)?(\.|$)", re.IGNORECASE
)
_EXPORT = "export the whole model with torch.export, and give it as source: torch-export:PATH"


@dataclass(frozen=True, slots=True)
class _Match:
    """A state dictionary under one prefix, beside the module's own.

    Attributes:
        keys: under which they stand, as Python writes them.
        place: where they stand, for messages: the keys, and the prefix.
        tensors: by the module's names.
        missing: names of the module that are not there, of those it uses.
        surplus: names that are not the module's.
        others: names of the module that hold no tensor.
    """

    keys: str
    place: str
    tensors: Mapping[str, torch.Tensor]
    missing: tuple[str, ...]
    surplus: tuple[str, ...]
    others: tuple[str, ...]


def fit(spec: ModelSpec, module: torch.nn.Module, found: Sequence[StateDict]) -> None:
    """Load the state dictionary among ``found`` that is the module's; every name that it uses, and every shape, agree.

    Prefixes of Lightning, DDP, ``torch.compile`` and the like are taken off. Losses and metrics beside the model, and
    what is only used in training, may be there or not.

    Raises:
        RegistryInvalid: none agrees, with what differs; or several do.
    """
    own = module.state_dict()
    matches = [match for candidate in found for match in _matches(candidate, own)]
    whole = _distinct(match for match in matches if not match.missing)
    if len(whole) > 1:
        raise spec.invalid("weights", _several(spec, whole))
    if not matches:
        raise spec.invalid(
            "weights", f"{spec.weights!r} does not fit {spec.source!r}: {_describe_mismatch(own, found)}"
        )
    match = whole[0] if whole else max(matches, key=lambda match: len(match.tensors))
    reason = _difference(spec, own, match, {name for name, _ in module.named_buffers()})
    if reason is not None:
        raise spec.invalid("weights", f"{spec.weights!r} does not fit {spec.source!r}: {reason}")
    beside = [other.place for other in matches if other.missing and other is not match]
    if beside:
        log.warning(
            "model %r: of %s the weights at %s are taken; incomplete ones at %s are not",
            spec.name,
            spec.weights,
            match.place,
            ", ".join(beside[:MAX_NAMED]),
        )
    module.load_state_dict(match.tensors, strict=False)


def _matches(found: StateDict, own: Mapping[str, torch.Tensor]) -> list[_Match]:
    """The best matches of ``found``: every prefix that makes it whole, else the one that fits most names."""
    tensors = {name.replace(_COMPILED, ""): value for name, value in found.tensors.items()}
    others = {name.replace(_COMPILED, "") for name in found.others}
    counts = Counter(
        prefix for name in [*tensors, *sorted(others)] for prefix, rest in _splits(name) if rest in own
    )
    needed = sum(1 for name in own if not _UNUSED.search(name))
    matches = [
        _match(found, prefix, tensors, others, own)
        for prefix, count in counts.most_common()
        if count >= needed or count == counts.most_common(1)[0][1]
    ]
    return [match for match in matches if not match.missing] or matches[:1]


def _match(
    found: StateDict,
    prefix: str,
    tensors: Mapping[str, torch.Tensor],
    others: Collection[str],
    own: Mapping[str, torch.Tensor],
) -> _Match:
    taken = {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix) and name.removeprefix(prefix) in own
    }
    # Auxiliary classifiers may be of the number of classes that the model was trained with before.
    taken = {
        name: value
        for name, value in taken.items()
        if value.shape == own[name].shape or not _UNUSED.search(name)
    }
    surplus = [
        name
        for name in tensors
        if name.removeprefix(prefix) not in taken or not name.startswith(prefix)
        if not _UNUSED.search(name.removeprefix(prefix))
        if not _BESIDE.match(name) and not _BESIDE.match(name.removeprefix(prefix))
    ]
    return _Match(
        keys=found.place,
        place=(found.place or "the top") + (f" under {prefix!r}" if prefix else ""),
        tensors=taken,
        missing=tuple(name for name in own if name not in taken and not _UNUSED.search(name)),
        surplus=tuple(surplus),
        others=tuple(name for name in own if f"{prefix}{name}" in others),
    )


def _splits(name: str) -> Iterable[tuple[str, str]]:
    """Every (prefix, rest) of a name, split at its dots."""
    parts = name.split(".")
    for count in range(len(parts)):
        prefix = "".join(f"{part}." for part in parts[:count])
        yield prefix, name[len(prefix) :]


def _distinct(matches: Iterable[_Match]) -> list[_Match]:
    """The matches without those of the same content as one before."""
    distinct: list[_Match] = []
    for match in matches:
        if not any(_equal(match.tensors, other.tensors) for other in distinct):
            distinct.append(match)
    return distinct


def _equal(some: Mapping[str, torch.Tensor], others: Mapping[str, torch.Tensor]) -> bool:
    return some.keys() == others.keys() and all(
        value.shape == others[name].shape
        and value.dtype == others[name].dtype
        and torch.equal(value, others[name])
        for name, value in some.items()
    )


def _several(spec: ModelSpec, whole: Sequence[_Match]) -> str:
    places = " and at ".join(match.place for match in whole)
    keys = next((match.keys for match in reversed(whole) if match.keys), "")
    example = (
        f", as torch.save(torch.load({Path(str(spec.weights)).name!r}){keys}, 'weights.pth')" if keys else ""
    )
    return (
        f"{spec.weights!r} holds {len(whole)} sets of weights for {spec.source!r}, at {places}:"
        f" write the one that is meant to a file of its own{example}"
    )


def _describe_mismatch(own: Mapping[str, torch.Tensor], found: Sequence[StateDict]) -> str:
    largest = max(found, key=lambda candidate: len(candidate.tensors))
    if any("_packed_params" in name for name in largest.others):
        return _QUANTISED
    return (
        f"none of its {len(largest.tensors)} tensors ({_list_names(largest.tensors)}) has a name of the model's"
        f" ({_list_names(own)}): it is of another architecture; {_EXPORT}"
    )


_QUANTISED = "its weights are quantised: give those in floating point"


def _difference(
    spec: ModelSpec, own: Mapping[str, torch.Tensor], match: _Match, buffers: Collection[str]
) -> str | None:
    """The reason why a match does not fit; ``None`` where it does."""
    quantised = any("_packed_params" in name for name in match.surplus) or any(
        value.is_quantized or (own[name].is_floating_point() and not value.is_floating_point())
        for name, value in match.tensors.items()
    )
    if quantised:
        return _QUANTISED
    if match.others:
        return f"{_list_names(match.others)} are no tensors of PyTorch: convert them with torch.from_numpy"
    odd = [name for name, value in match.tensors.items() if not _is_plain(value)]
    if odd:
        return (
            f"{len(odd)} of its tensors are sparse, distributed or without content ({_list_names(odd)}):"
            " write plain ones, gathered in one process"
        )
    undefined = [name for name, value in match.tensors.items() if bool(value.float().isnan().any())]
    if undefined:
        return f"{len(undefined)} of its tensors hold NaN ({_list_names(undefined)}): its training has failed"
    reshaped = [name for name, value in match.tensors.items() if own[name].shape != value.shape]
    if match.missing or match.surplus:
        return _other_names(own, match, buffers)
    return _other_shapes(spec, own, match.tensors, reshaped) if reshaped else None


def _is_plain(tensor: torch.Tensor) -> bool:
    plain = type(tensor) in (torch.Tensor, torch.nn.Parameter)
    return plain and tensor.layout == torch.strided and not tensor.is_meta


def _other_names(own: Mapping[str, torch.Tensor], match: _Match, buffers: Collection[str]) -> str:
    if match.missing and set(match.missing) <= set(buffers):
        return (
            f"it has the model's parameters without its buffers ({_list_names(match.missing)}):"
            " write model.state_dict(), not model.named_parameters()"
        )
    parts = []
    if match.missing:
        parts.append(
            f"{len(match.missing)} of the model's {len(own)} tensors are missing ({_list_names(match.missing)})"
        )
    if match.surplus:
        parts.append(f"{len(match.surplus)} are not the model's ({_list_names(match.surplus)})")
    return f"{', and '.join(parts)}: it is of another architecture, or was changed; {_EXPORT}"


def _other_shapes(
    spec: ModelSpec,
    own: Mapping[str, torch.Tensor],
    tensors: Mapping[str, torch.Tensor],
    reshaped: Sequence[str],
) -> str:
    classes = {(own[name].shape[:1], tensors[name].shape[:1]) for name in reshaped}
    same_inputs = all(own[name].shape[1:] == tensors[name].shape[1:] for name in reshaped)
    if len(reshaped) <= MAX_HEAD_TENSORS and len(classes) == 1 and same_inputs:
        ((expected,), (count,)) = next(iter(classes))
        head = reshaped[-1].rpartition(".")[0]
        whose = (
            f"labels has {expected} names" if spec.labels is not None else f"the model's own has {expected}"
        )
        return (
            f"its classifier {head!r} has {count} classes, {whose}:"
            f" for a classifier of another number of classes, give its labels, {count} names"
        )
    name = reshaped[0]
    reason = f"{name} is {tuple(tensors[name].shape)}, the model's is {tuple(own[name].shape)}"
    if len(reshaped) > 1:
        reason = f"{len(reshaped)} tensors have other shapes ({_list_names(reshaped)}): {reason}"
    if any("pos_embed" in name for name in reshaped):
        return f"{reason}; it is for images of another size: name the model of that size, or {_EXPORT}"
    return f"{reason}; it is of another size or architecture: {_EXPORT}"


def _list_names(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(map(_printable, names[:MAX_NAMED])) + (" …" if len(names) > MAX_NAMED else "")


def _printable(name: str) -> str:
    """A name of a file's own, which may be anything, as it can stand in a message."""
    return name[:MAX_NAME_LENGTH] if name.isprintable() else repr(name[:MAX_NAME_LENGTH])
