"""The HTTP transport: representations, bodies, refusals, ids, over a data plane that answers at once."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import tempfile
import threading
import tracemalloc
import zlib
from typing import Any

import httpx
import numpy as np
import pytest
from starlette import formparsers
from starlette.requests import ClientDisconnect, Request
from tests.ingress.fakes import (
    FIGURE,
    IMAGE,
    MODEL,
    Asked,
    FakePlane,
    MemoryRecorder,
    chunks,
    constant,
    draw,
    make_app,
    post,
    send,
)
from tests.polling import DEADLINE_S

from wavescope import errors
from wavescope.engine.requests import make_request
from wavescope.engine.types import Explanation
from wavescope.ingress.app import build_app
from wavescope.ingress.openapi.request_examples import TINY_PNG
from wavescope.ingress.plane import IngressLimits
from wavescope.ingress.rest import bodies
from wavescope.ingress.rest.bodies import limited_body
from wavescope.ingress.rest.gzip_bodies import MAX_MEMBERS, SLICE_BYTES, Inflate, slices
from wavescope.ingress.schemas.reply import ExplanationReply


def assert_problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The problem in a refusal, its form checked."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    told = response.json()
    assert set(told) == {"code", "message", "field", "limits", "request_id"}
    assert told["code"] == code
    assert told["request_id"] == response.headers["x-request-id"]
    return told


def test_json_reply_matches_its_documented_schema(plane: FakePlane) -> None:
    response = post(make_app(plane))
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    reply = ExplanationReply.model_validate_json(response.content)
    assert reply.figure is None
    assert reply.parameters == make_request(score="logit").parameters()


def test_request_reaches_the_plane_whole(plane: FakePlane) -> None:
    post(make_app(plane), {"seed": 4, "target": "tabby"}, headers={"X-Request-ID": "mine"})
    request = make_request(seed=4, target="tabby")
    assert plane.calls == [Asked((IMAGE,), MODEL, request, (("tabby",),), None, "mine")]


def test_constant_score_is_an_answer_without_indices(plane: FakePlane) -> None:
    plane.explanation = constant(plane.explanation)
    response = post(make_app(plane))
    reply = ExplanationReply.model_validate_json(response.content)
    assert (response.status_code, reply.outcome) == (200, "constant_score")
    assert (reply.indices, reply.maps, reply.levels) == (None, None, None)


def test_figure_comes_inside_json_when_asked_for(plane: FakePlane) -> None:
    response = post(make_app(plane), headers={"Accept": "application/json; figure=png"})
    figure = ExplanationReply.model_validate_json(response.content).figure
    assert figure is not None
    assert figure.base64 == "iVBORw0KGgogYSBmaWd1cmU="


def test_png_is_what_was_drawn(plane: FakePlane) -> None:
    response = post(make_app(plane), headers={"Accept": "image/png"})
    assert (response.headers["content-type"], response.content) == ("image/png", FIGURE)


@pytest.mark.parametrize("whole", [True, False], ids=["explained", "constant_score"])
def test_npz_holds_every_array_and_the_scalars(plane: FakePlane, whole: bool) -> None:
    plane.explanation = explanation = plane.explanation if whole else constant(plane.explanation)
    response = post(make_app(plane), headers={"Accept": "application/x-npz"})
    assert response.headers["content-type"] == "application/x-npz"
    archive = np.load(io.BytesIO(response.content), allow_pickle=False)
    np.testing.assert_array_equal(archive["image"], explanation.image)
    scalars = json.loads(str(archive["explanation"]))
    assert (scalars["forwards"], scalars["crop"]["top"]) == (88, 1.25)
    assert ("faithfulness/1/insertion_curve" in archive) is whole
    for name in ("wcam", "spatial_wcam", "factors"):
        assert (name in archive) is whole
        if explanation.maps is not None:
            np.testing.assert_array_equal(archive[name], getattr(explanation.maps, name))
    for name in ("total", "first", "standard_error", "interval_95"):
        assert (name in archive) is whole
        if explanation.indices is not None:
            np.testing.assert_array_equal(archive[name], getattr(explanation.indices, name))


def test_nothing_but_finite_numbers_is_answered(plane: FakePlane, caplog: pytest.LogCaptureFixture) -> None:
    assert plane.explanation.maps is not None
    plane.explanation.maps.wcam[0, 0] = np.nan
    for accept in ("application/json", "application/x-npz"):
        told = assert_problem(post(make_app(plane), headers={"Accept": accept}), 500, "internal")
        assert "wcam" not in told["message"]
    assert "wcam of an explanation is not finite" in caplog.text


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (None, "application/json"),
        ("*/*", "application/json"),
        ("application/*", "application/json"),
        ("image/*", "image/png"),
        ("text/html, image/png;q=0.5", "image/png"),
        ("application/json;q=0.1, application/x-npz", "application/x-npz"),
        ("application/json;q=0, */*", "image/png"),
        ("IMAGE/PNG", "image/png"),
    ],
)
def test_accept_chooses_the_representation(plane: FakePlane, accept: str | None, media_type: str) -> None:
    headers = {} if accept is None else {"Accept": accept}
    assert post(make_app(plane), headers=headers).headers["content-type"] == media_type


@pytest.mark.parametrize("accept", ["text/html", "image/jpeg", "application/json;q=0", "image/png;q=x", ";;"])
def test_accept_of_nothing_served_is_refused_before_the_work(plane: FakePlane, accept: str) -> None:
    told = assert_problem(post(make_app(plane), headers={"Accept": accept}), 406, "not_acceptable")
    assert told["limits"]["supported"] == [
        "application/json",
        "image/png",
        "application/x-npz",
        "text/event-stream",
    ]
    assert plane.calls == []


def multipart(**parts: Any) -> dict[str, Any]:
    return {"files": parts}


@pytest.mark.parametrize(
    "request_part",
    [
        ("request.json", b'{"seed": 9}', "application/json"),
        (None, b'{"seed": 9}'),
        (None, b'{"seed": 9}', "application/json"),
    ],
    ids=["file", "field", "typed field"],
)
def test_multipart_takes_the_image_as_it_is(plane: FakePlane, request_part: Any) -> None:
    image = bytes(range(256)) * 8_000  # larger than what would be spooled to disk by default
    response = post(make_app(plane), **multipart(image=("cat.jpg", image), request=request_part))
    assert response.status_code == 200, response.text
    assert (plane.calls[0].images, plane.calls[0].request) == ((image,), make_request(seed=9))


def test_multipart_needs_no_request_part(plane: FakePlane) -> None:
    assert post(make_app(plane), **multipart(image=("cat.jpg", IMAGE))).status_code == 200
    assert (plane.calls[0].images, plane.calls[0].request) == ((IMAGE,), make_request())


@pytest.mark.parametrize(
    ("parts", "field", "message"),
    [
        ({"request": (None, b"{}")}, "image", "image is required"),
        ({"image": (None, IMAGE.hex().encode())}, "image", "image must be a file part"),
        ({"image": ("a.png", b"")}, "image", "image is empty"),
        ({"image": ("a.png", IMAGE), "seed": (None, b"3")}, "seed", "'seed' is no part of a request"),
        ({"image": ("a.png", IMAGE), "file": ("b.png", IMAGE)}, "file", "'file' is no part of a request"),
        ({"a": ("a.png", IMAGE), "b": ("b.png", IMAGE)}, "a", "a file that is sent alone may have any name"),
        ({"image": ("a.png", IMAGE), "request": (None, b"{seed: 3}")}, None, "the part 'request' is not valid JSON"),
        ({"image": ("a.png", IMAGE), "request": (None, b'{"levels": 0}')}, "levels", "levels must be at least 1"),
    ],
)  # fmt: skip
def test_wrong_parts_are_refused(plane: FakePlane, parts: Any, field: str | None, message: str) -> None:
    told = assert_problem(post(make_app(plane), **multipart(**parts)), 422, "invalid_request")
    assert told["field"] == field
    assert message in told["message"]


@pytest.mark.parametrize("name", ["file", "upload", "image[]", "files"])
@pytest.mark.parametrize("path", ["/v1/explanations", "/v1/predictions", "/v1/jobs"])
def test_a_file_that_is_sent_alone_may_have_any_name(plane: FakePlane, name: str, path: str) -> None:
    response = send(
        make_app(plane), "POST", path, **multipart(**{name: ("a.png", IMAGE), "request": (None, b"{}")})
    )
    assert response.status_code in (200, 202), response.text


def in_pieces(content: bytes, size: int) -> Any:
    async def pieces() -> Any:
        for start in range(0, len(content), size):
            yield content[start : start + size]

    return pieces()


@pytest.mark.parametrize("size", [1, 7, 10**6])
@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "x-gzip"])
def test_a_body_packed_by_gzip_is_unpacked(plane: FakePlane, encoding: str, size: int) -> None:
    body = json.dumps({"image": {"base64": TINY_PNG}, "seed": 9}).encode()
    packed = gzip.compress(body[:40]) + gzip.compress(body[40:])  # members after each other are one file
    headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
    response = post(make_app(plane), content=in_pieces(packed, size), headers=headers)
    assert response.status_code == 200, response.text
    assert (plane.calls[0].images, plane.calls[0].request.seed) == ((IMAGE,), 9)


def test_a_multipart_body_may_be_packed(plane: FakePlane) -> None:
    request = httpx.Request("POST", "http://test/", files={"image": ("a.png", IMAGE)})
    headers = {"Content-Type": request.headers["content-type"], "Content-Encoding": "gzip"}
    response = post(make_app(plane), content=gzip.compress(request.read()), headers=headers)
    assert response.status_code == 200, response.text
    assert plane.calls[0].images == (IMAGE,)


@pytest.mark.parametrize("content_type", ["application/json", "multipart/form-data; boundary=abc"])
def test_a_packed_body_that_grows_beyond_the_limit_is_refused(plane: FakePlane, content_type: str) -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    headers = {"Content-Type": content_type, "Content-Encoding": "gzip"}
    tracemalloc.start()
    response = post(make_app(plane, max_body_bytes=100_000), content=bomb, headers=headers)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    told = assert_problem(response, 413, "body_too_large")
    assert told["message"] == "the body is unpacked to more than 100000 bytes"
    assert most < 10_000_000


@pytest.mark.parametrize(
    "packed",
    [b"", b"{}", gzip.compress(b"{}")[:-1], gzip.compress(b"{}") + b"x", zlib.compress(b"{}")],
    ids=["empty", "plain", "cut off", "followed", "zlib"],
)
def test_a_body_that_is_not_packed_as_it_says_is_refused(plane: FakePlane, packed: bytes) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    told = assert_problem(post(make_app(plane), content=packed, headers=headers), 422, "invalid_request")
    assert told["field"] == "Content-Encoding"


def test_many_empty_members_are_refused_after_bounded_work(
    plane: FakePlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed: list[int] = []

    class Counted:
        def __init__(self, wbits: int) -> None:
            self._stream = decompressobj(wbits)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._stream, name)

        def decompress(self, packed: bytes, most: int) -> bytes:
            handed.append(len(packed))
            return self._stream.decompress(packed, most)

    decompressobj = zlib.decompressobj
    monkeypatch.setattr(zlib, "decompressobj", Counted)
    member = gzip.compress(b"")
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    response = post(make_app(plane), content=member * (2**22 // len(member)), headers=headers)
    told = assert_problem(response, 422, "invalid_request")
    assert (
        told["message"] == "the body is gzip of more than 1000 members after each other: compress it as one"
    )
    assert (told["field"], told["limits"]) == ("Content-Encoding", {"maximum": 1000})
    assert len(handed) == MAX_MEMBERS
    assert sum(handed) <= MAX_MEMBERS * SLICE_BYTES


def test_blocks_that_unpack_to_nothing_are_read_slice_by_slice() -> None:
    packer = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    blocks = b"".join(packer.flush(zlib.Z_FULL_FLUSH) for _ in range(3))
    packed = blocks + b"\0\0\0\xff\xff" * 2**20 + packer.flush()
    inflate = Inflate()
    for part in slices(packed):
        inflate.feed(part)
        assert inflate.read() == b""
    inflate.check_end()


@pytest.mark.parametrize("members", [MAX_MEMBERS, 1])
def test_members_up_to_the_limit_and_zeros_behind_them_are_taken(plane: FakePlane, members: int) -> None:
    body = json.dumps({"image": {"base64": TINY_PNG}, "seed": 9}).encode()
    packed = gzip.compress(b"") * (members - 1) + gzip.compress(body) + bytes(100_000)
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    response = post(make_app(plane), content=packed, headers=headers)
    assert response.status_code == 200, response.text
    assert (plane.calls[0].images, plane.calls[0].request.seed) == ((IMAGE,), 9)


def test_unpacking_stops_when_the_request_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    fed: list[int] = []

    class Cancelling(Inflate):
        def feed(self, packed: bytes) -> None:
            super().feed(packed)
            fed.append(len(packed))
            if len(fed) == 3:
                reading.cancel()

    async def receive() -> dict[str, Any]:
        packed = zlib.compress(bytes(2**22), level=0, wbits=16 + zlib.MAX_WBITS)
        return {"type": "http.request", "body": packed}

    monkeypatch.setattr(bodies, "Inflate", Cancelling)
    request = Request({"type": "http", "headers": [(b"content-encoding", b"gzip")]}, receive)

    async def run() -> None:
        nonlocal reading
        reading = asyncio.create_task(limited_body(request, IngressLimits()))
        with pytest.raises(asyncio.CancelledError):
            await reading

    reading: asyncio.Task[bytes]
    asyncio.run(run())
    assert fed == [SLICE_BYTES] * 3


def test_unpacking_stops_when_the_client_leaves() -> None:
    messages = iter(
        [
            {"type": "http.request", "body": gzip.compress(b"{}")[:10], "more_body": True},
            {"type": "http.disconnect"},
        ]
    )

    async def receive() -> dict[str, Any]:
        return next(messages)

    request = Request({"type": "http", "headers": [(b"content-encoding", b"gzip")]}, receive)
    with pytest.raises(ClientDisconnect, match=r"^$"):
        asyncio.run(limited_body(request, IngressLimits()))


@pytest.mark.parametrize(
    "encodings",
    [["gzip, identity"], ["identity,gzip"], ["gzip,"], ["identity", "gzip"], ["gzip", ""], [" , X-GZIP"]],
    ids=" | ".join,
)
def test_identity_is_no_encoding_of_a_body(plane: FakePlane, encodings: list[str]) -> None:
    headers = [("Content-Type", "application/json"), *(("Content-Encoding", value) for value in encodings)]
    body = gzip.compress(json.dumps({"image": {"base64": TINY_PNG}}).encode())
    response = post(make_app(plane), content=body, headers=headers)
    assert response.status_code == 200, response.text


@pytest.mark.parametrize(
    "encodings", [["identity,"], ["identity, identity"], [","], ["", "Identity"]], ids=" | ".join
)
def test_a_body_of_no_encoding_but_identity_is_read_as_it_is(plane: FakePlane, encodings: list[str]) -> None:
    headers = [("Content-Type", "application/json"), *(("Content-Encoding", value) for value in encodings)]
    response = post(make_app(plane), content=json.dumps({"image": {"base64": TINY_PNG}}), headers=headers)
    assert response.status_code == 200, response.text


@pytest.mark.parametrize("encodings", [["gzip", "br"], ["br", "gzip"], ["gzip", "gzip"]], ids=" | ".join)
def test_every_line_of_content_encoding_counts(plane: FakePlane, encodings: list[str]) -> None:
    headers = [("Content-Type", "application/json"), *(("Content-Encoding", value) for value in encodings)]
    told = assert_problem(post(make_app(plane), content=b"x", headers=headers), 415, "unsupported_media_type")
    assert told["message"] == f"Content-Encoding must be gzip or absent, not {', '.join(encodings)!r}"


@pytest.mark.parametrize("encoding", ["br", "deflate", "zstd", "gzip, gzip"])
def test_other_encodings_of_a_body_are_refused(plane: FakePlane, encoding: str) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
    response = post(make_app(plane), content=b"x", headers=headers)
    told = assert_problem(response, 415, "unsupported_media_type")
    assert response.headers["accept-encoding"] == "gzip, identity"
    assert told["message"] == f"Content-Encoding must be gzip or absent, not {encoding!r}"
    assert told["limits"]["supported"] == ["gzip", "identity"]


@pytest.mark.parametrize("name", ["other", "request"])
def test_a_part_that_cannot_be_sent_twice_is_told(plane: FakePlane, name: str) -> None:
    files = [("image", ("a.png", IMAGE)), (name, ("a.png", IMAGE)), (name, ("b.png", IMAGE))]
    told = assert_problem(post(make_app(plane), files=files), 422, "invalid_request")
    assert (told["field"], told["message"]) == (name, f"the part {name} is sent once")


@pytest.mark.parametrize("part", ["image", "other"], ids=["read", "refused"])
def test_the_parts_of_a_body_are_closed(plane: FakePlane, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    opened: list[Any] = []

    class Recorded(tempfile.SpooledTemporaryFile[bytes]):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            opened.append(self)

    monkeypatch.setattr(formparsers, "SpooledTemporaryFile", Recorded)
    post(make_app(plane), **multipart(**{part: ("cat.jpg", IMAGE)}))
    assert [file.closed for file in opened] == [True]


def test_a_broken_multipart_body_is_refused(plane: FakePlane) -> None:
    for content_type in ("multipart/form-data", "multipart/form-data; boundary=abc"):
        response = post(make_app(plane), content=b"--other\r\n\r\n", headers={"Content-Type": content_type})
        assert_problem(response, 422, "invalid_request")


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "image/png", None]
)
def test_other_media_types_are_refused(plane: FakePlane, content_type: str | None) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    told = assert_problem(post(make_app(plane), content=b"x", headers=headers), 415, "unsupported_media_type")
    assert told["limits"]["supported"] == ["application/json", "multipart/form-data"]


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ({"grid_size": "28"}, "grid_size"),
        ({"images": [{"base64": TINY_PNG}] * 17}, "images"),
        ({"targets": [3] * 17}, "targets"),
        ({"images": [{"base64": "?"}]}, "images[0].base64"),
        ({"grid_size": True}, "grid_size"),
        ({"grid_size": 2.5}, "grid_size"),
        ({"unknown": 1}, "unknown"),
        ({"kind": "fan"}, "kind"),
        ({"image": {"base64": "?"}}, "image.base64"),
    ],
)
def test_a_wrong_field_is_a_problem_that_names_it(
    plane: FakePlane, content: dict[str, Any], field: str
) -> None:
    told = assert_problem(post(make_app(plane), content), 422, "invalid_request")
    assert told["field"] == field
    assert plane.calls == []


@pytest.mark.parametrize("body", [b"{", b"[]", b"", b'{"seed": NaN}', b'{"\\ud800": 1}', b"\xff"])
def test_a_body_that_is_no_request_is_a_problem(plane: FakePlane, body: bytes) -> None:
    response = post(make_app(plane), content=body, headers={"Content-Type": "application/json"})
    assert_problem(response, 422, "invalid_request")


def test_a_declared_length_over_the_limit_is_refused_unread(plane: FakePlane) -> None:
    sent: list[int] = []
    headers = {"Content-Type": "application/json", "Content-Length": str(10**12)}
    app = make_app(plane, max_body_bytes=1000)
    told = assert_problem(post(app, content=chunks(100, 100, sent), headers=headers), 413, "body_too_large")
    assert told["limits"] == {"max_body_bytes": 1000}
    assert sent == []


@pytest.mark.parametrize("content_type", ["application/json", "multipart/form-data; boundary=x"])
def test_a_body_over_the_limit_is_read_no_further(plane: FakePlane, content_type: str) -> None:
    sent: list[int] = []
    app = make_app(plane, max_body_bytes=1000)
    response = post(app, content=chunks(100, 300, sent), headers={"Content-Type": content_type})
    # A multipart body is found broken before it is found too large; either way reading stops.
    assert response.status_code == (413 if content_type == "application/json" else 422)
    assert len(sent) <= 5


def test_a_multipart_image_over_the_limit_is_too_large(plane: FakePlane) -> None:
    app = make_app(plane, max_body_bytes=10_000)
    assert_problem(post(app, **multipart(image=("a.png", b"x" * 10_001))), 413, "body_too_large")


def test_a_body_of_exactly_the_limit_is_read(plane: FakePlane) -> None:
    body = json.dumps({"image": {"base64": TINY_PNG}}).encode()
    headers = {"Content-Type": "application/json"}
    assert post(make_app(plane, max_body_bytes=len(body)), content=body, headers=headers).status_code == 200
    short = make_app(plane, max_body_bytes=len(body) - 1)
    assert_problem(post(short, content=body, headers=headers), 413, "body_too_large")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.InvalidRequest("no", field="levels", maximum=3), 422),
        (errors.UnknownTarget("no", field="target"), 422),
        (errors.CostLimitExceeded("no", field="nb_design", max_forwards=100_000), 422),
        (errors.ConstantScore("no"), 422),
        (errors.UnknownModel("no", field="model"), 404),
        (errors.NotAnImage("no", field="image"), 415),
        (errors.ImageTooLarge("no", field="image", max_pixels=10), 413),
        (errors.BodyTooLarge("no", max_body_bytes=10), 413),
        (errors.ModelUnavailable("no"), 503),
        (errors.WeightsUnavailable("no"), 503),
        (errors.DeadlineExceeded("no", deadline_s=1.5), 504),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_of_the_plane_are_problems(
    plane: FakePlane, error: errors.WavescopeError, status: int
) -> None:
    plane.error = error
    response = post(make_app(plane, retry_after_s=7))
    told = assert_problem(response, status, error.code)
    assert (told["message"], told["field"], told["limits"]) == ("no", error.field, error.limits)
    assert response.headers.get("retry-after") == ("7" if status == 503 else None)


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("secret"), errors.InternalError("secret"), errors.RegistryInvalid("secret")]
)
def test_defects_are_logged_and_their_details_hidden(
    plane: FakePlane, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    plane.error = error
    response = post(make_app(plane), headers={"X-Request-ID": "abc"})
    told = assert_problem(response, 500, "internal")
    assert told["message"] == "internal error; see the log for request abc"
    assert (told["field"], told["limits"]) == (None, {})
    assert "secret" in caplog.text
    assert caplog.records[-1].__dict__["request_id"] == "abc"


def test_a_request_id_is_echoed(plane: FakePlane) -> None:
    response = post(make_app(plane), headers={"X-Request-ID": "my id 1"})
    assert response.headers["x-request-id"] == "my id 1"


@pytest.mark.parametrize("offered", [None, "", "x" * 129, b"tab\tinside", "é".encode()])
def test_a_request_id_is_made_where_none_is_usable(plane: FakePlane, offered: Any) -> None:
    headers = {} if offered is None else {"X-Request-ID": offered}
    first, second = (post(make_app(plane), headers=headers).headers["x-request-id"] for _ in range(2))
    assert first != second
    assert len(first) == 32


def test_models_are_listed_and_described(plane: FakePlane) -> None:
    app = make_app(plane)
    listed = send(app, "GET", "/v1/models").json()
    assert listed["models"] == [MODEL, "other"]
    assert listed["details"]["other"]["device"] == "cuda:0"
    one = send(app, "GET", f"/v1/models/{MODEL}").json()
    assert (one["name"], one["ready"], one["device"]) == (MODEL, True, "cpu")


def test_an_unknown_model_is_not_found(plane: FakePlane) -> None:
    app = make_app(plane)
    told = assert_problem(send(app, "GET", "/v1/models/none"), 404, "unknown_model")
    assert told["limits"] == {"supported": [MODEL, "other"]}
    assert_problem(post(app, {"model": "none"}), 404, "unknown_model")


def test_readiness_is_the_planes_and_liveness_is_not(plane: FakePlane) -> None:
    app = make_app(plane)
    assert send(app, "GET", "/readyz").status_code == 200
    plane.is_ready = False
    assert_problem(send(app, "GET", "/readyz"), 503, "model_unavailable")
    assert send(app, "GET", "/livez").status_code == 200


def test_metrics_are_the_planes_text(plane: FakePlane) -> None:
    response = send(make_app(plane), "GET", "/metrics")
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "wavescope_forwards_total 1.0" in response.text


def test_unknown_addresses_and_methods_are_problems(plane: FakePlane) -> None:
    app = make_app(plane)
    assert_problem(send(app, "GET", "/v2/explanations"), 404, "not_found")
    response = send(app, "GET", "/v1/explanations")
    assert_problem(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "POST"


def test_requests_are_recorded_by_how_they_ended(plane: FakePlane, recorder: MemoryRecorder) -> None:
    app = make_app(plane, recorder)
    post(app)
    post(app, {"levels": 0})
    post(app, {"model": "made up"})
    plane.error = errors.ModelUnavailable("no")
    post(app)
    plane.error = ZeroDivisionError()
    post(app)
    send(app, "GET", "/v1/models")
    assert recorder.requests == [
        ("wcam", MODEL, "http", "ok"),
        ("", "", "http", "invalid_request"),
        ("wcam", "", "http", "unknown_model"),
        ("wcam", MODEL, "http", "model_unavailable"),
        ("wcam", MODEL, "http", "internal"),
    ]
    assert min(recorder.durations_s) >= 0


def test_a_request_that_is_cancelled_is_recorded_so(plane: FakePlane, recorder: MemoryRecorder) -> None:
    plane.error = asyncio.CancelledError()  # type: ignore[assignment]  # what a closed socket raises there
    with pytest.raises(asyncio.CancelledError, match=r"^$"):
        post(make_app(plane, recorder))
    assert recorder.requests == [("wcam", MODEL, "http", "cancelled")]


def test_other_requests_are_served_while_a_figure_is_drawn(plane: FakePlane) -> None:
    released = threading.Event()

    async def run() -> tuple[int, bytes]:
        loop, drawing = asyncio.get_running_loop(), asyncio.Event()

        def slow_draw(explanation: Explanation) -> bytes:
            loop.call_soon_threadsafe(drawing.set)
            assert released.wait(DEADLINE_S)
            return draw(explanation)

        app = build_app(plane, limits=IngressLimits(), draw=slow_draw)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            content, headers = {"image": {"base64": TINY_PNG}}, {"Accept": "image/png"}
            figure = asyncio.ensure_future(client.post("/v1/explanations", json=content, headers=headers))
            await asyncio.wait_for(drawing.wait(), DEADLINE_S)
            live = await client.get("/livez")
            assert not figure.done()
            released.set()
            return live.status_code, (await figure).content

    assert asyncio.run(run()) == (200, FIGURE)


def test_readyz_tells_what_the_cluster_lacks_and_names_no_model(plane: FakePlane) -> None:
    app = make_app(plane)
    plane.is_ready = False
    lacking = {
        "state": "unplaceable",
        "ready": False,
        "message": "needs 3 CPUs on one node; the largest has 2",
    }
    plane.registered = {"secret": lacking}
    reply = send(app, "GET", "/readyz")
    assert_problem(reply, 503, "model_unavailable")
    assert "no model can be placed: one needs 3 CPUs on one node" in reply.text
    assert "secret" not in reply.text
