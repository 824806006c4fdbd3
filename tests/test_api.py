"""``wavescope.explain`` in a loop: the model is loaded once, and never an old one."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from tests.fakes.onnx_models import OnnxToy

import wavescope
from wavescope import api
from wavescope.engine.protocols import Classifier
from wavescope.engine.types import Preprocessing
from wavescope.errors import InvalidRequest, ModelChanged, UnknownModel, UnknownTarget
from wavescope.figures.terminal import report
from wavescope.ingress.replies import encode_json
from wavescope.models.load import load
from wavescope.models.model_cache import KeptModels
from wavescope.models.spec import ModelSpec

TOY = OnnxToy("toy", Preprocessing(size=(32, 32)))
IMAGE = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)
SMALL: dict[str, Any] = {"kind": "profile", "nb_design": 2, "levels": 2}


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[Classifier]:
    """Every model that is loaded, in order."""
    found: list[Classifier] = []

    def loading(spec: ModelSpec, **options: Any) -> Classifier:
        found.append(load(spec, **options))
        return found[-1]

    monkeypatch.setattr(api, "_kept", KeptModels(1, loading=loading))
    return found


def test_a_loop_loads_its_model_once(loaded: list[Classifier], tmp_path: Path) -> None:
    spec = TOY.write(tmp_path)
    first, second = (wavescope.explain(IMAGE, model=spec, **SMALL) for _ in range(2))
    assert len(loaded) == 1
    np.testing.assert_array_equal(first.indices.total, second.indices.total)


def test_a_model_file_that_was_replaced_is_what_is_explained(
    loaded: list[Classifier], tmp_path: Path
) -> None:
    spec = TOY.write(tmp_path)
    before = wavescope.explain(IMAGE, model=spec, **SMALL)
    other = OnnxToy("toy", TOY.preprocessing, seed=1)
    assert other.write(tmp_path) == spec
    after = wavescope.explain(IMAGE, model=spec, **SMALL)
    expected = wavescope.explain(IMAGE, model=wavescope.load_model(spec), **SMALL)
    assert len(loaded) == 2
    np.testing.assert_array_equal(after.indices.total, expected.indices.total)
    assert (before.indices.total != after.indices.total).any()


def test_two_classes_of_one_name_are_told_apart_wherever_they_are_shown(tmp_path: Path) -> None:
    spec = replace(TOY.write(tmp_path), labels=("crane",) * 4)
    found = wavescope.explain(IMAGE, model=spec, target="crane (2)", **SMALL)
    shown = {f"crane ({index})" for index in range(4)}
    assert (found.target.index, found.target.label) == (2, "crane (2)")
    assert {each.label for each in found.prediction} == shown
    assert {each["label"] for each in json.loads(encode_json(found))["prediction"]} == shown
    written = io.StringIO()
    Console(file=written, width=100).print(report(found, width=100))
    assert all(name in written.getvalue() for name in shown)


def test_so_are_those_of_a_model_of_the_caller_s_own() -> None:
    model = _linear()
    model._details = replace(model.details, labels=("crane", "crane"))
    found = wavescope.explain(IMAGE, model=model, target="crane (1)", **SMALL)
    assert (found.target.index, found.target.label) == (1, "crane (1)")
    with pytest.raises(UnknownTarget, match="names several classes"):
        wavescope.explain(IMAGE, model=model, target="crane", **SMALL)


def test_none_is_kept_where_none_is_to_be(loaded: list[Classifier], tmp_path: Path) -> None:
    spec = TOY.write(tmp_path)
    wavescope.keep_models(0)
    for _ in range(2):
        wavescope.explain(IMAGE, model=spec, **SMALL)
    assert len(loaded) == 2
    with pytest.raises(InvalidRequest, match="at least 0"):
        wavescope.keep_models(-1)


def test_a_model_that_was_updated_on_its_server_is_asked_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    class Served:
        """Its server goes over to another version after the first explanation."""

        def __init__(self) -> None:
            self.stale = False
            self.model = made
            self.details = made.details
            self.to_device = made.to_device

        def forward(self, images: Any) -> Any:
            if self is servers[0] and len(done):
                self.stale = True
                raise ModelChanged("it was updated on its server")
            return self.model.forward(images)

    spec = ModelSpec(
        name="far",
        source="kserve-v1:http://example.org/v1/models/far:predict",
        preprocessing=TOY.preprocessing,
        outputs="logits",
    )
    made = _linear()
    servers: list[Served] = []
    done: list[wavescope.Explanation] = []

    def loading(spec: ModelSpec, **options: Any) -> Any:
        servers.append(Served())
        return servers[-1]

    monkeypatch.setattr(api, "_kept", KeptModels(1, loading=loading))
    done += [wavescope.explain(IMAGE, model=spec, **SMALL)]
    done += [wavescope.explain(IMAGE, model=spec, **SMALL)]
    assert len(servers) == 2
    np.testing.assert_array_equal(done[0].indices.total, done[1].indices.total)


def _linear() -> Any:
    from tests.fakes.classifiers import FunctionClassifier, details

    weights = np.random.default_rng(1).standard_normal((2, 3 * 32 * 32))
    return FunctionClassifier(lambda image: weights @ image.ravel(), details((3, 32, 32)))


SCALARS = [
    np.int64(2),
    np.uint8(2),
    np.float32(2),
    np.array(2),
    np.array([2]),
    [2],
    torch.tensor(2),
    torch.tensor([2]),
]


@pytest.mark.parametrize("two", SCALARS, ids=repr)
def test_scalars_of_numpy_and_torch_are_taken_as_numbers(tmp_path: Path, two: Any) -> None:
    spec = TOY.write(tmp_path)
    one = two[0] if isinstance(two, list) or getattr(two, "shape", ()) else two
    given: dict[str, Any] = {"kind": "profile", "nb_design": one, "levels": one, "seed": one}
    found = wavescope.explain(IMAGE, model=spec, target=two, **given)
    expected = wavescope.explain(IMAGE, model=spec, target=2, seed=2, **SMALL)
    assert found.target.index == 2
    parameters = [json.dumps(json.loads(encode_json(each))["parameters"]) for each in (found, expected)]
    assert parameters[0] == parameters[1]
    np.testing.assert_array_equal(found.indices.total, expected.indices.total)


def test_arrays_are_lists_of_targets_and_of_images(tmp_path: Path) -> None:
    spec = TOY.write(tmp_path)
    images = np.stack([IMAGE, IMAGE[::-1]])
    for targets in (
        np.array([[1, 2], [3, 0]]),
        [np.array([1, 2]), torch.tensor([3, 0])],
        ((np.int8(1), "index:2"), [np.str_("index:3"), 0.0]),
    ):
        found = wavescope.explain_batch(images, targets, model=spec, **SMALL)
        assert [each.target.index for each in found] == [1, 2, 3, 0]
    found = wavescope.explain_batch(images, np.array([1, 2]), model=spec, **SMALL)
    assert [each.target.index for each in found] == [1, 2]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"target": True}, r"target must be a class index or name, not True"),
        ({"target": np.float64(1.5)}, r"target must be a class index or name, not 1\.5"),
        (
            {"target": np.array([1, 2])},
            r"target is 2 classes, and one is explained: give them to explain_batch",
        ),
        ({"target": []}, r"target is an empty list"),
        ({"target": {"index": 1}}, r"target must be a class index or name, not a dict"),
        ({"seed": np.bool_(True)}, r"seed must be an integer, not True"),
        ({"nb_design": torch.tensor(2.5)}, r"nb_design must be an integer, not 2\.5"),
        ({"levels": np.zeros((2, 3))}, r"levels must be an integer, not an array of shape \(2, 3\)"),
        ({"grid_size": "28"}, r"grid_size must be an integer, not '28'"),
        ({"deadline_s": "2"}, r"deadline_s must be a number, not '2'"),
        ({"faithfulness": "no"}, r"faithfulness must be True or False, not 'no'"),
        ({"kind": 3}, r"kind must be text, not 3"),
    ],
)
def test_values_of_another_type_are_refused_by_the_name_of_their_field(
    tmp_path: Path, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidRequest, match=message) as raised:
        wavescope.explain(IMAGE, model=TOY.write(tmp_path), **SMALL | fields)
    assert raised.value.field == next(iter(fields))


@pytest.mark.parametrize(
    ("images", "targets", "message"),
    [
        ("cat.png", None, "images must be a sequence with one entry per image, not str"),
        (Path("cat.png"), None, r"images must be .* not \w*Path"),
        (IMAGE, None, r"this array has the shape \(48, 48, 3\)"),
        ([IMAGE], "lynx", "targets must be a sequence with one entry per image, not str"),
        ([IMAGE], np.array(1), "targets must be a sequence with one entry per image, not one number"),
        ([IMAGE], [[1, None, True]], r"targets\[0\]\[2\] must be a class index or name, not True"),
    ],
)
def test_one_entry_where_a_sequence_is_due_is_told_so(images: Any, targets: Any, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        wavescope.explain_batch(images, targets)


def test_tensors_open_files_and_paths_are_taken_as_arrays_and_bytes_are(tmp_path: Path) -> None:
    spec = TOY.write(tmp_path)
    path = tmp_path / "a.png"
    Image.fromarray(IMAGE).save(path)
    expected = wavescope.explain(IMAGE, model=spec, **SMALL).indices.total
    with path.open("rb") as file:
        for image in (
            file,
            path,
            str(path),
            path.read_bytes(),
            torch.from_numpy(IMAGE),
            Image.fromarray(IMAGE),
        ):
            found = wavescope.explain(image, model=spec, **SMALL)
            np.testing.assert_array_equal(found.indices.total, expected)
    floats = torch.from_numpy(IMAGE / np.float32(255)).requires_grad_()
    assert wavescope.explain(floats, model=spec, **SMALL).indices is not None
    assert wavescope.explain(floats.bfloat16(), model=spec, **SMALL).indices is not None


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (
            np.zeros((3, 48, 40), np.uint8),
            r"image has the shape \(3, 48, 40\), uint8 from 0 to 0: it looks like \(channels, height, width\): "
            r"transpose it, image\.transpose\(1, 2, 0\)",
        ),
        (torch.full((3, 48, 40), 0.5), r"float32 from 0\.5 to 0\.5: .* image\.permute\(1, 2, 0\)"),
        (np.zeros((1, 48, 40, 3)), r"a batch of one image: take image\[0\]$"),
        (
            torch.zeros((1, 3, 48, 40)),
            r"take image\[0\], and transpose it .*: image\[0\]\.permute\(1, 2, 0\)",
        ),
        (np.zeros((2, 48, 40, 3)), r"a batch of 2 images: give them to explain_batch"),
        (np.zeros((48, 40, 7)), r"must be \(height, width\), or .* with 1, 3 or 4 channels"),
        (np.zeros(48), r"image has the shape \(48\)"),
        (np.array("x"), r"image has the shape \(\) and type <U1"),
        ([[0, 1], [2, 3]], r"image is a list: give an array, np\.asarray\(image, dtype=np\.uint8\)"),
        (3, r"image must be a path, an open file, bytes, .* not int"),
        ("none.png", r"image 'none\.png' cannot be read: No such file"),
        (Path("none.png"), r"image 'none\.png' cannot be read: No such file"),
        ("iVBORw0KGgo" * 1000, r"cannot be read: .*, and is no path: text in base64 is decoded first"),
        ("a\0b", r"is no path"),
        ("data:image/png;base64,iVBORw0KGgo=", r"image is a data: URL: give the bytes"),
        ("https://example.org/cat.png", r"is an address: nothing is fetched"),
        (io.StringIO("text"), r"opened as text: open it in binary mode"),
        (io.BytesIO(), r"without further bytes"),
    ],
)
def test_images_of_other_forms_are_told_what_to_give(tmp_path: Path, image: Any, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message) as raised:
        wavescope.explain(image, model=TOY.write(tmp_path), **SMALL)
    assert raised.value.field == "image"
    with pytest.raises(InvalidRequest, match=r"images\[1\]") as raised:
        wavescope.explain_batch([IMAGE, image], model=TOY.write(tmp_path), **SMALL)
    assert raised.value.field == "images[1]"


def test_a_model_of_another_type_is_told_what_to_give() -> None:
    message = (
        r"model must be a name in the registry, a ModelSpec, or .*load_model returned, not Linear; export"
    )
    with pytest.raises(InvalidRequest, match=message) as raised:
        wavescope.explain(IMAGE, model=torch.nn.Linear(2, 2), **SMALL)
    assert raised.value.field == "model"
    with pytest.raises(InvalidRequest, match=message):
        wavescope.load_model(torch.nn.Linear(2, 2))  # pyright: ignore[reportArgumentType]


def test_without_a_name_the_only_model_of_a_registry_is_explained(tmp_path: Path) -> None:
    spec = TOY.write(tmp_path)
    entry = f"{{source: '{spec.source}', outputs: {spec.outputs}, preprocessing: {{size: [32, 32], resize: 256}}, "
    registry = tmp_path / "models.yaml"
    registry.write_text(f"models: [{entry} name: birds}}]")
    explanation = wavescope.explain(IMAGE, models_file=registry, **SMALL)
    assert explanation.model == "birds"
    registry.write_text(f"models: [{entry} name: birds}}, {entry} name: bees}}]")
    with pytest.raises(UnknownModel, match=r"registered: bees, birds"):
        wavescope.explain(IMAGE, models_file=registry, **SMALL)


def test_an_explanation_is_drawn(tmp_path: Path) -> None:
    explanation = wavescope.explain(IMAGE, model=TOY.write(tmp_path), **SMALL)
    assert Image.open(io.BytesIO(wavescope.draw_png(explanation, dpi=50))).size[0] == 600


@pytest.mark.parametrize(
    ("fields", "words", "limits"),
    [
        (
            {"accuracy": 10**400},
            "accuracy is inf; it must be at least 0.5 and below 1",
            {"exclusive_maximum": 1},
        ),
        ({"noise": -(10**400)}, "noise is -inf; it must be between 0 and 1", {"minimum": 0}),
        ({"deadline_s": float("inf")}, "deadline_s is inf; it must be above 0 and finite", {}),
        ({"deadline_s": 10**5000}, "deadline_s is inf; it must be above 0 and finite", {}),
        ({"seed": 10**5000}, "seed is so large a number; it must be between", {"maximum": 2**53 - 1}),
    ],
)
def test_a_number_beyond_its_limits_is_refused_before_a_model_is_loaded(
    fields: dict[str, Any], words: str, limits: dict[str, float]
) -> None:
    with pytest.raises(InvalidRequest, match=words) as caught:
        wavescope.explain(b"", model="none", **fields)
    assert (caught.value.field, caught.value.limits) == (next(iter(fields)), limits)
