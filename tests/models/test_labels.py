"""Class names, and the class that a request means."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torchvision.models import ResNet50_Weights

from wavescope.engine.class_names import distinct_names
from wavescope.errors import UnknownTarget
from wavescope.models.labels import IMAGENET, clean_name, find_class


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


@pytest.mark.parametrize("target", ["1", "2", " 2 ", "+2"])
def test_a_name_that_is_another_class_s_index_is_refused(target: str) -> None:
    with pytest.raises(UnknownTarget, match=r"write index:\d or name:") as caught:
        find_class(target, ("1", "2", "3", "+2"))
    assert caught.value.limits["indices"] == [
        find_class(f"name:{target}", ("1", "2", "3", "+2")),
        int(target),
    ]


@pytest.mark.parametrize("target", ["0", "1", "2"])
def test_a_name_that_is_its_own_index_is_found(target: str) -> None:
    assert find_class(target, ("0", "1", "2")) == int(target)


def test_a_name_that_is_no_index_of_the_model_is_found() -> None:
    assert find_class("9", ("7", "8", "9")) == 2


# As ImageNet's names are in most files: the bird and the machine, the swimsuit and the tank suit.
OF_WORDNET = tuple(
    {517: "crane", 134: "crane", 638: "maillot", 639: "maillot"}.get(index, name)
    for index, name in enumerate(IMAGENET)
)


@pytest.mark.parametrize("index", [134, 517, 638, 639])
def test_classes_of_one_name_are_told_apart(index: int) -> None:
    shown = distinct_names(OF_WORDNET)
    assert len(set(shown)) == len(OF_WORDNET)
    assert shown[index] == f"{OF_WORDNET[index]} ({index})"
    for labels in (shown, OF_WORDNET):
        assert find_class(shown[index], labels) == index
        for text in (OF_WORDNET[index], OF_WORDNET[index].upper(), f"name:{OF_WORDNET[index]}"):
            with pytest.raises(UnknownTarget, match=re.escape(f"{index} ('{labels[index]}')")):
                find_class(text, labels)


def test_no_two_names_of_ours_are_alike() -> None:
    assert distinct_names(IMAGENET) == IMAGENET


@given(st.lists(st.sampled_from(["a", "a (0)", "a (1)", "a (0) (2)", "b"]), max_size=6))
def test_whatever_the_names_no_two_are_shown_alike(names: list[str]) -> None:
    shown = distinct_names(names)
    assert len(set(shown)) == len(names)
    assert all(one.startswith(name) for one, name in zip(shown, names, strict=True))
    assert [find_class(f"name:{name}", shown) for name in shown] == list(range(len(names)))


def test_a_number_in_parentheses_is_no_index_of_ours_unless_several_share_the_name() -> None:
    with pytest.raises(UnknownTarget, match="has no class 'wagon'"):
        find_class("wagon", ("wagon (0)", "lorry"))


@pytest.mark.parametrize(
    "name", ["\ufeffwren", "wren\u200b", "\u00a0wren\u00a0", "wr\u2060en", "\twren\u200f", "wren\x1a"]
)
def test_characters_that_nobody_sees_are_no_part_of_a_name(name: str) -> None:
    assert clean_name(name) == "wren"
    assert find_class(name, ("robin", "wren")) == 1


def test_every_blank_around_a_name_is_stripped() -> None:
    blanks = "".join(character for character in map(chr, range(0x11000)) if character.isspace())
    assert clean_name(f"{blanks}wren{blanks}robin{blanks}") == f"wren{blanks}robin"


def test_accents_may_be_encoded_either_way() -> None:
    assert find_class("me\u0301sange", ("wren", "m\u00e9sange")) == 1


@given(st.one_of(st.text(max_size=40), st.integers()))
def test_any_target_is_a_class_or_an_error_on_purpose(target: int | str) -> None:
    try:
        index = find_class(target, IMAGENET)
    except UnknownTarget:
        return
    assert 0 <= index < len(IMAGENET)


def test_a_class_of_thousands_of_digits_is_none_of_the_models() -> None:
    with pytest.raises(UnknownTarget, match=r"target so large a number is outside 0\.\.999"):
        find_class(10**5000, IMAGENET)
