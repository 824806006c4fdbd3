"""timm models in repositories of the Hugging Face hub: their description and their weights, cached or fetched."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeGuard

import timm
from huggingface_hub import hf_hub_download, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError, HFValidationError, LocalEntryNotFoundError
from timm.models import PretrainedCfg

from wavescope.errors import RegistryInvalid
from wavescope.models.spec import ModelSpec
from wavescope.models.torch.weights import check_reachable, unavailable

CONFIG = "config.json"
# In timm's own order of preference.
WEIGHTS = ("model.safetensors", "pytorch_model.bin")

_HUB = re.compile(r"hf[-_]hub:(.*)", re.IGNORECASE)
_REPOSITORY = re.compile(r"([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")
_FIELDS = frozenset(field.name for field in fields(PretrainedCfg)) - {"architecture"}
_TIMM_OWNER = "timm/"


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _are_numbers(value: object) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(map(_is_number, value))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_size(value: object) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(_is_count(side) and side > 0 for side in value)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


# What is read of a description, here or by timm while it makes the model: the check, and the words for it.
_TYPES: dict[str, tuple[Callable[[object], bool], str]] = {
    "num_classes": (_is_count, "a number of classes"),
    "input_size": (_is_size, "[channels, height, width]"),
    "mean": (_are_numbers, "a list of numbers"),
    "std": (_are_numbers, "a list of numbers"),
    "crop_pct": (lambda value: _is_number(value) and value > 0, "a number above 0"),
    "crop_mode": (_is_text, "text"),
    "interpolation": (_is_text, "text"),
}


@dataclass(frozen=True, slots=True)
class HubModel:
    """A timm model as its repository describes it.

    Attributes:
        folder: of the cached files.
        architecture: timm's name of it.
        config: of timm: classes, input size, mean and the like.
        arguments: of the architecture.
        labels: names of its classes; ``None`` where it gives none.
    """

    folder: Path
    architecture: str
    config: Mapping[str, Any]
    arguments: Mapping[str, Any]
    labels: tuple[str, ...] | None


def timm_name(reference: str) -> str:
    """The name in timm's own list that a reference means, which ``hf-hub:timm/`` may stand before."""
    found = _HUB.fullmatch(reference)
    return (found[1] if found else reference).removeprefix(_TIMM_OWNER)


def is_repository(reference: str) -> bool:
    """Whether a reference begins with ``hf-hub:`` and means no model of timm's own list."""
    return _HUB.fullmatch(reference) is not None and not timm.is_model(timm_name(reference))


def read_hub_model(spec: ModelSpec) -> HubModel:
    """The description of the model that ``spec.source`` names, from the cache, else from the hub.

    Raises:
        RegistryInvalid: the repository holds no model of timm, or its description is malformed.
        WeightsUnavailable: it is neither cached nor reachable.
    """
    path = _file(spec, CONFIG)
    if path is None:
        raise spec.invalid("source", f"{spec.source!r} has no {CONFIG}, and so is no model of timm")
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise spec.invalid(
            "source",
            f"the {CONFIG} of {spec.source!r} is damaged: delete {str(path)!r}, so that it is fetched again",
        ) from error
    architecture = found.get("architecture") if isinstance(found, Mapping) else None
    if not isinstance(architecture, str):
        raise spec.invalid("source", f"{spec.source!r} is no model of timm: {_other(found)}")
    if not timm.is_model(architecture):
        raise spec.invalid(
            "source", f"{spec.source!r} is a {architecture!r}, which timm {timm.__version__} has not"
        )
    inner, arguments = _mapping(spec, found, "pretrained_cfg"), _mapping(spec, found, "model_args")
    # Older ones have all in one; the outer ones hold where both say something.
    config = {**inner, **{name: found[name] for name in _FIELDS if name in found}}
    config = {name: value for name, value in config.items() if name in _FIELDS and value is not None}
    for name, (is_right, what) in _TYPES.items():
        if name in config and not is_right(config[name]):
            raise _malformed(spec, name, what)
    return HubModel(path.parent, architecture, config, arguments, _labels(found, config))


def cached_hub_weights(spec: ModelSpec) -> Path | None:
    """The cached weights of the model; ``None`` where there are none."""
    return next((path for name in WEIGHTS if (path := _cached(spec, name)) is not None), None)


def hub_weights(spec: ModelSpec) -> Path:
    """The weights of the model, from the cache, else from the hub.

    Raises:
        RegistryInvalid: the repository has none.
        WeightsUnavailable: they are neither cached nor reachable.
    """
    cached = cached_hub_weights(spec)
    if cached is not None:
        return cached
    for name in WEIGHTS:
        path = _file(spec, name)
        if path is not None:
            return path
    raise spec.invalid("source", f"{spec.source!r} has no weights that are read: {' or '.join(WEIGHTS)}")


def _mapping(spec: ModelSpec, found: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = found.get(name, {})
    if not isinstance(value, Mapping):
        raise _malformed(spec, name, "an object")
    return value


def _malformed(spec: ModelSpec, name: str, what: str) -> RegistryInvalid:
    return spec.invalid(
        "source", f"{name} in the {CONFIG} of {spec.source!r} is not {what}, as timm reads it"
    )


def _repository(spec: ModelSpec) -> tuple[str, str | None]:
    found = _REPOSITORY.fullmatch(_HUB.sub(r"\1", spec.reference))
    if found is None:
        raise spec.invalid(
            "source", f"{spec.source!r} names no repository: timm:hf-hub:OWNER/NAME, or …@REVISION"
        )
    return found[1], found[2]


def _cached(spec: ModelSpec, name: str) -> Path | None:
    repository, revision = _repository(spec)
    try:
        found = try_to_load_from_cache(repository, name, revision=revision)
    except HFValidationError:
        return None
    return Path(found) if isinstance(found, str) else None


def _file(spec: ModelSpec, name: str) -> Path | None:
    """A file of the repository; ``None`` where it has none of that name."""
    cached = _cached(spec, name)
    if cached is not None:
        return cached
    repository, revision = _repository(spec)
    if name == CONFIG:  # what every model has; the hub answers for the others, too, if it answers for this
        check_reachable(spec, hf_hub_url(repository, name, revision=revision))
    try:
        return Path(hf_hub_download(repository, name, revision=revision))
    except LocalEntryNotFoundError as error:  # an EntryNotFoundError, too, of which the hub has said nothing
        raise unavailable(
            spec, f"the hub was not asked for {name}: HF_HUB_OFFLINE is set, or it did not answer"
        ) from error
    except EntryNotFoundError:
        return None
    except (OSError, HFValidationError) as error:
        raise unavailable(spec, f"the download of {name} failed") from error


def _other(found: object) -> str:
    """The reason why a description is not timm's."""
    if isinstance(found, Mapping) and ("model_type" in found or "architectures" in found):
        return (
            "it is one of transformers; export it with torch.export, and give it as source: torch-export:PATH"
        )
    return f"its {CONFIG} names no architecture"


def _labels(found: Mapping[str, Any], config: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Names of the classes: their descriptions, where there is one for each name."""
    names = config.get("label_names", found.get("labels"))
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return None
    described = config.get("label_descriptions")
    if isinstance(described, Mapping) and all(isinstance(described.get(name), str) for name in names):
        return tuple(described[name] for name in names)
    return tuple(names)
