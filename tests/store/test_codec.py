"""Bytes of a value give the value again, to the bit; other bytes give one kind of error and nothing else."""

from __future__ import annotations

import json
import struct
import tracemalloc
import zlib
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as np_st
from skimage import data
from tests.ingress.fakes import IMAGE, adaptive, constant, make_explanation, without_depth
from tests.store.examples import JSON, assert_same, instances

from wavescope.engine.kinds import KINDS
from wavescope.engine.requests import make_request
from wavescope.engine.scoring.scoreboard import Scored
from wavescope.engine.types import Explanation, ExplanationRequest, ModelDetails
from wavescope.ingress.plane import ExplainRequest
from wavescope.store.codec import MAGIC, VERSION, decode, encode

INVALID = "these bytes are not a stored value"
EXPLANATIONS = tuple[Explanation, ...]


@dataclass(frozen=True)
class Arrays:
    one: np.ndarray
    other: np.ndarray | None = None


@dataclass(frozen=True)
class Before:
    name: str


@dataclass(frozen=True)
class After:
    name: str
    tags: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Unsupported:
    items: list[int]


def container(header: Any, blobs: bytes = b"") -> bytes:
    """What ``encode`` could have written with this header."""
    text = json.dumps(header).encode()
    rest = struct.pack("<I", len(text)) + text + blobs
    return struct.pack("<4sBI", MAGIC, VERSION, zlib.crc32(rest)) + rest


def read(written: bytes) -> Explanation | None:
    """The explanation, or ``None`` where it is refused as it ought to be."""
    try:
        return decode(written, Explanation)
    except ValueError as error:
        if INVALID not in str(error):
            raise
        return None


# ---- there and back --------------------------------------------------------------------------------------------------
@pytest.mark.filterwarnings("ignore:Do not use the `random` module")  # beartype does
@pytest.mark.parametrize("cls", [Explanation, ExplanationRequest, Scored, ExplainRequest, ModelDetails])
@given(drawn=st.data())
def test_any_value_comes_back_to_the_bit(cls: type, drawn: st.DataObject) -> None:
    value = drawn.draw(instances(cls))
    assert_same(decode(encode(value), cls), value)


@pytest.mark.parametrize("kind", KINDS)
def test_explanations_of_every_kind_come_back_to_the_bit(kind: str) -> None:
    whole = make_explanation(kind)
    several = [whole, constant(whole), adaptive(whole), replace(whole, partial=True, cached=True)]
    if whole.sufficiency is not None:
        several.append(without_depth(whole))
    value = tuple(several)
    assert_same(decode(encode(value, EXPLANATIONS), EXPLANATIONS), value)


def test_a_request_comes_back_with_its_images() -> None:
    request = make_request(kind="compare", seed=0)
    value = ExplainRequest("model", (IMAGE, b"", IMAGE), ((None, 3), ("cat",)), request, batch=True)
    assert_same(decode(encode(value), ExplainRequest), value)


@given(
    array=np_st.arrays(
        np_st.scalar_dtypes().filter(lambda one: one.kind in "biufc"),
        np_st.array_shapes(min_dims=0, min_side=0),
    )
)
def test_arrays_of_any_type_order_and_shape_come_back_to_the_bit(array: np.ndarray) -> None:
    for one in (array, np.asfortranarray(array), array[::-1] if array.ndim else array):
        value = decode(encode(Arrays(one)), Arrays).one
        assert_same(value, one)
        assert value.flags.writeable
        assert value.flags.aligned
        assert value.flags.owndata or value.base is not None


def test_large_arrays_come_back_deflated_or_not() -> None:
    rng = np.random.default_rng(0)
    noise, flat = rng.integers(0, 256, 100_000, dtype=np.uint8), np.zeros((500, 500))
    written = encode(Arrays(noise, flat))
    assert len(noise) < len(written) < len(noise) + 10_000  # zeros nearly vanish, noise does not grow
    assert_same(decode(written, Arrays), Arrays(noise, flat))


def test_numpy_scalars_become_pythons() -> None:
    request = replace(ExplanationRequest(), deadline_s=np.float32(0.1).item(), levels=3)
    value = replace(request, deadline_s=np.float64(request.deadline_s))
    assert_same(decode(encode(value), ExplanationRequest), request)


def test_an_explanation_of_a_photograph_takes_a_third_of_its_arrays() -> None:
    picture = np.moveaxis(data.chelsea()[:224, :224], 2, 0).astype(np.float32) / 255
    value = replace(make_explanation(), image=picture, contrast=None)
    assert len(encode(value)) < picture.nbytes / 3


def test_a_class_that_gained_a_field_reads_what_was_written_before() -> None:
    assert decode(encode(Before("one")), After) == After("one")
    with pytest.raises(ValueError, match="Before has no field 'tags'"):
        decode(encode(After("one")), Before)


# ---- what is not encoded ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("value", "hint", "told"),
    [
        (After("one", {"a": (1, 2)}), None, "a tuple cannot be encoded"),  # would come back as a list
        (After("one", {"a": {1: 2}}), None, "a dict cannot be encoded"),
        (After("one", {"a": b"bytes"}), None, "a bytes cannot be encoded"),
        (After(1), None, "a int cannot be encoded as <class 'str'>"),
        (Arrays(np.array([object()])), None, "a ndarray cannot be encoded"),
        (Arrays(np.array([1], dtype="datetime64[s]")), None, "a ndarray cannot be encoded"),
        (Arrays(np.ma.masked_array([1])), None, "a MaskedArray cannot be encoded"),
        (Unsupported([1]), None, "a list cannot be encoded"),
        ((1, 2, 3), tuple[int, int], "a tuple cannot be encoded"),
        (True, int, "a bool cannot be encoded"),
        (object(), None, "a object cannot be encoded"),
    ],
)
def test_what_would_not_come_back_is_not_encoded(value: Any, hint: Any, told: str) -> None:
    with pytest.raises(TypeError, match=told):
        encode(value, hint)


# ---- junk ------------------------------------------------------------------------------------------------------------
def test_every_changed_byte_is_noticed() -> None:
    written = bytearray(encode(make_explanation("wcam")))
    for position in [*range(200), *range(200, len(written), 101)]:
        written[position] ^= 0x10
        with pytest.raises(ValueError, match=INVALID):
            decode(bytes(written), Explanation)
        written[position] ^= 0x10


def test_every_missing_end_is_noticed() -> None:
    written = encode(make_explanation("wcam"))
    for length in [*range(100), *range(100, len(written), 101)]:
        with pytest.raises(ValueError, match=INVALID):
            decode(written[:length], Explanation)
    with pytest.raises(ValueError, match=INVALID):
        decode(written + b"\x00", Explanation)


@given(junk=st.binary(max_size=200))
def test_random_bytes_are_no_value(junk: bytes) -> None:
    for written in (junk, struct.pack("<4sBI", MAGIC, VERSION, zlib.crc32(junk)) + junk):
        with pytest.raises(ValueError, match=INVALID):
            decode(written, Explanation)


@given(header=JSON | st.lists(JSON, min_size=2, max_size=2), blobs=st.binary(max_size=8))
def test_other_headers_are_no_explanation(header: Any, blobs: bytes) -> None:
    with pytest.raises(ValueError, match=INVALID):
        decode(container(header, blobs), Explanation)


@given(drawn=st.data())
def test_an_explanation_with_any_part_replaced_is_one_or_is_none(drawn: st.DataObject) -> None:
    written = encode(make_explanation(drawn.draw(st.sampled_from(sorted(KINDS)))))
    start = 13 + struct.unpack_from("<I", written, 9)[0]
    header = json.loads(written[13:start])
    place: Any = header
    while True:
        key = drawn.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not isinstance(place[key], dict | list) or not place[key] or drawn.draw(st.booleans()):
            break
        place = place[key]
    place[key] = drawn.draw(JSON)
    value = read(container(header, written[start:]))
    if value is not None:
        assert_same(decode(encode(value), Explanation), value)


def test_another_version_is_named() -> None:
    written = bytearray(encode(Before("one")))
    written[4] = VERSION + 1
    with pytest.raises(ValueError, match=f"of version {VERSION + 1}, and only version {VERSION}"):
        decode(bytes(written), Before)


@pytest.mark.parametrize(
    ("array", "table", "blobs", "told"),
    [
        (["|O", [1], 0], [[8, False]], bytes(8), "place of"),
        (["(9,)<f4", [1], 0], [[8, False]], bytes(8), "place of"),
        (["<f3", [1], 0], [[8, False]], bytes(8), "no array is of type <f3"),
        (["<f4", [2], 0], [[4, False]], bytes(4), "4 bytes instead of 8"),
        (["<f4", [-1, -1], 0], [[4, False]], bytes(4), "shape"),
        (["<f4", [1.0], 0], [[4, False]], bytes(4), "shape"),
        (["<f4", [10**30, 0], 0], [[0, False]], b"", "shape"),
        (["<f4", [1] * 100, 0], [[4, False]], bytes(4), "shape"),
        (["<f4", [10**30], 0], [[4, True]], bytes(4), "inflated"),
        (["<f4", [1], 0], [[4, True]], bytes(4), "inflated"),
        (["<f4", [1], 1], [[4, False]], bytes(4), "no blob 1"),
        (["<f4", [1], True], [[4, False]], bytes(4), "no blob True"),
        (["<f4", [1], 0], [[5, False]], bytes(4), "table"),
        (["<f4", [1], 0], [[-1, False]], bytes(4), "table"),
        (["<f4", [1], 0], [[4, 0]], bytes(4), "table"),
        (["<f4", [1], 0], [[4, False]], bytes(5), "left over"),
    ],
)
def test_arrays_that_lie_are_refused(array: list[Any], table: list[Any], blobs: bytes, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        decode(container([{"one": array}, table], blobs), Arrays)


def test_a_blob_is_given_once() -> None:
    array = ["<f4", [1], 0]
    with pytest.raises(ValueError, match="no blob 0 left"):
        decode(container([{"one": array, "other": array}, [[4, False]]], bytes(4)), Arrays)


def test_a_deflated_blob_is_not_inflated_beyond_its_array() -> None:
    bomb = zlib.compress(bytes(50_000_000))
    written = container([{"one": ["|u1", [10], 0]}, [[len(bomb), True]]], bomb)
    tracemalloc.start()
    with pytest.raises(ValueError, match="11 bytes instead of 10"):
        decode(written, Arrays)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


def test_deep_nesting_is_refused() -> None:
    deep = b'{"a":' * 100_000
    rest = struct.pack("<I", len(deep)) + deep
    written = struct.pack("<4sBI", MAGIC, VERSION, zlib.crc32(rest)) + rest
    with pytest.raises(ValueError, match="nested too deeply"):
        decode(written, Explanation)


def test_another_class_is_refused() -> None:
    with pytest.raises(ValueError, match=INVALID):
        decode(encode(make_explanation()), Scored)
