"""The protocol without I/O: replies that are not what they should be, images, the retry policy."""

from __future__ import annotations

import io
import json
import pickle
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import wavescope_client
from wavescope_client import InvalidReply, InvalidRequest, RetryPolicy, ServiceError, Unavailable, _calls
from wavescope_client._flows import for_batch
from wavescope_client._images import encode_image

# Beside the types of requests and results, which are made of the service's.
PUBLIC = [
    "AsyncClient",
    "AsyncJob",
    "AsyncStream",
    "Client",
    "ConnectionFailed",
    "CostLimitExceeded",
    "DeadlineExceeded",
    "Estimate",
    "Forbidden",
    "IdempotencyConflict",
    "InternalError",
    "InvalidReply",
    "InvalidRequest",
    "Job",
    "JobCancelled",
    "JobFailed",
    "JobStatus",
    "JobUnfinished",
    "ModelChanged",
    "ModelFailure",
    "MonitorConflict",
    "NotAnImage",
    "Partial",
    "Progress",
    "QueueFull",
    "QuotaExceeded",
    "RemoteFailure",
    "Result",
    "RetryPolicy",
    "ServiceError",
    "StoreUnavailable",
    "Stream",
    "StreamBroken",
    "TimedOut",
    "TooLarge",
    "Unauthenticated",
    "Unavailable",
    "UnknownJob",
    "UnknownModel",
    "UnknownMonitor",
    "UnknownTarget",
    "WavescopeError",
]


def test_public_names_are_pinned() -> None:
    assert wavescope_client.__all__ == [*PUBLIC, *wavescope_client._types.__all__]
    for name in wavescope_client.__all__:
        assert getattr(wavescope_client, name).__doc__


def test_the_error_tree_in_the_documentation_is_the_tree() -> None:
    documented = wavescope_client._errors.__doc__ or ""
    for name in PUBLIC:
        value = getattr(wavescope_client, name)
        if isinstance(value, type) and issubclass(value, wavescope_client.WavescopeError):
            assert f" {name} " in documented.replace("\n", " ")


def test_neither_service_nor_torch_is_imported() -> None:
    code = (
        "import sys, wavescope_client;"
        "found = {'wavescope', 'torch', 'ray', 'PIL', 'grpc', 'pydantic'} & set(sys.modules);"
        "sys.exit(str(found) if found else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>", b"{}", b"[]", b"null", b'{"id": "x"}', b'{"maps": {"wcam": 3}}', b"\xff"],
)
def test_a_reply_that_is_no_explanation_is_told_so(content: bytes) -> None:
    with pytest.raises(InvalidReply, match="the reply is not"):
        _calls.parse_explanation(_calls.Reply(200, {}, content))


@pytest.mark.parametrize("content", [b"{}", b"[]", b'{"explanations": 3}', b'{"explanations": [{}]}'])
def test_a_reply_that_is_no_batch_is_told_so(content: bytes) -> None:
    with pytest.raises(InvalidReply, match="the reply is not a batch of explanations"):
        _calls.parse_batch(_calls.Reply(200, {}, content))


@pytest.mark.parametrize("content", [b"{}", b'{"models": 3}', b'{"models": ["a"], "details": {}}'])
def test_a_reply_that_lists_no_models_is_told_so(content: bytes) -> None:
    with pytest.raises(InvalidReply, match="the reply is not a list of models"):
        _calls.parse_models(_calls.Reply(200, {}, content))


def test_a_reply_that_is_no_figure_is_told_so() -> None:
    with pytest.raises(InvalidReply, match="the reply is not a PNG file"):
        _calls.parse_png(_calls.Reply(200, {}, b"GIF89a"))


@pytest.mark.parametrize(
    ("status", "kind"), [(503, Unavailable), (429, Unavailable), (422, InvalidRequest), (418, ServiceError)]
)
@pytest.mark.parametrize("content", [b"<html>Bad gateway</html>", b'"text"', b'{"error": 1}', b""])
def test_a_refusal_by_something_else_has_the_error_of_its_status(
    status: int, kind: type[ServiceError], content: bytes
) -> None:
    with pytest.raises(kind, match=f"http_{status}: the service answered with status {status}") as caught:
        _calls.parse_models(_calls.Reply(status, {"x-request-id": "abc"}, content))
    assert type(caught.value) is kind
    assert caught.value.request_id == "abc"


def test_a_code_younger_than_the_client_has_the_error_of_its_status() -> None:
    content = json.dumps({"code": "new", "message": "m", "field": None, "limits": None}).encode()
    with pytest.raises(InvalidRequest, match="new: m"):
        _calls.parse_models(_calls.Reply(422, {}, content))


@pytest.mark.parametrize("name", [name for name in PUBLIC if name.startswith("Async")])
def test_what_is_asynchronous_has_a_twin(name: str) -> None:
    assert name.removeprefix("Async") in PUBLIC


def test_types_are_told_to_checkers() -> None:
    assert Path(wavescope_client.__file__).with_name("py.typed").exists()


def test_errors_survive_pickling() -> None:
    error = InvalidRequest("m", status=422, code="c", field="f", limits={"maximum": 3}, request_id="r")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is InvalidRequest
    assert (str(copy), copy.__dict__) == (str(error), error.__dict__)


@given(st.binary(max_size=200))
def test_image_bytes_travel_as_they_are(image: bytes) -> None:
    call = _calls.build_request(_calls.EXPLANATIONS, [("image", image)], {"seed": 1})
    boundary = call.headers["Content-Type"].partition("boundary=")[2].encode()
    _, first, second, end = call.content.split(b"--" + boundary)
    assert first.partition(b"\r\n\r\n")[2] == image + b"\r\n"
    assert second.partition(b"\r\n\r\n")[2] == b'{"seed": 1}\r\n'
    assert end == b"--\r\n"


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=4))
def test_every_image_of_a_batch_is_a_part_in_order(images: list[bytes]) -> None:
    call = _calls.build_request(_calls.EXPLANATIONS, [("images", image) for image in images], {})
    boundary = call.headers["Content-Type"].partition("boundary=")[2].encode()
    parts = call.content.split(b"--" + boundary)[1:-2]
    assert [part.partition(b"\r\n\r\n")[2] for part in parts] == [image + b"\r\n" for image in images]
    assert all(b'name="images"; filename="images"' in part for part in parts)


@pytest.mark.parametrize(
    ("field", "value", "shown"),
    [
        ("accuracy", float("nan"), "nan"),
        ("seed", float("nan"), "nan"),
        ("deadline_s", np.float32("inf"), "inf"),
        ("noise", 10**400, "so large a number"),
        ("seed", 10**4000, "so large a number"),
        ("targets", [float("nan")], "nan"),
    ],
)
def test_a_number_that_json_cannot_say_is_refused_as_by_the_service(
    field: str, value: Any, shown: str
) -> None:
    with pytest.raises(InvalidRequest, match=f"must be a finite number, not {shown}") as caught:
        _calls.build_request(_calls.EXPLANATIONS, [("image", b"")], {field: value})
    assert (caught.value.status, caught.value.code) == (422, "invalid_request")
    assert str(caught.value.field).partition("[")[0] == field


def sent(**fields: Any) -> dict[str, Any]:
    """The fields as they are in the JSON of the request."""
    return json.loads(
        _calls.build_request(_calls.EXPLANATIONS, [], fields).content.split(b"\r\n\r\n")[1].split(b"\r\n")[0]
    )


TWOS = [
    np.int64(2),
    np.uint8(2),
    np.float32(2),
    np.array(2),
    np.array([2]),
    torch.tensor(2),
    torch.tensor([2.0]),
    Fraction(2),
]


@pytest.mark.parametrize("two", TWOS, ids=repr)
def test_scalars_of_numpy_and_torch_are_sent_as_numbers(two: Any) -> None:
    found = sent(target=two, seed=two, top_k=two, deadline_s=two)
    assert found == {"target": 2, "seed": 2, "top_k": 2, "deadline_s": 2}
    assert [type(found[name]) for name in ("target", "seed", "top_k")] == [int] * 3


@pytest.mark.parametrize(
    "targets",
    [np.array([[1, 2], [3, 0]]), [np.array([1, 2]), torch.tensor([3, 0])], ((1.0, np.int8(2)), [3, 0])],
)
def test_arrays_of_classes_are_sent_as_lists(targets: Any) -> None:
    assert sent(targets=targets) == {"targets": [[1, 2], [3, 0]]}


def test_what_is_no_integer_is_left_for_the_service_to_refuse() -> None:
    given = {
        "seed": np.bool_(True),
        "levels": np.float64(2.5),
        "target": np.array([1, 2]),
        "kind": np.str_("fam"),
    }
    assert sent(**given) == {"seed": True, "levels": 2.5, "target": [1, 2], "kind": "fam"}


def test_a_field_that_has_no_form_in_json_is_named() -> None:
    with pytest.raises(
        TypeError, match=r"targets\[1\] must be a number, text or a list of these, not object"
    ):
        sent(targets=[1, object()])


def test_one_image_or_class_where_a_sequence_is_due_is_told_so() -> None:
    image = np.zeros((9, 9, 3), np.uint8)
    for images, targets, message in (
        (image, None, r"images must be a sequence .*, not one array of shape \(9, 9, 3\)"),
        (Path("cat.png"), None, r"images must be a sequence .*, not \w*Path"),
        ([image], np.array(1), r"targets must be a sequence .*, not one array of shape \(\)"),
        ([image], "lynx", "targets must be a sequence .*, not str"),
    ):
        with pytest.raises(TypeError, match=message):
            for_batch(images, targets)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [None, 1, 2, 3, 4])
def test_arrays_become_png_without_loss(dtype: type[np.unsignedinteger], channels: int | None) -> None:
    shape = (5, 7) if channels is None else (5, 7, channels)
    array = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)
    decoded = Image.open(io.BytesIO(encode_image(array)))
    assert decoded.size == (7, 5)
    if dtype is np.uint8:
        np.testing.assert_array_equal(np.asarray(decoded).reshape(shape), array)
    elif channels in (None, 1):
        np.testing.assert_array_equal(np.asarray(decoded), array.reshape(5, 7))
    else:  # Pillow keeps the high byte of colours
        np.testing.assert_array_equal(np.asarray(decoded)[..., 0], array[..., 0] >> 8)


def test_views_of_arrays_become_png(tmp_path: Path) -> None:
    array = np.arange(2 * 6 * 8 * 3, dtype=np.uint8).reshape(12, 8, 3)[::2, ::-1, ::-1]
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(encode_image(array)))), array)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (
            np.zeros((5, 4, 5), np.uint8),
            r"image: an array must be .* \(height, width, 1 to 4\), not \(5, 4, 5\)$",
        ),
        (np.zeros((4,), np.uint8), r"not \(4,\)$"),
        (np.zeros((0, 4), np.uint8), r"not \(0, 4\)$"),
        (np.zeros((3, 9, 9), np.uint8), r"not \(3, 9, 9\): it looks like .* image\.transpose\(1, 2, 0\)"),
        (np.zeros((1, 9, 9, 3), np.uint8), r"a batch of one image: take image\[0\]"),
        (np.zeros((2, 9, 9, 3), np.uint8), r"a batch of 2 images: give them to explain_batch"),
        (np.eye(4, dtype=np.float32), r"must be uint8 or uint16, not float32: it holds 0 to 1; .* \* 255"),
        (np.eye(4) * 200, r"not float64: it holds 0 to 200; give np\.rint\(image\)\.astype"),
        (np.eye(4) - 2.1, r"it holds -2\.1 to -1\.1; .* without the model's mean and std"),
        (np.eye(4, dtype=np.int64), r"not int64: it holds 0 to 1; give"),
        (np.eye(4, dtype=np.bool_), r"not bool: give image \* np\.uint8\(255\)"),
        (np.zeros((4, 4), np.complex64), r"not complex64$"),
    ],
)
def test_other_arrays_are_refused(array: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encode_image(array)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "1", "CMYK", "F", "YCbCr"])
def test_pillow_images_of_every_mode_become_png(mode: str) -> None:
    image = Image.new(mode, (6, 4))
    assert Image.open(io.BytesIO(encode_image(image))).size == (6, 4)


def test_the_orientation_of_a_pillow_image_is_kept(tmp_path: Path) -> None:
    image = Image.new("RGB", (6, 4))
    exif = image.getexif()
    exif[274] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    with Image.open(tmp_path / "a.jpg") as opened:
        assert Image.open(io.BytesIO(encode_image(opened))).getexif()[274] == 6


def test_tensors_of_torch_become_png() -> None:
    tensor = torch.arange(8 * 9 * 3, dtype=torch.uint8).reshape(8, 9, 3)
    assert encode_image(tensor) == encode_image(tensor.numpy())
    with pytest.raises(ValueError, match=r"image: .* float32: it holds 0 to 0; give"):
        encode_image(torch.zeros(8, 9, 3, requires_grad=True))
    with pytest.raises(ValueError, match=r"other: .* float32"):
        encode_image(torch.zeros(8, 9, dtype=torch.bfloat16), "other")
    with pytest.raises(ValueError, match=r"images\[1\]: .* \(3, 8, 9\): it looks like"):
        for_batch([tensor, tensor.permute(2, 0, 1)]).files()


def test_open_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"\xff\x00")
    with path.open("rb") as file:
        assert encode_image(file) == b"\xff\x00"
        with pytest.raises(ValueError, match="without further bytes"):
            encode_image(file)
    with (
        path.open(encoding="utf-8") as file,
        pytest.raises(TypeError, match="opened as text: open it with mode 'rb'"),
    ):
        encode_image(file)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="gives str: open it with mode 'rb'"):
        encode_image(io.StringIO("a"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("data:image/png;base64,iVBORw0KGgo=", "is a data: URL: give the bytes"),
        ("https://example.org/cat.png", "is an address: nothing is fetched"),
        ([[0, 1], [2, 3]], r"not list: give an array, np\.asarray\(image, dtype=np\.uint8\)"),
    ],
)
def test_what_is_no_image_is_told_what_to_give(image: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        encode_image(image)


def test_files_and_bytes_are_sent_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "any.bin"
    path.write_bytes(b"content")
    for image in (path, str(path), b"content", bytearray(b"content")):
        assert encode_image(image) == b"content"  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError, match=r"none\.jpg"):
        encode_image(tmp_path / "none.jpg")
    with pytest.raises(
        TypeError, match="image must be a path, an open file, bytes, an array or a Pillow image, not int"
    ):
        encode_image(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("attempt", "status", "headers", "expected"),
    [
        (1, 503, {}, 0.5),
        (2, 503, {}, 1.0),
        (3, None, {}, 2.0),
        (4, 503, {}, None),
        (1, 429, {"retry-after": "7"}, 7.0),
        (3, 429, {"retry-after": "1"}, 2.0),
        (1, 503, {"retry-after": "31"}, None),
        (1, 503, {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, 0.5),
        (1, 200, {}, None),
        (1, 422, {}, None),
        (1, 500, {}, None),
        (1, 504, {}, None),
    ],
)
def test_delays_double_and_respect_the_service(
    attempt: int, status: int | None, headers: dict[str, str], expected: float | None
) -> None:
    assert RetryPolicy().next_delay_s(attempt, status, headers, chance=0.0, elapsed_s=0.0) == expected


@pytest.mark.parametrize(
    ("elapsed_s", "headers", "expected"),
    [
        (299.5, {}, 0.5),
        (299.6, {}, None),
        (293.0, {"retry-after": "7"}, 7.0),
        (293.5, {"retry-after": "7"}, None),
    ],
)
def test_no_try_begins_after_the_time_for_all_of_them(
    elapsed_s: float, headers: dict[str, str], expected: float | None
) -> None:
    assert RetryPolicy().next_delay_s(1, 503, headers, chance=0.0, elapsed_s=elapsed_s) == expected


def test_patience_changes_how_many_tries_and_how_long() -> None:
    assert RetryPolicy().patient(10).total_s == 10
    assert RetryPolicy().patient(1000).total_s == RetryPolicy().patient().total_s == 300
    assert RetryPolicy().patient().next_delay_s(10**6, None, {}, chance=0.0, elapsed_s=0.0) == 30
    assert RetryPolicy(attempts=1).patient().attempts == 1


@given(st.integers(1, 60), st.floats(0, 1, exclude_max=True))
def test_delays_stay_within_their_bounds(attempt: int, chance: float) -> None:
    delay_s = RetryPolicy(attempts=100, jitter=0.5).next_delay_s(
        attempt, None, {}, chance=chance, elapsed_s=0.0
    )
    assert delay_s is not None
    assert 0.25 <= delay_s <= 30
