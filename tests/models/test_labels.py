"""Class names, and the class that a request means."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torchvision.models import ResNet50_Weights

from wavescope.errors import RegistryInvalid, UnknownTarget
from wavescope.models.labels import IMAGENET, find_class, read_labels


def test_imagenet_names_are_those_of_torchvision() -> None:
    assert list(IMAGENET) == ResNet50_Weights.DEFAULT.meta["categories"]


@pytest.mark.parametrize("target", [281, "281", "tabby", "TABBY", "  Tabby "])
def test_a_class_is_found_by_index_and_by_name(target: int | str) -> None:
    assert find_class(target, IMAGENET) == 281


def test_the_exact_case_tells_two_classes_apart() -> None:
    # The dog and the garment.
    assert (find_class("Cardigan", IMAGENET), find_class("cardigan", IMAGENET)) == (264, 474)


@pytest.mark.parametrize(
    ("target", "labels", "indices"),
    [("CARDIGAN", IMAGENET, [264, 474]), ("crane", ("crane", "owl", "crane"), [0, 2])],
)
def test_a_name_of_several_classes_lists_them(
    target: str, labels: tuple[str, ...], indices: list[int]
) -> None:
    with pytest.raises(UnknownTarget, match="names several classes") as caught:
        find_class(target, labels)
    assert caught.value.limits["indices"] == indices


@pytest.mark.parametrize("target", [-1, 1000, "1000", "-1", 10**30])
def test_an_index_out_of_range_names_the_limits(target: int | str) -> None:
    with pytest.raises(UnknownTarget, match=r"is outside 0\.\.999|has no class") as caught:
        find_class(target, IMAGENET)
    assert caught.value.field == "target"
    if isinstance(target, int):
        assert caught.value.limits == {"minimum": 0, "maximum": 999}


@pytest.mark.parametrize(
    ("target", "suggestion"),
    [("tabbby", "tabby"), ("cat", "Egyptian cat"), ("EGYPTAIN CAT", "Egyptian cat"), ("fox", "red fox")],
)
def test_close_names_are_suggested(target: str, suggestion: str) -> None:
    with pytest.raises(UnknownTarget, match="close names") as caught:
        find_class(target, IMAGENET)
    assert suggestion in caught.value.limits["suggestions"]


@pytest.mark.parametrize("target", ["", "  ", "zzzzzzzz", "\x00", "x" * 100_000])
def test_a_name_like_no_other_is_still_answered(target: str) -> None:
    with pytest.raises(UnknownTarget, match="the model has no class") as caught:
        find_class(target, IMAGENET)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("target", [True, 2.0, None, [281]])
def test_other_types_are_refused(target: object) -> None:
    with pytest.raises(UnknownTarget, match="must be a class index or name"):
        find_class(target, IMAGENET)  # pyright: ignore[reportArgumentType]


@given(st.one_of(st.text(max_size=40), st.integers()))
def test_any_target_is_a_class_or_an_error_on_purpose(target: int | str) -> None:
    try:
        index = find_class(target, IMAGENET)
    except UnknownTarget:
        return
    assert 0 <= index < len(IMAGENET)


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.txt", "wren\n robin \n\n"), ("a.json", '["wren", "robin"]'), ("b.txt", "wren\r\nrobin")],
)
def test_labels_are_read_from_a_file(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_bytes(text.encode())
    assert read_labels(tmp_path / name) == ("wren", "robin")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"", "names no class"),
        ("a.txt", b"wren\n\nrobin\n", "empty name"),
        ("a.txt", b"\xff\xfe\x00", "not UTF-8"),
        ("a.json", b"{", "is not JSON"),
        ("a.json", b'{"0": "wren"}', "must be a list"),
        ("a.json", b"[1, 2]", "must be a list"),
        ("a.json", b"[]", "names no class"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RegistryInvalid, match=message) as caught:
        read_labels(tmp_path / name)
    assert caught.value.field == "labels"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RegistryInvalid, match=r"absent\.txt' cannot be read: No such file"):
        read_labels(tmp_path / "absent.txt")
