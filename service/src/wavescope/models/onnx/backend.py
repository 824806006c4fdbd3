"""Classifiers in ONNX files, run by ONNX Runtime. On a CPU torch is never imported: a replica stays under 200 MB."""

from __future__ import annotations

import threading
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32

from wavescope.core.arrays import Array, namespace
from wavescope.engine.types import ModelDetails, Outputs, Preprocessing
from wavescope.errors import ModelFailure, NoGradients
from wavescope.models.backend import (
    as_classes,
    by_pixels,
    check_file,
    check_mode,
    check_scores,
    class_names,
    in_batches,
    of_classes,
    outputs_of,
    probe_images,
    threshold_of,
)
from wavescope.models.faults import run_reason
from wavescope.models.file_types import ONNX, check_type
from wavescope.models.files import identity
from wavescope.models.onnx.external_files import check_external_files, quantises_batches, referenced_files
from wavescope.models.onnx.faults import LOAD_ERRORS, RUN_ERRORS, RUNTIME, load_reason
from wavescope.models.onnx.operators import NoGradientError, check_operators, read_operators
from wavescope.models.onnx.probe import Signature, probe
from wavescope.models.onnx.runtime import ort
from wavescope.models.onnx.signature import read_inputs, read_outputs
from wavescope.models.revision import file_digest, revision
from wavescope.models.sources import LoadOptions
from wavescope.models.spec import ModelSpec

if TYPE_CHECKING:
    from wavescope.models.onnx.binding import Binding
    from wavescope.models.onnx.gradient_session import GradientSession

# Measured with EfficientNet-Lite0 on 2 threads: 4, 8 and 16 images per run give the same throughput within noise
# (1 image: 15 % less) at 135, 168 and 245 MB resident.
CPU_BATCH_SIZE = 4
CUDA_BATCH_SIZE = 64
# Measured with EfficientNet-Lite0: 1 to 8 images per run take the same time each, that of three forwards. With 2 the
# process takes 155 MB more than without gradients, with 4 213 MB.
CPU_GRADIENT_ROWS = 2
SIGNATURE_ROWS = 2  # images that show which axis the batch is
_NO_PACKAGE = "the package onnx, by which its graph is read, is not installed: install wavescope[onnx]"
CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"
# By the word in ``device``.
_PROVIDERS = {"cuda": CUDA, "tensorrt": TENSORRT}


class OnnxBackend:
    """A classifier in an ONNX file: one input (n, c, h, w) or (n, h, w, c), and an output (n, classes).

    The input is of floats, or of uint8: then images are pixel values, rounded, and what lies outside [0, 1] is clipped.
    The batch axis may be free or fixed; rows are padded up to a fixed one, and for TensorRT, which builds an engine per
    shape. On a GPU that torch sees too, images are tensors that never leave it. On a CPU, an image's scores have the
    same bits whatever batch it is in and however many threads there are (tested for the embedded model).

    Args:
        spec: of the model; ``device``, ``batch_size``, ``labels``, ``sha256``, ``input_layout`` and ``output`` are
            honoured.
        path: of the ONNX file.
        preprocessing: what its input expects.
        outputs: what its output is.
        labels: class names the weights are known to have, used where the spec names none.
        threads: of ONNX Runtime's pool; ``None`` takes the spec's.
        field: of the specification that names the file, for messages.

    Raises:
        WeightsUnavailable: there is no such file.
        RegistryInvalid: the file is not a classifier as declared, or the device cannot be had.
    """

    def __init__(
        self,
        spec: ModelSpec,
        path: Path,
        *,
        preprocessing: Preprocessing,
        outputs: Outputs,
        labels: tuple[str, ...] | None = None,
        threads: int | None = None,
        field: str = "source",
    ) -> None:
        check_type(spec, path, field=field, expected=(ONNX,))
        check_file(spec, path, field=field)
        referenced = referenced_files(path)
        external = [file for file in referenced if file.is_file()]
        if spec.sha256 is not None and external:
            names = ", ".join(file.name for file in external)
            raise spec.invalid("sha256", f"covers {path.name!r} alone, which keeps weights in {names}")
        check_external_files(spec, path, referenced, field=field)
        self._spec = spec
        self._threads = spec.cpu_threads(threads)
        self._session, device = _open(spec, path, threads=self._threads, field=field)
        batch_size = spec.batch_size or (CPU_BATCH_SIZE if device == "cpu" else CUDA_BATCH_SIZE)
        tensorrt = self._session.get_providers()[0] == TENSORRT
        # TensorRT builds an engine for minutes for each number of rows.
        self._signature = self._probed(
            _noise(preprocessing, batch_size if tensorrt else SIGNATURE_ROWS), preprocessing
        )
        self._fixed_batch = self._signature.input.rows
        self._batch_size = self._fixed_batch or (1 if quantises_batches(path) else batch_size)
        if tensorrt:
            self._fixed_batch = self._batch_size
        self._binding: Binding | None = None
        images = probe_images(preprocessing)
        scores = self._raw(images)
        warnings = check_scores(spec, outputs, scores)
        check_mode(spec, self._raw, images, scores)
        self._outputs: Outputs = outputs
        details = ModelDetails(
            name=spec.name,
            preprocessing=preprocessing,
            outputs=outputs_of(outputs, scores.shape[1]),
            labels=class_names(spec, scores.shape[1], labels),
            device=device,
            precision=self._precision(),
            runtime=self._runtime(tensorrt=tensorrt),
            batch_size=self._batch_size,
            threshold=threshold_of(spec, scores.shape[1]),
            warnings=warnings,
            no_gradients=_no_gradients(path, self._signature),
        )
        self._gradients: GradientSession | None = None
        self._differentiating = threading.Lock()
        self._file = path, identity(path)
        self._details = revision(details, file_digest(path, *external) + self._choices())
        if device != "cpu":
            self._binding = self._bind(device)

    @property
    def details(self) -> ModelDetails:
        """Details of the model."""
        return self._details

    @property
    def session(self) -> ort.InferenceSession:
        """The session itself: benchmarks run it bare."""
        return self._session

    @property
    def signature(self) -> Signature:
        """The input and output that it uses."""
        return self._signature

    def to_device(self, array: np.ndarray) -> Array:
        """``array`` itself, which ONNX Runtime copies by itself; with torch on a GPU, a tensor there."""
        return np.asarray(array) if self._binding is None else self._binding.to_device(array)

    def forward(self, images: Float32[Array, "n c h w"]) -> Float32[Array, "n classes"]:
        """The raw outputs of normalised images, at most ``details.batch_size`` of them per run.

        Raises:
            ModelFailure: ONNX Runtime failed, for instance for want of memory.
        """
        return as_classes(self._raw(images), self._outputs)

    def gradients(
        self, images: Float32[Array, "n c h w"], weights: Float32[Array, "n classes"]
    ) -> tuple[Float32[Array, "n classes"], Float32[Array, "n c h w"]]:
        """Raw outputs, and derivatives of a weighted sum of them by the pixels in [0, 1], through the host's memory.

        Raises:
            ModelFailure: an operation of its graph has no derivative here; ONNX Runtime failed; or the file was
                replaced meanwhile.
        """
        given, weighted = (_to_host(array) for array in (images, weights))
        if self.details.threshold is not None:
            weighted = of_classes(weighted, self._outputs)
        try:
            session = self._gradient_session()
            runs = [
                session.run(given[start : start + session.rows], weighted[start : start + session.rows])
                for start in range(0, len(given), session.rows)
            ]
        except (*RUN_ERRORS, *LOAD_ERRORS) as error:
            raise self._failure(error) from error
        scores, found = (np.concatenate(parts) for parts in zip(*runs, strict=True))
        outputs = as_classes(scores, self._outputs)
        pixels = by_pixels(found, self.details.preprocessing)
        if self._binding is None:
            return outputs, pixels
        return self._binding.to_device(outputs), self._binding.to_device(pixels)

    def _gradient_session(self) -> GradientSession:
        """Session of the gradients, made when the first is asked for: only then is ``onnx`` imported.

        Raises:
            ModelFailure: there are none; says why.
        """
        with self._differentiating:
            if self._gradients is None:
                self._gradients = self._differentiate()
            return self._gradients

    def _differentiate(self) -> GradientSession:
        if self.details.no_gradients is not None:
            raise self._without_gradients(self.details.no_gradients)
        try:
            from wavescope.models.onnx.gradient import differentiate
            from wavescope.models.onnx.gradient_session import GradientSession
        except ImportError as missing:
            raise self._without_gradients(_NO_PACKAGE) from missing
        path, _ = self._file
        taken, preprocessing = self._signature.input, self.details.preprocessing
        shape = (
            preprocessing.shape
            if taken.layout == "nchw"
            else (*preprocessing.shape[1:], preprocessing.shape[0])
        )
        self._check_unchanged()
        try:
            appended = differentiate(
                path, images=taken.name, shape=shape, scores=self._signature.output, rows=taken.rows
            )
        except NoGradientError as error:
            raise self._without_gradients(str(error)) from error
        content = path.read_bytes() if path.is_file() else b""
        self._check_unchanged()
        options = _options(self._threads)
        options.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", str(path.parent)
        )
        # TensorRT would build an engine for minutes.
        providers = [name for name in self._session.get_providers() if name != TENSORRT]
        chosen = [(name, self._session.get_provider_options()[name]) for name in providers]
        session = ort.InferenceSession(content + appended, options, providers=chosen)
        rows = taken.rows or (
            min(self._batch_size, CPU_GRADIENT_ROWS) if self._binding is None else self._batch_size
        )
        return GradientSession(session, self._signature, rows=rows, fixed=taken.rows is not None)

    def _check_unchanged(self) -> None:
        """Refuses gradients of a file that is not the one the model was loaded from."""
        path, loaded = self._file
        if identity(path) != loaded:
            raise ModelFailure(
                f"model {self._spec.name!r}: {path.name!r} is not the file any more that it was loaded from, and its "
                "gradients need it: load it again"
            )

    def _without_gradients(self, reason: str) -> NoGradients:
        return NoGradients(f"model {self._spec.name!r} has no gradients: {reason}", reason=reason)

    def _raw(self, images: Float32[Array, "n c h w"]) -> Float32[Array, "n outputs"]:
        if self._binding is not None:
            return in_batches(images, self._batch_size, self._run_bound, namespace(images).concat)
        return in_batches(images, self._batch_size, self._run, np.concatenate)

    def _run_bound(self, images: Array) -> Array:
        assert self._binding is not None
        try:
            scores = self._binding.run(images)
        except RUN_ERRORS as error:
            raise self._failure(error) from error
        return scores.reshape(scores.shape[0], -1).float()

    def _bind(self, device: str) -> Binding | None:
        """Binding that runs tensors on the device; ``None`` without torch there: images then come from the host."""
        try:
            from wavescope.models.onnx.binding import Binding, torch_device
        except ImportError:
            return None
        found = torch_device(device)
        if found is None:
            return None
        return Binding(self._session, found, self._signature, rows=self._fixed_batch)

    def _run(self, images: np.ndarray) -> np.ndarray:
        rows = images.shape[0]
        if self._fixed_batch and rows < self._fixed_batch:
            padding = np.zeros((self._fixed_batch - rows, *images.shape[1:]), images.dtype)
            images = np.concatenate([images, padding])
        feed = {self._signature.input.name: self._signature.input.arrange(images)}
        try:
            (scores,) = self._session.run([self._signature.output], feed)
        except RUN_ERRORS as error:
            raise self._failure(error) from error
        return np.asarray(scores, np.float32).reshape(images.shape[0], -1)[:rows]

    def _failure(self, error: Exception) -> ModelFailure:
        name = self._spec.name
        return ModelFailure(f"model {name!r} failed to run: {run_reason(error, runtime=RUNTIME, model=name)}")

    def _probed(self, images: np.ndarray, preprocessing: Preprocessing) -> Signature:
        readings = read_inputs(self._spec, self._session, preprocessing)
        names = read_outputs(self._spec, self._session)
        return probe(self._spec, self._session, readings, names, images)

    def _precision(self) -> str:
        """Number format of the input; where that is pixels, of the scores."""
        dtype = np.dtype(self._signature.input.dtype)
        return dtype.name if dtype.kind == "f" else self._signature.score_dtype.name

    def _runtime(self, *, tensorrt: bool) -> str:
        """The runtime, and the output that the scores are taken from, where there are others."""
        parts = [f"onnxruntime {ort.__version__}"]
        if tensorrt:
            parts.append("TensorRT")
        if len(self._session.get_outputs()) > 1:
            parts.append(f"output {self._signature.output!r}")
        return ", ".join(parts)

    def _choices(self) -> str:
        """Choices among what the file offers, for the revision; empty for most."""
        layout = "nhwc" if self._signature.input.layout == "nhwc" else ""
        output = self._signature.output if len(self._session.get_outputs()) > 1 else ""
        return f" {layout} {output}".rstrip()


def _no_gradients(path: Path, signature: Signature) -> str | None:
    """Reason why a file has no gradients, by its operators' names and without ``onnx``; ``None`` where it has some."""
    if find_spec("onnx") is None:
        return _NO_PACKAGE
    if np.dtype(signature.input.dtype).kind != "f":
        return "its input is of whole numbers"
    try:
        operators, opset = read_operators(path)
        check_operators(operators, opset=opset, images=signature.input.name, scores=signature.output)
    except (OSError, ValueError):
        return "the file cannot be read"
    except NoGradientError as error:
        return str(error)
    return None


def _to_host(array: Array) -> np.ndarray:
    """An array of NumPy, or a tensor on whatever device, as float32 in the host's memory."""
    return np.asarray(array.detach().cpu() if hasattr(array, "detach") else array, np.float32)


def _noise(preprocessing: Preprocessing, rows: int) -> Float32[np.ndarray, "n c h w"]:
    shape = (rows, *preprocessing.shape)
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def load_onnx(spec: ModelSpec, options: LoadOptions) -> OnnxBackend:
    """The classifier in the ONNX file that ``spec.source`` names; errors as of :class:`OnnxBackend`."""
    preprocessing, outputs = spec.declared()
    return OnnxBackend(
        spec, Path(spec.reference), preprocessing=preprocessing, outputs=outputs, threads=options.threads
    )


def _open(spec: ModelSpec, path: Path, *, threads: int, field: str) -> tuple[ort.InferenceSession, str]:
    """A session, and the device it really runs on (``cpu``, ``cuda:<n>``)."""
    available = ort.get_available_providers()
    word, _, number = spec.device.partition(":")
    asked, index = _PROVIDERS.get(word), int(number or 0)
    if asked and asked not in available:
        raise spec.invalid(
            "device",
            f"{spec.device!r} needs onnxruntime-gpu; this onnxruntime has {', '.join(available)}",
            allowed=["auto", "cpu"],
        )
    providers: list[Any] = ["CPUExecutionProvider"]
    if spec.device != "cpu" and CUDA in available:
        ort.preload_dlls()  # finds the CUDA libraries that pip installed
        # float32 stays float32: TF32 keeps 10 bits of mantissa.
        providers.insert(0, (CUDA, {"device_id": str(index), "use_tf32": "0"}))
    if asked == TENSORRT:
        providers.insert(0, (TENSORRT, {"device_id": str(index)}))
    try:
        session = ort.InferenceSession(str(path), _options(threads), providers=providers)
    except LOAD_ERRORS as error:
        raise spec.invalid(
            field, f"{str(path)!r} is not a usable ONNX model: {load_reason(error, model=spec.name)}"
        ) from error
    # ONNX Runtime falls back to the CPU without an error.
    used = session.get_providers()
    if asked and used[0] != asked:
        raise spec.invalid(
            "device",
            f"{spec.device!r} was asked for, but ONNX Runtime fell back to {', '.join(used)}:"
            " check the driver, CUDA and cuDNN",
            allowed=["auto", "cpu"],
        )
    return session, f"cuda:{index}" if used[0] in _PROVIDERS.values() else "cpu"


def _options(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # its errors are raised, and logged by us, without escape codes
    # Planned per batch size and kept: 16 MB more per size seen, for no speed.
    options.enable_mem_pattern = False
    # Spinning threads win nothing at this size of batch, and two replicas that share cores lose 40 % by them.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options
