"""KServe's first protocol: instances in, predictions and explanations out, over a data plane that answers at once."""

from __future__ import annotations

import io
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image
from tests.ingress.fakes import (
    IMAGE,
    MODEL,
    FakePlane,
    MemoryRecorder,
    make_app,
    make_explanation,
    post,
    send,
)

from wavescope import errors
from wavescope.engine.requests import make_request
from wavescope.ingress.openapi.request_examples import TINY_PNG

B64 = {"b64": TINY_PNG}
PIXELS = np.random.default_rng(7).integers(0, 256, (3, 4, 3), dtype=np.uint8)


def ask(app: FastAPI, verb: str, content: dict[str, Any], model: str = MODEL) -> httpx.Response:
    return send(app, "POST", f"/v1/models/{model}:{verb}", json=content)


def refused(response: httpx.Response, status: int, code: str, field: str | None) -> str:
    """The message of a refusal, its form checked."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    told = response.json()
    assert set(told) == {"error", "code", "message", "field", "limits", "request_id"}
    assert (told["code"], told["field"], told["error"]) == (code, field, told["message"])
    return told["error"]


def test_the_process_is_alive_and_its_models_tell_whether_they_are_ready(plane: FakePlane) -> None:
    app = make_app(plane)
    assert send(app, "GET", "/").json() == {"status": "alive"}
    model = send(app, "GET", f"/v1/models/{MODEL}").json()
    assert (model["name"], model["ready"]) == (MODEL, True)


def test_predictions_are_the_raw_outputs_or_the_best_classes(
    plane: FakePlane, recorder: MemoryRecorder
) -> None:
    app = make_app(plane, recorder)
    response = ask(app, "predict", {"instances": [B64, B64]})
    warnings = [["image 0 is nearly black"], ["image 1 is nearly black"]]
    assert response.json() == {"predictions": [[0.25, 0.5, 0.125]] * 2, "warnings": warnings}
    best = ask(app, "predict", {"instances": [B64], "parameters": {"top_k": 2}}).json()
    assert best == {
        "predictions": [
            [
                {"index": 1, "label": "class 1", "probability": 0.5},
                {"index": 0, "label": "class 0", "probability": 0.25},
            ]
        ],
        "warnings": warnings[:1],
    }
    refused(ask(app, "predict", {"instances": [B64]}, "nobody"), 404, "unknown_model", "model")
    assert recorder.requests == [
        ("prediction", MODEL, "http", "ok"),
        ("prediction", MODEL, "http", "ok"),
        ("prediction", "", "http", "unknown_model"),
    ]


def test_explanations_are_those_of_our_own_reply(plane: FakePlane, recorder: MemoryRecorder) -> None:
    app = make_app(plane, recorder)
    fields = {"nb_design": 4, "target": "tabby", "kind": "wcam"}
    response = ask(app, "explain", {"instances": [B64, B64], "parameters": fields})
    images = [{"base64": TINY_PNG}] * 2
    assert response.json()["explanations"] == post(app, fields | {"images": images}).json()["explanations"]
    first, second = plane.calls
    assert (first.images, first.request, first.targets) == (second.images, second.request, second.targets)
    assert response.headers["wavescope-cache"] == "miss"
    assert recorder.requests[0] == ("wcam", MODEL, "http", "ok")


def test_kserves_metric_counts_calls_of_its_explain_endpoint_for_known_models(
    plane: FakePlane, recorder: MemoryRecorder
) -> None:
    app = make_app(plane, recorder)
    ask(app, "explain", {"instances": [B64]})
    ask(app, "explain", {"instances": [B64]}, "nobody")
    ask(app, "predict", {"instances": [B64]})
    post(app, {"image": {"base64": TINY_PNG}})
    assert len(recorder.requests) == 4
    assert recorder.by_kserve == [MODEL]


def test_one_target_per_instance(plane: FakePlane) -> None:
    ask(make_app(plane), "explain", {"instances": [B64, B64], "parameters": {"targets": [3, None]}})
    assert plane.calls[0].targets == ((3,), (None,))


def test_a_comparison_takes_the_other_image_in_the_instance() -> None:
    plane = FakePlane(make_explanation("compare"))
    app = make_app(plane)
    instance = B64 | {"other": {"base64": TINY_PNG}}
    parameters = {"kind": "compare"}
    response = ask(app, "explain", {"instances": [instance], "parameters": parameters})
    assert response.status_code == 200, response.text
    assert (plane.calls[0].images, plane.calls[0].other) == ((IMAGE,), IMAGE)
    assert plane.calls[0].request == make_request(kind="compare")
    content = {"instances": [instance, instance], "parameters": parameters}
    refused(ask(app, "explain", content), 422, "invalid_request", "instances")
    absent = ask(app, "explain", {"instances": [B64], "parameters": parameters})
    message = refused(absent, 422, "invalid_request", "instances[0].other")
    assert message.startswith("instances[0].other is required")
    needless = ask(app, "explain", {"instances": [B64, instance]})
    refused(needless, 422, "invalid_request", "instances[1].other")


@pytest.mark.parametrize(
    "instance",
    [
        {"b64": TINY_PNG},
        {"base64": TINY_PNG},
        {"image": {"base64": TINY_PNG}},
        {"image": {"b64": TINY_PNG}},
        {"image_bytes": {"b64": TINY_PNG}},
        {"image_bytes": {"b64": TINY_PNG}, "key": "1"},
        {"key": 1, "b64": TINY_PNG, "label": "cat", "box": [0, 0, 8, 8], "more": {"a": None}},
        {"input": {"b64": TINY_PNG}, "b64": None},
        {"image": None, "b64": TINY_PNG},
        {"image": None, "image_bytes": None, "input": {"b64": TINY_PNG}, "other": None},
        {"image": {"b64": TINY_PNG, "image_bytes": None}},
        {"image": {"b64": TINY_PNG}, "key": {"b64": "MTIz"}},
        {"input": {"b64": TINY_PNG}, "key": {"b64": "MTIz"}},
        {"b64": TINY_PNG, "mask": {"b64": "MTIz"}, "pixels": [[[1, 2, 3]]]},
        {"image": TINY_PNG},
        {"image": f"data:image/png;base64,{TINY_PNG}", "key": "1", "other": None},
        {"image_bytes": TINY_PNG, "image": "cat.png"},
        {"image": "cat.png", "b64": TINY_PNG},
        {"image": "550e8400-e29b-11d4-a716-446655440000", "input": {"b64": TINY_PNG}},
        {"b64": f"data:image/png;base64,{TINY_PNG}"},
        {"b64": TINY_PNG.replace("+", "-").replace("/", "_").rstrip("=")},
    ],
)
def test_an_encoded_file_comes_in_several_forms(plane: FakePlane, instance: dict[str, Any]) -> None:
    assert ask(make_app(plane), "explain", {"instances": [instance]}).status_code == 200
    assert plane.calls[0].images == (IMAGE,)


@pytest.mark.parametrize(
    "instance",
    [PIXELS.tolist(), (PIXELS / 255).tolist(), {"image": PIXELS.tolist()}],
    ids=["integers", "fractions", "named"],
)
def test_pixels_reach_the_plane_without_loss(plane: FakePlane, instance: Any) -> None:
    response = ask(make_app(plane), "explain", {"instances": [instance]})
    assert response.status_code == 200, response.text
    decoded = np.array(Image.open(io.BytesIO(plane.calls[0].images[0])))
    np.testing.assert_array_equal(decoded, PIXELS)


@pytest.mark.parametrize(
    "instance",
    [
        np.moveaxis(PIXELS, 2, 0).tolist(),
        {"pixels": PIXELS.tolist(), "key": "a"},
        {"pixels": np.moveaxis(PIXELS, 2, 0).tolist(), "key": "a"},
    ],
    ids=["channels first", "beside a key", "both"],
)
def test_pixels_of_other_forms_are_those_of_the_usual_one(plane: FakePlane, instance: Any) -> None:
    response = ask(make_app(plane), "explain", {"instances": [instance]})
    assert response.status_code == 200, response.text
    np.testing.assert_array_equal(np.array(Image.open(io.BytesIO(plane.calls[0].images[0]))), PIXELS)


@pytest.mark.parametrize("grey", [PIXELS[:, :, :1], PIXELS[:, :, 0][None]], ids=["last", "first"])
def test_one_channel_is_grey(plane: FakePlane, grey: np.ndarray) -> None:
    assert ask(make_app(plane), "explain", {"instances": [grey.tolist()]}).status_code == 200
    decoded = Image.open(io.BytesIO(plane.calls[0].images[0]))
    assert decoded.mode == "L"
    np.testing.assert_array_equal(np.array(decoded), PIXELS[:, :, 0])


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ({}, "instances"),
        ({"instances": []}, "instances"),
        ({"instances": [B64], "signature_name": "x"}, "signature_name"),
        ({"instances": [B64], "parameters": 3}, "parameters"),
        ({"instances": [B64] * 17}, "images"),
        ({"instances": [TINY_PNG]}, "instances[0]"),
        ({"instances": [None]}, "instances[0]"),
        ({"instances": [{}]}, "instances[0]"),
        ({"instances": [B64 | {"image": B64}]}, "instances[0]"),
        ({"instances": [{"image": {"image": B64}}]}, "instances[0]"),
        ({"instances": [{"b64": 7}]}, "instances[0]"),
        ({"instances": [B64, {"b64": "no base64!"}]}, "instances[1].b64"),
        ({"instances": [{"image": {"base64": ""}}]}, "instances[0].image.base64"),
        ({"instances": [[]]}, "instances[0]"),
        ({"instances": [[1, 2, 3]]}, "instances[0]"),
        ({"instances": [[[[1, 2, 3], [4, 5, 6]], [[1, 2, 3]]]]}, "instances[0]"),
        ({"instances": [[[[1, 2, 256]]]]}, "instances[0]"),
        ({"instances": [[[[1, 2, -1]]]]}, "instances[0]"),
        ({"instances": [[[[0.5, 2, 1]]]]}, "instances[0]"),
        ({"instances": [[[[1, 2, 10**30]]]]}, "instances[0]"),
        ({"instances": [[[["a", "b", "c"]]]]}, "instances[0]"),
        ({"instances": [[[[True, False, True]]]]}, "instances[0]"),
        ({"instances": [[[[1, 2]], [[3, 4]]]]}, "instances[0]"),
        ({"instances": [{"key": "a", "label": [1, 2]}]}, "instances[0]"),
        ({"instances": [{"key": "a", "first": B64, "second": B64}]}, "instances[0]"),
        ({"instances": [{"image": TINY_PNG, "second": B64}]}, "instances[0]"),
        ({"instances": [{"image": TINY_PNG, "image_bytes": TINY_PNG}]}, "instances[0]"),
        ({"instances": [{"key": B64}]}, "instances[0]"),
        ({"instances": [{"image": None}]}, "instances[0]"),
        ({"instances": [{"image": "http://host/cat.jpg"}]}, "instances[0].image"),
        ({"instances": [{"image": "cat.png", "key": B64}]}, "instances[0].image"),
    ],
)
@pytest.mark.parametrize("verb", ["predict", "explain"])
def test_what_is_wrong_is_named(plane: FakePlane, verb: str, content: dict[str, Any], field: str) -> None:
    refused(ask(make_app(plane), verb, content), 422, "invalid_request", field)


@pytest.mark.parametrize(
    ("verb", "parameters", "field"),
    [
        ("predict", {"top_k": 0}, "top_k"),
        ("predict", {"kind": "fam"}, "kind"),
        ("explain", {"levels": "3"}, "levels"),
        ("explain", {"colour": 3}, "colour"),
        ("explain", {"image": B64}, "parameters.image"),
        ("explain", {"model": "another"}, "parameters.model"),
        ("explain", {"targets": [1, 2]}, "targets"),
    ],
)
def test_parameters_are_those_of_ours(
    plane: FakePlane, verb: str, parameters: dict[str, Any], field: str
) -> None:
    content = {"instances": [B64], "parameters": parameters}
    refused(ask(make_app(plane), verb, content), 422, "invalid_request", field)


@pytest.mark.parametrize(
    ("field", "message", "told"),
    [
        ("image", "the image is damaged", ("instances[0]", "the image is damaged")),
        (
            "images[1]",
            "images[1]: the image is damaged",
            ("instances[1]", "instances[1]: the image is damaged"),
        ),
        ("deadline_s", "images[0]: no row by then", ("deadline_s", "instances[0]: no row by then")),
        (
            "other",
            "other: the image is damaged",
            ("instances[0].other", "instances[0].other: the image is damaged"),
        ),
        ("levels", "levels must be 1", ("levels", "levels must be 1")),
        (None, "images[2] are three", (None, "images[2] are three")),
    ],
)
@pytest.mark.parametrize("verb", ["predict", "explain"])
def test_what_the_plane_says_of_an_image_is_told_of_its_instance(
    plane: FakePlane, verb: str, field: str | None, message: str, told: tuple[str | None, str]
) -> None:
    plane.error = errors.NotAnImage(message, field=field, most=3)
    response = ask(make_app(plane), verb, {"instances": [B64, B64]})
    assert refused(response, 415, "not_an_image", told[0]) == told[1]
    assert response.json()["limits"] == {"most": 3}


def test_a_refusal_tells_when_to_come_again(plane: FakePlane) -> None:
    plane.error = errors.QueueFull("16 wait", retry_after_s=2.5)
    response = ask(make_app(plane), "explain", {"instances": [B64]})
    assert refused(response, 429, "queue_full", None) == "16 wait"
    assert response.headers["retry-after"] == "3"


def test_the_body_is_limited(plane: FakePlane) -> None:
    response = ask(make_app(plane, max_body_bytes=100), "predict", {"instances": [B64] * 9})
    refused(response, 413, "body_too_large", None)


def test_text_for_pixels_costs_no_more_memory_than_it_has(plane: FakePlane) -> None:
    # As an array of text every place would be as large as the longest: 200 GB.
    row = [["x" * 500_000, "", ""], *[["", "", ""]] * 33_000]
    response = ask(make_app(plane), "explain", {"instances": [[row]]})
    refused(response, 422, "invalid_request", "instances[0]")
