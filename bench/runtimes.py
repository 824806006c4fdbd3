"""The ways to run the embedded model on a CPU that ``backends.py`` compares, and the images it feeds them."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wavescope.models.onnx.embedded import EFFICIENTNET_LITE0, PREPROCESSING, exported, load_embedded
from wavescope.models.sources import LoadOptions
from wavescope.models.spec import ModelSpec
from wavescope.settings import load_settings

CALIBRATION = ("astronaut", "rocket", "retina")  # not those whose maps are compared
CALIBRATION_MASKS = 32

Run = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Candidate:
    """A way to run the model.

    Attributes:
        load: (work folder, threads) to a function from normalised images (n, 3, 224, 224) to logits (n, classes).
        needs: packages beyond those of the service.
        prepare: makes what ``load`` reads in the work folder; run once, in a process of its own.
    """

    name: str
    load: Callable[[Path, int], Run]
    needs: tuple[str, ...] = ()
    prepare: Callable[[Path], None] | None = None


def _service(_: Path, threads: int) -> Run:
    spec = ModelSpec(
        name=EFFICIENTNET_LITE0, source=f"embedded:{EFFICIENTNET_LITE0}", device="cpu", threads=threads
    )
    return _ort_run(load_embedded(spec, LoadOptions(load_settings().cache_dir)).session)


def _ort(
    entries: dict[str, str] | None = None, file: str | None = None, **options: Any
) -> Callable[[Path, int], Run]:
    """A session with the service's options but for ``entries`` and ``options``, over ``file`` of the work folder."""

    def load(work: Path, threads: int) -> Run:
        from wavescope.models.onnx.runtime import ort

        made = ort.SessionOptions()
        made.intra_op_num_threads = threads
        made.inter_op_num_threads = 1
        made.log_severity_level = 3
        made.enable_mem_pattern = False
        for key, value in {"session.intra_op.allow_spinning": "0", **(entries or {})}.items():
            made.add_session_config_entry(key, value)
        for name, value in options.items():
            # Names of enumerations, so that this module does not import ONNX Runtime.
            kind = type(getattr(made, name))
            setattr(made, name, getattr(kind, value) if isinstance(value, str) else value)
        path = work / file if file else exported(load_settings().cache_dir)
        return _ort_run(ort.InferenceSession(str(path), made, providers=["CPUExecutionProvider"]))

    return load


def _ort_run(session: Any) -> Run:
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images})[0]


def _ort_static(work: Path) -> None:
    quantization: Any = importlib.import_module("onnxruntime.quantization")
    preprocess: Any = importlib.import_module("onnxruntime.quantization.shape_inference")
    plain = work / "preprocessed.onnx"
    preprocess.quant_pre_process(str(exported(load_settings().cache_dir)), str(plain))
    images = iter(_calibration())

    class Reader(quantization.CalibrationDataReader):
        def get_next(self) -> dict[str, np.ndarray] | None:
            found = next(images, None)
            return None if found is None else {"images": found[None]}

    quantization.quantize_static(
        str(plain), str(work / "int8-static.onnx"), Reader(), per_channel=True
    )  # QDQ, 8-bit activations and weights, ranges by smallest and largest


def _ort_dynamic(work: Path) -> None:
    quantization: Any = importlib.import_module("onnxruntime.quantization")
    path = exported(load_settings().cache_dir)
    # Unsigned weights: ConvInteger has no kernel for signed ones.
    quantization.quantize_dynamic(
        str(path), str(work / "int8-dynamic.onnx"), weight_type=quantization.QuantType.QUInt8
    )


def _openvino(file: str | None = None, **properties: str) -> Callable[[Path, int], Run]:
    """OpenVINO with ``properties`` (``INFERENCE_PRECISION_HINT`` and others), over ``file`` of the work folder."""

    def load(work: Path, threads: int) -> Run:
        openvino: Any = importlib.import_module("openvino")
        path = work / file if file else exported(load_settings().cache_dir)
        settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", **properties}
        request = openvino.compile_model(path, "CPU", settings).create_infer_request()
        # The output is the request's own buffer, which the next images overwrite.
        return lambda images: request.infer({0: images}, share_inputs=True)[0].copy()

    return load


def _openvino_int8(work: Path) -> None:
    openvino: Any = importlib.import_module("openvino")
    nncf: Any = importlib.import_module("nncf")
    model = openvino.Core().read_model(exported(load_settings().cache_dir))
    images = _calibration()
    dataset = nncf.Dataset([image[None] for image in images])
    openvino.save_model(nncf.quantize(model, dataset, subset_size=len(images)), work / "int8.xml")


def _torch(
    *, channels_last: bool = False, compiled: bool = False, bfloat16: bool = False
) -> Callable[[Path, int], Run]:
    def load(_: Path, threads: int) -> Run:
        import torch

        from wavescope.models.onnx.export import build

        torch.set_num_threads(threads)
        layout = torch.channels_last if channels_last else torch.contiguous_format
        module: Any = build().requires_grad_(False).to(memory_format=layout)
        if compiled:
            inductor: Any = importlib.import_module("torch._inductor.config")
            inductor.freezing = True
            module = torch.compile(module, dynamic=False)  # one compilation per size of batch

        def run(images: np.ndarray) -> np.ndarray:
            tensor = torch.from_numpy(images).to(memory_format=layout)
            # no_grad, for the inductor freezes nothing under inference_mode.
            with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
                return module(tensor).float().numpy()

        return run

    return load


BASELINE = Candidate("ONNX Runtime, as the service runs it", _service)
CANDIDATES = (
    Candidate("ONNX Runtime, the same options again", _ort()),
    Candidate("ONNX Runtime, optimisation: basic", _ort(graph_optimization_level="ORT_ENABLE_BASIC")),
    Candidate(
        "ONNX Runtime, optimisation: extended (no blocked layout)",
        _ort(graph_optimization_level="ORT_ENABLE_EXTENDED"),
    ),
    Candidate(
        "ONNX Runtime, execution: parallel", _ort(execution_mode="ORT_PARALLEL", inter_op_num_threads=2)
    ),
    Candidate("ONNX Runtime, threads spin", _ort({"session.intra_op.allow_spinning": "1"})),
    Candidate("ONNX Runtime, memory pattern", _ort(enable_mem_pattern=True)),
    Candidate("ONNX Runtime, no arena", _ort(enable_cpu_mem_arena=False)),
    Candidate("ONNX Runtime, denormals as zero", _ort({"session.set_denormal_as_zero": "1"})),
    Candidate(
        "ONNX Runtime, mlas.enable_gemm_fastmath_arm64_bfloat16",
        _ort({"mlas.enable_gemm_fastmath_arm64_bfloat16": "1"}),
    ),
    Candidate("ONNX Runtime, mlas.nchwc_depthwise_sliding", _ort({"mlas.nchwc_depthwise_sliding": "1"})),
    Candidate(
        "ONNX Runtime, mlas.nchwc_pointwise_conv_max_input_channel_batch 1024",
        _ort({"mlas.nchwc_pointwise_conv_max_input_channel_batch": "1024"}),
    ),
    Candidate(
        "ONNX Runtime, session.kernel_dispatch_policy latency",
        _ort({"session.kernel_dispatch_policy": "latency"}),
    ),
    Candidate(
        "ONNX Runtime int8, static, QDQ", _ort(file="int8-static.onnx"), needs=("onnx",), prepare=_ort_static
    ),
    Candidate(
        "ONNX Runtime int8, dynamic", _ort(file="int8-dynamic.onnx"), needs=("onnx",), prepare=_ort_dynamic
    ),
    Candidate("OpenVINO float32", _openvino(INFERENCE_PRECISION_HINT="f32"), needs=("openvino",)),
    Candidate(
        "OpenVINO float32, execution mode ACCURACY",
        _openvino(EXECUTION_MODE_HINT="ACCURACY"),
        needs=("openvino",),
    ),
    Candidate(
        "OpenVINO float32, hint THROUGHPUT",
        _openvino(INFERENCE_PRECISION_HINT="f32", PERFORMANCE_HINT="THROUGHPUT"),
        needs=("openvino",),
    ),
    Candidate("OpenVINO bfloat16", _openvino(INFERENCE_PRECISION_HINT="bf16"), needs=("openvino",)),
    Candidate(
        "OpenVINO int8 (NNCF)", _openvino(file="int8.xml"), needs=("openvino", "nncf"), prepare=_openvino_int8
    ),
    Candidate("torch float32", _torch(), needs=("torch",)),
    Candidate("torch float32, channels last", _torch(channels_last=True), needs=("torch",)),
    Candidate("torch float32, compiled, frozen", _torch(compiled=True), needs=("torch",)),
    Candidate(
        "torch float32, compiled, frozen, channels last",
        _torch(compiled=True, channels_last=True),
        needs=("torch",),
    ),
    Candidate(
        "torch bfloat16 autocast, channels last", _torch(bfloat16=True, channels_last=True), needs=("torch",)
    ),
    Candidate(
        "torch bfloat16 autocast, compiled, frozen, channels last",
        _torch(compiled=True, bfloat16=True, channels_last=True),
        needs=("torch",),
    ),
)


def _calibration() -> np.ndarray:
    return np.concatenate([perturbed(name, CALIBRATION_MASKS, seed=0) for name in CALIBRATION])


def perturbed(name: str, masks: int, *, seed: int) -> np.ndarray:
    """(masks, 3, 224, 224) normalised float32: Haar coefficients times random values on the paper's 28 × 28 grid."""
    import pywt
    from PIL import Image, ImageOps

    picture = np.asarray(ImageOps.fit(Image.fromarray(photograph(name)), PREPROCESSING.size)) / 255
    coefficients, slices = pywt.coeffs_to_array(
        pywt.wavedec2(picture, "haar", level=3, axes=(0, 1)), axes=(0, 1)
    )
    values = np.random.default_rng(seed).random((masks, 28, 28, 1))
    images = []
    for value in values:
        masked = coefficients * value.repeat(8, axis=0).repeat(8, axis=1)
        parts = pywt.array_to_coeffs(masked, slices, output_format="wavedec2")
        images.append((pywt.waverec2(parts, "haar", axes=(0, 1)) - PREPROCESSING.mean) / PREPROCESSING.std)
    return np.stack(images).transpose(0, 3, 1, 2).astype(np.float32, order="C")


def photograph(name: str) -> np.ndarray:
    """(h, w, 3) uint8, one of those that scikit-image carries."""
    from skimage import data

    return getattr(data, name)()
