"""The Open Inference Protocol over REST: tensors in, tensors out, over a data plane that answers at once."""

from __future__ import annotations

import base64
import gzip
import io
import json
import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.ingress.fakes import (
    IMAGE,
    MODEL,
    Asked,
    FakePlane,
    MemoryRecorder,
    adaptive,
    constant,
    make_app,
    make_explanation,
    post,
    send,
)
from tests.ingress.others import image, in_binary, infer

from wavescope import __version__, errors
from wavescope.engine.kinds import KINDS
from wavescope.engine.requests import make_request
from wavescope.ingress.kserve.oip.outputs import outputs_of
from wavescope.ingress.kserve.oip.tensors import DTYPES, datatype_of
from wavescope.ingress.openapi.request_examples import TINY_PNG
from wavescope.ingress.replies import to_arrays

EXPLAINER = f"{MODEL}-wcam"
PIXELS = np.random.default_rng(5).integers(0, 256, (2, 4, 5, 3), dtype=np.uint8)


def told(response: Any) -> dict[str, Any]:
    """The tensors of a JSON reply by name, as arrays or lists of text."""
    assert response.status_code == 200, response.text
    tensors = {}
    for output in response.json()["outputs"]:
        if output["datatype"] == "BYTES":
            tensors[output["name"]] = output["data"]
        else:
            array = np.array(output["data"], dtype=DTYPES[output["datatype"]])
            tensors[output["name"]] = array.reshape(output["shape"])
    return tensors


def refused(response: Any, status: int, code: str, field: str | None) -> str:
    """The message of a refusal, its form checked."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    found = response.json()
    assert set(found) == {"error", "code", "message", "field", "limits", "request_id"}
    assert (found["code"], found["field"], found["error"]) == (code, field, found["message"])
    assert found["request_id"] == response.headers["x-request-id"]
    return found["error"]


def test_the_server_tells_of_itself_and_of_its_health(plane: FakePlane) -> None:
    app = make_app(plane)
    extensions = ["binary_tensor_data"]
    assert send(app, "GET", "/v2").json() == {
        "name": "wavescope",
        "version": __version__,
        "extensions": extensions,
    }
    assert send(app, "GET", "/v2/health/live").json() == {"live": True}
    assert send(app, "GET", "/v2/health/ready").json() == {"ready": True}
    plane.is_ready = False
    response = send(app, "GET", "/v2/health/ready")
    assert refused(response, 503, "model_unavailable", None) == "no model can score yet"
    assert response.headers["retry-after"] == "1"


def test_a_model_tells_its_tensors(plane: FakePlane) -> None:
    app = make_app(plane)
    for path in (f"/v2/models/{MODEL}", f"/v2/models/{MODEL}/versions/1"):
        assert send(app, "GET", path).json() == {
            "name": MODEL,
            "versions": ["1"],
            "platform": "wavescope_classifier",
            "inputs": [{"name": "image", "datatype": "BYTES", "shape": [-1]}],
            "outputs": [{"name": "outputs", "datatype": "FP32", "shape": [-1, -1]}],
        }
    explainer = send(app, "GET", f"/v2/models/{MODEL}-compare").json()
    assert explainer["platform"] == "wavescope_explainer"
    assert [tensor["name"] for tensor in explainer["inputs"]] == ["image", "other"]
    assert {"name": "wcam", "datatype": "FP32", "shape": [-1, -1, -1]} in explainer["outputs"]


def test_readiness_is_that_of_the_model_behind(plane: FakePlane) -> None:
    app = make_app(plane)
    ready = {"name": EXPLAINER, "ready": True}
    assert send(app, "GET", f"/v2/models/{EXPLAINER}/ready").json() == ready
    assert send(app, "GET", f"/v2/models/{EXPLAINER}/versions/1/ready").json() == ready
    refused(send(app, "GET", "/v2/models/other-fam/ready"), 503, "model_unavailable", "model")
    refused(send(app, "GET", "/v2/models/nobody/ready"), 404, "unknown_model", "model")
    refused(send(app, "GET", f"/v2/models/{MODEL}/versions/2"), 404, "unknown_model", "version")


def test_the_index_lists_models_and_explainers(plane: FakePlane) -> None:
    listed = send(make_app(plane), "POST", "/v2/repository/index", json={}).json()
    states = {entry["name"]: entry["state"] for entry in listed}
    assert len(states) == len(listed) == 2 * (1 + len(KINDS))
    assert (states[EXPLAINER], states["other"]) == ("READY", "UNAVAILABLE")


def test_a_model_gives_its_raw_outputs(plane: FakePlane, recorder: MemoryRecorder) -> None:
    named = {"model_name": MODEL, "model_version": None}  # as the kserve package repeats them
    two = image(shape=[2, 1], data=[[TINY_PNG], [TINY_PNG]], parameters={"content_type": "base64"})
    response = infer(make_app(plane, recorder), MODEL, {"id": "mine", "inputs": [two], **named})
    assert response.json() == {
        "model_name": MODEL,
        "model_version": "1",
        "id": "mine",
        "outputs": [
            {
                "name": "outputs",
                "datatype": "FP32",
                "shape": [2, 3],
                "data": [0.25, 0.5, 0.125, 0.25, 0.5, 0.125],
            }
        ],
        "parameters": {"warnings": '[["image 0 is nearly black"], ["image 1 is nearly black"]]'},
    }
    assert recorder.requests == [("prediction", MODEL, "http", "ok")]
    infer(make_app(plane, recorder), "nobody", {})
    assert recorder.requests[1:] == [("prediction", "", "http", "unknown_model")]


def test_options_may_be_text(plane: FakePlane) -> None:
    options = {
        "nb_design": "4", "faithfulness": "true", "target": "tabby", "compat": "null", "wavelet": "db4",
        "seed": 3, "plan": "full",
    }  # fmt: skip
    response = infer(make_app(plane), EXPLAINER, {"parameters": options}, headers={"X-Request-ID": "mine"})
    assert response.status_code == 200, response.text
    request = make_request(nb_design=4, faithfulness=True, target="tabby", wavelet="db4", seed=3, plan="full")
    assert plane.calls == [Asked((IMAGE,), MODEL, request, (("tabby",),), None, "mine")]
    assert response.json()["id"] == "mine"


@pytest.mark.parametrize(
    ("target", "meant"),
    [
        ("tabby", "tabby"),
        ("281", "281"),
        (281, 281),
        ("null", None),
        (None, None),
        ("[1", "[1"),
        ("2.5", "2.5"),
    ],
)
def test_a_target_in_text_stays_text_or_is_none(plane: FakePlane, target: Any, meant: Any) -> None:
    infer(make_app(plane), EXPLAINER, {"parameters": {"target": target}})
    assert plane.calls[0].targets == ((meant,),)


def test_targets_come_as_text_too(plane: FakePlane) -> None:
    response = infer(make_app(plane), EXPLAINER, {"parameters": {"targets": '[1, "two", null]'}})
    assert plane.calls[0].targets == ((1, "two", None),)
    assert told(response)["total"].shape == (3, 9)


def test_a_registered_model_whose_name_ends_like_an_explainers_is_itself(plane: FakePlane) -> None:
    plane.registered = {"net-zoom": {"ready": True}, MODEL: {"ready": True}}
    app = make_app(plane)
    assert send(app, "GET", "/v2/models/net-zoom").json()["platform"] == "wavescope_classifier"
    assert send(app, "GET", "/v2/models/net-zoom-zoom").json()["platform"] == "wavescope_explainer"


@pytest.mark.parametrize("kind", KINDS)
def test_every_array_of_a_kind_is_told_with_its_type(kind: str) -> None:
    catalogue = outputs_of(kind)
    for explanation in (make_explanation(kind), adaptive(make_explanation(kind))):
        arrays = to_arrays(explanation)
        del arrays["explanation"]
        # How many levels there are the request decides: they are in the JSON alone.
        arrays = {name: array for name, array in arrays.items() if "level_maps" not in name}
        assert arrays.keys() <= catalogue.keys()
        for name, array in arrays.items():
            datatype, shape = catalogue[name]
            assert (datatype, len(shape)) == (datatype_of(array), array.ndim), name


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "compare"])
def test_tensors_are_the_numbers_of_the_json_reply(kind: str) -> None:
    plane = FakePlane(adaptive(make_explanation(kind)))
    app = make_app(plane)
    tensors = told(infer(app, f"{MODEL}-{kind}", {}))
    reply = post(app, {"kind": kind}).json()
    for name, numbers in (reply["indices"] or {}).items():
        if numbers is None or name.startswith("effect"):  # tensors have no gaps
            assert name not in tensors
        else:
            np.testing.assert_array_equal(tensors[name], [numbers])
    for name, tensor in reply["maps"].items():
        if tensor is not None:
            dtype = np.dtype(tensor["dtype"]).newbyteorder("<")
            array = np.frombuffer(base64.b64decode(tensor["data"]), dtype).reshape(tensor["shape"])
            np.testing.assert_array_equal(tensors[name][0], array)
    if reply["contrast"] is not None:
        np.testing.assert_array_equal(tensors["contrast/total"], [reply["contrast"]["indices"]["total"]])
        np.testing.assert_array_equal(tensors["contrast/map"][0], plane.explanation.contrast.map)
    if reply["levels"] is not None:
        levels = [[level[number] for number in ("sum", "share", "mean_share")] for level in reply["levels"]]
        np.testing.assert_array_equal(tensors["levels"], [levels])
    assert tensors["outcome"] == ["explained"]
    if reply["attributions"] is not None:
        np.testing.assert_array_equal(tensors["attributions/factors"], [reply["attributions"]["factors"]])
    assert (tensors["target"].tolist(), tensors["forwards"].tolist()) == ([1], [reply["forwards"]])
    assert json.loads(tensors["explanation"][0]) == reply


def test_a_comparison_takes_a_second_image() -> None:
    plane = FakePlane(make_explanation("compare"))
    app = make_app(plane)
    tensors = told(infer(app, f"{MODEL}-compare", {"inputs": [image(), image("other")]}))
    assert plane.calls[0].other == IMAGE
    np.testing.assert_array_equal(
        tensors["comparison/other/total"][0], plane.explanation.comparison.other.indices.total
    )
    two = image("other", shape=[2], data=[TINY_PNG] * 2)
    refused(infer(app, f"{MODEL}-compare", {"inputs": [image(), two]}), 422, "invalid_request", "other")
    refused(infer(app, f"{MODEL}-compare", {"inputs": [image()]}), 422, "invalid_request", "other")
    refused(infer(app, EXPLAINER, {"inputs": [image(), image("other")]}), 422, "invalid_request", "inputs")


def test_pixels_reach_the_plane_without_loss(plane: FakePlane) -> None:
    for data in (PIXELS.tolist(), PIXELS.ravel().tolist()):
        pixels = {"name": "image", "datatype": "UINT8", "shape": list(PIXELS.shape), "data": data}
        assert infer(make_app(plane), EXPLAINER, {"inputs": [pixels]}).status_code == 200
        decoded = [np.array(Image.open(io.BytesIO(file))) for file in plane.calls.pop().images]
        np.testing.assert_array_equal(decoded, PIXELS)


def binary(
    app: Any, content: dict[str, Any], tail: bytes, *, model: str = EXPLAINER, length: int | str | None = None
) -> Any:
    """One inference with tensors after its JSON."""
    head = json.dumps(content).encode()
    headers = {"Inference-Header-Content-Length": str(len(head) if length is None else length)}
    return send(app, "POST", f"/v2/models/{model}/infer", content=head + tail, headers=headers)


def test_tensors_come_and_go_in_binary(plane: FakePlane) -> None:
    app = make_app(plane)
    tail = in_binary(IMAGE, IMAGE)
    sent = image(shape=[2], parameters={"binary_data_size": len(tail)})
    del sent["data"]
    content = {"inputs": [sent], "outputs": [
        {"name": "wcam", "parameters": {"binary_data": True}},
        {"name": "total"},
        {"name": "explanation", "parameters": {"binary_data": "true"}},
    ]}  # fmt: skip
    response = binary(app, content, tail)
    assert response.status_code == 200, response.text
    assert plane.calls[0].images == (IMAGE, IMAGE)
    assert response.headers["content-type"] == "application/octet-stream"
    length = int(response.headers["inference-header-content-length"])
    wcam, total, explanation = json.loads(response.content[:length])["outputs"]
    following = response.content[length:]
    assert (wcam["shape"], total["shape"], explanation["shape"]) == ([2, 16, 12], [2, 9], [2])
    size = wcam["parameters"]["binary_data_size"]
    assert plane.explanation.maps is not None
    assert plane.explanation.maps.wcam is not None
    assert following[:size] == plane.explanation.maps.wcam.astype("<f4").tobytes() * 2
    assert len(following) == size + explanation["parameters"]["binary_data_size"]
    (text_length,) = struct.unpack_from("<I", following, size)
    assert json.loads(following[size + 4 : size + 4 + text_length])["id"] == "an-id-0"


def test_all_outputs_come_in_binary_where_the_request_says_so(plane: FakePlane) -> None:
    response = infer(make_app(plane), MODEL, {"parameters": {"binary_data_output": True}})
    length = int(response.headers["inference-header-content-length"])
    assert response.content[length:] == np.array([0.25, 0.5, 0.125], "<f4").tobytes()


def test_pixels_come_in_binary(plane: FakePlane) -> None:
    sent = {"name": "image", "datatype": "UINT8", "shape": list(PIXELS.shape)}
    content = {"inputs": [sent | {"parameters": {"binary_data_size": PIXELS.nbytes}}]}
    assert binary(make_app(plane), content, PIXELS.tobytes()).status_code == 200
    decoded = [np.array(Image.open(io.BytesIO(file))) for file in plane.calls[0].images]
    np.testing.assert_array_equal(decoded, PIXELS)


@pytest.mark.parametrize(
    ("tail", "size", "length", "field"),
    [
        (in_binary(IMAGE), len(IMAGE), None, "inputs"),  # bytes are left
        (in_binary(IMAGE), len(IMAGE) + 5, None, "inputs[0].parameters.binary_data_size"),
        (in_binary(IMAGE), -1, None, "inputs[0].parameters.binary_data_size"),
        (in_binary(IMAGE), "9", None, "inputs[0].parameters.binary_data_size"),
        (in_binary(IMAGE), True, None, "inputs[0].parameters.binary_data_size"),
        (in_binary(IMAGE, IMAGE), 2 * len(IMAGE) + 8, None, "image"),
        (in_binary(IMAGE)[:-1], len(IMAGE) + 3, None, "image"),
        (b"\xff\xff\xff\xff" + IMAGE, len(IMAGE) + 4, None, "image"),
        (b"", 0, None, "image"),
        (b"", 0, 10**6, "Inference-Header-Content-Length"),
        (b"", 0, "x", "Inference-Header-Content-Length"),
        (b"", 0, "-1", "Inference-Header-Content-Length"),
    ],
)
def test_wrong_lengths_of_binary_tensors_are_told(
    plane: FakePlane, tail: bytes, size: Any, length: Any, field: str
) -> None:
    sent = {"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": size}}
    response = binary(make_app(plane), {"inputs": [sent]}, tail, length=length)
    if (
        field == "inputs"
    ):  # the length of what follows is wrong either way: which is told depends on the order
        assert response.status_code == 422
        assert response.json()["field"] in ("inputs", "image")
    else:
        refused(response, 422, "invalid_request", field)
    assert plane.calls == []


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ({"inputs": []}, "inputs"),
        ({"inputs": [image("picture"), image("image")]}, "inputs"),
        ({"inputs": [image(), image()]}, "inputs[1].name"),
        ({"inputs": [image(datatype="FP32")]}, "image"),
        ({"inputs": [image(shape=[0])]}, "image"),
        ({"inputs": [image(shape=[-1])]}, "image"),
        ({"inputs": [image(shape=[])]}, "image"),
        ({"inputs": [image(datatype="UINT8", shape=[1, 10**4000, 10**4000, 3])]}, "image"),
        ({"inputs": [image("\ud800", shape=[0])]}, "\ud800"),
        ({"inputs": [image("\ud800"), image()]}, "inputs"),
        ({"parameters": {"\ud800": "\ud800"}}, None),
        ({"inputs": [image(shape=[2])]}, "image"),
        ({"inputs": [image(shape=[1, 1, 1])]}, "image"),
        ({"inputs": [image(data=["no base64!"])]}, "inputs[0].data[0]"),
        ({"inputs": [image(data=[7])]}, "inputs[0].data[0]"),
        ({"inputs": [image(data=None)]}, "inputs[0].data"),
        ({"inputs": [image(parameters={"shared_memory_region": "x"})]}, "inputs[0].parameters.shared_memory_region"),
        ({"inputs": [image(datatype="UINT8", shape=[1, 2, 2, 2], data=[1] * 8)]}, "image"),
        ({"inputs": [image(datatype="UINT8", shape=[2, 2, 3], data=[1] * 12)]}, "image"),
        ({"inputs": [image(datatype="UINT8", shape=[1, 1, 1, 3], data=[1, 2])]}, "image"),
        ({"inputs": [image(datatype="UINT8", shape=[1, 1, 1, 3], data=[1, 2, 256])]}, "image"),
        ({"inputs": [image(datatype="UINT8", shape=[1, 1, 1, 3], data=[1, 2, 10**30])]}, "image"),
        ({"inputs": [image(datatype="UINT8", shape=[1, 1, 1, 3], data=[1, [2], 3])]}, "image"),
        ({"inputs": [image(datatype="UINT8", shape=[1, 1, 1, 3], data=[0.5, 1, 1])]}, "image"),
        ({"inputs": [image(datatype="UINT8", shape=[1, 1, 1, 3], data=["a", "b", "c"])]}, "image"),
        ({"outputs": [{"name": "fam"}]}, "outputs"),
        ({"outputs": [{"name": "total", "parameters": {"classification": 3}}]}, "outputs[0].parameters.classification"),
        ({"outputs": [{"name": "total", "parameters": {"binary_data": 1}}]}, "binary_data"),
        ({"parameters": {"kind": "fam"}}, "kind"),
        ({"parameters": {"levels": "many"}}, "levels"),
        ({"parameters": {"levels": "3.5"}}, "levels"),
        ({"parameters": {"seed": "9" * 5000}}, "seed"),
        ({"parameters": {"deadline_s": "NaN", "plan": "adaptive"}}, "deadline_s"),
        ({"parameters": {"colour": 1}}, "colour"),
        ({"colour": 1}, "colour"),
        ({"inputs": [image(shape=[17], data=[TINY_PNG] * 17)]}, "images"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(plane: FakePlane, content: dict[str, Any], field: str | None) -> None:
    refused(infer(make_app(plane), EXPLAINER, content), 422, "invalid_request", field)


@pytest.mark.parametrize("model", [MODEL, EXPLAINER])
@pytest.mark.parametrize(
    ("field", "message", "told"),
    [
        ("images[1]", "images[1]: the image is damaged", ("image[1]", "image[1]: the image is damaged")),
        ("image", "the image is damaged", ("image", "the image is damaged")),
    ],
)
def test_what_the_plane_says_of_an_image_is_told_of_its_element(
    plane: FakePlane, model: str, field: str, message: str, told: tuple[str, str]
) -> None:
    plane.error = errors.NotAnImage(message, field=field)
    response = infer(make_app(plane), model, {"inputs": [image(shape=[2], data=[TINY_PNG] * 2)]})
    assert (refused(response, 415, "not_an_image", told[0])) == told[1]


def test_an_element_that_is_empty_is_told(plane: FakePlane) -> None:
    sent = {"name": "image", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": 9}}
    response = binary(make_app(plane), {"inputs": [sent]}, b"\1\0\0\0x\0\0\0\0", model=EXPLAINER)
    assert refused(response, 422, "invalid_request", "image[1]") == "image[1] is empty"


def test_a_model_takes_no_options(plane: FakePlane) -> None:
    refused(infer(make_app(plane), MODEL, {"parameters": {"seed": 1}}), 422, "invalid_request", "seed")
    many = image(shape=[17], data=[TINY_PNG] * 17)
    refused(infer(make_app(plane), MODEL, {"inputs": [many]}), 422, "invalid_request", "images")


def test_an_only_input_may_have_any_name(plane: FakePlane) -> None:
    for model in (EXPLAINER, MODEL):
        assert infer(make_app(plane), model, {"inputs": [image("input_0")]}).status_code == 200
    assert plane.calls[0].images == (IMAGE,)
    comparison = {"inputs": [image("image"), image("second")]}
    refused(infer(make_app(plane), f"{MODEL}-compare", comparison), 422, "invalid_request", "inputs")


@pytest.mark.parametrize(
    "pixels",
    [np.moveaxis(PIXELS, 3, 1), PIXELS[:, :, :, :1], np.moveaxis(PIXELS[:, :, :, :1], 3, 1)],
    ids=["channels first", "grey", "grey first"],
)
def test_pixels_with_channels_first_and_grey_ones_are_taken(plane: FakePlane, pixels: np.ndarray) -> None:
    wanted = PIXELS if 3 in pixels.shape else PIXELS[:, :, :, 0]
    sent: dict[str, Any] = {"name": "image", "datatype": "UINT8", "shape": list(pixels.shape)}
    for response in (
        infer(make_app(plane), EXPLAINER, {"inputs": [sent | {"data": pixels.tolist()}]}),
        binary(
            make_app(plane),
            {"inputs": [sent | {"parameters": {"binary_data_size": pixels.nbytes}}]},
            np.ascontiguousarray(pixels).tobytes(),
        ),
    ):
        assert response.status_code == 200, response.text
        decoded = [np.array(Image.open(io.BytesIO(file))) for file in plane.calls.pop().images]
        np.testing.assert_array_equal(decoded, wanted)


def test_pixels_of_three_rows_or_columns_are_read_with_channels_last(plane: FakePlane) -> None:
    pixels = PIXELS[:, :3]
    sent = {"name": "image", "datatype": "UINT8", "shape": list(pixels.shape), "data": pixels.tolist()}
    assert infer(make_app(plane), EXPLAINER, {"inputs": [sent]}).status_code == 200
    decoded = [np.array(Image.open(io.BytesIO(file))) for file in plane.calls[0].images]
    np.testing.assert_array_equal(decoded, pixels)


@pytest.mark.parametrize(
    "nested", [(60,), (4, 5, 3), (4, 15), (20, 3), (1, 4, 15), (1, 60), (1, 1, 4, 5, 3, 1)]
)
def test_pixels_nested_in_the_same_order_are_taken(plane: FakePlane, nested: tuple[int, ...]) -> None:
    sent = image(datatype="UINT8", shape=[1, 4, 5, 3], data=PIXELS[0].reshape(nested).tolist())
    response = infer(make_app(plane), EXPLAINER, {"inputs": [sent]})
    assert response.status_code == 200, response.text
    decoded = np.array(Image.open(io.BytesIO(plane.calls[0].images[0])))
    np.testing.assert_array_equal(decoded, PIXELS[0])


@pytest.mark.parametrize("nested", [(5, 4, 3), (3, 4, 5), (1, 3, 4, 5), (6, 10), (5, 12)])
def test_pixels_nested_in_another_order_are_told_so(plane: FakePlane, nested: tuple[int, ...]) -> None:
    sent = image(datatype="UINT8", shape=[1, 4, 5, 3], data=PIXELS[0].reshape(nested).tolist())
    message = refused(infer(make_app(plane), EXPLAINER, {"inputs": [sent]}), 422, "invalid_request", "image")
    assert message == (
        "input image of shape [1, 4, 5, 3] must hold its 60 integers flat, or in lists nested as the shape is, "
        f"not nested as {list(nested)}"
    )


def test_pixels_without_the_axis_of_the_batch_are_told_the_shape(plane: FakePlane) -> None:
    sent = image(datatype="UINT8", shape=[4, 5, 3], data=PIXELS[0].tolist())
    message = refused(infer(make_app(plane), EXPLAINER, {"inputs": [sent]}), 422, "invalid_request", "image")
    assert message.endswith("not [4, 5, 3]: give the axis of the batch as well, [1, 4, 5, 3]")


def test_a_binary_body_whose_header_is_missing_is_told_so(plane: FakePlane) -> None:
    sent = {"name": "image", "datatype": "UINT8", "shape": list(PIXELS.shape)}
    content = {"inputs": [sent | {"parameters": {"binary_data_size": PIXELS.nbytes}}]}
    body = json.dumps(content).encode() + PIXELS.tobytes()
    response = send(make_app(plane), "POST", f"/v2/models/{EXPLAINER}/infer", content=body)
    message = refused(response, 422, "invalid_request", "Inference-Header-Content-Length")
    assert message.startswith("the header Inference-Header-Content-Length is missing")
    response = send(make_app(plane), "POST", f"/v2/models/{EXPLAINER}/infer", content=b"{")
    refused(response, 422, "invalid_request", None)


def test_a_packed_body_is_unpacked(plane: FakePlane) -> None:
    body = gzip.compress(json.dumps({"inputs": [image()]}).encode())
    headers = {"Content-Encoding": "gzip"}
    response = send(make_app(plane), "POST", f"/v2/models/{EXPLAINER}/infer", content=body, headers=headers)
    assert response.status_code == 200, response.text
    assert plane.calls[0].images == (IMAGE,)


def test_the_body_is_limited_and_packed_by_gzip_alone(plane: FakePlane) -> None:
    app = make_app(plane, max_body_bytes=100)
    response = infer(app, MODEL, {"id": "x" * 200})
    refused(response, 413, "body_too_large", None)
    assert response.headers["connection"] == "close"
    packed = infer(make_app(plane), MODEL, {}, headers={"Content-Encoding": "zstd"})
    refused(packed, 415, "unsupported_media_type", "Content-Encoding")


def test_a_constant_score_leaves_out_what_it_does_not_have(plane: FakePlane) -> None:
    plane.explanation = constant(plane.explanation)
    app = make_app(plane)
    tensors = told(infer(app, EXPLAINER, {}))
    assert tensors["outcome"] == ["constant_score"]
    assert tensors.keys() == {"outcome", "target", "forwards", "image", "explanation"}
    response = infer(app, EXPLAINER, {"outputs": [{"name": "total"}]})
    assert "does not vary" in refused(response, 422, "constant_score", "outputs")


def test_an_output_that_was_not_computed_is_told(plane: FakePlane) -> None:
    response = infer(make_app(plane), EXPLAINER, {"outputs": [{"name": "resolved"}]})
    assert "not computed with these parameters" in refused(response, 422, "invalid_request", "outputs")


def test_kept_results_are_told(plane: FakePlane) -> None:
    assert infer(make_app(plane), EXPLAINER, {}).headers["wavescope-cache"] == "miss"
    assert "wavescope-cache" not in infer(make_app(plane), MODEL, {}).headers
