"""Classifiers of torchvision and timm: weights, and the preprocessing and class names that go with them."""

from __future__ import annotations

import difflib
import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import timm
import timm.data.config
import torch
import torchvision
from huggingface_hub import hf_hub_url, try_to_load_from_cache

from wavescope.engine.types import Preprocessing
from wavescope.errors import RegistryInvalid, WavescopeError, WeightsUnavailable
from wavescope.models.faults import lacks_memory, logged_text
from wavescope.models.file_types import SAFETENSORS, TORCH, recognise
from wavescope.models.files import URL, is_path
from wavescope.models.labels import IMAGENET
from wavescope.models.sources import LoadOptions
from wavescope.models.spec import INTERPOLATIONS, WEIGHTS_ENTRY, ModelSpec, check_preprocessing
from wavescope.models.torch.backend import Built, TorchBackend
from wavescope.models.torch.checkpoints import StateDict, read_state_dicts, weights_only_loads
from wavescope.models.torch.faults import LOAD_ERRORS
from wavescope.models.torch.fitting import fit
from wavescope.models.torch.hub import (
    WEIGHTS,
    cached_hub_weights,
    hub_weights,
    is_repository,
    read_hub_model,
    timm_name,
)
from wavescope.models.torch.weights import RANDOM, check_reachable, unavailable

RANDOM_SEED = 0
# Numbers of features that models like CLIP map images to, beside texts; no data set has as many classes.
_EMBEDDINGS = frozenset((384, 512, 640, 768, 1024, 1152, 1280))

_TRANSFORMING = frozenset(("googlenet", "inception_v3"))

log = logging.getLogger(__name__)


def load_torchvision(spec: ModelSpec, options: LoadOptions) -> TorchBackend:
    """The torchvision classifier that ``spec.source`` names; errors as of :func:`build_torchvision`."""
    return TorchBackend(spec, build_torchvision(spec), threads=options.threads)


def load_timm(spec: ModelSpec, options: LoadOptions) -> TorchBackend:
    """The timm classifier that ``spec.source`` names; errors as of :func:`build_timm`."""
    return TorchBackend(spec, build_timm(spec), threads=options.threads)


def build_torchvision(spec: ModelSpec) -> Built:
    """A torchvision classifier.

    ``spec.weights`` is ``None`` (the model's default entry), an entry (``IMAGENET1K_V1``, ``DEFAULT``, or the same
    after ``ResNet50_Weights.``), the path of a file, or ``random``. Preprocessing and class names are those of the
    entry; for a file, of the default entry.

    Raises:
        RegistryInvalid: no such classifier or entry.
        WeightsUnavailable: an entry that is neither cached nor reachable, or no such file.
    """
    name = spec.reference
    classifiers = torchvision.models.list_models(module=torchvision.models)
    if name not in classifiers:
        close = _close(name, classifiers)
        raise spec.invalid(
            "source", f"torchvision has no classifier {name!r}; close: {close}", allowed=classifiers
        )
    entries = torchvision.models.get_model_weights(name)
    chosen = _chosen_entry(spec, entries)
    entry: Any = chosen or entries.DEFAULT  # type: ignore[attr-defined]
    categories = tuple(str(category) for category in entry.meta["categories"] or ())
    if not categories:
        allowed = [each.name for each in entries if each.meta["categories"]]
        raise spec.invalid(
            "weights",
            f"{entry} are weights of the features alone, without a classifier: {', '.join(allowed)}",
            allowed=allowed,
        )
    own = _from_torchvision(spec, entry)
    preprocessing = spec.preprocessing or own
    (side,) = entry.transforms().crop_size
    size = (side, side)
    if chosen is not None:
        _refuse_digest(spec)
        return Built(_torchvision_entry(spec, entry), preprocessing, categories, size=size)

    options: dict[str, Any] = {}
    if name in _TRANSFORMING and spec.weights != RANDOM:
        # Weights ported from TensorFlow, and those tuned from them, expect [-1, 1], to which the model itself takes
        # images that are normalised as for the entry; it does so only where it is asked to.
        transform = (preprocessing.mean, preprocessing.std) == (own.mean, own.std)
        options = {"transform_input": transform, "init_weights": False}

    def make() -> torch.nn.Module:
        return torchvision.models.get_model(
            name, weights=None, num_classes=_classes(spec, categories), **options
        )

    named = [*sorted(entry.name for entry in entries), "DEFAULT"]
    return Built(_random_or_file(spec, make, named), preprocessing, categories, size=size)


def build_timm(spec: ModelSpec) -> Built:
    """A timm classifier; ``spec.weights`` is ``None`` (the name's pretrained tag), a path, or ``random``.

    The name is one of timm's list, with or without a tag, or ``hf-hub:OWNER/NAME``, a repository of the hub.

    Raises:
        RegistryInvalid: no such model, or it has no classifier; or its preprocessing is one we do not have, and the
            spec declares none.
        WeightsUnavailable: weights that are neither cached nor reachable, or no such file.
    """
    if is_repository(spec.reference):
        model = read_hub_model(spec)
        name, config, labels = model.architecture, model.config, model.labels
        arguments = {**model.arguments, "pretrained_cfg": dict(config)}
    else:
        name, config = _timm_config(spec)
        arguments, labels = {}, None
    classes = int(config.get("num_classes", len(IMAGENET)))
    if spec.weights is None or spec.labels is None:
        _refuse_features(spec, classes)
    # timm names no classes; a thousand of them is ImageNet-1k.
    if labels is None and classes == len(IMAGENET):
        labels = IMAGENET
    count = len(spec.labels) if spec.weights is not None and spec.labels is not None else classes

    def make() -> torch.nn.Module:
        try:
            return timm.create_model(name, pretrained=False, **{**arguments, "num_classes": count})
        except LOAD_ERRORS as error:
            raise _not_made(spec, name, error) from error

    if spec.weights is None:
        _refuse_digest(spec)
        module = _timm_pretrained(spec, name, make)
    else:
        module = _random_or_file(spec, make, [])
    height, width = timm.data.config.resolve_model_data_config(module)["input_size"][1:]
    return Built(module, spec.preprocessing or _from_timm(spec, module), labels, size=(height, width))


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
        entry: Any = _chosen_entry(spec, entries) or entries.DEFAULT  # type: ignore[attr-defined]
    except (ValueError, RegistryInvalid):
        return None
    return _torchvision_cached(entry)


def _timm_default(spec: ModelSpec) -> Path | None:
    try:
        if is_repository(spec.reference):
            return cached_hub_weights(spec)
        config = timm.get_pretrained_cfg(timm_name(spec.reference))
    except (RuntimeError, RegistryInvalid):
        return None
    found = _timm_cached(config) if config is not None and config.hf_hub_id else None
    return None if found is None else Path(found)


def _close(name: str, names: Sequence[str]) -> list[str]:
    """Names like ``name``: first the same one in another case."""
    by_lower = {each.lower(): each for each in reversed(names)}
    return [by_lower[lower] for lower in difflib.get_close_matches(name.lower(), by_lower)]


def _chosen_entry(spec: ModelSpec, entries: Any) -> Any | None:
    """The entry of torchvision that the spec names, or the default for none; ``None`` where it names a file.

    Raises:
        RegistryInvalid: it is of another model, or there is none of that name.
    """
    if spec.weights is None:
        return entries.DEFAULT
    named = {entry.name: entry for entry in entries} | {"DEFAULT": entries.DEFAULT}
    found = WEIGHTS_ENTRY.fullmatch(spec.weights)
    if found is None:
        return named.get(spec.weights)
    if found[1] != entries.__name__ or found[2] not in named:
        allowed = [f"{entries.__name__}.{name}" for name in named]
        raise spec.invalid(
            "weights",
            f"{spec.weights!r} is none of those of {spec.reference}: {', '.join(allowed)}",
            allowed=allowed,
        )
    return named[found[2]]


def _timm_config(spec: ModelSpec) -> tuple[str, dict[str, Any]]:
    """(name, configuration) of a model of timm's list; an empty one for a model without weights."""
    name = timm_name(spec.reference)
    if not timm.is_model(name):
        close = _close(name, timm.list_models())
        raise spec.invalid("source", f"timm has no model {name!r}; close: {close}", close=close)
    try:
        config = timm.get_pretrained_cfg(name)
    except RuntimeError as error:
        architecture, _, tag = name.partition(".")
        allowed = timm.list_pretrained(f"{architecture}.*")
        raise spec.invalid(
            "source",
            f"timm has no weights {tag!r} of {architecture}: {', '.join(allowed) or 'it has none'}",
            allowed=allowed,
        ) from error
    return name, {} if config is None else config.to_dict()


def _refuse_features(spec: ModelSpec, classes: int) -> None:
    if classes == 0 or classes in _EMBEDDINGS:
        what = "no classifier" if classes == 0 else f"an embedding of {classes} numbers, no classes"
        raise spec.invalid(
            "source",
            f"the weights of {spec.source!r} have {what}; give weights with a classifier by path, and its labels",
        )


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
        if URL in weights:
            raise spec.invalid("weights", "is the address of a file: download it, and give its path")
        if not is_path(weights) and not path.exists():
            allowed = [*entries, "random", "<path>"]
            by_name = "" if entries else "; timm's own are named in the source, as timm:resnet50.a1_in1k"
            raise spec.invalid(
                "weights", f"{weights!r} is none of {', '.join(allowed)}{by_name}", allowed=allowed
            )
        found = read_state_dicts(spec, path)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(RANDOM_SEED)
        module = make()
    if found:
        fit(spec, module, found)
    return module


def _torchvision_entry(spec: ModelSpec, entry: Any) -> torch.nn.Module:
    cached = _torchvision_cached(entry)
    if not cached.is_file():
        check_reachable(spec, entry.url)
    try:
        with weights_only_loads():
            return torchvision.models.get_model(spec.reference, weights=entry, progress=False)
    except LOAD_ERRORS as error:
        raise _not_loaded(spec, cached, error) from error


def _not_loaded(spec: ModelSpec, cached: Path | None, error: Exception) -> WavescopeError:
    """The error that says why a library did not load its own weights; its text goes to the log alone."""
    log.warning("model %r: the weights of %s are not loaded: %s", spec.name, spec.source, str(error).strip())
    if cached is None or not cached.is_file():
        return unavailable(spec, "the download failed")
    found = recognise(cached)
    what = found.name if found not in (None, TORCH, SAFETENSORS) else "not those of this model, or damaged"
    return spec.invalid(
        "weights", f"the cached file {str(cached)!r} is {what}: delete it, so that it is fetched again"
    )


def _torchvision_cached(entry: Any) -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(urlsplit(entry.url).path).name


def _not_made(spec: ModelSpec, name: str, error: Exception) -> RegistryInvalid:
    """The error that says why timm does not make a model; its own text goes to the log alone."""
    if lacks_memory(logged_text(error, runtime="timm", model=spec.name)):
        return spec.invalid("source", "there is not enough memory for it")
    if not is_repository(spec.reference):
        return spec.invalid("source", f"timm {timm.__version__} does not make {name!r} here: see the log")
    return spec.invalid(
        "source",
        f"timm {timm.__version__} does not make a {name!r} of the config.json of {spec.source!r}: its model_args name"
        " an argument or a value that the architecture does not take",
    )


def _timm_pretrained(spec: ModelSpec, name: str, make: Callable[[], torch.nn.Module]) -> torch.nn.Module:
    """A module with timm's own weights; ``make`` makes it without, to tell bad arguments from bad weights."""
    if is_repository(spec.reference):
        cached: Path | None = hub_weights(spec)
        name, options = f"local-dir:{cached.parent}", {}
    else:
        config = timm.get_pretrained_cfg(name)
        options = _timm_weights(spec, config)
        cached = _timm_default(spec)
    try:
        with weights_only_loads():
            return timm.create_model(name, pretrained=True, **options)
    except LOAD_ERRORS as error:
        if is_repository(spec.reference):
            make()
        raise _not_loaded(spec, cached, error) from error


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
    return (config.hf_hub_filename,) if config.hf_hub_filename else WEIGHTS


def _timm_cached(config: Any) -> str | None:
    found = (try_to_load_from_cache(config.hf_hub_id, file) for file in _timm_files(config))
    return next((cached for cached in found if isinstance(cached, str)), None)


def _from_torchvision(spec: ModelSpec, entry: Any) -> Preprocessing:
    transform = entry.transforms()
    (crop,) = transform.crop_size
    (resize,) = transform.resize_size
    return _check_preprocessing(
        spec, (crop, crop), resize, transform.mean, transform.std, transform.interpolation.value
    )


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
    return _check_preprocessing(
        spec, (height, width), resize, config["mean"], config["std"], str(config["interpolation"])
    )


def _check_preprocessing(
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
