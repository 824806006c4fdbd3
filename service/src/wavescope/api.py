"""The product in this process: notebooks, scripts and the command line."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from wavescope.engine import run
from wavescope.engine.checks import check_limits
from wavescope.engine.events import NULL_LISTENER, NullListener
from wavescope.engine.explain import ResolvedRequest
from wavescope.engine.monitors import watching
from wavescope.engine.monitors.watch_plan import REFERENCE, make_plan
from wavescope.engine.monitors.watching import WatchEvent
from wavescope.engine.protocols import Classifier
from wavescope.engine.requests import make_request
from wavescope.engine.types import Explanation, ExplanationRequest, Target
from wavescope.engine.values import plain_fields, plain_target, plain_targets
from wavescope.errors import InvalidRequest, ModelChanged
from wavescope.imaging.arguments import read_argument
from wavescope.imaging.limits import ImageLimits
from wavescope.imaging.source import ImageSource
from wavescope.imaging.watched import open_images
from wavescope.models.cores import usable_cores
from wavescope.models.labels import find_target
from wavescope.models.load import load
from wavescope.models.model_cache import KeptModels
from wavescope.models.spec import ModelSpec, find_spec
from wavescope.settings import Settings, load_registry, load_settings

_kept = KeptModels(1)


def keep_models(count: int) -> None:
    """Set the number of models that :func:`explain` and :func:`explain_batch` keep loaded between calls; at first one.

    A kept model is loaded anew when its entry in the registry or a file of its weights has changed. Those that are too
    many, the longest unused first, are given up at once, or by the calls that still use them: ``keep_models(0)`` frees
    all. Models of :func:`load_model` are the caller's own, and none of these.

    Args:
        count: at least 0.

    Raises:
        InvalidRequest: it is less.
    """
    if count < 0:
        raise InvalidRequest(f"count is {count}, it must be at least 0", field="count", minimum=0)
    _kept.keep(count)


def load_model(
    model: str | ModelSpec | None = None,
    *,
    models_file: Path | str | None = None,
    settings: Settings | None = None,
) -> Classifier:
    """Loads a model, for any number of explanations; the caller's own for as long as they refer to it.

    Args:
        model: a name in the registry, or a specification; ``None`` for the only model of the registry, or, where it has
            several, the one called ``efficientnet-lite0``.
        models_file: path of the registry; ``None`` for the embedded default model.
        settings: where the cache is; ``None`` reads the environment.

    Raises:
        InvalidRequest: ``model`` is neither.
        UnknownModel: not in the registry.
        RegistryInvalid: the registry cannot be read.
        WeightsUnavailable: the weights are neither cached nor reachable.
    """
    spec = _find(model, models_file)
    return load(spec, **_loading(spec, settings or load_settings()))


def explain(
    image: Any,
    *,
    other: Any = None,
    model: str | ModelSpec | Classifier | None = None,
    models_file: Path | str | None = None,
    progress: Callable[[int, int], None] | None = None,
    settings: Settings | None = None,
    **fields: Any,
) -> Explanation:
    """Explains one image with one classifier, in this process.

    Args:
        image: a path, the bytes of an image file or the file opened in binary mode, a PIL image, or an array or tensor:
            (h, w), (h, w, 1), (h, w, 3) or (h, w, 4), of bool, uint8, uint16 (white is 65535) or floats in [0, 1].
            Integers of another type have no declared white: a warning says which number was taken for it.
        other: the image that kind ``compare`` compares with.
        model: a name in the registry, a ``wavescope.models.spec.ModelSpec``, or a model that ``load_model`` returned;
            ``None`` for the only model of the registry, or, where it has several, the one called
            ``efficientnet-lite0``. The last one loaded by name or specification is kept: see :func:`keep_models`.
        models_file: path of the registry, for a name.
        progress: called with (forwards done, forwards in all) after every device batch; an adaptive plan or a deadline
            may take fewer.
        settings: limits and directories; ``None`` reads the environment.
        **fields: of :class:`wavescope.ExplanationRequest`, such as ``kind="fam"``, ``target="lynx"``,
            ``nb_design=16``, or ``plan="adaptive"`` with ``max_forwards=2000``; and ``deadline_s=2``.

    Raises:
        InvalidRequest: names the field that is wrong.
        NotAnImage, ImageTooLarge: the image cannot be used.
        UnknownModel, RegistryInvalid, WeightsUnavailable: see :func:`load_model`.
        DeadlineExceeded: ``deadline_s`` was over before there was any result.

    Usage:
        explanation = wavescope.explain("lynx.jpg", levels=4)
        print([(level.scale_px, round(level.share, 2)) for level in explanation.levels])
    """
    target = plain_target(fields.pop("target", None), "target")
    images = [image] if other is None else [image, other]
    return _explain(
        images,
        [[target]],
        fields,
        names=("image", "other")[: len(images)],
        model=model,
        models_file=models_file,
        progress=progress,
        settings=settings,
    )[0]


def explain_batch(
    images: Sequence[Any],
    targets: Sequence[Any] | None = None,
    *,
    model: str | ModelSpec | Classifier | None = None,
    models_file: Path | str | None = None,
    progress: Callable[[int, int], None] | None = None,
    settings: Settings | None = None,
    **fields: Any,
) -> list[Explanation]:
    """Explains several images, each for one or more classes; further classes of an image cost no forwards.

    Every image has the numbers of :func:`explain`, but for a ``deadline_s``, which the images share. So has every class
    with plan ``full`` and with kind ``wam``. With plan ``adaptive`` the first class of an image has: its score decides
    what is scored, and further classes are explained from the same rows.

    Args:
        images: each as :func:`explain` takes it.
        targets: for every image a class, ``None`` for its predicted class, or a list or array of these; ``None``
            explains the predicted class of every image.
        model, models_file, progress, settings, **fields: as :func:`explain`.

    Returns:
        The explanations, image by image and target by target.

    Raises:
        InvalidRequest: as :func:`explain`, or there are not as many entries of targets as images.
    """
    if "target" in fields:
        raise InvalidRequest("a batch has targets, one entry per image, not target", field="target")
    _check_sequence(images, "images")
    if targets is None:
        targets = [None] * len(images)
    _check_sequence(targets, "targets")
    if len(images) != len(targets) or len(images) == 0:
        raise InvalidRequest(
            f"a batch has one entry of targets per image; there are {len(images)} images and {len(targets)} targets",
            field="targets",
        )
    listed = [plain_targets(entry, f"targets[{place}]") for place, entry in enumerate(targets)]
    return _explain(
        list(images),
        listed,
        fields,
        names=tuple(f"images[{place}]" for place in range(len(images))),
        model=model,
        models_file=models_file,
        progress=progress,
        settings=settings,
    )


def watch(
    images: Iterable[Any],
    reference: Sequence[Any] | int = REFERENCE,
    *,
    model: str | ModelSpec | Classifier | None = None,
    models_file: Path | str | None = None,
    settings: Settings | None = None,
    **fields: Any,
) -> Iterator[WatchEvent]:
    """Watches images for change, in this process; yields an event wherever something changes, and one at their end.

    Args:
        images: in order, each as :func:`explain` takes it; they may come for ever. Of files, the time is that of their
            last change. One that cannot be read or decoded is an observation too.
        reference: images on which all was well, at least 130, whose order means nothing: it is drawn from ``seed``.
            Or how many of the first of ``images`` they are.
        model, models_file, settings: as :func:`explain`; a model by name is loaded anew.
        **fields: of :class:`wavescope.engine.monitors.watching.WatchPlan`: ``mean_observations``, ``profile_rate``,
            ``reference_s``, ``max_reference``, ``seed``.

    Raises:
        InvalidRequest: names the field that is wrong, such as a reference that is too small.
        UnknownModel, RegistryInvalid, WeightsUnavailable: see :func:`load_model`.

    Usage:
        for event in wavescope.watch(sorted(Path("today").iterdir()), list(Path("clean").iterdir())):
            print(event.name, event.label, event.summary.verdict)
    """
    settings = settings or load_settings()
    classifier = (
        model
        if isinstance(model, Classifier)
        else load_model(model, models_file=models_file, settings=settings)
    )
    limits = ImageLimits(settings.max_pixels, settings.max_frames)
    stream = open_images(images, "images", classifier.details.preprocessing, limits)
    if not isinstance(reference, int):
        _check_sequence(reference, "reference")
        reference = list(open_images(reference, "reference", classifier.details.preprocessing, limits))
    plan = make_plan(fields)
    return watching.watch(classifier, stream, reference, plan, max_forwards=settings.max_forwards)


def _explain(
    images: list[Any],
    targets: list[list[Target]],
    fields: dict[str, Any],
    *,
    names: tuple[str, ...],
    model: str | ModelSpec | Classifier | None,
    models_file: Path | str | None,
    progress: Callable[[int, int], None] | None,
    settings: Settings | None,
) -> list[Explanation]:
    settings = settings or load_settings()
    request = _request(fields)
    opened = [read_argument(image, name) for image, name in zip(images, names, strict=True)]

    def explained(classifier: Classifier) -> list[Explanation]:
        return _explained(opened, targets, request, classifier, names, settings, progress)

    if isinstance(model, Classifier):
        return explained(model)
    spec = _find(model, models_file)
    try:
        with _kept.lent(spec, **_loading(spec, settings)) as classifier:
            return explained(classifier)
    except ModelChanged:
        # Served elsewhere, and updated there, maybe since the last explanation: once more, with what is there now.
        with _kept.lent(spec, **_loading(spec, settings)) as classifier:
            return explained(classifier)


def _explained(
    images: list[Any],
    targets: list[list[Target]],
    request: ExplanationRequest,
    classifier: Classifier,
    names: tuple[str, ...],
    settings: Settings,
    progress: Callable[[int, int], None] | None,
) -> list[Explanation]:
    listener = NULL_LISTENER if progress is None else _Counting(progress)
    details = classifier.details
    resolved = ResolvedRequest(
        replace(request, against=find_target(request.against, details.labels, "against")),
        tuple(tuple(find_target(target, details.labels) for target in entry) for entry in targets),
        tuple(uuid.uuid4().hex for entry in targets for _ in entry),
        names,
    )
    # However long decoding takes: it is the caller's own process.
    limits = ImageLimits(settings.max_pixels, settings.max_frames)
    return list(
        run.explain_many(
            [
                ImageSource(
                    image,
                    details.preprocessing,
                    limits=limits,
                )
                for image in images
            ],
            resolved,
            classifier,
            max_forwards=settings.max_forwards,
            listener=listener,
        )
    )


class _Counting(NullListener):
    """Counts the forwards for a callback."""

    def __init__(self, progress: Callable[[int, int], None]) -> None:
        self._progress = progress
        self._done = self._planned = 0

    def planned(self, forwards: int) -> None:
        self._planned = forwards

    def scored(self, image_count: int) -> None:
        self._done += image_count
        self._progress(self._done, self._planned)


def _request(fields: dict[str, Any]) -> ExplanationRequest:
    unknown = sorted(set(fields) - set(ExplanationRequest.__dataclass_fields__))
    if unknown:
        known = ", ".join(ExplanationRequest.__dataclass_fields__)
        raise InvalidRequest(f"unknown field {unknown[0]!r}; known: {known}", field=unknown[0])
    against = plain_target(fields.get("against"), "against")
    others = {name: value for name, value in fields.items() if name != "against"}
    request = make_request(against=against, **plain_fields(others))
    check_limits(request)  # before a model is loaded for it
    return request


def _check_sequence(given: Any, field: str) -> None:
    """Refuse one image or one class where there is to be one entry per image.

    Raises:
        InvalidRequest: it is no sequence, or would be taken apart into letters or rows of pixels.
    """
    wanted = f"{field} must be a sequence with one entry per image"
    shape = getattr(given, "shape", None)
    if shape is not None and len(shape) < (4 if field == "images" else 1):
        shown = ", ".join(map(str, shape))
        raise InvalidRequest(
            f"{wanted}, or an array of shape (images, height, width, channels); this array has the shape ({shown})"
            if field == "images"
            else f"{wanted}, not one number",
            field=field,
        )
    if isinstance(given, str | bytes | bytearray | memoryview) or not hasattr(given, "__len__"):
        raise InvalidRequest(f"{wanted}, not {type(given).__name__}", field=field)


def _loading(spec: ModelSpec, settings: Settings) -> dict[str, Any]:
    """Options of loading besides the specification."""
    return {
        "cache_dir": settings.cache_dir,
        # A replica keeps to the cores it was given; in a process of the caller's own these are all it may use.
        "threads": spec.threads or max(1, math.ceil(usable_cores())),
        "remote_hosts": settings.remote_hosts,
    }


def _find(model: str | ModelSpec | None, models_file: Path | str | None) -> ModelSpec:
    if isinstance(model, ModelSpec):
        return model
    if model is not None and not isinstance(model, str):
        raise InvalidRequest(
            "model must be a name in the registry, a ModelSpec, or a model that wavescope.load_model returned, not "
            f"{type(model).__name__}; export a network to a file (torch.onnx.export, torch.export.save), and give "
            "ModelSpec(name='NAME', source='onnx:FILE', …)",
            field="model",
        )
    return find_spec(load_registry(None if models_file is None else Path(models_file)), model)
