"""Classifiers in ONNX files, run by ONNX Runtime. On a CPU torch is never imported: a replica stays under 200 MB."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32

from wavescope.core.arrays import Array, namespace
from wavescope.engine.types import ModelDetails, Outputs, Preprocessing
from wavescope.errors import ModelFailure
from wavescope.models.backend import PROBE_ROWS, check_file, check_scores, class_names, in_batches
from wavescope.models.file_types import ONNX, check_type
from wavescope.models.onnx.external_files import external_files
from wavescope.models.onnx.runtime import ort, ort_errors
from wavescope.models.revision import file_digest, revision
from wavescope.models.sources import LoadOptions
from wavescope.models.spec import ModelSpec

if TYPE_CHECKING:
    from wavescope.models.onnx.binding import Binding

# Measured with EfficientNet-Lite0 on 2 threads: 4, 8 and 16 images per run give the same throughput within noise
# (1 image: 15 % less) at 135, 168 and 245 MB resident.
CPU_BATCH_SIZE = 4
CUDA_BATCH_SIZE = 64
CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"
# By the word in ``device``.
_PROVIDERS = {"cuda": CUDA, "tensorrt": TENSORRT}

_INPUT_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}

# ONNX Runtime's exceptions share no base but Exception.
_LOAD_ERRORS = (
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NoModel,
    ort_errors.NoSuchFile,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
)
_RUN_ERRORS = (ort_errors.Fail, ort_errors.InvalidArgument, ort_errors.RuntimeException, ort_errors.EPFail)


class OnnxBackend:
    """A classifier in an ONNX file: one float input (n, c, h, w), one output (n, classes).

    The batch axis may be free or fixed; rows are padded up to a fixed one, and for TensorRT, which builds an engine per
    shape. On a GPU that torch sees too, images are tensors that never leave it. On a CPU, an image's scores have the
    same bits whatever batch it is in and however many threads there are (tested for the embedded model).

    Args:
        spec: of the model; ``device``, ``batch_size``, ``labels`` and ``sha256`` are honoured.
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
        external = external_files(path)
        if spec.sha256 is not None and external:
            names = ", ".join(file.name for file in external)
            raise spec.invalid("sha256", f"covers {path.name!r} alone, which keeps weights in {names}")
        self._spec = spec
        self._session, device = _open(spec, path, threads=spec.cpu_threads(threads), field=field)
        self._input, self._dtype, self._fixed_batch = _check_input(spec, self._session, preprocessing)
        self._output = _check_output(spec, self._session)
        default_batch = CPU_BATCH_SIZE if device == "cpu" else CUDA_BATCH_SIZE
        self._batch_size = self._fixed_batch or spec.batch_size or default_batch
        tensorrt = self._session.get_providers()[0] == TENSORRT
        if tensorrt:
            self._fixed_batch = self._batch_size
        self._binding: Binding | None = None
        scores = self._probe(preprocessing)
        check_scores(spec, outputs, scores)
        details = ModelDetails(
            name=spec.name,
            preprocessing=preprocessing,
            outputs=outputs,
            labels=class_names(spec, scores.shape[1], labels),
            device=device,
            precision=np.dtype(self._dtype).name,
            runtime=f"onnxruntime {ort.__version__}" + (", TensorRT" if tensorrt else ""),
            batch_size=self._batch_size,
        )
        self._details = revision(details, file_digest(path, *external))
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

    def to_device(self, array: np.ndarray) -> Array:
        """``array`` itself, which ONNX Runtime copies by itself; with torch on a GPU, a tensor there."""
        return np.asarray(array) if self._binding is None else self._binding.to_device(array)

    def forward(self, images: Float32[Array, "n c h w"]) -> Float32[Array, "n classes"]:
        """The raw outputs of normalised images, at most ``details.batch_size`` of them per run.

        Raises:
            ModelFailure: ONNX Runtime failed, for instance for want of memory.
        """
        if self._binding is not None:
            return in_batches(images, self._batch_size, self._run_bound, namespace(images).concat)
        return in_batches(images, self._batch_size, self._run, np.concatenate)

    def _run_bound(self, images: Array) -> Array:
        assert self._binding is not None
        try:
            scores = self._binding.run(images)
        except (*_RUN_ERRORS, RuntimeError) as error:
            raise ModelFailure(f"model {self._spec.name!r} failed to run: {error}") from error
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
        return Binding(self._session, found, row_shape=self._row_shape, rows=self._fixed_batch)

    def _run(self, images: np.ndarray) -> np.ndarray:
        rows = images.shape[0]
        feed = np.ascontiguousarray(images, dtype=self._dtype)
        if self._fixed_batch and rows < self._fixed_batch:
            padding = np.zeros((self._fixed_batch - rows, *feed.shape[1:]), self._dtype)
            feed = np.concatenate([feed, padding])
        try:
            scores = self._execute(feed)
        except _RUN_ERRORS as error:
            raise ModelFailure(f"model {self._spec.name!r} failed to run: {error}") from error
        return scores.reshape(scores.shape[0], -1)[:rows]

    def _execute(self, feed: np.ndarray) -> np.ndarray:
        (scores,) = self._session.run([self._output], {self._input: feed})
        return np.asarray(scores, np.float32)

    def _probe(self, preprocessing: Preprocessing) -> np.ndarray:
        """Scores of two images of noise: proves the shapes, and warms the session up."""
        shape = (PROBE_ROWS, *preprocessing.shape)
        images = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
        try:
            scores = self._execute(self._fill(images))
        except _RUN_ERRORS as error:
            raise self._spec.invalid(
                "source", f"it does not run on images of {shape[1:]}: {error}"
            ) from error
        rows = self._fixed_batch or PROBE_ROWS
        # Some classifiers end in a 1×1 convolution and keep its two spatial axes.
        if scores.ndim < 2 or scores.shape[0] != rows or any(side != 1 for side in scores.shape[2:]):
            raise self._spec.invalid(
                "source",
                f"not a classifier: {rows} images gave an output of {scores.shape}, not (n, classes)",
            )
        self._row_shape = scores.shape[1:]
        return scores.reshape(rows, -1)

    def _fill(self, images: np.ndarray) -> np.ndarray:
        rows = self._fixed_batch or images.shape[0]
        return np.resize(images, (rows, *images.shape[1:])).astype(self._dtype)


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
    except _LOAD_ERRORS as error:
        raise spec.invalid(field, f"{str(path)!r} is not a usable ONNX model: {error}") from error
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
    options.log_severity_level = 3
    # Planned per batch size and kept: 16 MB more per size seen, for no speed.
    options.enable_mem_pattern = False
    # Spinning threads win nothing at this size of batch, and two replicas that share cores lose 40 % by them.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _check_input(
    spec: ModelSpec, session: ort.InferenceSession, preprocessing: Preprocessing
) -> tuple[str, Any, int | None]:
    """(name, dtype, fixed batch size or ``None``) of the one input."""
    inputs = session.get_inputs()
    if len(inputs) != 1:
        names = ", ".join(node.name for node in inputs)
        raise spec.invalid("source", f"a classifier has one input, this model has {len(inputs)}: {names}")
    node = inputs[0]
    if node.type not in _INPUT_TYPES:
        raise spec.invalid(
            "source",
            f"input {node.name!r} is {node.type}; only float input is supported",
            allowed=list(_INPUT_TYPES),
        )
    shape: Sequence[Any] = node.shape
    if len(shape) != 4:
        raise spec.invalid(
            "source", f"input {node.name!r} has shape {shape}, not (batch, channels, height, width)"
        )
    expected = preprocessing.shape
    for found, wanted in zip(shape[1:], expected, strict=True):
        # A name or None is a free axis.
        if isinstance(found, int) and found != wanted:
            raise spec.invalid(
                "preprocessing",
                f"gives images of (channels, height, width) = {expected}, input {node.name!r} takes {tuple(shape[1:])}",
                expected=[side if isinstance(side, int) else None for side in shape[1:]],
            )
    fixed = shape[0] if isinstance(shape[0], int) else None
    return node.name, _INPUT_TYPES[node.type], fixed


def _check_output(spec: ModelSpec, session: ort.InferenceSession) -> str:
    outputs = session.get_outputs()
    if len(outputs) != 1:
        names = ", ".join(node.name for node in outputs)
        raise spec.invalid("source", f"a classifier has one output, this model has {len(outputs)}: {names}")
    if not outputs[0].type.startswith("tensor(float"):
        raise spec.invalid("source", f"output {outputs[0].name!r} is {outputs[0].type}, not float scores")
    return outputs[0].name
