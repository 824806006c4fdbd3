"""Classifiers of torchvision and timm, and programs in files, run by torch on a CPU or a GPU."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float32

from wavescope.engine.types import ModelDetails, Outputs, Preprocessing
from wavescope.errors import ModelFailure, NoGradients
from wavescope.models.backend import (
    PROBE_ROWS,
    as_classes,
    by_pixels,
    check_mode,
    check_scores,
    class_names,
    in_batches,
    of_classes,
    outputs_of,
    probe_images,
    threshold_of,
)
from wavescope.models.faults import lacks_memory, logged_text, run_reason
from wavescope.models.revision import revision
from wavescope.models.spec import ModelSpec
from wavescope.models.torch.device import FixedBatch, RenderStream, fetch, fixed_batch, to_tensor
from wavescope.models.torch.faults import RUNTIME, probe_refusal
from wavescope.models.torch.outputs import NoScoresError
from wavescope.models.torch.weights import weights_digest

CPU_BATCH_SIZE = 8
CUDA_BATCH_SIZE = 64

# Nearer to 0 or 1 a probability in float32 may have no slope.
SATURATED = 1e-4
_FLAT = "its outputs vary, and have a slope of 0 by every pixel, as where they are rounded or detached"
_UNKNOWN_OPERATOR = "torch does not differentiate one of its operators"
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# float16 on a CPU is emulated in places and slower than float32.
_CPU_PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True, slots=True)
class Built:
    """A module with its weights, and what they say of themselves.

    Attributes:
        module: maps images to raw outputs.
        labels: ``None`` where the weights name no classes.
        program: it came whole from a file: its layout and mode are those it was saved in.
        max_rows: that the module takes at once; ``None`` for any number.
        size: (height, width) of the images that the weights are for, where they say so.
    """

    module: torch.nn.Module
    preprocessing: Preprocessing
    labels: tuple[str, ...] | None
    program: bool = False
    max_rows: int | None = None
    size: tuple[int, int] | None = None


class OnCopies(torch.nn.Module):
    """A module that writes into its input, on copies: images are scored again, and leaves of a graph differentiated.

    Args:
        run: the module.
    """

    def __init__(self, run: torch.nn.Module) -> None:
        super().__init__()
        self._run = run

    def forward(self, images: Float32[torch.Tensor, "n c h w"]) -> Float32[torch.Tensor, "n classes"]:
        return self._run(images.clone())


class TorchBackend:
    """A torch module that maps (n, c, h, w) to (n, classes), in evaluation mode.

    On a GPU one batch of ``details.batch_size`` is recorded when the model is loaded, as a CUDA graph or else compiled,
    and replayed for every batch, smaller ones too; ``details.runtime`` says so. On a CPU, scores of an image may differ
    in the last float32 digits between batch sizes, for torch picks other kernels.

    Args:
        spec: of the model; ``device``, ``precision``, ``batch_size`` and ``labels`` are honoured. Weights stay float32
            in every precision; ``bfloat16`` and ``float16`` are autocast.
        built: the module and what its weights say of themselves.
        threads: of torch's pool in this process; ``None`` leaves it, unless the spec states a number.

    Raises:
        RegistryInvalid: device or precision cannot be had, or the module is not a classifier as declared.
    """

    def __init__(self, spec: ModelSpec, built: Built, *, threads: int | None = None) -> None:
        self._device = torch_device(spec)
        self._dtype = _precision(spec, self._device)
        if threads or spec.threads:
            torch.set_num_threads(spec.cpu_threads(threads))
        # The layout of tensor cores, and of oneDNN's convolutions: measured on a CPU, a ResNet-18 gains a quarter and a
        # ViT loses nothing. float32 convolutions on a GPU use no tensor cores, and have better kernels without it.
        plain = built.program or (self._device.type == "cuda" and self._dtype == torch.float32)
        self._layout = torch.contiguous_format if plain else torch.channels_last
        # A program's file is pinned by its digest, of which the weights are a part.
        pinned = f"{spec.sha256} {spec.output}" if spec.output is not None else str(spec.sha256)
        content = pinned if built.program else f"{spec.source} {weights_digest(built.module)}"
        module = built.module if built.program else built.module.eval()  # a program's mode cannot be changed
        module = module.requires_grad_(False)
        self._module = module.to(self._device).to(memory_format=self._layout)
        self._name = spec.name
        self._batch_size = spec.batch_size or (
            CPU_BATCH_SIZE if self._device.type == "cpu" else CUDA_BATCH_SIZE
        )
        if built.max_rows is not None:
            self._batch_size = min(self._batch_size, built.max_rows)
        scores = self._probe(spec, built)
        outputs = spec.returned
        warnings = check_scores(spec, outputs, scores)
        self._outputs: Outputs = outputs
        self._stream = RenderStream(self._device)
        way, self._fixed = self._record(built.preprocessing.shape) or ("", None)
        details = ModelDetails(
            name=spec.name,
            preprocessing=built.preprocessing,
            outputs=outputs_of(outputs, scores.shape[1]),
            labels=class_names(spec, scores.shape[1], built.labels),
            device=str(self._device),
            precision=spec.precision,
            runtime=f"torch {torch.__version__}" + (f", {way}" if way else ""),
            batch_size=self._batch_size,
            threshold=threshold_of(spec, scores.shape[1]),
            warnings=warnings,
            no_gradients=None,
        )
        if built.program:
            details = replace(details, no_gradients=self._no_gradients(details, scores))
        self._details = revision(details, content)

    @property
    def details(self) -> ModelDetails:
        """Details of the model."""
        return self._details

    def to_device(self, array: np.ndarray) -> torch.Tensor:
        """``array`` as a tensor on the model's device; its dtype is kept."""
        return to_tensor(array, self._device)

    def forward(self, images: Float32[torch.Tensor, "n c h w"]) -> Float32[torch.Tensor, "n classes"]:
        """The raw outputs of normalised images, at most ``details.batch_size`` of them at once.

        Raises:
            ModelFailure: torch failed, for instance for want of memory.
        """
        try:
            scores = in_batches(images, self._batch_size, self._fixed or self._run, torch.cat)
            return as_classes(scores, self._outputs)
        except RuntimeError as error:
            raise ModelFailure(
                f"model {self._name!r} failed to run: {run_reason(error, runtime=RUNTIME, model=self._name)}"
            ) from error

    def gradients(
        self, images: Float32[torch.Tensor, "n c h w"], weights: Float32[torch.Tensor, "n classes"]
    ) -> tuple[Float32[torch.Tensor, "n classes"], Float32[torch.Tensor, "n c h w"]]:
        """Raw outputs, and derivatives of a weighted sum of them by the pixels in [0, 1].

        By autograd, at most ``details.batch_size`` images at once, whose activations are kept meanwhile; never by the
        recorded batch. Equal images have equal bits, on a GPU too.

        Raises:
            ModelFailure: torch does not differentiate one of its operators, or failed, for instance for want of
                memory.
        """
        if self.details.threshold is not None:
            weights = of_classes(weights, self._outputs)
        try:
            runs = [
                self._differentiate(
                    images[start : start + self._batch_size], weights[start : start + self._batch_size]
                )
                for start in range(0, images.shape[0], self._batch_size)
            ]
        except RuntimeError as error:
            raise ModelFailure(
                f"model {self._name!r} failed to run: {run_reason(error, runtime=RUNTIME, model=self._name)}"
            ) from error
        scores, found = (torch.cat(parts) for parts in zip(*runs, strict=True))
        return as_classes(scores, self._outputs), by_pixels(found, self.details.preprocessing)

    def _differentiate(
        self, images: torch.Tensor, weights: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.inference_mode(False), torch.enable_grad(), self._numbers(deterministic=True):
            # What was made in inference mode cannot be differentiated; a copy can.
            given = images.clone().requires_grad_()
            scores = self._module(given).float()
            if not scores.requires_grad:
                raise NoGradients(
                    f"model {self._name!r} has no gradients: {_UNKNOWN_OPERATOR}", reason=_UNKNOWN_OPERATOR
                )
            (found,) = torch.autograd.grad(scores, given, weights.clone())
        return scores.detach(), found

    def _no_gradients(self, details: ModelDetails, scores: np.ndarray) -> str | None:
        """Reason why a program has no gradients, which two images of noise show; ``None`` where it has some.

        Args:
            details: of the program.
            scores: its raw outputs for the images that it was tried with.
        """
        noise = self.to_device(probe_images(details.preprocessing)[:2])
        # Of equal weights the outputs of a softmax have none.
        weights = torch.linspace(1, 2, scores.shape[1], device=self._device)[None, :]
        try:
            flat = all(not self._differentiate(image, weights)[1].any() for image in noise.split(1))
        except NoGradients:
            return _UNKNOWN_OPERATOR
        except RuntimeError as error:
            if lacks_memory(logged_text(error, runtime=RUNTIME, model=self._name)):
                return None  # as any other batch may, later
            return _UNKNOWN_OPERATOR
        # A probability that is rounded to 0 or 1 is flat there alone.
        inner = np.minimum(scores[:2], 1 - scores[:2])
        moves = details.outputs == "logits" or bool((inner > SATURATED).any(axis=1).all())
        return _FLAT if flat and moves and not np.array_equal(scores[0], scores[1]) else None

    def rendering(self) -> AbstractContextManager[None]:
        """Context in which the next batch is rendered, on a GPU while the model still scores the last.

        The buffer of the last ``forward`` may be written to within. All that renders belongs within, building the
        renderer too.
        """
        return self._stream.entered(self._fixed.read if self._fixed else None)

    def fetch(self, array: torch.Tensor) -> Callable[[], np.ndarray]:
        """Starts the copy of results to the host; the function returned waits for it, not for later batches."""
        return fetch(array)

    def _run(self, images: torch.Tensor) -> torch.Tensor:
        with self._mode():
            return self._module(images).float()

    @contextlib.contextmanager
    def _mode(self) -> Iterator[None]:
        with torch.inference_mode(), self._numbers():
            yield

    @contextlib.contextmanager
    def _numbers(self, *, deterministic: bool = False) -> Iterator[None]:
        """The number format of a run."""
        with contextlib.ExitStack() as stack:
            if self._dtype != torch.float32:
                # Casts that a graph captures must not be those that an earlier run left in the cache.
                cached = self._device.type != "cuda"
                stack.enter_context(
                    torch.autocast(self._device.type, dtype=self._dtype, cache_enabled=cached)
                )
            elif self._device.type == "cuda":
                # cuDNN's default for float32 convolutions is TF32, which keeps 10 bits of mantissa.
                stack.enter_context(
                    torch.backends.cudnn.flags(enabled=True, allow_tf32=False, deterministic=deterministic)
                )
            yield

    def _record(self, shape: tuple[int, int, int]) -> tuple[str, FixedBatch] | None:
        if self._device.type != "cuda":
            return None
        images = torch.zeros((self._batch_size, *shape), device=self._device)
        images = images.contiguous(memory_format=self._layout)
        return fixed_batch(self._module, images, self._mode, name=self._name)

    def _probe(self, spec: ModelSpec, built: Built) -> np.ndarray:
        def score(images: torch.Tensor) -> np.ndarray:
            return in_batches(images, self._batch_size, self._run, torch.cat).cpu().numpy()

        def run(images: np.ndarray) -> np.ndarray:
            return score(self.to_device(images))

        images = probe_images(built.preprocessing)
        try:
            given = self.to_device(images).clone()
            scores = score(given)
            if not torch.equal(given, self.to_device(images)):
                self._module = OnCopies(self._module)
                scores = run(images)
        except NoScoresError as error:
            raise spec.invalid(
                "source" if spec.output is None else "output", f"not a classifier: {error}"
            ) from error
        except (RuntimeError, ValueError, TypeError, AssertionError, LookupError, AttributeError) as error:
            raise probe_refusal(spec, built.module, built.preprocessing.shape, built.size, error) from error
        if scores.ndim != 2 or scores.shape[0] != PROBE_ROWS:
            raise spec.invalid(
                "source",
                f"not a classifier: {PROBE_ROWS} images gave an output of {tuple(scores.shape)}, not (n, classes)",
            )
        if built.program:  # the mode of a module is set here
            check_mode(spec, run, images, scores)
        return scores


def torch_device(spec: ModelSpec) -> torch.device:
    """The device that ``spec`` names.

    Raises:
        RegistryInvalid: torch does not see it.
    """
    if spec.device == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    if not spec.device.startswith("cuda"):
        return torch.device("cpu")
    index = int(spec.device.partition(":")[2] or 0)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if index >= count:
        allowed = ["auto", "cpu", *(f"cuda:{index}" for index in range(count))]
        raise spec.invalid(
            "device", f"{spec.device!r} cannot be had, torch sees {count} GPUs here", allowed=allowed
        )
    return torch.device("cuda", index)


def _precision(spec: ModelSpec, device: torch.device) -> torch.dtype:
    allowed = ["float32", "float16", "bfloat16"]
    if device.type == "cpu":
        allowed = list(_CPU_PRECISIONS)
    elif not torch.cuda.is_bf16_supported(including_emulation=False):
        allowed.remove("bfloat16")
    if spec.precision not in allowed:
        raise spec.invalid(
            "precision",
            f"{spec.precision} is not supported on {device}: {', '.join(allowed)}",
            allowed=allowed,
        )
    return _DTYPES[spec.precision]
