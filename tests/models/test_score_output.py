"""One rule says which output has the scores, whatever runs the model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.fakes.onnx_graphs import Graph, Made, output, scores

from wavescope.errors import RegistryInvalid
from wavescope.models.load import load
from wavescope.models.onnx.backend import OnnxBackend
from wavescope.models.score_output import ScoreOutputs, choose_scores, class_count
from wavescope.models.torch.outputs import NoScoresError, find_scores

CASES = [
    ({"a": (2, 10)}, ("a",), ()),
    ({"a": (2, 10), "uncertainty": (2, 1)}, ("a",), ()),
    ({"uncertainty": (2, 1, 1, 1), "a": (2, 1, 10)}, ("a",), ()),
    ({"a": (2, 1)}, ("a",), ()),
    ({"a": (2, 1, 1, 1)}, ("a",), ()),
    ({"a": (2, 1), "b": (2, 1)}, ("a", "b"), ()),
    ({"logits": (2, 10), "probabilities": (2, 10)}, ("logits",), ()),
    ({"head.logits": (2, 10), "head.aux": (2, 10)}, ("head.logits",), ()),
    ({"x.logits": (2, 10), "y.logits": (2, 10)}, ("x.logits", "y.logits"), ()),
    ({"a": (2, 10), "b": (2, 10)}, ("a", "b"), ()),
    ({"a": (2, 10), "embeddings": (2, 10)}, ("a",), ("embeddings",)),
    ({"pooler_output": (2, 10)}, (), ("pooler_output",)),
    ({"features": (2, 64), "a": (2, 1)}, ("a", "features"), ("features",)),
    ({"features": (2, 64), "logits": (2, 1)}, ("logits",), ("features",)),
    ({"features.logits": (2, 3)}, ("features.logits",), ()),
    ({"map": (2, 3, 8, 8), "rows": (3, 10), "none": (2, 0), "flat": (2,)}, (), ()),
]


@pytest.mark.parametrize(("shapes", "able", "features"), CASES)
def test_the_rule(
    shapes: dict[str, tuple[int, ...]], able: tuple[str, ...], features: tuple[str, ...]
) -> None:
    assert choose_scores(shapes, 2) == ScoreOutputs(able, features)
    tensors = {name: torch.zeros(shape) for name, shape in shapes.items()}
    if len(able) == 1:
        assert find_scores(tensors, 2) == (able[0],)
    else:
        count = len(able) or "none"
        with pytest.raises(NoScoresError, match=f"of which {count} can be scores"):
            find_scores(tensors, 2)


@pytest.mark.parametrize("shapes", [case[0] for case in CASES])
def test_an_output_that_is_named_is_taken_if_it_can_be(shapes: dict[str, tuple[int, ...]]) -> None:
    for name, shape in shapes.items():
        able = (name,) if class_count(shape, 2) else ()
        assert choose_scores(shapes, 2, name).able == able


@pytest.mark.parametrize(
    ("outputs", "taken"),
    [
        ((output("probabilities", "Softmax"), scores("logits")), "logits"),
        ((scores("embeddings"), scores("scores")), "scores"),
        ((output("uncertainty", "ReduceMax", axes=[1], keepdims=1), scores("logits")), "logits"),
    ],
)
def test_an_onnx_file_follows_it(tmp_path: Path, outputs: tuple[Made, ...], taken: str) -> None:
    model = load(Graph(outputs=outputs).write(tmp_path), cache_dir=tmp_path, threads=1)
    assert isinstance(model, OnnxBackend)
    assert model.signature.output == taken
    images = np.zeros((3, *model.details.preprocessing.shape), np.float32)
    assert model.forward(images).shape == (3, 3)


def test_a_single_number_beside_features_is_asked_about(tmp_path: Path) -> None:
    single = output("score", "ReduceMax", axes=[1], keepdims=1)
    spec = Graph(outputs=(single, scores("features"))).write(tmp_path)
    with pytest.raises(
        RegistryInvalid, match=r"score \(n, 1\), features \(n, 3\); write output: score"
    ) as caught:
        load(spec, cache_dir=tmp_path, threads=1)
    assert caught.value.field == "output"
