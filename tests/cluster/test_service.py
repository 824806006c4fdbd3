"""The real service on a real cluster, over real sockets."""

from __future__ import annotations

import base64
import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from skimage import data
from tests.cluster.service import SMALL, array, body, png, processes

import wavescope


@pytest.fixture(scope="session")
def photograph() -> bytes:
    return png(data.chelsea())


def test_service_gives_the_numbers_of_the_process(service, photograph):
    reply = service.http.post("/v1/explanations", json=body(photograph, **SMALL)).json()
    local = wavescope.explain(photograph, **SMALL)
    assert reply["outcome"] == "explained"
    assert reply["forwards"] == local.forwards == 4 * (16 + 2)
    np.testing.assert_array_equal(reply["indices"]["total"], local.indices.total)
    np.testing.assert_array_equal(reply["indices"]["interval_95"], local.indices.interval_95)
    np.testing.assert_array_equal(array(reply["maps"]["wcam"]), local.maps.wcam)
    np.testing.assert_array_equal(array(reply["maps"]["spatial_wcam"]), local.maps.spatial_wcam)
    assert reply["target"]["label"] == local.target.label
    assert [level["share"] for level in reply["levels"]] == [level.share for level in local.levels]


def test_photograph_of_a_cat_is_explained_as_a_cat(service, photograph):
    reply = service.http.post("/v1/explanations", json=body(photograph, **SMALL)).json()
    assert reply["target"]["label"] in {"Egyptian cat", "tabby", "tiger cat"}
    assert reply["target"]["index"] == reply["prediction"][0]["index"]
    assert sum(level["share"] for level in reply["levels"]) == pytest.approx(1)


def test_target_by_name_is_the_target_by_index(service, photograph):
    by_name = service.http.post("/v1/explanations", json=body(photograph, target="lynx", **SMALL)).json()
    by_index = service.http.post("/v1/explanations", json=body(photograph, target=287, **SMALL)).json()
    assert by_name["target"]["index"] == 287
    assert by_name["indices"] == by_index["indices"]


def test_multipart_equals_json(service, photograph):
    files = {
        "image": ("cat.png", photograph, "image/png"),
        "request": (None, '{"grid_size": 4, "nb_design": 4}'),
    }
    multipart = service.http.post("/v1/explanations", files=files).json()
    as_json = service.http.post("/v1/explanations", json=body(photograph, **SMALL)).json()
    assert multipart["indices"] == as_json["indices"]


def test_figure_and_arrays_by_accept(service, photograph):
    figure = service.http.post(
        "/v1/explanations", json=body(photograph, **SMALL), headers={"Accept": "image/png"}
    )
    assert Image.open(io.BytesIO(figure.content)).width > 600
    arrays = service.http.post(
        "/v1/explanations", json=body(photograph, **SMALL), headers={"Accept": "application/x-npz"}
    )
    with np.load(io.BytesIO(arrays.content)) as loaded:
        assert loaded["wcam"].shape == (224, 224)
        assert loaded["image"].shape == (3, 224, 224)


def test_image_of_one_colour_is_a_named_outcome_or_numbers(service):
    """Grey stays grey under masks of its only non-zero band; whatever comes out, nothing is NaN."""
    reply = service.http.post("/v1/explanations", json=body(png(np.zeros((64, 64, 3), np.uint8)), **SMALL))
    assert reply.status_code == 200
    assert reply.json()["outcome"] == "constant_score"
    assert reply.json()["indices"] is None
    assert any("does not vary" in warning for warning in reply.json()["warnings"])


BAD_FIELDS = [
    ({"model": "nope"}, 404, "unknown_model", "model"),
    ({"target": 1000}, 422, "unknown_target", "target"),
    ({"target": "dragon"}, 422, "unknown_target", "target"),
    ({"levels": 7}, 422, "invalid_request", "levels"),
    ({"grid_size": 225}, 422, "invalid_request", "grid_size"),
    ({"nb_design": 6}, 422, "invalid_request", "nb_design"),
    ({"grid_size": 110, "nb_design": 1}, 422, "invalid_request", "grid_size"),
    ({"nb_design": 512}, 422, "cost_limit_exceeded", "nb_design"),
    ({"wavelet": "haarr"}, 422, "invalid_request", "wavelet"),
    ({"colour": "red"}, 422, "invalid_request", "colour"),
    ({"grid_size": "28"}, 422, "invalid_request", "grid_size"),
    ({"kind": "horoscope"}, 422, "invalid_request", "kind"),
]


@pytest.mark.parametrize(("fields", "status", "code", "field"), BAD_FIELDS)
def test_bad_field_is_a_problem_that_names_it(service, photograph, fields, status, code, field):
    reply = service.http.post("/v1/explanations", json=body(photograph, **fields))
    problem = reply.json()
    assert (reply.status_code, problem["code"], problem["field"]) == (status, code, field)
    assert problem["message"]


def bomb() -> bytes:
    return png(Image.new("1", (20_000, 20_000)))


BAD_IMAGES = [
    (lambda: b"not an image at all", 415, "not_an_image"),
    (lambda: png(data.chelsea())[:5000], 415, "not_an_image"),
    (bomb, 413, "image_too_large"),
    (lambda: png(np.zeros((1, 1, 3), np.uint8)), 422, "invalid_request"),
]


@pytest.mark.parametrize(("make", "status", "code"), BAD_IMAGES)
def test_bad_image_is_a_problem(service, make, status, code):
    reply = service.http.post("/v1/explanations", json=body(make(), **SMALL))
    assert (reply.status_code, reply.json()["code"]) == (status, code)
    assert reply.json()["request_id"] == reply.headers["x-request-id"]


def base64_of(image: bytes) -> str:
    return base64.b64encode(image).decode()


OTHER_WAYS = {
    "/v1/explanations:estimate": lambda image: body(image, **SMALL),
    "/v1/predictions": lambda image: body(image),
    "/v1/jobs": lambda image: body(image, **SMALL),
    "/v1/models/efficientnet-lite0:predict": lambda image: {"instances": [{"b64": base64_of(image)}]},
    "/v1/models/efficientnet-lite0:explain": lambda image: {"instances": [{"b64": base64_of(image)}]},
    "/v2/models/efficientnet-lite0/infer": lambda image: {
        "inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": [base64_of(image)]}]
    },
    "/v2/models/efficientnet-lite0-wcam/infer": lambda image: {
        "inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": [base64_of(image)]}]
    },
}


@pytest.mark.parametrize("path", OTHER_WAYS)
def test_bad_image_is_a_problem_whichever_way_it_comes(service, path):
    reply = service.http.post(path, json=OTHER_WAYS[path](png(data.chelsea())[:5000]))
    assert (reply.status_code, reply.json()["code"]) == (415, "not_an_image")


def test_body_over_the_limit_is_refused(service):
    reply = service.http.post("/v1/explanations", json=body(bytes(33 * 2**20)))
    assert (reply.status_code, reply.json()["code"]) == (413, "body_too_large")


def odd_images() -> dict[str, bytes]:
    cat = Image.fromarray(data.chelsea())
    made: dict[str, Image.Image] = {
        "grey": cat.convert("L"),
        "cmyk": cat.convert("CMYK"),
        "alpha": cat.convert("RGBA"),
        "palette": cat.convert("P"),
        "16-bit": Image.fromarray(np.asarray(cat.convert("L"), dtype=np.uint16) * 257),
        "long": cat.resize((1200, 60)),
    }
    encoded: dict[str, bytes] = {}
    for name, image in made.items():
        buffer = io.BytesIO()
        image.save(buffer, "TIFF" if name == "cmyk" else "PNG")
        encoded[name] = buffer.getvalue()
    buffer = io.BytesIO()
    cat.save(buffer, "GIF", save_all=True, append_images=[cat.rotate(90)])
    encoded["animated"] = buffer.getvalue()
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    cat.rotate(90, expand=True).save(buffer, "JPEG", exif=exif, quality=95)
    encoded["exif"] = buffer.getvalue()
    return encoded


def test_odd_but_valid_images_work(service):
    with ThreadPoolExecutor(4) as pool:
        replies = list(
            pool.map(
                lambda item: (item[0], service.http.post("/v1/explanations", json=body(item[1], **SMALL))),
                odd_images().items(),
            )
        )
    assert {name: reply.status_code for name, reply in replies} == dict.fromkeys(odd_images(), 200)
    exif = dict(replies)["exif"].json()
    assert exif["target"]["label"] in {"Egyptian cat", "tabby", "tiger cat"}  # upright again


def test_models_and_health(service):
    listed = service.http.get("/v1/models").json()
    assert listed["models"] == ["efficientnet-lite0"]
    one = service.http.get("/v1/models/efficientnet-lite0").json()
    assert one["name"] == "efficientnet-lite0"
    assert one["ready"] is True
    assert service.http.get("/v1/models/nope").status_code == 404
    assert service.http.get("/livez").status_code == 200
    assert service.http.get("/readyz").status_code == 200
    assert "swagger" in service.http.get("/docs").text.lower()
    assert "/v1/explanations" in service.http.get("/openapi.json").json()["paths"]


def test_replica_of_the_default_model_never_maps_torch(service, photograph):
    assert service.http.post("/v1/explanations", json=body(photograph, **SMALL)).status_code == 200
    name = "ray::ServeReplica:model-efficientnet-lite0"
    replicas = [folder for folder, command in processes().items() if command.startswith(name)]
    assert replicas
    for replica in replicas:
        assert "onnxruntime" in (replica / "maps").read_text()
        assert "libtorch" not in (replica / "maps").read_text()
