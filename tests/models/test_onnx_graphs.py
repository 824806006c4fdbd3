"""ONNX files as people have them: any order of axes, number format and set of outputs is computed right or refused."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tests.fakes.onnx_graphs import (
    FLOAT,
    NAMES,
    SIZE,
    Graph,
    Made,
    cast,
    label,
    output,
    scores,
    shaped,
    zip_map,
)

import wavescope
from wavescope.engine.types import Preprocessing
from wavescope.errors import RegistryInvalid
from wavescope.models.faults import run_reason
from wavescope.models.load import load
from wavescope.models.onnx.backend import OnnxBackend
from wavescope.models.onnx.faults import RUNTIME, load_reason, probe_refusal
from wavescope.models.spec import ModelSpec

TOLERANCES = {"float32": 1e-4, "float64": 1e-4, "uint8": 1e-3, "float16": 2e-2}
ALL_FREE = frozenset(("batch", *NAMES))


def images(graph: Graph, rows: int) -> np.ndarray:
    """Some values lie outside [0, 1], as perturbed images may."""
    shape = (rows, graph.channels, *graph.size)
    return np.random.default_rng(rows).normal(0.5, 0.5, shape).astype(np.float32)


def opened(spec: ModelSpec) -> OnnxBackend:
    model = load(spec, cache_dir=Path("unused"))
    assert isinstance(model, OnnxBackend)
    return model


def check(model: OnnxBackend, graph: Graph) -> None:
    for rows in (1, 2, 7):
        given = images(graph, rows)
        found = model.forward(given)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, graph.scored(given), rtol=1e-3, atol=TOLERANCES[graph.dtype] * 20)


def refusal(folder: Path, graph: Graph, field: str, **fields: Any) -> str:
    """The message against a graph; nothing of ONNX Runtime's own is in it."""
    with pytest.raises(RegistryInvalid) as caught:
        opened(graph.write(folder, **fields))
    assert caught.value.field == field
    check_words(caught.value.message)
    return caught.value.message


def check_words(message: str) -> None:
    for foreign in ("onnxruntime_src", ".cc", ".h:", "\x1b", "[ONNXRuntimeError]", "::", "Status Message"):
        assert foreign not in message


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "uint8"])
@pytest.mark.parametrize("free", [frozenset(), frozenset(("batch",)), ALL_FREE])
def test_scores_are_those_of_the_graph(tmp_path: Path, layout: str, dtype: str, free: frozenset[str]) -> None:
    graph = Graph(layout, dtype, free=free, batch=3)
    model = opened(graph.write(tmp_path))
    check(model, graph)
    assert model.signature.input.layout == layout
    assert model.details.batch_size == (4 if "batch" in free else 3)
    assert model.details.precision == {"uint8": "float32"}.get(dtype, dtype)


def test_an_input_of_no_stated_rank_is_found_out(tmp_path: Path) -> None:
    for layout in ("nchw", "nhwc"):
        graph = Graph(layout, ranked=False)
        check(opened(graph.write(tmp_path)), graph)


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_where_both_orders_run_the_registry_decides(tmp_path: Path, layout: str) -> None:
    graph = Graph(layout, free=ALL_FREE, flat=True)
    message = refusal(tmp_path, graph, "input_layout")
    assert message.endswith("runs with both: write input_layout: nchw or input_layout: nhwc")
    check(opened(graph.write(tmp_path, input_layout=layout)), graph)


def test_the_declared_order_has_to_fit(tmp_path: Path) -> None:
    message = refusal(tmp_path, Graph("nhwc"), "input_layout", input_layout="nchw")
    assert "is (batch, 8, 9, 3), read as nchw: 8 channels" in message


def test_pixels_are_what_the_model_sees_and_the_rest_is_clipped(tmp_path: Path) -> None:
    graph = Graph("nhwc", "uint8")
    model = opened(graph.write(tmp_path))
    values = np.array([-3, 0, 0.4 / 255, 0.6 / 255, 200 / 255, 1, 1.7], np.float32)
    arranged = model.signature.input.arrange(np.tile(values, (1, 3, 8, 1)))
    assert arranged.dtype == np.uint8
    assert arranged.shape == (1, 8, 7, 3)
    assert arranged[0, 0, :, 0].tolist() == [0, 0, 0, 1, 200, 255, 255]


@pytest.mark.parametrize(("mean", "std"), [((0.5,) * 3, (1.0,) * 3), ((0.0,) * 3, (0.2,) * 3)])
def test_pixels_are_not_normalised_twice(tmp_path: Path, mean: Any, std: Any) -> None:
    preprocessing = Preprocessing(SIZE, None, mean, std)
    message = refusal(tmp_path, Graph(dtype="uint8"), "preprocessing.mean", preprocessing=preprocessing)
    assert message.endswith("write mean: [0, 0, 0] and std: [1, 1, 1]")


@pytest.mark.parametrize("dtype", ["bfloat16", "int8", "int64"])
def test_other_number_formats_are_refused(tmp_path: Path, dtype: str) -> None:
    message = refusal(tmp_path, Graph(dtype=dtype), "source")
    assert f"input 'images' is {dtype}; images are sent as float32, float16, float64, uint8" in message


@pytest.mark.parametrize(
    ("made", "sides"),
    [
        (shaped("scores", -1, 3, 1, 1), (3, 1, 1)),
        (shaped("scores", -1, 1, 1, 3), (1, 1, 3)),
        (shaped("scores", -1, 1, 3), (1, 3)),
        (cast("scores", "float64"), (3,)),
        (cast("scores", "float16"), (3,)),
    ],
)
def test_scores_may_have_axes_of_one_and_any_floats(
    tmp_path: Path, made: Made, sides: tuple[int, ...]
) -> None:
    graph = Graph(outputs=(made,))
    model = opened(graph.write(tmp_path))
    check(model, replace(graph, dtype="float16") if "float16" in str(made) else graph)
    assert model.signature.row_shape == sides


FEATURES = shaped("features", -1, 3, *SIZE, source="pixels")
UNCERTAINTY = output("uncertainty", "ReduceMax", axes=[1], keepdims=1)


@pytest.mark.parametrize(
    "outputs",
    [
        (label(), scores()),
        (scores(), label()),
        (scores(), FEATURES),
        (FEATURES, label(), scores()),
        (label(), zip_map(), scores()),
        (cast("other", "bfloat16"), scores()),
        (UNCERTAINTY, scores()),
    ],
    ids=["label first", "label last", "map", "map and label first", "ZipMap", "bfloat16", "uncertainty"],
)
def test_of_several_outputs_the_only_one_that_can_have_the_scores_is_taken(
    tmp_path: Path, outputs: tuple[Made, ...], caplog: pytest.LogCaptureFixture
) -> None:
    graph = Graph(outputs=outputs)
    with caplog.at_level(logging.INFO):
        model = opened(graph.write(tmp_path))
    check(model, graph)
    assert model.details.runtime.endswith(", output 'scores'")
    check(opened(graph.write(tmp_path, output="scores")), graph)


def test_two_outputs_that_may_have_the_scores_are_listed(tmp_path: Path) -> None:
    graph = Graph(outputs=(output("probabilities", "Softmax"), FEATURES, scores("raw")))
    message = refusal(tmp_path, graph, "output")
    assert message.endswith("probabilities (n, 3), raw (n, 3); write output: probabilities, or another")
    check(opened(graph.write(tmp_path, output="raw")), graph)
    taken = opened(graph.write(tmp_path, output="probabilities", outputs="probabilities"))
    np.testing.assert_allclose(taken.forward(images(graph, 3)).sum(axis=1), 1, rtol=1e-5)
    assert taken.details.revision != opened(graph.write(tmp_path, output="raw")).details.revision


@pytest.mark.parametrize(
    ("outputs", "fields", "field", "message"),
    [
        ((label(),), {}, "source", "label int64 (batch). Export the model with the scores"),
        ((label(), zip_map()), {}, "source", "Export it without ZipMap"),
        ((cast("scores", "bfloat16"),), {}, "source", "outputs in float32 or float16"),
        ((label(), scores()), {"output": "label"}, "output", "no output of float scores"),
        ((label(), scores()), {"output": "logits"}, "output", "none called 'logits': label, scores"),
        ((scores(), FEATURES), {"output": "features"}, "output", "returned features (2, 3, 8, 9)"),
        (
            (FEATURES,),
            {},
            "source",
            "a feature extractor without its head, a segmentation model or a detector",
        ),
        ((shaped("tokens", 0, -1, 9, source="pixels"),), {}, "source", "(a row of features per token)"),
        ((shaped("boxes", -1, source="pixels"),), {}, "source", "has lost the axis of the batch"),
    ],
)
def test_what_is_no_classifier_is_refused_with_what_it_returned(
    tmp_path: Path, outputs: tuple[Made, ...], fields: dict[str, Any], field: str, message: str
) -> None:
    assert message in refusal(tmp_path, Graph(outputs=outputs), field, **fields)


@pytest.mark.parametrize("name", ["pooler_output", "image_embeds", "Features"])
def test_features_of_the_shape_of_scores_are_told_by_their_name(tmp_path: Path, name: str) -> None:
    graph = Graph(outputs=(scores(name),))
    message = refusal(tmp_path, graph, "output")
    assert f"{name} (n, 3) is named as features are" in message
    check(opened(graph.write(tmp_path, output=name)), graph)


def test_a_model_of_another_fixed_size_is_refused_with_both(tmp_path: Path) -> None:
    preprocessing = Preprocessing((16, 16), None, (0.5,) * 3, (0.25,) * 3)
    for layout in ("nchw", "nhwc"):
        message = refusal(tmp_path, Graph(layout), "preprocessing.size", preprocessing=preprocessing)
        assert message.endswith(
            "images of 8 x 9 (height x width), where preprocessing.size is 16 x 16; write size: [8, 9]"
        )


def test_a_model_of_another_fixed_size_that_its_file_does_not_state_is_found_out(tmp_path: Path) -> None:
    preprocessing = Preprocessing((16, 16), None, (0.5,) * 3, (0.25,) * 3)
    graph = Graph(free=ALL_FREE, flat=True)
    message = refusal(tmp_path, graph, "preprocessing.size", preprocessing=preprocessing)
    assert "does not run on images of 16 x 16 (height x width) with 3 channels" in message


def test_a_model_of_another_number_of_channels_is_refused(tmp_path: Path) -> None:
    for layout in ("nchw", "nhwc"):
        graph = Graph(layout, channels=1)
        message = refusal(tmp_path, graph, "preprocessing.mean", preprocessing=Graph().preprocessing)
        assert f"read as {layout}: 1 channel, where preprocessing.mean and std have 3" in message


def test_a_model_of_one_image_at_a_time_that_says_otherwise_is_found_out(tmp_path: Path) -> None:
    """As exporters leave a reshape to (1, features) in graphs whose batch axis they then free."""
    graph = Graph(outputs=(shaped("scores", 1, 3),))
    model = opened(graph.write(tmp_path, batch_size=8))
    assert model.details.batch_size == 1
    check(model, graph)


def test_21k_classes_are_as_good_as_any(tmp_path: Path) -> None:
    graph = Graph(classes=21_843, size=(8, 8))
    check(opened(graph.write(tmp_path)), graph)


def test_initializers_among_the_inputs_are_none(tmp_path: Path) -> None:
    """As exporters wrote them up to IR version 3."""

    def old(model: onnx.ModelProto) -> None:
        weights = model.graph.initializer[0]
        model.graph.input.append(helper.make_tensor_value_info("weights", FLOAT, weights.dims))

    graph = Graph()
    check(opened(graph.write(tmp_path, old)), graph)


def test_a_second_input_is_refused(tmp_path: Path) -> None:
    def second(model: onnx.ModelProto) -> None:
        model.graph.input.append(helper.make_tensor_value_info("training", TensorProto.BOOL, []))

    with pytest.raises(RegistryInvalid, match=r"has 2: images float32 .*, training bool \(\)\. Export"):
        opened(Graph().write(tmp_path, second))


def newer_opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 99


def newer_format(model: onnx.ModelProto) -> None:
    model.ir_version = 99


def custom(model: onnx.ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("com.acme", 1))
    model.graph.node.append(helper.make_node("Wobble", ["scored"], ["wobbled"], domain="com.acme"))


def undeclared_custom(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Wobble", ["scored"], ["wobbled"], domain="com.acme"))


def unknown_operator(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Wobble", ["scored"], ["wobbled"]))


def missing_edge(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Add", ["scored", "nowhere"], ["sum"]))


def no_kernel(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Cast", ["pixels"], ["double"], to=TensorProto.DOUBLE))
    model.graph.node.append(helper.make_node("Conv", ["double", "double"], ["found twice"]))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("found twice", TensorProto.DOUBLE, None))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            newer_opset,
            r"its opset of ai\.onnx is 99, and ONNX Runtime \S+ reads up to \d+: export it with opset \d+",
        ),
        (newer_format, r"its IR version is 99, and ONNX Runtime \S+ reads up to \d+: save it with an older"),
        (custom, "its operator Wobble is a custom one, of the domain com.acme, and libraries of custom"),
        (
            undeclared_custom,
            "its operator Wobble is a custom one, of the domain com.acme, and libraries of custom",
        ),
        (unknown_operator, "its operator Wobble is none of opset 17"),
        (missing_edge, "its graph is not valid: export it again"),
        (no_kernel, "cannot run its operator Conv on this device in this number format"),
    ],
)
def test_what_onnx_runtime_does_not_load_is_said_in_our_words(
    tmp_path: Path,
    change: Any,
    message: str,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(RegistryInvalid, match=message) as caught:
        opened(Graph().write(tmp_path, change))
    check_words(caught.value.message)
    assert caught.value.__cause__ is not None
    assert str(caught.value.__cause__).strip() in caplog.text
    assert capfd.readouterr().err == ""


def test_an_axis_of_no_length_is_refused(tmp_path: Path) -> None:
    """As some exporters write a free one."""

    def empty(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 0

    with pytest.raises(RegistryInvalid, match=r"is \(0, 3, 8, 9\), and an axis of length 0 holds no image"):
        opened(Graph().write(tmp_path, empty))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"keeps weights in 'graph\.data', which is not beside it: put it there"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            r"'graph\.data', which is a Git LFS pointer, not the file",
        ),
        (b"<html></html>", "which is a web page"),
        (b"", "which is an empty file"),
        (b"abcd", "keeps weights in other files, of which one is missing, cut off"),
    ],
)
def test_weights_beside_the_file_that_are_not_there_are_named(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    beside = tmp_path / "graph.data"

    def kept_beside(model: onnx.ModelProto) -> None:
        onnx.external_data_helper.convert_model_to_external_data(
            model, location=beside.name, size_threshold=0
        )
        for tensor in model.graph.initializer:
            tensor.ClearField("raw_data")
            tensor.external_data.add(key="length", value="2592")

    if content is not None:
        beside.write_bytes(content)
    with pytest.raises(RegistryInvalid, match=message) as caught:
        opened(Graph().write(tmp_path, kept_beside))
    check_words(caught.value.message)


@pytest.mark.parametrize(
    "text", ["CUDA failure 2: out of memory", "std::bad_alloc", "Failed to allocate memory"]
)
def test_want_of_memory_is_said(text: str) -> None:
    error = RuntimeError(f"[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : /onnxruntime_src/a.cc:1 {text}")
    assert load_reason(error, model="toy") == "there is not enough memory for it"
    reason = run_reason(error, runtime=RUNTIME, model="toy")
    assert reason == "there is not enough memory for a batch; lower its batch_size"


def test_want_of_memory_is_no_wrong_size(tmp_path: Path) -> None:
    spec = Graph().write(tmp_path)
    error = RuntimeError("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : /a.cc:1 Failed to allocate memory")
    for rows, words in ((1, "one image:"), (8, "8 images, of which its file makes a batch:")):
        refused = probe_refusal(spec, (rows, 3, 8, 9), error)
        assert refused.field == "source"
        assert f"there is not enough memory to run it on {words}" in refused.message
    other = probe_refusal(spec, (1, 3, 8, 9), RuntimeError("Got invalid dimensions"))
    assert other.field == "preprocessing.size"


def test_nothing_but_our_log_has_what_onnx_runtime_says_of_a_run(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    graph = Graph(free=ALL_FREE, flat=True, size=(8, 8))
    refusal(tmp_path, graph, "preprocessing.size", preprocessing=replace(graph.preprocessing, size=(16, 16)))
    assert "ONNXRuntimeError" in caplog.text
    assert capfd.readouterr().err == ""


def test_generated_graphs_are_computed_right_or_refused(tmp_path: Path) -> None:
    """Every graph is a classifier; where its file leaves a choice, the registry entry makes it."""
    rng = np.random.default_rng(0)
    refused: list[RegistryInvalid] = []
    for seed in range(150):
        beside = [FEATURES, label(), zip_map(), cast("rounded", "bfloat16"), scores("others")]
        chosen = [made for made in beside if rng.random() < 0.3]
        chosen.insert(int(rng.integers(len(chosen) + 1)), scores())
        graph = Graph(
            layout=str(rng.choice(["nchw", "nhwc"])),
            dtype=str(rng.choice(list(TOLERANCES))),
            channels=3 if any(made is FEATURES for made in chosen) else int(rng.choice([1, 3, 4])),
            free=frozenset(name for name in ("batch", *NAMES) if rng.random() < 0.5),
            batch=int(rng.choice([1, 2, 5])),
            outputs=tuple(chosen),
            flat=bool(rng.random() < 0.2),
            seed=seed,
        )
        try:
            model = opened(graph.write(tmp_path))
        except RegistryInvalid as error:
            refused.append(error)
            model = opened(graph.write(tmp_path, input_layout=graph.layout, output="scores"))
        check(model, graph)
    assert {error.field for error in refused} == {"input_layout", "output"}
    assert len(refused) < 75
    for error in refused:
        check_words(error.message)


@pytest.mark.parametrize(
    ("graph", "rows"),
    [
        (Graph("nhwc"), None),
        (Graph("nhwc", "uint8"), 4),
        (Graph("nchw", "uint8"), None),
        (Graph("nhwc", "float16", outputs=(label(), scores())), 4),
        (Graph("nhwc", "float64", outputs=(cast("scores", "float64"), FEATURES)), None),
        (Graph(outputs=(shaped("scores", -1, 1, 1, 3), label())), 4),
    ],
)
def test_tensors_are_scored_where_they_lie(tmp_path: Path, graph: Graph, rows: int | None) -> None:
    """The path of a GPU, on a CPU, in every order of axes and number format: the same scores as through NumPy."""
    torch = pytest.importorskip("torch")
    from wavescope.models.onnx.binding import Binding

    model = opened(graph.write(tmp_path))
    bound = Binding(model.session, torch.device("cpu"), model.signature, rows=rows)
    for given in (1, 3, 4):
        tensor = bound.to_device(images(graph, 8)).contiguous(memory_format=torch.channels_last)[
            2 : 2 + given
        ]
        found = bound.run(tensor).reshape(given, -1).float().numpy()
        np.testing.assert_allclose(
            found, model.forward(images(graph, 8)[2 : 2 + given]), rtol=1e-5, atol=1e-5
        )


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_explanations_are_the_same_in_either_order_of_axes(tmp_path: Path, dtype: str) -> None:
    photograph = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    first, second = (
        wavescope.explain(
            photograph,
            model=wavescope.load_model(Graph(layout, dtype).write(tmp_path)),
            kind="sobol",
            grid_size=4,
            nb_design=8,
            seed=0,
        )
        for layout in ("nchw", "nhwc")
    )
    np.testing.assert_allclose(first.indices.total, second.indices.total, atol=1e-5)
