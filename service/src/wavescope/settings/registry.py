"""Model registry: one YAML file.

::

    models:
      - name: efficientnet-lite0                # required: what requests call it
        source: embedded:efficientnet-lite0     # required: embedded:… | torchvision:… | timm:… | onnx:<path>
                                                #   | torchscript:<path> | torch-export:<path> | oip:<url>
                                                #   | kserve-v1:<url>

      - name: resnet50
        source: torchvision:resnet50
        weights: weights/resnet50.safetensors   # or the name of a torchvision entry; default: the source's own
        sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08   # of the weights or model file
        device: cuda                            # auto | cpu | cuda[:<n>] | tensorrt[:<n>] (ONNX)
        precision: bfloat16                     # float32 | bfloat16 | float16
        num_cpus: 2                             # cores of one replica
        num_gpus: 0.5                           # GPUs of one replica; default 1 on cuda, else 0
        min_replicas: 1                         # 0: none until the first request
        max_replicas: 4
        max_ongoing_chunks: 4                   # per replica
        batch_size: 64                          # images per device batch; default: measured
        threads: 2                              # of the CPU runtime; default num_cpus, rounded up

      - name: birds
        source: onnx:birds.onnx
        outputs: probabilities                  # logits | probabilities | sigmoid; required for onnx, torchscript,
                                                #   torch-export, oip and kserve-v1
        input_layout: nchw                      # nchw | nhwc, of an ONNX file; default: as the file says
        output: logits                          # of a model in a file of several; default: the one that can be scores
        labels: birds.txt                       # a file (docs/models.md lists the forms), a list or map, or imagenet
        preprocessing:                          # required where outputs are, else the weights' own
          size: [240, 320]                      # height, width, px; or one number
          resize: 320                           # shorter side before the centre crop; null resizes to size
          mean: [0.485, 0.456, 0.406]           # its length is the number of channels
          std: [0.229, 0.224, 0.225]
          interpolation: bilinear               # nearest | bilinear | bicubic

      - name: rooms
        source: torch-export:rooms.pt2          # or torchscript:rooms.pt; a program, so that sha256 is required
        sha256: 60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752
        outputs: logits
        preprocessing: {size: 224, resize: 256}

      - name: production                        # served elsewhere, on a host of the setting remote_hosts
        source: oip:https://models.example.org/v2/models/birds/versions/3
                                                # or oip:grpc://host:port/birds/3 (grpcs with TLS),
                                                #   kserve-v1:http://host/v1/models/birds:predict
        outputs: logits
        preprocessing: {size: 224, resize: 256} # images are sent as (x - mean) / std
        batch_size: 16                          # images per request to begin with; halved where they are too many
        num_cpus: 0.1                           # the default of models served elsewhere
        remote:
          input: images                         # tensors; default: what the server says, else input-0 and the first
          output: logits                        #   for kserve-v1 the key of each prediction that holds the scores
          input_layout: nchw                    # nchw | nhwc
          timeout_s: 60                         # for one batch, all attempts together
          attempts: 4
          concurrency: 4                        # batches under way at once
          tls: {ca_file: ca.pem, cert_file: client.pem, key_file: client.key}
          headers:
            Authorization: {file: token}        # or {env: NAME}, or the value itself where it is no secret

Paths are relative to the registry file. Keys that do not exist are refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    StrictStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from wavescope.engine.types import Outputs, Preprocessing
from wavescope.errors import RegistryInvalid
from wavescope.models.files import is_path
from wavescope.models.label_files import LabelsInvalid, parse_names, read_labels, value_of_node
from wavescope.models.labels import IMAGENET
from wavescope.models.layouts import Layout
from wavescope.models.remote.options import Header, RemoteOptions, Tls
from wavescope.models.sources import SOURCES
from wavescope.models.spec import DEFAULT_MODEL, REMOTE_NUM_CPUS, ModelSpec
from wavescope.settings.documents import UniqueKeyLoader

_IMAGENET = "imagenet"  # of ``labels``: no file


class _StrictModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_bare_words(cls, value: Any, info: ValidationInfo) -> Any:
        """No field is true or false, which would count as 1 or 0."""
        parts = value if isinstance(value, list | tuple) else [value]
        if info.field_name != "labels" and any(isinstance(part, bool) for part in parts):
            raise ValueError(
                f"{value!r} is no value of it; YAML reads bare words such as yes, no, on and off as true or false: "
                "write the word in quotes, or a number"
            )
        return value


def _repeat_size(value: Any) -> Any:
    return [value, value] if isinstance(value, int) else value


class _PreprocessingEntry(_StrictModel):
    size: Annotated[tuple[int, int], BeforeValidator(_repeat_size)] = Preprocessing().size
    resize: int | None = Preprocessing().resize
    mean: tuple[float, ...] = Preprocessing().mean
    std: tuple[float, ...] = Preprocessing().std
    interpolation: Literal["nearest", "bilinear", "bicubic"] = Preprocessing().interpolation


class _TlsEntry(_StrictModel):
    ca_file: StrictStr | None = None
    cert_file: StrictStr | None = None
    key_file: StrictStr | None = None


def _wrap_literal(value: Any) -> Any:
    return {"literal": value} if isinstance(value, str) else value


class _HeaderEntry(_StrictModel):
    literal: StrictStr | None = None
    env: StrictStr | None = None
    file: StrictStr | None = None


class _RemoteEntry(_StrictModel):
    input: StrictStr | None = None
    output: StrictStr | None = None
    input_layout: Layout = RemoteOptions().input_layout
    timeout_s: float = RemoteOptions().timeout_s
    attempts: int = RemoteOptions().attempts
    concurrency: int = RemoteOptions().concurrency
    tls: _TlsEntry | None = None
    headers: dict[str, Annotated[_HeaderEntry, BeforeValidator(_wrap_literal)]] = {}


class _ModelEntry(_StrictModel):
    name: StrictStr
    source: StrictStr
    preprocessing: _PreprocessingEntry | None = None
    outputs: Outputs | None = None
    labels: Any = None  # the path of a file, imagenet, or what is checked as a file's content is
    threshold: float | None = None
    device: StrictStr = DEFAULT_MODEL.device
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    weights: StrictStr | None = None
    sha256: StrictStr | None = None
    num_cpus: float | None = None
    num_gpus: float | None = None
    min_replicas: int = DEFAULT_MODEL.min_replicas
    max_replicas: int | None = None
    max_ongoing_chunks: int = DEFAULT_MODEL.max_ongoing_chunks
    batch_size: int | None = None
    threads: int | None = None
    input_layout: Layout | None = None
    output: StrictStr | None = None
    remote: _RemoteEntry | None = None


def load_registry(path: Path | None) -> tuple[ModelSpec, ...]:
    """Load the models of a registry file; for ``None`` the embedded default model alone.

    Args:
        path: of a YAML file in the format of this module's docstring.

    Raises:
        RegistryInvalid: names the model and the field at fault, and what is allowed.
    """
    if path is None:
        return (DEFAULT_MODEL,)
    entries = _read_entries(path)
    specs: dict[str, ModelSpec] = {}
    for position, entry in enumerate(entries):
        spec = _build_spec(entry, position, path.parent)
        if spec.name in specs:
            raise spec.invalid("name", "is used by two models of the registry")
        specs[spec.name] = spec
    return tuple(specs.values())


def list_label_files(path: Path) -> tuple[Path, ...]:
    """List the label files that a registry file names, whether or not they are there; none of one that is invalid."""
    try:
        entries = _read_entries(path)
    except RegistryInvalid:
        return ()
    labels = [entry.get("labels") for entry in entries if isinstance(entry, dict)]
    return tuple(
        _resolve(file, path.parent) for file in labels if isinstance(file, str) and file != _IMAGENET
    )


def build_model_spec(entry: Any, folder: Path) -> ModelSpec:
    """Build the specification of a model from its entry.

    Args:
        entry: a mapping, as in the list of a registry file.
        folder: that its paths are relative to.

    Raises:
        RegistryInvalid: names the field at fault, and what is allowed.
    """
    return _build_spec(entry, 0, folder)


def _read_entries(path: Path) -> list[Any]:
    def invalid(reason: str) -> RegistryInvalid:
        return RegistryInvalid(f"model registry {str(path)!r}: {reason}", field="models")

    try:
        text = path.read_text("utf-8-sig")
        document = yaml.load(text, UniqueKeyLoader)  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise invalid(f"cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: not UTF-8
        raise invalid(f"is not YAML: {error}") from error
    if not isinstance(document, dict) or set(document) != {"models"}:
        raise invalid("must hold the one key 'models'")
    entries = document["models"]
    if not isinstance(entries, list) or not entries:
        raise invalid("'models' must be a list of at least one model")
    return [_with_bare_words(entry, text, position) for position, entry in enumerate(entries)]


def _with_bare_words(entry: Any, text: str, position: int) -> Any:
    """The entry; words of its labels that YAML reads as something other than text are named with their lines."""
    labels = entry.get("labels") if isinstance(entry, dict) else None
    if labels is None or isinstance(labels, str) or _all_text(labels):
        return entry
    root = yaml.compose(text, UniqueKeyLoader)
    models = _find_value(root, "models")
    node = models.value[position] if isinstance(models, yaml.SequenceNode) else None
    found = _find_value(node, "labels")
    return entry if found is None else {**entry, "labels": value_of_node(found)}


def _all_text(labels: Any) -> bool:
    return isinstance(labels, list) and all(isinstance(name, str) for name in labels)


def _find_value(node: yaml.Node | None, key: str) -> yaml.Node | None:
    """The value under a key of a map's node."""
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for name, value in node.value if name.value == key), None)


def _build_spec(entry: Any, position: int, folder: Path) -> ModelSpec:
    parsed = _parse_entry(entry, position)
    name, _, reference = parsed.source.partition(":")
    kind = SOURCES.get(name)  # an unknown one is refused with all else that is wrong
    given = parsed.model_dump(exclude={"preprocessing", "labels", "remote"}, exclude_none=True)
    if kind is not None and kind.whole_file and reference:
        given["source"] = f"{name}:{_resolve(reference, folder)}"
    if parsed.weights is not None and is_path(parsed.weights):
        given["weights"] = str(_resolve(parsed.weights, folder))
    given.setdefault("num_gpus", 1.0 if parsed.device.startswith(("cuda", "tensorrt")) else 0.0)
    remote = kind is not None and kind.remote
    given.setdefault("num_cpus", REMOTE_NUM_CPUS if remote else DEFAULT_MODEL.num_cpus)
    given.setdefault("max_replicas", max(DEFAULT_MODEL.max_replicas, parsed.min_replicas))
    if parsed.preprocessing is not None:
        given["preprocessing"] = Preprocessing(**parsed.preprocessing.model_dump())
    if parsed.remote is not None:
        given["remote"] = _build_remote(parsed.remote, parsed.name, folder)
    given["labels"] = _load_labels(parsed, folder)
    return ModelSpec(**given)


def _parse_entry(entry: Any, position: int) -> _ModelEntry:
    name = entry.get("name") if isinstance(entry, dict) else None
    who = f"model {name!r}" if isinstance(name, str) else f"model number {position + 1}"
    try:
        return _ModelEntry.model_validate(entry)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        first = problems[0]
        field = ".".join(_list_field_keys(first["loc"])) or "models"
        limits: dict[str, Any] = {"model": name} if isinstance(name, str) else {}
        reason = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            limits["allowed"] = sorted(_list_known_keys(first["loc"]))
            reason = f"no such key; there are {', '.join(limits['allowed'])}"
        elif expected := first.get("ctx", {}).get("expected"):
            limits["allowed"] = expected
            reason = f"{first['input']!r} is not allowed: {expected}"
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise RegistryInvalid(f"{who}: {field}: {reason}{more}", field=field, **limits) from error


def _list_field_keys(location: tuple[int | str, ...]) -> list[str]:
    """List the keys that lead to a value, without the tags of a union that pydantic puts between them."""
    if len(location) > 1 and location[0] not in _NESTED:
        location = (location[0], *(part for part in location[1:] if isinstance(part, int)))
    return [str(part) if str(part).strip() else repr(part) for part in location]


def _list_known_keys(location: tuple[int | str, ...]) -> set[str]:
    """List the keys that are allowed where the last one of ``location`` is not."""
    entry: type[BaseModel] = _NESTED.get(str(location[0]), _ModelEntry)
    if location[:2] == ("remote", "tls"):
        entry = _TlsEntry
    elif location[:2] == ("remote", "headers"):
        entry = _HeaderEntry
    return set(entry.model_fields)


_NESTED: dict[str, type[BaseModel]] = {"preprocessing": _PreprocessingEntry, "remote": _RemoteEntry}


def _build_remote(entry: _RemoteEntry, model: str, folder: Path) -> RemoteOptions:
    def resolved(path: str | None) -> str | None:
        return None if path is None else str(_resolve(path, folder))

    given = entry.model_dump(exclude={"tls", "headers"})
    try:
        if entry.tls is not None:
            tls = entry.tls
            given["tls"] = Tls(resolved(tls.ca_file), resolved(tls.cert_file), resolved(tls.key_file))
        headers = (
            Header(name, literal=value.literal, env=value.env, file=resolved(value.file))
            for name, value in entry.headers.items()
        )
        return RemoteOptions(**given, headers=tuple(headers))
    except ValueError as error:
        field, _, reason = str(error).partition(": ")
        field = f"remote.{field}"
        raise RegistryInvalid(f"model {model!r}: {field}: {reason}", field=field, model=model) from error


def _load_labels(parsed: _ModelEntry, folder: Path) -> tuple[str, ...] | None:
    if isinstance(parsed.labels, str):
        if parsed.labels == _IMAGENET:
            return IMAGENET
        try:
            return read_labels(_resolve(parsed.labels, folder))
        except RegistryInvalid as error:
            raise RegistryInvalid(
                f"model {parsed.name!r}: {error.message}", field="labels", model=parsed.name
            ) from error
    if parsed.labels is None:
        return None
    try:
        return parse_names(parsed.labels)
    except LabelsInvalid as error:
        raise RegistryInvalid(
            f"model {parsed.name!r}: labels: {error}", field="labels", model=parsed.name
        ) from error


def _resolve(path: str, folder: Path) -> Path:
    return (folder / Path(path).expanduser()).absolute()
