"""Every kind of request over the real service: the numbers of the process, whatever carried them."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image
from skimage import data
from tests.cluster.service import array, body, png

import wavescope
from wavescope.engine.kinds import PERTURBING

TINY: dict[str, Any] = {"grid_size": 4, "nb_design": 4, "levels": 2}


@pytest.fixture(scope="session")
def cat() -> bytes:
    return png(data.chelsea())


@pytest.fixture(scope="session")
def cup() -> bytes:
    return png(data.coffee())


@pytest.fixture(scope="session")
def model() -> Any:
    return wavescope.load_model()


def encoded(image: bytes) -> dict[str, str]:
    return {"base64": base64.b64encode(image).decode()}


def ask(service: Any, content: dict[str, Any]) -> dict[str, Any]:
    reply = service.http.post("/v1/explanations", json=content)
    assert reply.status_code == 200, reply.text
    return reply.json()


def same_indices(reply: dict[str, Any], local: wavescope.Explanation) -> None:
    assert (reply["kind"], reply["outcome"], reply["forwards"]) == (local.kind, "explained", local.forwards)
    assert reply["target"]["index"] == local.target.index
    assert local.indices is not None
    np.testing.assert_array_equal(reply["indices"]["total"], local.indices.total)
    np.testing.assert_array_equal(reply["indices"]["first"], local.indices.first)
    np.testing.assert_array_equal(reply["indices"]["interval_95"], local.indices.interval_95)
    assert reply["worth"]["split_half"] == local.worth.split_half
    assert reply["worth"]["class_contrast"] == local.worth.class_contrast
    assert reply["warnings"] == list(local.warnings)


@pytest.mark.parametrize("kind", sorted(set(PERTURBING) - {"compare", "robustness"}))
@pytest.mark.parametrize("compat", [None, "reference"])
def test_every_kind_gives_the_numbers_of_the_process(service, model, cat, kind, compat) -> None:
    fields = TINY | {"kind": kind, "compat": compat, "faithfulness": kind == "fam"}
    same_indices(ask(service, body(cat, **fields)), wavescope.explain(cat, model=model, **fields))


@pytest.mark.parametrize("method", ["smoothgrad", "integrated_gradients"])
def test_gradients_on_replicas_are_those_of_the_process(service, model, cat, method) -> None:
    """To the bit: blocks of samples are added in their order, whichever replica was first."""
    fields: dict[str, Any] = {
        "kind": "wam",
        "method": method,
        "grid_size": 4,
        "levels": 2,
        "samples": 19,
        "seed": 3,
    }
    content = body(cat, **fields)
    reply, local = ask(service, content), wavescope.explain(cat, model=model, **fields)
    assert (reply["outcome"], reply["forwards"], reply["indices"]) == ("explained", 57, None)
    sent, found = reply["attributions"], local.attributions
    assert found is not None
    for name in ("factors", "signed", "standard_error"):
        expected = getattr(found, name)
        assert sent[name] == (None if expected is None else expected.tolist())
    for name in ("score", "baseline_score", "completeness_error", "split_half", "samples"):
        assert sent[name] == getattr(found, name)
    np.testing.assert_array_equal(array(reply["maps"]["wam"]), local.maps.wam)
    np.testing.assert_array_equal(array(reply["maps"]["spatial_wam"]), local.maps.spatial_wam)
    assert reply["warnings"] == list(local.warnings)
    # The client of these tests asks for fresh results; whoever does not is told of the kept one, and gets it.
    asking = {"json": content, "headers": {"Cache-Control": ""}}
    estimate = service.http.post("/v1/explanations:estimate", **asking).json()
    assert (estimate["forwards"], estimate["cached"]) == (57, True)
    kept = service.http.post("/v1/explanations", **asking).json()
    assert kept["cached"]
    assert {**sent, "level_maps": None} == {**kept["attributions"], "level_maps": None}


def test_an_adaptive_plan_asks_for_the_same_rows_and_gives_the_numbers_of_the_process(
    service, model, cat
) -> None:
    fields: dict[str, Any] = {"plan": "adaptive", "max_forwards": 96, "grid_size": 10, "levels": 2}
    reply, local = ask(service, body(cat, **fields)), wavescope.explain(cat, model=model, **fields)
    assert reply["forwards"] == local.forwards <= 96
    assert reply["screening"]["stopped"] == local.screening.stopped == "max_forwards"
    assert [entry["resolved"] for entry in reply["screening"]["rounds"]] == [
        entry.resolved for entry in local.screening.rounds
    ]
    assert reply["indices"]["resolved"] == local.indices.resolved.tolist()
    assert reply["indices"]["first"] is None
    # Linear algebra on another number of threads may round the last digits otherwise.
    for name in ("total", "standard_error", "upper_bound"):
        np.testing.assert_allclose(reply["indices"][name], getattr(local.indices, name), rtol=1e-9)


def test_sufficient_image_comes_as_depth_picture_and_curve(service, model, cat) -> None:
    fields = TINY | {"kind": "sufficient-image", "grid_size": 8}
    reply, local = ask(service, body(cat, **fields)), wavescope.explain(cat, model=model, **fields)
    found = local.sufficiency
    assert found.depth is not None
    assert reply["reconstruction_depth"] == found.depth
    assert reply["curve"]["n"] == list(range(65))
    np.testing.assert_array_equal(reply["curve"]["probability"], found.probability)
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(reply["sufficient_image"]))))
    expected = np.rint(np.moveaxis(found.image, 0, -1) * 255)
    assert np.abs(picture.astype(int) - expected).max() <= 1
    assert reply["sufficiency"]["kept"]["energy_share"] == found.kept.energy_share
    predicted = reply["curve"]["predicted"]
    assert predicted[found.depth] == local.target.index
    assert local.target.index not in predicted[: found.depth]


def test_compare_tells_shifts_of_scale_and_place(service, model, cat, cup) -> None:
    fields = TINY | {"kind": "compare"}
    reply = ask(service, body(cat, other=encoded(cup), **fields))
    local = wavescope.explain(cat, other=cup, model=model, **fields)
    same_indices(reply, local)
    assert reply["comparison"]["scale_shift"] == local.comparison.scale_shift
    assert reply["comparison"]["place_shift"] == local.comparison.place_shift
    np.testing.assert_array_equal(array(reply["comparison"]["place_change"]), local.comparison.place_change)
    assert reply["comparison"]["other"]["target"]["label"] == "espresso"


def test_robustness_scores_every_corruption_of_the_generators_images(service, model, cat) -> None:
    fields = TINY | {"kind": "robustness"}
    reply, local = ask(service, body(cat, **fields)), wavescope.explain(cat, model=model, **fields)
    assert len(reply["robustness"]["corrupted"]) == 19 * 5
    assert reply["robustness"]["share"] == local.robustness.share
    assert [one["probability"] for one in reply["robustness"]["corrupted"]] == [
        one.probability for one in local.robustness.corrupted
    ]
    assert reply["reconstruction_depth"] == local.sufficiency.depth


def test_a_batch_gives_what_asking_one_by_one_gives(service, cat, cup) -> None:
    batch = ask(service, {"images": [encoded(cat), encoded(cup)], "targets": [[None, "lynx"], 967], **TINY})
    single = [
        ask(service, body(image, target=target, **TINY))
        for image, target in ((cat, None), (cat, "lynx"), (cup, 967))
    ]
    assert len(batch["explanations"]) == 3
    for together, alone in zip(batch["explanations"], single, strict=True):
        unlike = {key for key in alone if together[key] != alone[key]}
        assert unlike <= {"id", "timing"}


def test_a_bad_image_of_a_batch_is_named_by_its_place(service, cat) -> None:
    content = {"images": [encoded(cat), encoded(b"no image")], **TINY}
    reply = service.http.post("/v1/explanations", json=content)
    assert (reply.status_code, reply.json()["code"], reply.json()["field"]) == (
        415,
        "not_an_image",
        "images[1]",
    )
    assert reply.json()["message"].startswith("images[1]: ")


def test_a_bad_image_to_compare_with_is_named(service, cat) -> None:
    reply = service.http.post(
        "/v1/explanations", json=body(cat, kind="compare", other=encoded(b"no image"), **TINY)
    )
    assert (reply.status_code, reply.json()["field"]) == (415, "other")


def test_a_constant_image_leaves_the_rest_of_its_batch_alone(service, cat) -> None:
    black = png(np.zeros((64, 64, 3), np.uint8))
    reply = ask(service, {"images": [encoded(black), encoded(cat)], **TINY})
    assert [one["outcome"] for one in reply["explanations"]] == ["constant_score", "explained"]
