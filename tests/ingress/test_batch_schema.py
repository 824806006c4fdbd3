"""Which images and targets go together, and how it is told when they do not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.ingress.fakes import IMAGE, body

from wavescope.engine.kinds import KINDS
from wavescope.errors import InvalidRequest
from wavescope.ingress.openapi.request_examples import TINY_PNG
from wavescope.ingress.plane import ExplainRequest, IngressLimits
from wavescope.ingress.schemas.parsing import Files, parse_json, parse_parts

LIMITS = IngressLimits(max_images=3, max_targets=4)
ONE = {"base64": TINY_PNG}
TWO = [ONE, ONE]


def parse(**fields: Any) -> ExplainRequest:
    return parse_json(json.dumps(body(fields)).encode(), LIMITS)


@pytest.mark.parametrize(
    ("fields", "targets"),
    [
        ({"targets": [3, "tabby", None]}, ((3, "tabby", None),)),
        ({"targets": [3]}, ((3,),)),
        ({"targets": [3], "target": None}, ((3,),)),
        ({"images": [ONE]}, ((None,),)),
        ({"images": TWO}, ((None,), (None,))),
        ({"images": TWO, "target": 7}, ((7,), (7,))),
        ({"images": TWO, "targets": [3, None]}, ((3,), (None,))),
        ({"images": TWO, "targets": [[3, "5"], 0]}, ((3, "5"), (0,))),
        ({"images": TWO, "targets": None}, ((None,), (None,))),
        ({"images": [ONE], "targets": [[3, None, 5, 3]]}, ((3, None, 5, 3),)),
    ],
)
def test_a_batch_says_what_each_image_is_explained_for(
    fields: dict[str, Any], targets: tuple[tuple[int | str | None, ...], ...]
) -> None:
    parsed = parse(**fields)
    assert parsed.batch
    assert parsed.images == (IMAGE,) * len(targets)
    assert parsed.targets == targets


def test_one_image_is_no_batch_and_is_explained_for_its_target() -> None:
    parsed = parse(target="tabby")
    assert (parsed.batch, parsed.targets, parsed.request.target) == (False, (("tabby",),), "tabby")
    assert parse(image=ONE, images=None, targets=None, other=None) == parse()


def test_a_comparison_takes_both_images_and_one_target() -> None:
    parsed = parse(kind="compare", target=3)
    assert (parsed.images, parsed.other, parsed.targets, parsed.batch) == (
        (IMAGE, IMAGE),
        IMAGE,
        ((3,),),
        False,
    )


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"kind": "compare", "other": None}, "other", r"^other is required for kind compare: the image to"),
        ({"kind": "compare", "images": TWO}, "images", r"^images is not for kind compare, which takes"),
        ({"kind": "compare", "targets": [1]}, "targets", r"^targets is not for kind compare"),
        ({"kind": "compare", "image": None}, "image", r"^image is required"),
        ({"other": ONE}, "other", r"^other is for kind compare alone, not for kind wcam$"),
        ({"kind": "zoom", "other": ONE}, "other", r"not for kind zoom$"),
        ({"kind": "compare", "other": {"base64": ""}}, "other.base64", r"^other\.base64 is empty$"),
        ({"image": ONE, "images": TWO}, "images", r"^image and images exclude each other: give one of them$"),
        ({"images": []}, "images", r"^images must not be empty$"),
        ({"images": ONE}, "images", r"^images must be a list, not an object$"),
        ({"images": [ONE, "abc"]}, "images[1]", r'must be a JSON object, {"base64": "…"}, not a string \("abc"\)$'),
        ({"images": [ONE, {}]}, "images[1].base64", r"^images\[1\]\.base64 is required$"),
        ({"images": [ONE, {"base64": "?"}]}, "images[1].base64", r"^images\[1\]\.base64 is not base64"),
        ({"images": [ONE, {"url": "x"}]}, "images[1].base64", r"images\[1\]\.url is not a field; the fields are ba"),
        ({"targets": []}, "targets", r"^targets must not be empty$"),
        ({"targets": 3}, "targets", r"^targets must be a list, not an integer \(3\)$"),
        ({"targets": [3], "target": 3}, "targets", r"^target and targets exclude each other: give one of them$"),
        ({"targets": [1, 2.5]}, "targets[1]", r"^targets\[1\] must be a class index or a class name, not a number"),
        ({"targets": [True]}, "targets[0]", r"^targets\[0\] must be a class index or a class name, not true or fal"),
        ({"targets": [[3]]}, "targets[0]", r"^targets\[0\] must be .*, not a list: lists are for images$"),
        ({"images": TWO, "targets": [1, []]}, "targets[1]", r"^targets\[1\] must not be empty$"),
        ({"images": TWO, "targets": [1, [2, {}]]}, "targets[1][1]", r"^targets\[1\]\[1\] must be .*, not an object$"),
        ({"images": TWO, "targets": [1, [[2]]]}, "targets[1][0]", r"^targets\[1\]\[0\] must be .*, not a list$"),
        ({"images": TWO, "targets": [1, "t" * 257]}, "targets[1]", r"^targets\[1\] must have at most 256 characters"),
        ({"images": TWO, "targets": [1]}, "targets", r"^targets must have one entry per image: it has 1 and"),
        ({"images": [ONE], "targets": [1, 2]}, "targets", r"it has 2 and images has 1 \(an entry may be a list"),
        ({"images": [*TWO, *TWO]}, "images", r"^images holds 4 images; at most 3 are taken in one request$"),
        ({"targets": [1, 2, 3, 4, 5]}, "targets", r"^targets holds 5 classes for one image; at most 4 are"),
        ({"images": TWO, "targets": [1, [1, 2, 3, 4, 5]]}, "targets", r"^targets holds 5 classes for one image"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_told(fields: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message) as caught:
        parse(**fields)
    assert caught.value.field == field


def test_the_limit_that_was_crossed_comes_with_the_error() -> None:
    with pytest.raises(InvalidRequest, match="images") as caught:
        parse(images=[*TWO, *TWO])
    assert caught.value.limits == {"max_images": 3}
    with pytest.raises(InvalidRequest, match="targets") as caught:
        parse(targets=[1] * 5)
    assert caught.value.limits == {"max_targets": 4}
    with pytest.raises(InvalidRequest, match="targets") as caught:
        parse(images=TWO, targets=[1])
    assert caught.value.limits == {"targets": 1, "images": 2}


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"compare"}))
def test_every_kind_but_compare_comes_in_batches(kind: str) -> None:
    assert parse(kind=kind, images=TWO, targets=[[1, 2], 3]).targets == ((1, 2), (3,))


@pytest.mark.parametrize(
    ("files", "fields", "message"),
    [
        (Files(images=(IMAGE, b"")), b"{}", r"^images\[1\] is empty$"),
        (Files(IMAGE, other=b""), b'{"kind": "compare"}', r"^other is empty$"),
        (Files(IMAGE), b'{"images": []}', r"^images comes in its own part"),
        (Files(IMAGE), b'{"other": {"base64": ""}}', r"^other comes in its own part"),
        (Files(), b"{}", r"^image is required, or images for a batch$"),
    ],
)
def test_files_that_do_not_suit_are_told(files: Files, fields: bytes, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        parse_parts(files, fields, LIMITS)


targets = st.integers(0, 999) | st.text("ab", max_size=3) | st.none()


@given(st.lists(targets | st.lists(targets, min_size=1, max_size=4), min_size=1, max_size=3))
def test_every_image_has_its_entry_in_order(entries: list[Any]) -> None:
    parsed = parse(images=[ONE] * len(entries), targets=entries)
    assert parsed.targets == tuple(tuple(entry) if isinstance(entry, list) else (entry,) for entry in entries)
