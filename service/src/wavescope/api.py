"""The product in this process: notebooks, scripts and the command line."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from wavescope.engine import run
from wavescope.engine.protocols import Classifier
from wavescope.engine.types import Explanation, ExplanationRequest
from wavescope.errors import InvalidRequest
from wavescope.imaging.decode import decode, prepare
from wavescope.models.labels import find_class
from wavescope.models.load import load
from wavescope.models.spec import DEFAULT_MODEL as DEFAULT_SPEC
from wavescope.models.spec import ModelSpec, find_spec
from wavescope.settings import Settings, load_registry, load_settings

DEFAULT_MODEL = DEFAULT_SPEC.name


def load_model(
    model: str | ModelSpec = DEFAULT_MODEL,
    *,
    models_file: Path | str | None = None,
    settings: Settings | None = None,
) -> Classifier:
    """Loads a model once, for any number of explanations.

    Args:
        model: a name in the registry, or a specification.
        models_file: path of the registry; ``None`` for the embedded default model.
        settings: where the cache is; ``None`` reads the environment.

    Raises:
        UnknownModel: not in the registry.
        RegistryInvalid: the registry cannot be read.
        WeightsUnavailable: the weights are neither cached nor reachable.
    """
    settings = settings or load_settings()
    spec = _find(model, models_file)
    # A replica keeps to the cores it was given; in a process of the caller's own the machine is theirs.
    return load(spec, cache_dir=settings.cache_dir, threads=spec.threads or os.cpu_count())


def explain(
    image: Any,
    *,
    model: str | ModelSpec | Classifier = DEFAULT_MODEL,
    models_file: Path | str | None = None,
    progress: Callable[[int, int], None] | None = None,
    settings: Settings | None = None,
    **fields: Any,
) -> Explanation:
    """Explains one image with one classifier, in this process.

    Args:
        image: a path, the bytes of an image file, a PIL image, or an array: (h, w), (h, w, 3) or (h, w, 4), uint8 or
            floats in [0, 1].
        model: a name in the registry, a specification, or a model that ``load_model`` returned.
        models_file: path of the registry, for a name.
        progress: called with (forwards done, forwards in all) after every device batch.
        settings: limits and directories; ``None`` reads the environment.
        **fields: of :class:`wavescope.ExplanationRequest`, such as ``target="lynx"`` or ``nb_design=16``.

    Raises:
        InvalidRequest: names the field that is wrong.
        NotAnImage, ImageTooLarge: the image cannot be used.
        UnknownModel, RegistryInvalid, WeightsUnavailable: see :func:`load_model`.

    Example:
        >>> explanation = wavescope.explain("lynx.jpg", levels=4)
        >>> [(level.scale_px, round(level.share, 2)) for level in explanation.levels]
    """
    settings = settings or load_settings()
    request = _request(fields)
    classifier = (
        load_model(model, models_file=models_file, settings=settings)
        if isinstance(model, str | ModelSpec)
        else model
    )
    details = classifier.details
    if isinstance(image, str | Path):
        image = _read(Path(image))
    picture = (
        decode(bytes(image), details.preprocessing, max_pixels=settings.max_pixels)
        if isinstance(image, bytes | bytearray | memoryview)
        else prepare(image, details.preprocessing, max_pixels=settings.max_pixels)
    )
    if request.target is not None:
        request = replace(request, target=find_class(request.target, details.labels))
    return run.explain(
        picture,
        request,
        classifier,
        identity=uuid.uuid4().hex,
        max_forwards=settings.max_forwards,
        progress=progress,
    )


def _request(fields: dict[str, Any]) -> ExplanationRequest:
    unknown = sorted(set(fields) - set(ExplanationRequest.__dataclass_fields__))
    if unknown:
        known = ", ".join(ExplanationRequest.__dataclass_fields__)
        raise InvalidRequest(f"unknown field {unknown[0]!r}; known: {known}", field=unknown[0])
    return ExplanationRequest(**fields)


def _find(model: str | ModelSpec, models_file: Path | str | None) -> ModelSpec:
    if isinstance(model, ModelSpec):
        return model
    return find_spec(load_registry(None if models_file is None else Path(models_file)), model)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidRequest(
            f"image {str(path)!r} cannot be read: {error.strerror}", field="image"
        ) from error
