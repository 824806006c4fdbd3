"""What a request may say, and how a wrong one is told."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
from base64 import b64encode, encodebytes, urlsafe_b64encode
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.requests import FIELDS, another_value
from tests.ingress.fakes import IMAGE, body

from wavescope.engine.checks import check_limits
from wavescope.engine.choices import CHOICES
from wavescope.engine.kinds import KINDS
from wavescope.engine.requests import make_request
from wavescope.engine.types import ExplanationRequest
from wavescope.engine.values import plain_fields
from wavescope.errors import InvalidRequest
from wavescope.ingress.openapi.request_examples import REQUESTS
from wavescope.ingress.plane import ExplainRequest, IngressLimits
from wavescope.ingress.schemas.base64_text import decode_base64
from wavescope.ingress.schemas.parsing import Files, parse_fields, parse_json, parse_parts
from wavescope.ingress.schemas.request import ExplanationFields

LIMITS = IngressLimits(max_images=3, max_targets=4)


def parse(**fields: Any) -> ExplainRequest:
    return parse_json(json.dumps(body(fields)).encode(), LIMITS)


def test_defaults_are_the_engines() -> None:
    parsed = parse()
    assert parsed.request == make_request()
    assert parsed.model == "efficientnet-lite0"
    assert (parsed.images, parsed.targets, parsed.other, parsed.batch) == ((IMAGE,), ((None,),), None, False)


@pytest.mark.parametrize("compat", [None, "reference"])
@pytest.mark.parametrize("kind", KINDS)
def test_defaults_are_those_of_the_kind_and_given_fields_win(kind: str, compat: str | None) -> None:
    assert parse(kind=kind, compat=compat).request == make_request(kind=kind, compat=compat)
    given: dict[str, Any] = {"seed": 0, "grid_size": 28, "nb_design": 8, "score": "probability"}
    parsed = parse(kind=kind, compat=compat, **given)
    assert given.items() <= parsed.request.parameters().items()


def test_every_default_that_depends_on_the_kind_is_told_and_none_is_shown_for_all() -> None:
    properties = ExplanationFields.model_json_schema()["properties"]
    assert "Default 28, 8 for kind sobol, 32 for kind zoom." in properties["grid_size"]["description"]
    assert "Default auto, logit for compat reference." in properties["score"]["description"]
    assert "Default 8 with plan full, for kind zoom 4." in properties["nb_design"]["description"]
    assert "Default 628 with plan adaptive." in properties["max_forwards"]["description"]
    usual = make_request()
    for name, schema in properties.items():
        defaults = {
            getattr(make_request(kind=kind, **given), name, None)
            for kind in KINDS
            for given in ({}, {"compat": "reference"}, *({"plan": plan} for plan in CHOICES["plan"]))
        }
        if name in ("kind", "compat") or len(defaults) == 1:
            assert schema.get("default") == getattr(usual, name, schema.get("default"))
        else:
            assert "default" not in schema


@pytest.mark.parametrize("kind", KINDS)
def test_every_partition_of_a_kind_can_be_asked_for(kind: str) -> None:
    for partition in KINDS[kind].partitions:
        assert parse(kind=kind, partition=partition).request.partition == partition


def test_every_field_arrives() -> None:
    usual = ExplanationRequest().parameters()
    one_by_one = {name: another_value(name, usual[name]) for name in FIELDS if name != "target"}
    for name, value in {**one_by_one, "target": 7}.items():
        assert getattr(parse(**{name: value}).request, name) == value
    changed: dict[str, Any] = {"target": 7, "score": "margin", "seed": 3, "levels": 2, "nb_design": 16}
    parsed = parse(model="other", **changed)
    assert parsed.model == "other"
    assert parsed.request == ExplanationRequest(**changed)


@pytest.mark.parametrize("target", [0, 281, -1, 10**30, "tabby", "", None])
def test_a_target_is_an_index_or_a_name(target: object) -> None:
    assert parse(target=target).request.target == target


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("grid_size", "28", r'grid_size must be an integer, not a string \("28"\)'),
        ("grid_size", True, r"grid_size must be an integer, not true or false \(true\)"),
        ("grid_size", 2.5, r"grid_size must be an integer, not a number with a fraction \(2.5\)"),
        ("grid_size", 28.0, r"grid_size must be an integer"),
        ("grid_size", None, r"grid_size must be an integer, not null"),
        ("grid_size", [28], r"grid_size must be an integer, not a list"),
        ("grid_size", 0, r"grid_size must be at least 1, not 0"),
        ("grid_size", 10**9, r"grid_size must be at most 1024, not 1000000000"),
        ("grid_size", 10**300, r"grid_size must be at most 1024, not so large a number"),
        ("levels", 0, r"levels must be at least 1, not 0"),
        ("levels", 17, r"levels must be at most 16, not 17"),
        ("nb_design", -8, r"nb_design must be at least 1, not -8"),
        ("seed", -1, r"seed must be at least 0, not -1"),
        ("seed", 2**53, r"seed must be at most 9007199254740991"),
        ("model", 3, r"model must be a string, not an integer \(3\)"),
        ("model", "", r"model must not be empty"),
        ("model", "m" * 129, r"model must have at most 128 characters, not 129"),
        ("kind", "fan", r"kind must be 'wcam', 'fam', .* or 'wam', not \"fan\""),
        ("kind", 1, r"kind must be 'wcam', .* or 'wam', not 1"),
        ("plan", "quick", r"plan must be 'full' or 'adaptive', not \"quick\""),
        ("max_forwards", 31, r"max_forwards must be at least 32, not 31"),
        ("max_forwards", 2**31, r"max_forwards must be at most 1000000000, not 2147483648"),
        ("max_forwards", 64.5, r"max_forwards must be an integer, not a number with a fraction \(64\.5\)"),
        ("deadline_s", 0, r"deadline_s must be more than 0, not 0$"),
        ("deadline_s", "2 s", r"deadline_s must be a number, not a string \(\"2 s\"\)"),
        ("deadline_s", True, r"deadline_s must be a number, not true or false \(true\)"),
        ("standard_error", -0.5, r"standard_error must be more than 0, not -0\.5"),
        ("standard_error", 1.5, r"standard_error must be at most 1, not 1\.5"),
        ("top_k", 0, r"top_k must be at least 1, not 0"),
        ("top_k", 4097, r"top_k must be at most 4096, not 4097"),
        ("accuracy", 0.3, r"accuracy must be at least 0\.5, not 0\.3"),
        ("accuracy", 1, r"accuracy must be less than 1, not 1"),
        ("sampler", "random", r"sampler must be 'sobol', .* or 'monte_carlo', not \"random\""),
        ("estimator", "sobol", r"estimator must be 'jansen', .* or 'saltelli', not \"sobol\""),
        ("baseline", 0, r"baseline must be 'zero', 'mean' or 'blur', not 0"),
        ("faithfulness", 1, r"faithfulness must be true or false, not an integer \(1\)"),
        ("compat", "paper", r"compat must be 'reference' or null, not \"paper\""),
        (
            "score",
            "loss",
            r"score must be 'auto', 'probability', 'logit', 'log_probability' or 'margin', not \"loss\"",
        ),
        ("partition", {}, r"partition must be .* not an object"),
        ("approximation", "dropped", r"approximation must be 'perturb', 'keep' or 'drop'"),
        ("value_policy", None, r"value_policy must be 'clip', 'minmax' or 'none', not null"),
        ("wavelet", "x" * 33, r"wavelet must have at most 32 characters"),
        ("target", 2.5, r"target must be a class index or a class name, not a number with a fraction"),
        ("target", True, r"target must be a class index or a class name, not true or false"),
        ("target", [1], r"target must be a class index or a class name, not a list"),
        ("target", "t" * 257, r"target must have at most 256 characters"),
        ("image", "abc", 'image must be a JSON object, {"base64": "…"}, not a string'),
        ("image", None, r"image is required, or images for a batch"),
        ("image", [], 'image must be a JSON object, {"base64": "…"}, not a list'),
        (
            "gridsize",
            28,
            r"gridsize is not a field; the fields are model, kind, target, .*, image, images, other$",
        ),
    ],
)
def test_a_wrong_field_is_named_with_its_value(field: str, value: object, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message) as caught:
        parse(**{field: value})
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("image", "field", "message"),
    [
        ({}, "image.base64", r"image\.base64 is required"),
        ({"base64": ""}, "image.base64", r"image\.base64 is empty"),
        ({"base64": 5}, "image.base64", r"image\.base64 must be a string, not an integer \(5\)"),
        ({"base64": "abcde"}, "image.base64", r"image\.base64 is not base64"),
        ({"base64": "ab="}, "image.base64", r"image\.base64 is not base64: Incorrect padding"),
        ({"base64": "ab-/"}, "image.base64", r"image\.base64 is not base64"),
        ({"base64": "äöü="}, "image.base64", r"image\.base64 is not base64"),
        ({"base64": "YQ==YQ=="}, "image.base64", r"image\.base64 is not base64"),
        (
            {"base64": "data:image/png,YQ=="},
            "image.base64",
            r"image\.base64 is a data: URL without ';base64,'",
        ),
        ({"base64": "data:;base64,"}, "image.base64", r"image\.base64 is empty"),
        ({"url": "http://host/cat.jpg"}, "image.base64", r"image\.url is not a field; the fields are base64"),
    ],
)
def test_a_wrong_image_is_told(image: object, field: str, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message) as caught:
        parse(image=image)
    assert caught.value.field == field


@pytest.mark.parametrize(
    "written",
    [
        lambda data: "data:image/png;base64," + b64encode(data).decode(),
        lambda data: "data:;charset=utf-8;base64," + b64encode(data).decode().rstrip("="),
        lambda data: urlsafe_b64encode(data).decode(),
        lambda data: urlsafe_b64encode(data).decode().rstrip("="),
        lambda data: b64encode(data).decode().rstrip("="),
        lambda data: encodebytes(data).decode().rstrip("=\n") + "\r\n",
        lambda data: "DATA:image/png;BASE64," + b64encode(data).decode(),
        lambda data: "\ufeff" + b64encode(data).decode() + "\ufeff",
        lambda data: "\u00a0\ufeff Data:;base64," + b64encode(data).decode() + "\u200b\u00a0",
        lambda data: encodebytes(data).decode().replace("\n", "\u00a0\n\u2028"),
        lambda data: encodebytes(data).decode().replace("\n", " "),
        lambda data: encodebytes(data).decode().replace("\n", "\r\n    "),
        lambda data: urlsafe_b64encode(data).decode().replace("A", "A  "),
    ],
    ids=[
        *("browser", "parameters", "urls", "urls unpadded", "unpadded", "lines unpadded"),
        *(
            "capitals",
            "marks",
            "hard blanks",
            "other blanks",
            "blanks for lines",
            "indented",
            "urls with blanks",
        ),
    ],
)
@pytest.mark.parametrize("length", [254, 255, 256])
def test_base64_of_browsers_and_other_writers_is_taken(written: Callable[[bytes], str], length: int) -> None:
    data = bytes(byte % 256 for byte in range(length, 0, -1))
    assert decode_base64(written(data), "image") == data


@given(st.binary(min_size=1, max_size=120), st.sampled_from([0, 64, 76]))
def test_blanks_for_plus_are_restored_or_told(data: bytes, line_chars: int) -> None:
    data = b"\x89PNG" + data
    text = b64encode(data).decode()
    written = text.replace("+", " ")
    if line_chars:  # a form ends lines by a carriage return and a line feed
        written = "\r\n".join(
            written[start : start + line_chars] for start in range(0, len(written), line_chars)
        )
    if text.count("+") % 4:  # else either reading has a length of base64
        assert decode_base64(written, "image") == data
    elif "+" in text:
        message = (
            "image.base64 has blanks where base64 has none; if they were '+', which forms decode to blanks, "
            "write %2B there, or send the file as a part of multipart/form-data"
        )
        with pytest.raises(InvalidRequest, match=f"^{re.escape(message)}$"):
            decode_base64(written, "image")


@pytest.mark.parametrize("n_plus", [1, 2, 3, 5])
def test_blanks_for_plus_are_restored(n_plus: int) -> None:
    data = b"\x89PNG\r\n" + b"\xf8ab" * n_plus + b"cd"
    written = b64encode(data).decode()
    assert written.count("+") == n_plus
    assert decode_base64(written.replace("+", " "), "image") == data


@given(
    st.binary(min_size=1, max_size=300),
    st.sampled_from([60, 64, 76]),
    st.sampled_from([" ", "\n", "\n  ", "\r\n"]),
)
def test_blanks_between_lines_are_no_plus(data: bytes, line_chars: int, between: str) -> None:
    text = b64encode(data).decode()
    lines = [text[start : start + line_chars] for start in range(0, len(text), line_chars)]
    assert decode_base64(between.join(lines), "image") == data


def test_a_mark_before_json_is_passed_over() -> None:
    body = json.dumps({"image": {"base64": "YQ=="}, "seed": 3}).encode("utf-8-sig")
    assert parse_json(body, LIMITS).request.seed == 3


def test_base64_may_be_wrapped_in_lines() -> None:
    data = bytes(range(256))
    assert parse(image={"base64": base64.encodebytes(data).decode()}).images == (data,)


@given(st.binary(min_size=1, max_size=64))
def test_base64_is_read_exactly(data: bytes) -> None:
    assert parse(image={"base64": base64.b64encode(data).decode()}).images == (data,)


def test_limits_come_with_the_error() -> None:
    with pytest.raises(InvalidRequest, match="levels") as caught:
        parse(levels=0)
    assert caught.value.limits == {"minimum": 1}
    with pytest.raises(InvalidRequest, match="kind") as caught:
        parse(kind="fan")
    assert caught.value.limits == {"supported": list(KINDS)}
    with pytest.raises(InvalidRequest, match="compat") as caught:
        parse(compat="paper")
    assert caught.value.limits == {"supported": ["reference"]}


def test_an_adaptive_plan_settles_its_budget_and_rows_and_a_given_field_wins() -> None:
    assert parse(plan="adaptive").request == make_request(plan="adaptive")
    assert parse(plan="adaptive", max_forwards=None, top_k=None).request == make_request(plan="adaptive")
    stops = {"max_forwards": 100, "deadline_s": 2, "standard_error": 0.5, "top_k": 10, "accuracy": 0.9}
    request = parse(plan="adaptive", **stops, nb_design=16).request
    assert (stops | {"nb_design": 16}).items() <= request.parameters().items()


@pytest.mark.parametrize(("value", "told"), [(float("nan"), "NaN"), (float("inf"), "Infinity")])
def test_a_number_that_is_not_finite_is_refused_where_a_message_can_hold_one(value: float, told: str) -> None:
    with pytest.raises(InvalidRequest, match=f"deadline_s must be a finite number, not {told}"):
        parse_fields({"deadline_s": value}, Files(IMAGE), LIMITS)


@pytest.mark.parametrize(
    "value", [-1, 0, 1, 17, 1025, 70_000, 10**10, 10**400, -(10**400), 0.4, float("inf")]
)
@pytest.mark.parametrize(
    "field",
    [field.name for field in dataclasses.fields(ExplanationRequest) if {"ge", "gt"} & field.metadata.keys()],
)
def test_a_body_has_the_limits_of_the_engine(field: str, value: float) -> None:
    """In a process of the caller's own, on the command line and over every protocol."""
    if isinstance(value, float) and "float" not in str(ExplanationRequest.__annotations__[field]):
        return
    found: list[tuple[str | None, dict[str, Any]] | None] = []
    for attempt in (
        lambda: parse_fields({field: value}, Files(IMAGE), LIMITS),
        lambda: check_limits(make_request(**plain_fields({field: value}))),
    ):
        try:
            attempt()
        except InvalidRequest as error:
            found.append((error.field, error.limits))
        else:
            found.append(None)
    assert found[0] == found[1]


def test_several_errors_are_told_at_once() -> None:
    with pytest.raises(InvalidRequest, match=r"seed must .*; levels must .*") as caught:
        parse(levels=0, seed="1")
    assert caught.value.field == "seed"


def test_many_errors_are_counted_and_not_all_told() -> None:
    with pytest.raises(InvalidRequest, match=r"and 995 more$") as caught:
        parse(**{f"unknown{i}": i for i in range(1000)})
    assert len(caught.value.message) < 2_000


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", r"the body is not valid JSON: Expecting value at line 1, column 1"),
        (b"{", r"the body is not valid JSON: .* at line 1, column 2"),
        (b"\xff", r"the body is not valid JSON: it is not UTF-8 at byte 0"),
        (b"\xff\xfe{\0}\0", r"the body is not valid JSON: it is UTF-16: send UTF-8"),
        (b'{"seed": NaN}', r"the body is not valid JSON: NaN is not a JSON number"),
        (b'{"seed": -Infinity}', r"the body is not valid JSON: -Infinity is not a JSON number"),
        (b"[" * 100_000, r"the body is JSON nested too deep"),
        (b'{"seed": ' + b"1" * 5_000 + b"}", r"the body is JSON nested too deep, or with too long a number"),
        (b"[]", r"the request must be a JSON object, not a list"),
        (b"null", r"the request must be a JSON object, not null"),
        (b'"text"', r"the request must be a JSON object, not a string"),
        (b"{}", r"^image is required, or images for a batch$"),
    ],
)
def test_a_body_that_is_no_request_is_told(body: bytes, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        parse_json(body, LIMITS)


@pytest.mark.parametrize("body", [b'{"\\ud800": 1}', b'{"model": "\\ud800"}', b'{"target": "\\ud800"}'])
def test_lone_surrogates_are_refused_in_text_that_can_be_encoded(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match=r".") as caught:
        parse_json(body, LIMITS)
    assert (caught.value.message + (caught.value.field or "")).encode("utf-8")


def test_parts_take_the_image_beside_the_fields() -> None:
    parsed = parse_parts(Files(IMAGE), b'{"seed": 5}', LIMITS)
    assert (parsed.images, parsed.request.seed) == ((IMAGE,), 5)
    assert parse_parts(Files(IMAGE), None, LIMITS).request == make_request()


@pytest.mark.parametrize(
    ("image", "fields", "message"),
    [
        (b"", b"{}", "image is empty"),
        (IMAGE, b'{"image": {"base64": ""}}', "image comes in its own part"),
        (IMAGE, b"[]", "the request must be a JSON object, not a list"),
        (IMAGE, b"", "the part 'request' is not valid JSON"),
        (IMAGE, b'{"seed": "0"}', "seed must be an integer"),
    ],
)
def test_wrong_parts_are_told(image: bytes, fields: bytes, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        parse_parts(Files(image), fields, LIMITS)


def test_the_examples_are_valid_requests() -> None:
    for example in REQUESTS.values():
        assert set(parse_json(json.dumps(example["value"]).encode(), LIMITS).images) == {IMAGE}
    assert {example["value"].get("kind", "wcam") for example in REQUESTS.values()} == set(KINDS)


def test_every_field_but_model_and_targets_is_the_engines() -> None:
    assert set(ExplanationFields.model_fields) - {"model", "targets"} == set(
        ExplanationRequest().parameters()
    )
