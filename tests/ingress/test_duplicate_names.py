"""A name twice in one JSON object is refused on every route that reads JSON: two readers would take two values."""

from __future__ import annotations

import json

import pytest
from tests.ingress.fakes import FakePlane, body, make_app, make_explanation, send

from wavescope.ingress.openapi.request_examples import TINY_PNG

IMAGE = json.dumps({"base64": TINY_PNG})
INSTANCE = json.dumps({"image_bytes": {"b64": TINY_PNG}})
INPUT = json.dumps({"name": "image", "datatype": "BYTES", "shape": [1], "data": [TINY_PNG]})


def twice(*, outer: str = "") -> str:
    return f'{{"image": {IMAGE}, "seed": 1, "seed": 2{outer}}}'


@pytest.mark.parametrize(
    ("path", "content", "name"),
    [
        ("/v1/explanations", twice(), "seed"),
        ("/v1/explanations:estimate", twice(), "seed"),
        ("/v1/jobs", twice(), "seed"),
        ("/v1/predictions", f'{{"image": {IMAGE}, "top_k": 1, "top_k": 1}}', "top_k"),
        ("/v1/explanations", f'{{"image": {{"base64": "{TINY_PNG}", "base64": ""}}}}', "base64"),
        (
            "/v1/models/efficientnet-lite0:predict",
            f'{{"instances": [{INSTANCE}], "instances": []}}',
            "instances",
        ),
        (
            "/v1/models/efficientnet-lite0:explain",
            f'{{"instances": [{INSTANCE}], "instances": []}}',
            "instances",
        ),
        ("/v2/models/efficientnet-lite0/infer", f'{{"inputs": [{INPUT}], "inputs": []}}', "inputs"),
        ("/v2/models/efficientnet-lite0/infer", f'{{"inputs": [{INPUT[:-1]}, "name": "x"}}]}}', "name"),
    ],
)
def test_a_name_twice_in_one_object_is_refused_and_named(path: str, content: str, name: str) -> None:
    reply = send(
        make_app(FakePlane(make_explanation())),
        "POST",
        path,
        content=content,
        headers={"Content-Type": "application/json"},
    )
    assert reply.status_code == 422, reply.text
    assert reply.json()["field"] == name
    assert f"the name '{name}' twice" in reply.json()["message"]


def test_the_json_part_of_a_multipart_request_is_held_to_the_same() -> None:
    files = {"image": ("a.png", b"x"), "request": ("r.json", b'{"seed": 1, "seed": 1}', "application/json")}
    reply = send(make_app(FakePlane(make_explanation())), "POST", "/v1/explanations", files=files)
    assert (reply.status_code, reply.json()["field"]) == (422, "seed")


def test_the_same_name_in_two_objects_is_no_duplicate() -> None:
    images = body({"images": [{"base64": TINY_PNG}, {"base64": TINY_PNG}]})
    reply = send(make_app(FakePlane(make_explanation())), "POST", "/v1/explanations", json=images)
    assert reply.status_code == 200
