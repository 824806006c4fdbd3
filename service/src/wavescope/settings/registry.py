"""The model registry: one YAML file.

::

    models:
      - name: efficientnet-lite0                # required: what requests call it
        source: embedded:efficientnet-lite0     # required: embedded:… | torchvision:… | timm:… | onnx:<path>

      - name: resnet50
        source: torchvision:resnet50
        weights: weights/resnet50.safetensors   # or the name of a torchvision entry; default: the source's own
        sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08   # of the weights or ONNX file
        device: cuda                            # auto | cpu | cuda[:<n>] | tensorrt[:<n>] (ONNX)
        precision: bfloat16                     # float32 | bfloat16 | float16
        num_cpus: 2                             # cores of one replica
        num_gpus: 0.5                           # GPUs of one replica; default 1 on cuda, else 0
        min_replicas: 1
        max_replicas: 4
        max_ongoing_chunks: 4                   # per replica
        batch_size: 64                          # images per device batch; default: measured
        threads: 2                              # of the CPU runtime; default num_cpus, rounded up

      - name: birds
        source: onnx:birds.onnx
        outputs: probabilities                  # logits | probabilities | sigmoid; required for ONNX
        labels: birds.txt                       # a file, one name per line or a JSON list; a list; or imagenet
        preprocessing:                          # required for ONNX, else the weights' own
          size: [240, 320]                      # height, width, px; or one number
          resize: 320                           # shorter side before the centre crop; null resizes to size
          mean: [0.485, 0.456, 0.406]           # its length is the number of channels
          std: [0.229, 0.224, 0.225]
          interpolation: bilinear               # nearest | bilinear | bicubic

Paths are relative to the registry file. Keys that do not exist are refused.
"""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, StrictStr, ValidationError

from wavescope.engine.types import Outputs, Preprocessing
from wavescope.errors import RegistryInvalid
from wavescope.models.labels import IMAGENET, read_labels
from wavescope.models.spec import DEFAULT_MODEL, ModelSpec


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _square(value: Any) -> Any:
    return [value, value] if isinstance(value, int) else value


class _PreprocessingEntry(_Strict):
    size: Annotated[tuple[int, int], BeforeValidator(_square)] = Preprocessing().size
    resize: int | None = Preprocessing().resize
    mean: tuple[float, ...] = Preprocessing().mean
    std: tuple[float, ...] = Preprocessing().std
    interpolation: Literal["nearest", "bilinear", "bicubic"] = Preprocessing().interpolation


class _ModelEntry(_Strict):
    name: StrictStr
    source: StrictStr
    preprocessing: _PreprocessingEntry | None = None
    outputs: Outputs | None = None
    labels: StrictStr | tuple[StrictStr, ...] | None = None
    device: StrictStr = DEFAULT_MODEL.device
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    weights: StrictStr | None = None
    sha256: StrictStr | None = None
    num_cpus: float = DEFAULT_MODEL.num_cpus
    num_gpus: float | None = None
    min_replicas: int = DEFAULT_MODEL.min_replicas
    max_replicas: int | None = None
    max_ongoing_chunks: int = DEFAULT_MODEL.max_ongoing_chunks
    batch_size: int | None = None
    threads: int | None = None


def load_registry(path: Path | None) -> tuple[ModelSpec, ...]:
    """The models of a registry file; for ``None`` the embedded default model alone.

    Args:
        path: of a YAML file in the format of this module's docstring.

    Raises:
        RegistryInvalid: names the model and the field at fault, and what is allowed.
    """
    if path is None:
        return (DEFAULT_MODEL,)
    entries = _entries(path)
    specs: dict[str, ModelSpec] = {}
    for position, entry in enumerate(entries):
        spec = _spec(entry, position, path.parent)
        if spec.name in specs:
            raise spec.invalid("name", "is used by two models of the registry")
        specs[spec.name] = spec
    return tuple(specs.values())


def _entries(path: Path) -> list[Any]:
    def invalid(reason: str) -> RegistryInvalid:
        return RegistryInvalid(f"model registry {str(path)!r}: {reason}", field="models")

    try:
        document = yaml.load(path.read_text("utf-8"), _UniqueKeyLoader)  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise invalid(f"cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise invalid(f"is not YAML: {error}") from error
    if not isinstance(document, dict) or set(document) != {"models"}:
        raise invalid("must hold the one key 'models'")
    entries = document["models"]
    if not isinstance(entries, list) or not entries:
        raise invalid("'models' must be a list of at least one model")
    return entries


def _spec(entry: Any, position: int, folder: Path) -> ModelSpec:
    parsed = _parsed(entry, position)
    kind, _, reference = parsed.source.partition(":")
    given = parsed.model_dump(exclude={"preprocessing", "labels"}, exclude_none=True)
    if kind == "onnx" and reference:
        given["source"] = f"onnx:{_resolved(reference, folder)}"
    if parsed.weights is not None and _is_path(parsed.weights):
        given["weights"] = str(_resolved(parsed.weights, folder))
    given.setdefault("num_gpus", 1.0 if parsed.device.startswith(("cuda", "tensorrt")) else 0.0)
    given.setdefault("max_replicas", max(DEFAULT_MODEL.max_replicas, parsed.min_replicas))
    if parsed.preprocessing is not None:
        given["preprocessing"] = Preprocessing(**parsed.preprocessing.model_dump())
    given["labels"] = _labels(parsed, folder)
    return ModelSpec(**given)


def _parsed(entry: Any, position: int) -> _ModelEntry:
    name = entry.get("name") if isinstance(entry, dict) else None
    who = f"model {name!r}" if isinstance(name, str) else f"model number {position + 1}"
    try:
        return _ModelEntry.model_validate(entry)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        first = problems[0]
        field = ".".join(_field_path(first["loc"]))
        limits: dict[str, Any] = {"model": name} if isinstance(name, str) else {}
        reason = first["msg"]
        if first["type"] == "extra_forbidden":
            limits["allowed"] = sorted(_known_keys(first["loc"]))
            reason = f"no such key; there are {', '.join(limits['allowed'])}"
        elif expected := first.get("ctx", {}).get("expected"):
            limits["allowed"] = expected
            reason = f"{first['input']!r} is not allowed: {expected}"
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise RegistryInvalid(f"{who}: {field}: {reason}{more}", field=field, **limits) from error


def _field_path(location: tuple[int | str, ...]) -> list[str]:
    """The keys that lead to a value, without the tags of a union that pydantic puts between them."""
    if len(location) > 1 and location[0] != "preprocessing":
        location = (location[0], *(part for part in location[1:] if isinstance(part, int)))
    return [str(part) for part in location]


def _known_keys(location: tuple[int | str, ...]) -> set[str]:
    return set((_PreprocessingEntry if location[0] == "preprocessing" else _ModelEntry).model_fields)


def _labels(parsed: _ModelEntry, folder: Path) -> tuple[str, ...] | None:
    if parsed.labels == "imagenet":
        return IMAGENET
    if isinstance(parsed.labels, str):
        try:
            return read_labels(_resolved(parsed.labels, folder))
        except RegistryInvalid as error:
            raise RegistryInvalid(
                f"model {parsed.name!r}: {error.message}", field="labels", model=parsed.name
            ) from error
    return parsed.labels


def _is_path(weights: str) -> bool:
    return bool(Path(weights).suffix) or "/" in weights


def _resolved(path: str, folder: Path) -> Path:
    return (folder / Path(path).expanduser()).absolute()


class _UniqueKeyLoader(yaml.SafeLoader):
    """A safe loader that refuses a key given twice, where YAML silently keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = [key for key in keys if keys.count(key) > 1]
        if twice:
            raise yaml.constructor.ConstructorError(
                None, None, f"key {twice[0]!r} is given twice", node.start_mark
            )
        return super().construct_mapping(node, deep)
