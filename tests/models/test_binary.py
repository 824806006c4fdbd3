"""Models of one output are binary classifiers, in every backend and through every kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import skimage.data
import torch
from onnx import TensorProto, helper, numpy_helper

import wavescope
from wavescope.engine.kinds import KINDS
from wavescope.engine.types import Preprocessing
from wavescope.errors import RegistryInvalid
from wavescope.models.backend import as_classes, check_scores, probe_images
from wavescope.models.spec import ModelSpec

SIDE = 32
PREPROCESSING = Preprocessing(size=(SIDE, SIDE), resize=None)
PHOTOGRAPH = skimage.data.chelsea()
WAM = {"grid_size": 4, "levels": 2, "seed": 0}
SMALL = {"grid_size": 4, "nb_design": 4, "levels": 2, "seed": 0, "plan": "full"}


def write_binary(folder: Path, *, sigmoid: bool, bias: float = 0.0) -> Path:
    """A linear model of the image in an ONNX file: one output, a logit or its sigmoid."""
    weights = np.random.default_rng(0).standard_normal((3 * SIDE * SIDE, 1)).astype(np.float32) / SIDE
    nodes = [
        helper.make_node("Flatten", ["images"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weights", "bias"], ["logit"]),
    ]
    if sigmoid:
        nodes.append(helper.make_node("Sigmoid", ["logit"], ["probability"]))
    output = "probability" if sigmoid else "logit"
    graph = helper.make_graph(
        nodes,
        "binary",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["n", 1])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(np.float32([bias]), "bias")],
    )
    path = folder / f"{output}.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def spec(path: Path, **fields: Any) -> ModelSpec:
    return ModelSpec(name="binary", source=f"onnx:{path}", preprocessing=PREPROCESSING, **fields)


def logit_of(path: Path) -> float:
    """What the graph computes for the photograph, in NumPy."""
    pixels = wavescope.explain(PHOTOGRAPH, model=spec(path, outputs="logits"), **SMALL).image
    assert pixels is not None
    mean, std = (np.reshape(values, (3, 1, 1)) for values in (PREPROCESSING.mean, PREPROCESSING.std))
    weights = {one.name: numpy_helper.to_array(one) for one in onnx.load(path).graph.initializer}
    return float(((pixels - mean) / std).ravel() @ weights["weights"][:, 0] + weights["bias"][0])


def test_the_two_classes_have_the_probabilities_of_the_sigmoid(tmp_path: Path) -> None:
    path = write_binary(tmp_path, sigmoid=False)
    positive = 1 / (1 + np.exp(-logit_of(path)))
    for model in (
        spec(path, outputs="logits"),
        spec(write_binary(tmp_path, sigmoid=True), outputs="sigmoid"),
        spec(write_binary(tmp_path, sigmoid=True), outputs="probabilities"),
    ):
        found = wavescope.explain(PHOTOGRAPH, model=model, target="positive", **SMALL)
        assert (found.target.index, found.target.label) == (1, "positive")
        assert found.target.probability == pytest.approx(positive, abs=1e-5)
        assert {one.label: one.probability for one in found.prediction}["negative"] == pytest.approx(
            1 - positive, abs=1e-5
        )


@pytest.mark.parametrize("score", ["probability", "logit", "log_probability", "margin"])
def test_a_logit_and_its_sigmoid_give_one_map(tmp_path: Path, score: str) -> None:
    maps = [
        wavescope.explain(PHOTOGRAPH, model=model, target=1, score=score, **SMALL).indices
        for model in (
            spec(write_binary(tmp_path, sigmoid=False), outputs="logits"),
            spec(write_binary(tmp_path, sigmoid=True), outputs="sigmoid"),
            spec(write_binary(tmp_path, sigmoid=True), outputs="probabilities"),
        )
    ]
    logits, *others = maps
    assert logits is not None
    for other in others:
        assert other is not None
        np.testing.assert_allclose(logits.total, other.total, rtol=2e-3, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_explains_a_binary_model(tmp_path: Path, kind: str) -> None:
    other = {"other": PHOTOGRAPH[::-1]} if kind == "compare" else {}
    model = spec(write_binary(tmp_path, sigmoid=False), outputs="logits", labels=("cat", "dog"))
    found = wavescope.explain(PHOTOGRAPH, model=model, kind=kind, **other, **SMALL)
    assert found.outcome == "explained"
    assert {one.label for one in found.prediction} == {"cat", "dog"}


def test_robustness_sees_the_class_change(tmp_path: Path) -> None:
    path = write_binary(tmp_path, sigmoid=False)
    balanced = write_binary(tmp_path, sigmoid=False, bias=0.02 - logit_of(path))
    found = wavescope.explain(PHOTOGRAPH, model=spec(balanced, outputs="logits"), kind="robustness", **SMALL)
    assert found.robustness is not None
    assert {one.predicted.index for one in found.robustness.corrupted} == {0, 1}


@pytest.mark.parametrize("outputs", ["logits", "sigmoid"])
def test_the_threshold_decides_the_class_and_leaves_the_probability(tmp_path: Path, outputs: str) -> None:
    path = write_binary(tmp_path, sigmoid=outputs == "sigmoid")
    even = wavescope.explain(
        PHOTOGRAPH, model=spec(path, outputs=outputs), target=1, **SMALL
    ).target.probability
    assert even is not None
    for threshold, predicted in ((even - 1e-3, 1), (even + 1e-3, 0)):
        model = spec(path, outputs=outputs, threshold=threshold)
        found = wavescope.explain(PHOTOGRAPH, model=model, **SMALL)
        assert found.prediction[0].index == found.target.index == predicted
        assert sum(one.probability or 0 for one in found.prediction) == pytest.approx(1)
        robust = wavescope.explain(PHOTOGRAPH, model=model, kind="robustness", **SMALL).robustness
        assert robust is not None
        for one in robust.corrupted:
            positive = (
                one.predicted.probability if one.predicted.index else 1 - (one.predicted.probability or 0)
            )
            assert positive is not None
            assert (positive >= threshold) == bool(one.predicted.index)


def test_thresholds_make_other_revisions(tmp_path: Path) -> None:
    path = write_binary(tmp_path, sigmoid=False)
    revisions = {
        wavescope.load_model(spec(path, outputs="logits", threshold=threshold)).details.revision
        for threshold in (None, 0.5, 0.7)
    }
    assert len(revisions) == 2


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"labels": ("spam",)},
            "1 names for a model of 2 classes, which has one output: name its negative, then",
        ),
        ({"labels": ("a", "b", "c")}, "3 names for a model of 2 classes"),
        ({"threshold": "0.5"}, "threshold: 0.5 must lie between 0 and 1"),
        ({"threshold": 0.0}, "threshold: 0.0 must lie between 0 and 1"),
        ({"threshold": 1.5}, "threshold: 1.5 must lie between 0 and 1"),
        ({"threshold": float("nan")}, "threshold: nan must lie between 0 and 1"),
    ],
)
def test_wrong_declarations_of_a_binary_model_are_refused(
    tmp_path: Path, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(RegistryInvalid, match=message):
        wavescope.load_model(spec(write_binary(tmp_path, sigmoid=False), outputs="logits", **fields))


@pytest.mark.parametrize("library", [np.asarray, torch.tensor], ids=["numpy", "torch"])
def test_one_output_becomes_two_classes_in_either_library(library: Any) -> None:
    values = [[-3.0], [0.0], [2.0]]
    logits = np.asarray(as_classes(library(values), "logits"))
    np.testing.assert_array_equal(logits, [[1.5, -1.5], [0, 0], [-1, 1]])
    likely = np.asarray(as_classes(library([[0.25], [1.0]]), "sigmoid"))
    np.testing.assert_array_equal(likely, [[0.75, 0.25], [0, 1]])
    two = library([[1.0, 2.0]])
    assert as_classes(two, "logits") is two


ROWS = len(probe_images(PREPROCESSING))
SOFTMAX = np.full((ROWS, 3), 1 / 3, np.float32) + np.float32([[0.1, -0.1, 0]])
SIGMOIDS = np.random.default_rng(0).random((ROWS, 3), dtype=np.float32)


@pytest.mark.parametrize(
    ("outputs", "scores", "message"),
    [
        ("logits", SIGMOIDS, "declared logits, but all 12 outputs .* lie in .*: declare sigmoid"),
        ("logits", SOFTMAX, "declared logits, but the outputs are probabilities.*: declare probabilities"),
        ("sigmoid", SOFTMAX, "declared sigmoid, but the outputs sum to 1: declare probabilities"),
        ("sigmoid", SIGMOIDS * 3, "declared sigmoid, but outputs lie outside .*: declare logits"),
        ("probabilities", SIGMOIDS, "do not sum to 1: declare sigmoid"),
        ("probabilities", SIGMOIDS * 3 - 1, "do not sum to 1: declare logits"),
        ("logits", SOFTMAX * 100, "percentages: they sum to 100"),
        ("probabilities", SOFTMAX * 100, "percentages: they sum to 100"),
        ("logits", SIGMOIDS * np.nan, "not finite"),
        ("sigmoid", SIGMOIDS * np.inf, "not finite"),
    ],
)
def test_outputs_that_contradict_the_declaration_are_refused_with_the_remedy(
    outputs: Any, scores: np.ndarray, message: str
) -> None:
    with pytest.raises(RegistryInvalid, match=message):
        check_scores(spec(Path("m.onnx"), outputs=outputs), outputs, scores)


def test_doubts_are_warnings_of_every_explanation(tmp_path: Path) -> None:
    model = spec(write_binary(tmp_path, sigmoid=True), outputs="logits")
    found = wavescope.explain(PHOTOGRAPH, model=model, **SMALL)
    assert any("declared as a logit, but lay in [0, 1]" in warning for warning in found.warnings)
    assert check_scores(model, "logits", np.ones((ROWS, 3), np.float32) * 7) == (
        "the model returned the same outputs for images of noise, black and white: its weights or its "
        "preprocessing are probably wrong",
    )
    assert check_scores(model, "logits", SIGMOIDS * 9 - 4) == ()


def test_a_threshold_of_a_model_of_more_outputs_is_refused() -> None:
    with pytest.raises(RegistryInvalid, match="threshold: is for models of one output, and this one has 3"):
        check_scores(spec(Path("m.onnx"), outputs="logits", threshold=0.5), "logits", SIGMOIDS * 9 - 4)


@pytest.mark.parametrize(
    ("field", "values"),
    [("mean", (123.675, 116.28, 103.53)), ("std", (58.395, 57.12, 57.375)), ("std", (255.0,) * 3)],
)
def test_mean_and_std_of_0_to_255_are_refused_with_the_divided_ones(
    field: str, values: tuple[float, ...]
) -> None:
    divided = ", ".join(f"{value / 255:.3g}" for value in values)
    with pytest.raises(
        RegistryInvalid, match=f"on a scale of 0 to 255, .* divide by 255, \\[{divided}\\]"
    ) as caught:
        ModelSpec(
            name="m", source="onnx:m.onnx", outputs="logits", preprocessing=Preprocessing(**{field: values})
        )
    assert caught.value.field == f"preprocessing.{field}"


def test_a_std_divided_by_255_twice_is_refused() -> None:
    twice = Preprocessing(std=(0.229 / 255 / 255,) * 3)
    with pytest.raises(RegistryInvalid, match="it seems to be divided by 255 twice"):
        ModelSpec(name="m", source="onnx:m.onnx", outputs="logits", preprocessing=twice)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("threads", 10**9),
        ("batch_size", 10**12),
        ("max_replicas", 10**20),
        ("num_cpus", 1e300),
        ("num_gpus", 1e9),
    ],
)
def test_amounts_that_no_machine_has_are_refused_with_the_limit(field: str, value: float) -> None:
    with pytest.raises(RegistryInvalid, match=f"{field}: .* at most") as caught:
        ModelSpec(name="m", source="embedded:efficientnet-lite0", **{field: value})
    assert caught.value.field == field


@pytest.mark.parametrize("score", ["logit", "margin"])
@pytest.mark.parametrize("outputs", ["logits", "sigmoid", "probabilities"])
def test_the_logit_and_the_margin_are_those_of_the_one_output_however_it_is_declared(
    tmp_path: Path, outputs: Any, score: str
) -> None:
    path = write_binary(tmp_path, sigmoid=outputs != "logits")
    logit, model = logit_of(write_binary(tmp_path, sigmoid=False)), spec(path, outputs=outputs)
    for target, sign in ((1, 1), (0, -1)):
        asked = {"model": model, "target": target, "score": score}
        found = wavescope.explain(PHOTOGRAPH, kind="wam", method="integrated_gradients", **asked, **WAM)
        assert found.attributions is not None
        assert found.attributions.score == pytest.approx(sign * logit, rel=1e-3)
        assert abs(found.attributions.completeness_error) < 0.01
        one = wavescope.explain(PHOTOGRAPH, **asked, **SMALL).indices
        odds = spec(write_binary(tmp_path, sigmoid=True), outputs="sigmoid")
        two = wavescope.explain(PHOTOGRAPH, model=odds, target=1, score="logit", **SMALL).indices
        assert one is not None
        assert two is not None
        expected = sign * np.array(two.effect, float)
        size = float(np.abs(expected).max())
        np.testing.assert_allclose(np.array(one.effect, float), expected, rtol=1e-2, atol=1e-3 * size)
