"""Every kind's reply over HTTP, and batches of them, from explanations made by hand."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.ingress.fakes import (
    FIGURE,
    IMAGE,
    FakePlane,
    adaptive,
    constant,
    make_app,
    make_explanation,
    post,
    without_depth,
)

from wavescope import errors
from wavescope.engine.kinds import KINDS, PERTURBING
from wavescope.engine.requests import make_request
from wavescope.ingress.openapi.request_examples import TINY_PNG
from wavescope.ingress.replies import encode_png, to_reply
from wavescope.ingress.schemas.reply import BatchReply, ExplanationReply

NPZ = {"Accept": "application/x-npz"}
FIGURES = {"Accept": "application/json; figure=png"}
ONE = {"base64": TINY_PNG}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def plane(kind: str) -> FakePlane:
    return FakePlane(make_explanation(kind))


def read(reply: dict[str, Any]) -> np.ndarray:
    data = base64.b64decode(reply["data"])
    return np.frombuffer(data, np.dtype(reply["dtype"]).newbyteorder("<")).reshape(reply["shape"])


def pixels(png: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(png))))


def test_the_reply_of_every_kind_matches_its_documented_schema(plane: FakePlane, kind: str) -> None:
    response = post(make_app(plane), {"kind": kind})
    assert response.status_code == 200
    reply = ExplanationReply.model_validate_json(response.content)
    assert reply.parameters == make_request(kind=kind, score="logit").parameters()
    assert plane.calls[0].other == (IMAGE if kind == "compare" else None)


def test_a_constant_score_has_no_section_of_any_kind(plane: FakePlane, kind: str) -> None:
    plane.explanation = constant(plane.explanation)
    reply = ExplanationReply.model_validate_json(post(make_app(plane), {"kind": kind}).content)
    kept = {
        "id",
        "kind",
        "model",
        "precision",
        "outcome",
        "target",
        "prediction",
        "crop",
        "forwards",
        "timing",
        "parameters",
    }
    assert {name for name, value in reply if value is not None} == kept | {"warnings", "partial", "cached"}


def test_only_the_maps_of_a_kind_are_told(plane: FakePlane, kind: str) -> None:
    maps = post(make_app(plane), {"kind": kind}).json()["maps"]
    own = set(KINDS[kind].maps)
    assert {name for name, value in maps.items() if value is not None} == own | {"factors"}
    for name in own | {"factors"}:
        np.testing.assert_array_equal(read(maps[name]), getattr(plane.explanation.maps, name))


@pytest.mark.parametrize("kind", ["sufficient-image", "robustness"], indirect=True)
def test_sufficiency_is_told_with_images_as_png(plane: FakePlane, kind: str) -> None:
    reply, sent = post(make_app(plane), {"kind": kind}).json(), plane.explanation.sufficiency
    assert sent is not None
    assert reply["reconstruction_depth"] == sent.depth
    assert reply["curve"]["n"] == list(range(10))
    assert reply["curve"]["probability"] == sent.probability.tolist()
    assert reply["curve"]["predicted"] == sent.predicted.tolist()
    assert reply["sufficiency"]["order"] == sent.order.tolist()
    for png, array in (
        (reply["sufficient_image"], sent.image),
        (reply["sufficiency"]["top_factor_image"], sent.top_image),
        (reply["sufficiency"]["positive_image"], sent.positive_image),
    ):
        np.testing.assert_array_equal(pixels(png), np.rint(np.moveaxis(array, 0, -1) * 255))


@pytest.mark.parametrize("kind", ["sufficient-image", "robustness"], indirect=True)
def test_where_no_number_of_factors_suffices_the_curve_is_whole(plane: FakePlane, kind: str) -> None:
    plane.explanation = without_depth(plane.explanation)
    reply = post(make_app(plane), {"kind": kind}).json()
    ExplanationReply.model_validate(reply)
    assert reply["sufficiency"]["outcome"] == "none_suffices"
    assert (reply["reconstruction_depth"], reply["sufficient_image"], reply["sufficiency"]["kept"]) == (
        None,
    ) * 3
    assert len(reply["curve"]["probability"]) == 10


@pytest.mark.parametrize("kind", PERTURBING, indirect=True)
def test_the_reply_of_an_adaptive_plan_matches_its_documented_schema(plane: FakePlane, kind: str) -> None:
    made = adaptive(plane.explanation)
    assert made.screening is not None
    plane.explanation = replace(made, screening=replace(made.screening, prior="gradients", gradients=4))
    content = post(make_app(plane), {"kind": kind, "plan": "adaptive"}).content
    ExplanationReply.model_validate_json(content)
    reply, sent = json.loads(content), plane.explanation
    assert sent.indices is not None
    assert sent.indices.resolved is not None
    assert sent.indices.upper_bound is not None
    assert reply["indices"]["first"] is None
    assert reply["indices"]["resolved"] == sent.indices.resolved.tolist()
    assert reply["indices"]["upper_bound"] == sent.indices.upper_bound.tolist()
    assert reply["screening"] == {
        "stopped": "max_forwards",
        "groups": 4,
        "rounds": [
            {
                "forwards": 40,
                "resolved": 1,
                "standard_error": 0.375,
                "correlation": 0.75,
                "level_error": 0.125,
            },
            {
                "forwards": 64,
                "resolved": 3,
                "standard_error": 0.15,
                "correlation": 0.875,
                "level_error": 0.0625,
            },
        ],
        "prior": "gradients",
        "gradients": 4,
    }


@pytest.mark.parametrize("kind", PERTURBING, indirect=True)
def test_an_archive_of_an_adaptive_plan_has_what_was_resolved(plane: FakePlane, kind: str) -> None:
    plane.explanation = adaptive(plane.explanation)
    content = post(make_app(plane), {"kind": kind, "plan": "adaptive"}, headers=NPZ).content
    archive = np.load(io.BytesIO(content), allow_pickle=False)
    assert "first" not in archive
    assert archive["resolved"].dtype == np.bool_
    assert json.loads(str(archive["explanation"]))["screening"]["rounds"][1]["resolved"] == 3


def test_the_other_image_and_the_zoomed_one_are_told_whole() -> None:
    for kind, section, name in (("compare", "comparison", "other"), ("zoom", "zoom", "zoomed")):
        explanation = make_explanation(kind)
        nested = getattr(getattr(explanation, section), name)
        assert to_reply(explanation)[section][name] == to_reply(nested)


def test_images_become_grey_or_rgb_png() -> None:
    rng = np.random.default_rng(0)
    for channels, shape in ((1, (5, 7)), (3, (5, 7, 3))):
        image = rng.random((channels, 5, 7), dtype=np.float32) * 1.2 - 0.1  # clipped where it leaves [0, 1]
        read_back = np.asarray(Image.open(io.BytesIO(encode_png(image))))
        assert read_back.shape == shape
        expected = np.rint(np.moveaxis(image.clip(0, 1), 0, -1) * 255).reshape(shape)
        np.testing.assert_array_equal(read_back, expected)


def test_an_archive_names_arrays_by_their_place(plane: FakePlane, kind: str) -> None:
    archive = np.load(
        io.BytesIO(post(make_app(plane), {"kind": kind}, headers=NPZ).content), allow_pickle=False
    )
    usual = {"explanation", "image", "factors"}
    if kind in PERTURBING:
        usual |= {"total", "first", "standard_error", "interval_95"}
    maps = set(KINDS[kind].maps)
    sufficiency = {"sufficient_image", "curve/n", "curve/probability", "curve/predicted"} | {
        f"sufficiency/{name}" for name in ("order", "top_factor_image", "positive_image")
    }
    curves = {f"{name}" for name in ("fraction", "insertion_curve", "deletion_curve")}
    nested = (usual | maps | {f"faithfulness/{i}/{name}" for i in (0, 1) for name in curves}) - {
        "explanation"
    }
    contrast = {f"contrast/{name}" for name in ("map", "total", "first", "standard_error", "interval_95")}
    own = {
        "wcam": {f"faithfulness/{i}/{name}" for i in (0, 1) for name in curves} | contrast,
        **dict.fromkeys(("fam", "sobol", "profile"), contrast),
        "sufficient-image": sufficiency,
        "robustness": sufficiency,
        "compare": {"comparison/place_change"} | {f"comparison/other/{name}" for name in nested},
        "zoom": {f"zoom/zoomed/{name}" for name in nested},
        "wam": {
            f"attributions/{name}" for name in ("factors", "signed", "level_maps/0/map", "level_maps/1/map")
        },
    }
    assert set(archive) == usual | maps | own.get(kind, set())


def test_an_archive_has_every_number_once(plane: FakePlane, kind: str) -> None:
    archive = np.load(
        io.BytesIO(post(make_app(plane), {"kind": kind}, headers=NPZ).content), allow_pickle=False
    )
    rest, whole = json.loads(str(archive["explanation"])), to_reply(plane.explanation)
    whole["parameters"] = make_request(kind=kind, score="logit").parameters()
    for name, told in rest.items():
        if isinstance(told, dict | list):
            assert type(told) is type(whole[name])
        else:
            assert told == whole[name]
    for path in set(archive) - {"explanation"}:
        assert path not in rest
    explanation = plane.explanation
    if explanation.sufficiency is not None:
        np.testing.assert_array_equal(archive["sufficient_image"], explanation.sufficiency.image)
        assert archive["sufficiency/order"].dtype == np.int32
    if explanation.comparison is not None and explanation.comparison.other.maps is not None:
        np.testing.assert_array_equal(
            archive["comparison/other/wcam"], explanation.comparison.other.maps.wcam
        )


@pytest.mark.parametrize("kind", ["wcam"], indirect=True)
@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("worth/variance", lambda e: replace(e, worth=replace(e.worth, variance=np.nan))),
        ("levels/0/sum", lambda e: replace(e, levels=(replace(e.levels[0], sum=np.inf),))),
        ("timing/total_s", lambda e: replace(e, timing={"total_s": np.nan})),
    ],
)
def test_a_number_that_is_not_finite_is_named_in_the_log_alone(
    plane: FakePlane, name: str, broken: Any, caplog: pytest.LogCaptureFixture
) -> None:
    plane.explanation = broken(plane.explanation)
    for headers in ({}, NPZ):
        caplog.clear()
        response = post(make_app(plane), headers=headers)
        assert (response.status_code, response.json()["code"]) == (500, "internal")
        assert f"{name} of an explanation is not finite" in caplog.text


BATCHES = [
    ({"targets": [1, None]}, 1, ((1, None),)),
    ({"images": [ONE, ONE], "target": 4}, 2, ((4,), (4,))),
    ({"images": [ONE, ONE], "targets": [[1, 2], None]}, 2, ((1, 2), (None,))),
]


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"compare"}), indirect=True)
@pytest.mark.parametrize(("fields", "images", "targets"), BATCHES)
def test_a_batch_is_answered_image_by_image_and_target_by_target(
    plane: FakePlane, kind: str, fields: dict[str, Any], images: int, targets: Any
) -> None:
    response = post(make_app(plane), {"kind": kind, **fields})
    reply = BatchReply.model_validate_json(response.content)
    assert (plane.calls[0].images, plane.calls[0].targets) == ((IMAGE,) * images, targets)
    asked = [target for image in targets for target in image]
    assert [explanation.parameters["target"] for explanation in reply.explanations] == asked
    assert len({explanation.id for explanation in reply.explanations}) == len(asked)


@pytest.mark.parametrize("kind", ["wcam"], indirect=True)
def test_a_batch_of_one_is_a_list(plane: FakePlane) -> None:
    for fields in ({"images": [ONE]}, {"targets": [1]}):
        assert len(post(make_app(plane), fields).json()["explanations"]) == 1


@pytest.mark.parametrize("kind", ["wcam"], indirect=True)
def test_figures_of_a_batch_come_one_in_each_explanation(plane: FakePlane) -> None:
    reply = post(make_app(plane), {"targets": [1, 2]}, headers=FIGURES).json()
    BatchReply.model_validate(reply)
    for explanation in reply["explanations"]:
        assert base64.b64decode(explanation["figure"]["base64"]) == FIGURE


@pytest.mark.parametrize("kind", ["fam"], indirect=True)
def test_an_archive_of_a_batch_numbers_its_explanations(plane: FakePlane) -> None:
    response = post(make_app(plane), {"kind": "fam", "targets": [1, 2]}, headers=NPZ)
    archive = np.load(io.BytesIO(response.content), allow_pickle=False)
    indices = {"total", "first", "standard_error", "interval_95"}
    names = {"explanation", "image", "factors", "fam", "contrast/map", *indices}
    names |= {f"contrast/{name}" for name in indices}
    assert set(archive) == {f"{position}/{name}" for position in (0, 1) for name in names}
    assert [json.loads(str(archive[f"{i}/explanation"]))["parameters"]["target"] for i in (0, 1)] == [1, 2]


@pytest.mark.parametrize("kind", ["wcam"], indirect=True)
def test_a_batch_has_no_single_figure_and_is_refused_before_it_is_computed(plane: FakePlane) -> None:
    response = post(make_app(plane), {"targets": [1, 2]}, headers={"Accept": "image/png"})
    told = response.json()
    assert (response.status_code, told["code"], told["field"]) == (406, "not_acceptable", "Accept")
    assert told["message"].startswith("a batch has no single figure: Accept must allow application/json")
    assert told["limits"] == {"supported": ["application/json", "application/x-npz", "text/event-stream"]}
    assert plane.calls == []
    accept = {"Accept": "image/png, application/json;q=0.5"}
    assert post(make_app(plane), {"targets": [1, 2]}, headers=accept).status_code == 200


@pytest.mark.parametrize("kind", ["wcam"], indirect=True)
@pytest.mark.parametrize(
    ("files", "targets", "images"),
    [
        ([("image", IMAGE), ("image", IMAGE + b"x")], ((None,), (None,)), (IMAGE, IMAGE + b"x")),
        ([("images", IMAGE), ("images", IMAGE + b"x")], ((None,), (None,)), (IMAGE, IMAGE + b"x")),
        ([("images", IMAGE)], ((None,),), (IMAGE,)),
        ([("image", IMAGE), ("request", b'{"targets": [1, 2]}')], ((1, 2),), (IMAGE,)),
        ([("images", IMAGE), ("request", b'{"targets": [[1, 2]]}')], ((1, 2),), (IMAGE,)),
    ],
)
def test_multipart_carries_batches(plane: FakePlane, files: Any, targets: Any, images: Any) -> None:
    parts = [(name, (f"{name}.bin", data)) for name, data in files]
    response = post(make_app(plane), files=parts)
    assert response.status_code == 200, response.text
    assert "explanations" in response.json()
    assert (plane.calls[0].images, plane.calls[0].targets) == (images, targets)


@pytest.mark.parametrize("kind", ["compare"], indirect=True)
def test_multipart_carries_a_comparison(plane: FakePlane) -> None:
    files = {
        "image": ("a.png", IMAGE),
        "other": ("b.png", b"other"),
        "request": (None, b'{"kind": "compare"}'),
    }
    assert post(make_app(plane), files=files).status_code == 200
    assert (plane.calls[0].images, plane.calls[0].other) == ((IMAGE,), b"other")


@pytest.mark.parametrize("kind", ["wcam"], indirect=True)
@pytest.mark.parametrize(
    ("names", "field", "message"),
    [
        (["images"] * 3, "images", "images holds 3 images; at most 2 are taken in one request"),
        (["image"] * 40, "images", "images holds 40 images; at most 2 are taken in one request"),
        (["image", "images"], "images", "image and images exclude each other: give one of them"),
        (["image", "other"], "other", "other is for kind compare alone, not for kind wcam"),
    ],
)
def test_parts_that_do_not_go_together_are_told(
    plane: FakePlane, names: list[str], field: str, message: str
) -> None:
    files = [(name, (f"{i}.png", IMAGE)) for i, name in enumerate(names)]
    response = post(make_app(plane, max_images=2), files=files)
    assert (response.status_code, response.json()["field"], response.json()["message"]) == (
        422,
        field,
        message,
    )


@pytest.mark.parametrize("kind", ["wcam"], indirect=True)
def test_an_error_about_one_image_of_a_batch_names_it(plane: FakePlane) -> None:
    plane.error = errors.NotAnImage("the file cannot be decoded as an image", field="images[1]")
    response = post(make_app(plane), {"images": [ONE, ONE]})
    assert (response.status_code, response.json()["field"]) == (415, "images[1]")
