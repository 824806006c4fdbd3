"""Classifiers of torchvision and timm: weights, and the preprocessing and class names that go with them."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import timm
import timm.data.config
import torch
import torchvision
from huggingface_hub import hf_hub_url, try_to_load_from_cache

from wavescope.engine.types import Preprocessing
from wavescope.errors import WeightsUnavailable
from wavescope.models.labels import IMAGENET
from wavescope.models.sources import LoadOptions
from wavescope.models.spec import INTERPOLATIONS, ModelSpec, check_preprocessing
from wavescope.models.torch.backend import Built, TorchBackend
from wavescope.models.torch.checkpoints import StateDict, read_state_dicts
from wavescope.models.torch.fitting import fit
from wavescope.models.torch.weights import RANDOM, check_reachable, unavailable

RANDOM_SEED = 0
# In timm's own order of preference.
_TIMM_FILES = ("model.safetensors", "pytorch_model.bin")


def load_torchvision(spec: ModelSpec, options: LoadOptions) -> TorchBackend:
    """The torchvision classifier that ``spec.source`` names; errors as of :func:`build_torchvision`."""
    return TorchBackend(spec, build_torchvision(spec), threads=options.threads)


def load_timm(spec: ModelSpec, options: LoadOptions) -> TorchBackend:
    """The timm classifier that ``spec.source`` names; errors as of :func:`build_timm`."""
    return TorchBackend(spec, build_timm(spec), threads=options.threads)


def build_torchvision(spec: ModelSpec) -> Built:
    """A torchvision classifier.

    ``spec.weights`` is ``None`` (the model's default entry), the name of an entry such as ``IMAGENET1K_V1``, the path
    of a file, or ``random``. Preprocessing and class names are those of the entry; for a file, of the default entry.

    Raises:
        RegistryInvalid: no such classifier or entry.
        WeightsUnavailable: an entry that is neither cached nor reachable, or no such file.
    """
    name = spec.reference
    classifiers = torchvision.models.list_models(module=torchvision.models)
    if name not in classifiers:
        close = difflib.get_close_matches(name, classifiers)
        raise spec.invalid(
            "source", f"torchvision has no classifier {name!r}; close: {close}", allowed=classifiers
        )
    entries = torchvision.models.get_model_weights(name)
    named = {entry.name: entry for entry in entries}
    entry: Any = named.get(spec.weights or "", entries.DEFAULT)  # type: ignore[attr-defined]
    preprocessing = spec.preprocessing or _from_torchvision(spec, entry)
    categories = tuple(str(category) for category in entry.meta["categories"])
    if spec.weights is None or spec.weights in named:
        _refuse_digest(spec)
        return Built(_torchvision_entry(spec, entry), preprocessing, categories)

    def make() -> torch.nn.Module:
        return torchvision.models.get_model(name, weights=None, num_classes=_classes(spec, categories))

    return Built(_random_or_file(spec, make, sorted(named)), preprocessing, categories)


def build_timm(spec: ModelSpec) -> Built:
    """A timm classifier; ``spec.weights`` is ``None`` (the name's pretrained tag), a path, or ``random``.

    Raises:
        RegistryInvalid: no such model, or its preprocessing is one we do not have and the spec declares none.
        WeightsUnavailable: weights that are neither cached nor reachable, or no such file.
    """
    name = spec.reference
    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models())
        raise spec.invalid("source", f"timm has no model {name!r}; close: {close}", close=close)
    config = timm.get_pretrained_cfg(name)
    classes = int(config.num_classes) if config is not None else len(IMAGENET)
    # timm names no classes; a thousand of them is ImageNet-1k.
    own_labels = IMAGENET if classes == len(IMAGENET) else None
    if spec.weights is None:
        _refuse_digest(spec)
        module: torch.nn.Module = timm.create_model(name, pretrained=True, **_timm_weights(spec, config))
    else:
        count = len(spec.labels) if spec.labels is not None else classes

        def make() -> torch.nn.Module:
            return timm.create_model(name, pretrained=False, num_classes=count)

        module = _random_or_file(spec, make, [])
    return Built(module, spec.preprocessing or _from_timm(spec, module), own_labels)


def torchvision_files(spec: ModelSpec, cache_dir: Path) -> tuple[Path, ...]:
    """The weights file that ``spec`` names, or torch's cached one; none where the weights are random."""
    del cache_dir
    return _weights_files(spec, _torchvision_default)


def timm_files(spec: ModelSpec, cache_dir: Path) -> tuple[Path, ...]:
    """The weights file that ``spec`` names, or the hub's cached one; none where there is neither."""
    del cache_dir
    return _weights_files(spec, _timm_default)


def _weights_files(spec: ModelSpec, default: Callable[[ModelSpec], Path | None]) -> tuple[Path, ...]:
    if spec.weights == RANDOM:
        return ()
    if spec.weights is not None and Path(spec.weights).is_file():
        return (Path(spec.weights),)
    found = default(spec)
    return () if found is None else (found,)


def _torchvision_default(spec: ModelSpec) -> Path | None:
    try:
        entries = torchvision.models.get_model_weights(spec.reference)
    except ValueError:
        return None
    named: dict[str, Any] = {entry.name: entry for entry in entries}
    return _torchvision_cached(named.get(spec.weights or "", entries.DEFAULT))  # type: ignore[attr-defined]


def _timm_default(spec: ModelSpec) -> Path | None:
    config = timm.get_pretrained_cfg(spec.reference) if timm.is_model(spec.reference) else None
    found = _timm_cached(config) if config is not None and config.hf_hub_id else None
    return None if found is None else Path(found)


def _refuse_digest(spec: ModelSpec) -> None:
    if spec.sha256 is not None:
        raise spec.invalid("sha256", "is checked for a weights file only: give weights: <path>")


def _classes(spec: ModelSpec, categories: tuple[str, ...]) -> int:
    return len(spec.labels if spec.labels is not None else categories)


def _random_or_file(
    spec: ModelSpec, make: Callable[[], torch.nn.Module], entries: list[str]
) -> torch.nn.Module:
    """A module of seeded random weights, or of those in the file that ``spec.weights`` names."""
    weights = str(spec.weights)
    path = Path(weights)
    found: tuple[StateDict, ...] = ()
    if weights == RANDOM:
        _refuse_digest(spec)
    else:
        if not path.suffix and not path.exists():
            allowed = [*entries, "random", "<path>"]
            raise spec.invalid("weights", f"{weights!r} is none of {', '.join(allowed)}", allowed=allowed)
        found = read_state_dicts(spec, path)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(RANDOM_SEED)
        module = make()
    if found:
        fit(spec, module, found)
    return module


def _torchvision_entry(spec: ModelSpec, entry: Any) -> torch.nn.Module:
    if not _torchvision_cached(entry).is_file():
        check_reachable(spec, entry.url)
    try:
        return torchvision.models.get_model(spec.reference, weights=entry, progress=False)
    except OSError as error:
        raise unavailable(spec, f"the download failed ({error})") from error


def _torchvision_cached(entry: Any) -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(urlsplit(entry.url).path).name


def _timm_weights(spec: ModelSpec, config: Any) -> dict[str, Any]:
    """Arguments that make timm read its cache without asking the hub, which takes a minute of retries offline."""
    if config is None or not config.has_weights:
        raise WeightsUnavailable(
            f"model {spec.name!r}: timm has no weights for {spec.reference!r}; give weights: <path>",
            field="weights",
            model=spec.name,
        )
    if not config.hf_hub_id:
        check_reachable(spec, config.url)
        return {}
    cached = _timm_cached(config)
    if cached is not None:
        return {"pretrained_cfg_overlay": {"file": cached}}
    check_reachable(spec, hf_hub_url(config.hf_hub_id, _timm_files(config)[0]))
    return {}


def _timm_files(config: Any) -> tuple[str, ...]:
    return (config.hf_hub_filename,) if config.hf_hub_filename else _TIMM_FILES


def _timm_cached(config: Any) -> str | None:
    found = (try_to_load_from_cache(config.hf_hub_id, file) for file in _timm_files(config))
    return next((cached for cached in found if isinstance(cached, str)), None)


def _from_torchvision(spec: ModelSpec, entry: Any) -> Preprocessing:
    transform = entry.transforms()
    (crop,) = transform.crop_size
    (resize,) = transform.resize_size
    return _checked(spec, (crop, crop), resize, transform.mean, transform.std, transform.interpolation.value)


def _from_timm(spec: ModelSpec, module: torch.nn.Module) -> Preprocessing:
    config = timm.data.config.resolve_model_data_config(module)
    _, height, width = config["input_size"]
    # timm's evaluation transform: both sides to size / crop_pct, then the crop; "squash" ignores the aspect ratio.
    resize: int | None = math.floor(max(height, width) / config["crop_pct"])
    if config["crop_mode"] == "squash" and config["crop_pct"] == 1:
        resize = None
    elif config["crop_mode"] != "center" or height != width:
        raise spec.invalid(
            "preprocessing",
            f"timm's crop {config['crop_mode']!r} to {height}x{width} is not supported: declare one",
        )
    return _checked(
        spec, (height, width), resize, config["mean"], config["std"], str(config["interpolation"])
    )


def _checked(
    spec: ModelSpec, size: tuple[int, int], resize: int | None, mean: Any, std: Any, interpolation: str
) -> Preprocessing:
    if interpolation not in INTERPOLATIONS:
        raise spec.invalid(
            "preprocessing",
            f"its weights ask for {interpolation!r} interpolation, which is not supported: declare one",
            allowed=list(INTERPOLATIONS),
        )
    preprocessing = Preprocessing(
        size=size,
        resize=resize,
        mean=tuple(float(value) for value in mean),
        std=tuple(float(value) for value in std),
        interpolation=interpolation,  # type: ignore[arg-type]
    )
    check_preprocessing(preprocessing, model=spec.name)
    return preprocessing
