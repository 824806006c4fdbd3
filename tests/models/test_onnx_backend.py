"""Any classifier in an ONNX file, and what is said of files that are none."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from wavescope.engine.protocols import Classifier
from wavescope.engine.types import Preprocessing
from wavescope.errors import ModelFailure, RegistryInvalid, WeightsUnavailable
from wavescope.models.load import load
from wavescope.models.spec import ModelSpec

CLASSES = 5
SIDE = 8
PREPROCESSING = Preprocessing(size=(SIDE, SIDE), resize=None, mean=(0.5,) * 3, std=(0.5,) * 3)
FEATURES = 3 * SIDE * SIDE
WEIGHTS = np.random.default_rng(0).standard_normal((FEATURES, CLASSES), dtype=np.float32)
FLOAT = TensorProto.FLOAT


def images(rows: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(rows).standard_normal((rows, channels, SIDE, SIDE), dtype=np.float32)


def linear(images: np.ndarray) -> np.ndarray:
    """What the toy computes: a linear classifier of the flattened image."""
    return images.reshape(len(images), -1) @ WEIGHTS


def write(
    path: Path,
    *,
    batch: int | str = "n",
    input_shape: list[Any] | None = None,
    input_type: int = FLOAT,
    tail: tuple[str, ...] = (),
    extra_inputs: tuple[str, ...] = (),
    extra_outputs: tuple[str, ...] = (),
    keep_axes: bool = False,
) -> Path:
    """A linear classifier; ``tail`` are operators after it, such as ``Softmax``."""
    nodes = []
    source = "images"
    if input_type == TensorProto.FLOAT16:
        nodes.append(helper.make_node("Cast", ["images"], ["cast"], to=FLOAT))
        source = "cast"
    nodes += [
        helper.make_node("Flatten", [source], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["scores0"]),
    ]
    for count, operator in enumerate(tail):
        nodes.append(helper.make_node(operator, [f"scores{count}"], [f"scores{count + 1}"]))
    last = f"scores{len(tail)}"
    output_shape: list[Any] = [batch, CLASSES]
    initializers = [numpy_helper.from_array(WEIGHTS, "weights")]
    if keep_axes:
        initializers.append(numpy_helper.from_array(np.array([2, 3]), "axes"))
        nodes.append(helper.make_node("Unsqueeze", [last, "axes"], ["out"]))
        output_shape += [1, 1]
    else:
        nodes.append(helper.make_node("Identity", [last], ["out"]))
    nodes += [helper.make_node("Identity", [last], [name]) for name in extra_outputs]
    shape = input_shape or [batch, 3, SIDE, SIDE]
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info(name, input_type, shape) for name in ("images", *extra_inputs)],
        [helper.make_tensor_value_info(name, FLOAT, output_shape) for name in ("out", *extra_outputs)],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def backend(path: Path, **fields: Any) -> Classifier:
    fields = {"preprocessing": PREPROCESSING, "outputs": "logits", "threads": 1} | fields
    return load(ModelSpec(name="toy", source=f"onnx:{path}", **fields), cache_dir=path.parent)


def test_scores_are_those_of_the_graph(tmp_path: Path) -> None:
    model = backend(write(tmp_path / "toy.onnx"))
    for rows in (1, 8, 21):
        np.testing.assert_allclose(model.forward(images(rows)), linear(images(rows)), rtol=1e-4, atol=1e-4)


def test_labels_default_to_numbered_classes(tmp_path: Path) -> None:
    details = backend(write(tmp_path / "toy.onnx")).details
    assert details.labels == ("class 0", "class 1", "class 2", "class 3", "class 4")


def test_declared_labels_and_batch_size_are_kept(tmp_path: Path) -> None:
    labels = ("wren", "robin", "rook", "gull", "tern")
    details = backend(write(tmp_path / "toy.onnx"), labels=labels, batch_size=3).details
    assert (details.labels, details.batch_size) == (labels, 3)


def test_labels_of_another_number_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RegistryInvalid, match="2 names for a model of 5 classes"):
        backend(write(tmp_path / "toy.onnx"), labels=("wren", "robin"))


@pytest.mark.parametrize("fixed", [1, 4])
def test_a_fixed_batch_axis_is_padded(tmp_path: Path, fixed: int) -> None:
    model = backend(write(tmp_path / "toy.onnx", batch=fixed), batch_size=16)
    assert model.details.batch_size == fixed
    for rows in (1, 3, 9):
        np.testing.assert_allclose(model.forward(images(rows)), linear(images(rows)), rtol=1e-4, atol=1e-4)


def test_two_spatial_axes_of_one_are_dropped(tmp_path: Path) -> None:
    model = backend(write(tmp_path / "toy.onnx", keep_axes=True))
    np.testing.assert_allclose(model.forward(images(2)), linear(images(2)), rtol=1e-4, atol=1e-4)


def test_float16_input_is_cast(tmp_path: Path) -> None:
    model = backend(write(tmp_path / "toy.onnx", input_type=TensorProto.FLOAT16))
    assert model.details.precision == "float16"
    scores = model.forward(images(2))
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, linear(images(2)), atol=0.1)


@pytest.mark.parametrize(("tail", "outputs"), [(("Softmax",), "probabilities"), (("Sigmoid",), "sigmoid")])
def test_probabilities_and_sigmoids_are_taken_as_declared(
    tmp_path: Path, tail: tuple[str, ...], outputs: str
) -> None:
    assert backend(write(tmp_path / "toy.onnx", tail=tail), outputs=outputs).details.outputs == outputs


@pytest.mark.parametrize(
    ("tail", "outputs", "message"),
    [
        ((), "probabilities", "do not sum to 1"),
        ((), "sigmoid", r"outside \[0, 1\]"),
        (("Softmax",), "logits", "are probabilities"),
    ],
)
def test_outputs_that_contradict_the_declaration_are_refused(
    tmp_path: Path, tail: tuple[str, ...], outputs: str, message: str
) -> None:
    with pytest.raises(RegistryInvalid, match=message):
        backend(write(tmp_path / "toy.onnx", tail=tail), outputs=outputs)


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        ({"extra_inputs": ("other",)}, "one input, the images; this model has 2: images float32"),
        ({"extra_outputs": ("other",)}, r"several may hold the scores: out \(n, 5\), other \(n, 5\)"),
        ({"input_shape": ["n", FEATURES]}, r"has shape \(n, 192\), not \(batch, channels, height, width\)"),
        ({"input_shape": ["n", 1, 3 * SIDE, SIDE]}, "1 channel, where preprocessing.mean and std have 3"),
    ],
)
def test_a_graph_that_is_no_classifier_of_such_images_is_refused(
    tmp_path: Path, graph: dict[str, Any], message: str
) -> None:
    with pytest.raises(RegistryInvalid, match=message):
        backend(write(tmp_path / "toy.onnx", **graph))


def test_an_output_that_is_no_row_of_classes_is_refused(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["images"], ["out"])],
        "echo",
        [helper.make_tensor_value_info("images", FLOAT, ["n", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("out", FLOAT, ["n", 3, SIDE, SIDE])],
    )
    path = tmp_path / "echo.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    with pytest.raises(
        RegistryInvalid, match=r"not a classifier: for 2 images it returned out \(2, 3, 8, 8\)"
    ):
        backend(path)


def test_a_size_the_graph_cannot_run_on_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "toy.onnx", input_shape=["n", 3, "h", "w"])
    with pytest.raises(RegistryInvalid, match="does not run on images of 16 x 16"):
        backend(path, preprocessing=Preprocessing(size=(16, 16), resize=None))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsUnavailable, match=r"there is no file '.*absent\.onnx'"):
        backend(tmp_path / "absent.onnx")


def test_a_file_that_is_not_onnx_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "noise.onnx"
    path.write_bytes(np.random.default_rng(0).bytes(1000))
    with pytest.raises(RegistryInvalid, match="is not a usable ONNX model"):
        backend(path)


def test_the_digest_is_checked(tmp_path: Path) -> None:
    path = write(tmp_path / "toy.onnx")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert backend(path, sha256=digest).details.name == "toy"
    with pytest.raises(RegistryInvalid, match="the registry expects 0000") as caught:
        backend(path, sha256="0" * 64)
    assert caught.value.field == "sha256"
    assert caught.value.limits["found"] == digest


def test_cuda_that_cannot_be_had_is_refused_not_silently_a_cpu(tmp_path: Path) -> None:
    import onnxruntime

    path = write(tmp_path / "toy.onnx")
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    with pytest.raises(RegistryInvalid, match="'cuda:0' needs onnxruntime-gpu"):
        backend(path, device="cuda:0")


def test_a_provider_that_falls_back_to_the_cpu_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the libraries of CUDA or TensorRT are missing: ONNX Runtime itself only warns."""
    import onnxruntime

    path = write(tmp_path / "toy.onnx")
    if "TensorrtExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has TensorRT")
    with pytest.raises(RegistryInvalid, match="'tensorrt' needs onnxruntime-gpu"):
        backend(path, device="tensorrt")
    listed = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: listed)
    with (
        pytest.warns(UserWarning, match="is not in available provider names"),
        pytest.raises(RegistryInvalid, match="'tensorrt:1' was asked for, but ONNX Runtime fell back to CPU"),
    ):
        backend(path, device="tensorrt:1")


@pytest.mark.parametrize("source", ["torchvision:resnet18", "timm:resnet18"])
def test_tensorrt_runs_onnx_models_alone(source: str) -> None:
    with pytest.raises(RegistryInvalid, match="'tensorrt' runs ONNX models") as caught:
        ModelSpec(name="m", source=source, device="tensorrt")
    assert caught.value.field == "device"


@pytest.mark.parametrize(
    ("graph", "rows"),
    [
        ({}, None),
        ({}, 4),
        ({"batch": 4}, 4),
        ({"keep_axes": True}, None),
        ({"input_type": TensorProto.FLOAT16}, 4),
    ],
)
def test_tensors_are_scored_where_they_lie(tmp_path: Path, graph: dict[str, Any], rows: int | None) -> None:
    """The path of a GPU, on a CPU: the same scores as through NumPy, for batches that are full and not."""
    torch = pytest.importorskip("torch")
    from wavescope.models.onnx.binding import Binding

    model = backend(write(tmp_path / "toy.onnx", **graph))
    row_shape = (CLASSES, 1, 1) if "keep_axes" in graph else (CLASSES,)
    bound = Binding(model.session, torch.device("cpu"), model.signature, rows=rows)
    for given in (1, 3, 4):
        # A batch in another memory layout, as a part of a larger one.
        tensor = bound.to_device(images(8)).contiguous(memory_format=torch.channels_last)[2 : 2 + given]
        found = bound.run(tensor)
        assert found.shape == (given, *row_shape)
        expected = model.forward(images(8)[2 : 2 + given])
        np.testing.assert_allclose(found.reshape(given, -1).numpy(), expected, rtol=1e-5, atol=1e-5)


def test_a_model_bound_to_torch_takes_and_gives_tensors(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from wavescope.models.onnx.binding import Binding

    path = write(tmp_path / "toy.onnx")
    expected = backend(path, batch_size=2).forward(images(5))
    model = backend(path, batch_size=2)
    model._binding = Binding(model.session, torch.device("cpu"), model.signature, rows=None)
    found = model.forward(model.to_device(images(5)))
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-5)
    with pytest.raises(ModelFailure, match="model 'toy' failed to run: ONNX Runtime cannot compute it; the"):
        model.forward(model.to_device(images(2)[:, :1]))


def test_auto_takes_what_there_is(tmp_path: Path) -> None:
    assert backend(write(tmp_path / "toy.onnx"), device="auto").details.device.partition(":")[0] in (
        "cpu",
        "cuda",
    )


@pytest.mark.parametrize("field", ["preprocessing", "outputs"])
def test_what_the_file_cannot_say_must_be_declared(tmp_path: Path, field: str) -> None:
    with pytest.raises(RegistryInvalid, match=f"{field}: is required for an ONNX file"):
        backend(tmp_path / "toy.onnx", **{field: None})


def test_loading_leaves_no_file_of_onnx_runtime_behind(tmp_path):
    """Its telemetry would write a session file the moment it is imported."""
    code = "import wavescope.models.onnx.backend"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "TMPDIR": str(tmp_path)})
    assert list(tmp_path.iterdir()) == []


def write_in_training_mode(path: Path, kind: str) -> Path:
    """The linear classifier with scores of chance, or that depend on the other images of the batch.

    An offset that all scores share hides neither: no probability depends on it.
    """
    nodes = [
        helper.make_node("Flatten", ["images"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["scores"]),
    ]
    initializers = [numpy_helper.from_array(WEIGHTS, "weights")]
    if kind == "noise":
        nodes += [
            helper.make_node("RandomNormalLike", ["scores"], ["noise"], scale=2.0),
            helper.make_node("Add", ["scores", "noise"], ["changed"]),
        ]
    elif kind == "batch":
        nodes += [
            helper.make_node("ReduceMean", ["scores"], ["mean"], axes=[0], keepdims=1),
            helper.make_node("Sub", ["scores", "mean"], ["changed"]),
        ]
    else:
        initializers.append(numpy_helper.from_array(np.array(0), "axis"))
        nodes.append(helper.make_node("CumSum", ["scores", "axis"], ["changed"]))
    initializers.append(numpy_helper.from_array(np.array(1000, np.float32), "offset"))
    nodes.append(helper.make_node("Add", ["changed", "offset"], ["out"]))
    graph = helper.make_graph(
        nodes,
        "training",
        [helper.make_tensor_value_info("images", FLOAT, ["n", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("out", FLOAT, ["n", CLASSES])],
        initializers,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_a_file_whose_activations_are_quantised_by_the_batch_runs_image_by_image(tmp_path: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    plain, quantised = write(tmp_path / "plain.onnx"), tmp_path / "quantised.onnx"
    quantize_dynamic(str(plain), str(quantised), weight_type=QuantType.QUInt8)
    assert b"DynamicQuantizeLinear" in quantised.read_bytes()
    model = backend(quantised)
    assert model.details.batch_size == 1
    given = images(5) * np.array([1, 0.01, 3, 1, 0], np.float32)[:, None, None, None]
    together = np.asarray(model.forward(given))
    alone = np.concatenate([np.asarray(model.forward(given[row : row + 1])) for row in range(5)])
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_allclose(together, linear(given), atol=0.05 * np.abs(linear(given)).max())


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("noise", "differ from run to run"),
        ("batch", "depend on the other images of a batch"),
        ("later rows", "depend on the other images of a batch"),
    ],
)
def test_a_file_that_was_saved_in_training_mode_is_refused(tmp_path: Path, kind: str, reason: str) -> None:
    with pytest.raises(RegistryInvalid, match=f"its scores {reason}, as in training mode"):
        backend(write_in_training_mode(tmp_path / "training.onnx", kind))
