"""Predictions, estimates, and what goes with every call, over HTTP."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from tests.ingress.fakes import DETAILS, IMAGE, MODEL, FakePlane, body, make_app, post, send

from wavescope import errors
from wavescope.engine.types import Prediction
from wavescope.ingress.openapi.request_examples import TINY_PNG
from wavescope.ingress.plane import CallContext, Predictions
from wavescope.ingress.schemas.reply import EstimateReply, PredictionsReply

ENCODED = {"base64": TINY_PNG}


@pytest.fixture
def app(plane: FakePlane) -> FastAPI:
    return make_app(plane)


def test_the_most_probable_classes_of_an_image_are_told(app: FastAPI) -> None:
    response = send(app, "POST", "/v1/predictions", json={"image": ENCODED, "top_k": 2})
    assert response.status_code == 200
    told = PredictionsReply.model_validate_json(response.content)
    assert told.model == MODEL
    assert [[(p.index, p.label, p.probability) for p in image] for image in told.predictions] == [
        [(1, "class 1", 0.5), (0, "class 0", 0.25)]
    ]


def test_several_images_are_told_in_order_and_as_files_too(app: FastAPI) -> None:
    told = send(app, "POST", "/v1/predictions", json={"images": [ENCODED] * 3}).json()
    assert len(told["predictions"]) == 3
    assert told["warnings"] == [[f"image {place} is nearly black"] for place in range(3)]
    files = [("images", ("a.png", IMAGE)), ("images", ("b.png", IMAGE))]
    parts = send(app, "POST", "/v1/predictions", files=files, data={"request": '{"top_k": 1}'}).json()
    assert [len(image) for image in parts["predictions"]] == [1, 1]


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({}, "image", "image is required, or images for a batch"),
        ({"image": ENCODED, "top_k": 0}, "top_k", "top_k must be at least 1, not 0"),
        ({"image": ENCODED, "top_k": 101}, "top_k", "top_k must be at most 100, not 101"),
        ({"image": ENCODED, "top_k": "5"}, "top_k", 'top_k must be an integer, not a string ("5")'),
        (
            {"image": ENCODED, "target": 1},
            "target",
            "target is not a field; the fields are model, top_k, image, images",
        ),
        (
            {"image": ENCODED, "images": [ENCODED]},
            "images",
            "image and images exclude each other: give one of them",
        ),
        ({"images": [ENCODED] * 3}, "images", "images holds 3 images; at most 2 are taken in one request"),
    ],
)
def test_a_wrong_field_is_told(plane: FakePlane, fields: dict[str, Any], field: str, message: str) -> None:
    response = send(make_app(plane, max_images=2), "POST", "/v1/predictions", json=fields)
    told = response.json()
    assert (response.status_code, told["code"], told["field"]) == (422, "invalid_request", field)
    assert told["message"] == message


def test_the_other_image_of_a_comparison_is_no_part_of_it(app: FastAPI) -> None:
    files = {"image": ("a.png", IMAGE), "other": ("b.png", IMAGE)}
    told = send(app, "POST", "/v1/predictions", files=files).json()
    assert (told["code"], told["field"]) == ("invalid_request", "other")


def test_errors_of_the_plane_are_told(app: FastAPI, plane: FakePlane) -> None:
    response = send(app, "POST", "/v1/predictions", json={"image": ENCODED, "model": "made up"})
    assert (response.status_code, response.json()["code"]) == (404, "unknown_model")
    plane.error = errors.NotAnImage("the file cannot be decoded as an image", field="images[1]")
    response = send(app, "POST", "/v1/predictions", json={"images": [ENCODED] * 2})
    assert (response.status_code, response.json()["field"]) == (415, "images[1]")


def test_nothing_but_finite_probabilities_is_told(plane: FakePlane, monkeypatch: pytest.MonkeyPatch) -> None:
    async def predict(*_: Any) -> Predictions:
        return Predictions(
            DETAILS, np.zeros((1, 3), dtype=np.float32), ((Prediction(0, "a", float("nan")),),)
        )

    monkeypatch.setattr(plane, "predict", predict)
    assert send(make_app(plane), "POST", "/v1/predictions", json={"image": ENCODED}).status_code == 500


def test_an_estimate_takes_the_request_of_an_explanation(app: FastAPI, plane: FakePlane) -> None:
    response = send(app, "POST", "/v1/explanations:estimate", json=body({"kind": "profile", "seed": 3}))
    assert response.status_code == 200
    told = EstimateReply.model_validate_json(response.content)
    assert (told.forwards, told.expected_s, told.queue_s, told.cached) == (88, 1.5, 0.25, False)
    assert (plane.calls[0].request.kind, plane.calls[0].request.seed) == ("profile", 3)
    refused = send(app, "POST", "/v1/explanations:estimate", json=body({"levels": 0}))
    assert refused.json()["field"] == "levels"


@pytest.mark.parametrize(("cached", "told"), [(False, "miss"), (True, "hit")])
def test_a_kept_result_is_told_in_the_header_and_in_the_reply(
    plane: FakePlane, cached: bool, told: str
) -> None:
    plane.explanation = replace(plane.explanation, cached=cached)
    response = post(make_app(plane))
    assert (response.headers["wavescope-cache"], response.json()["cached"]) == (told, cached)
    batch = post(make_app(plane), {"targets": [1, 2]})
    assert batch.headers["wavescope-cache"] == told


def test_a_result_that_a_deadline_ended_early_says_so(plane: FakePlane) -> None:
    plane.explanation = replace(plane.explanation, partial=True)
    assert post(make_app(plane)).json()["partial"] is True


def test_the_priority_and_freshness_of_a_call_reach_the_plane(app: FastAPI, plane: FakePlane) -> None:
    headers = {"X-Request-ID": "a", "Wavescope-Priority": "batch", "Cache-Control": "max-age=0, no-cache"}
    post(app, headers=headers)
    post(app, headers={"X-Request-ID": "b"})
    assert [asked.call for asked in plane.calls] == [
        CallContext("a", "", "batch", fresh=True),
        CallContext("b"),
    ]


@pytest.mark.parametrize(
    ("limits", "header"), [({"retry_after_s": 2.25}, "3"), ({"retry_after_s": 0}, "0"), ({}, "1")]
)
def test_when_to_come_again_is_what_the_error_says(
    app: FastAPI, plane: FakePlane, limits: dict[str, Any], header: str
) -> None:
    plane.error = errors.QuotaExceeded("too many forwards this minute", **limits)
    response = post(app)
    assert (response.status_code, response.headers["retry-after"]) == (429, header)
