"""Entries of the registry over fields and odd values: each is a model, or is refused by the name of its field."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from wavescope.errors import RegistryInvalid
from wavescope.models.label_files import read_labels
from wavescope.models.spec import ModelSpec
from wavescope.settings import build_model_spec, load_registry

SIZE = {"size": 224, "resize": 256}
SOUND: tuple[dict[str, Any], ...] = (
    {"name": "m", "source": "timm:x"},
    {"name": "m", "source": "onnx:x.onnx", "outputs": "logits", "preprocessing": SIZE},
    {
        "name": "m",
        "source": "torch-export:x.pt2",
        "outputs": "sigmoid",
        "preprocessing": SIZE,
        "sha256": "0" * 64,
    },
    {"name": "m", "source": "oip:https://h/v2/models/b", "outputs": "logits", "preprocessing": SIZE},
)
# Fields by the keys that lead to them.
PLACES: tuple[tuple[Any, ...], ...] = (
    *((name,) for name in ModelSpec.__dataclass_fields__),
    *(("preprocessing", name) for name in ("size", "resize", "mean", "std", "interpolation")),
    *(
        ("remote", name)
        for name in ("input", "output", "input_layout", "timeout_s", "attempts", "concurrency")
    ),
    *(("remote", "tls", name) for name in ("ca_file", "cert_file", "key_file")),
    *(("remote", "headers", "A", name) for name in ("literal", "env", "file")),
    ("remote", "tls"),
    ("remote", "headers"),
    ("remote", "headers", "a b"),
    ("",),
    (1,),
    (None,),
    ("\ud800",),
    ("unknown",),
)
PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, 1, -1, 10**30, -(10**30)]),
    st.floats(),
    st.text(max_size=6),
    # What YAML reads as something else where it is not in quotes; names that are known in other fields; odd paths.
    st.sampled_from(
        ["", " ", "yes", "no", "on", "~", "null", "1", "0.5", "1e3", "0x10", "2024-01-31", "\ud800", "\0"]
    ),
    st.sampled_from(
        ["logits", "nchw", "auto", "cuda:0", "cuda:٣", "imagenet", "random", "onnx:", "../x", "~x/y"]
    ),
    st.just("x" * 3000),
    st.dates(),
    st.binary(max_size=4),
)
OF_YAML = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
OF_PYTHON = st.sampled_from(
    [
        np.int64(3), np.float32(0.5), np.float64("nan"), np.bool_(True), np.str_("logits"), np.array(5),
        np.array([1, 2]), np.array([0.5] * 3), np.datetime64("2024-01-31"), Decimal("NaN"), Decimal("0.5"), 1 + 2j,
        timedelta(1), range(3), {1, 2}, object(), int, Path("x"), ..., bytearray(b"x"), (224, 224), {None: 1},
        {True: "a"}, {1: "a", "1": "b"},
    ]
)  # fmt: skip


@st.composite
def entries(draw: Callable[..., Any], values: st.SearchStrategy[Any]) -> Any:
    """An entry that is sound but for one to three values, or no entry at all."""
    entry = {
        key: dict(value) if isinstance(value, dict) else value
        for key, value in draw(st.sampled_from(SOUND)).items()
    }
    for _ in range(draw(st.integers(0, 3))):
        *folders, last = draw(st.sampled_from(PLACES))
        within: Any = entry
        for folder in folders:
            within = within.setdefault(folder, {}) if isinstance(within, dict) else None
        if isinstance(within, dict):
            within[last] = draw(values)
    return entry


def check(refused: RegistryInvalid) -> None:
    assert refused.field
    assert refused.field.strip()
    assert "Traceback" not in refused.message


@given(entry=entries(OF_YAML | OF_PYTHON) | OF_YAML | OF_PYTHON)
@settings(max_examples=200)
def test_an_entry_is_a_model_or_refused_by_its_field(entry: Any) -> None:
    try:
        spec = build_model_spec(entry, Path("/nowhere"))
    except RegistryInvalid as error:
        refused = error
    else:
        assert isinstance(spec, ModelSpec)
        assert hash(spec) == hash(spec)  # of plain values throughout
        return
    check(refused)


@given(entry=entries(OF_YAML))
@settings(max_examples=40)
def test_a_file_of_an_entry_is_read_as_the_entry_is(entry: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "models.yaml"
        path.write_text(
            yaml.safe_dump({"models": [entry]}, sort_keys=False), "utf-8"
        )  # escapes what is no character
        outcomes: list[Any] = []
        for build in (lambda: load_registry(path)[0], lambda: build_model_spec(entry, path.parent)):
            try:
                outcomes.append(build())
            except RegistryInvalid as error:
                check(error)
                outcomes.append(error.field)
    assert outcomes[0] == outcomes[1] or "labels" in entry  # of which the file's words are looked at, too


PIECES = st.sampled_from(
    [
        b"cat", b"dog", b"0", b"1", b"2", b"-1", b"n01440764", b" ", b"\n", b"\r\n", b"\t", b",", b": ", b";", b'"',
        b"'", b"- ", b"[", b"]", b"{", b"}", b"#", b"&a ", b"*a", b"!!int ", b"!!bool ", b"!!float ", b"!!timestamp ",
        b"!!set ", b"!!python/object:os.system ", b"<<", b"? ", b"|", b"%", b"no", b"~", b"2024-02-31",
        b"1e999", b".nan", b"0x1F", b"1:2", b"9" * 5000, b"names", b"nc", b"id2label", b"label2id", b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"\xfe\xff", b"\0", b"\xc3\xa9", b"\xe9", b"\xed\xa0\x80", b"\\ud800", b"\xe2\x80\xa8", b"---", b"<html>",
        b"version https://git-lfs.github.com/spec/v1", b"[" * 1500, b"{" * 1500, b"x" * 2000,
    ]
)  # fmt: skip
CONTENTS = st.binary(max_size=40) | st.lists(PIECES, max_size=12).map(b"".join)
# Lines, with one mistake at most.
LINES = st.lists(
    st.sampled_from([b"0 cat", b"1 dog", b"2: owl", b"cat", b"dog,1", b"", b"n01440764 tench"]), max_size=4
)


@given(
    content=CONTENTS | LINES.map(b"\n".join), suffix=st.sampled_from([".txt", ".json", ".yaml", ".csv", ""])
)
@settings(max_examples=200)
def test_a_label_file_is_names_or_refused(content: bytes, suffix: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"labels{suffix}"
        path.write_bytes(content)
        try:
            names = read_labels(path)
        except RegistryInvalid as error:
            refused = error
        else:
            assert names
            assert all(name and name == name.strip() for name in names)
            json.dumps(names).encode()
            "".join(names).encode()
            return
    assert refused.field == "labels"


# ---- what these found ------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", [None, [], "timm:x", 3, date(2024, 1, 31)])
def test_an_entry_that_is_no_map_is_refused_as_one_of_models(entry: Any) -> None:
    with pytest.raises(
        RegistryInvalid, match="model number 1: models: Input should be a valid dictionary"
    ) as caught:
        build_model_spec(entry, Path())
    assert caught.value.field == "models"


@pytest.mark.parametrize("key", ["", "  "])
def test_a_blank_key_is_shown_in_quotes(key: str) -> None:
    with pytest.raises(RegistryInvalid, match=f"model 'm': {key!r}: no such key; there are") as caught:
        build_model_spec({**SOUND[0], key: 1}, Path())
    assert caught.value.field == repr(key)


@pytest.mark.parametrize(
    ("word", "kind"),
    [("!!int ''", "int"), ("!!float ''", "float"), ("!!bool maybe", "bool"), ("!!timestamp x", "timestamp")],
)
def test_a_word_that_is_not_of_its_type_is_refused_with_its_line(
    tmp_path: Path, word: str, kind: str
) -> None:
    (tmp_path / "models.yaml").write_text(f"models:\n- {{name: m, source: {word}}}\n")
    with pytest.raises(RegistryInvalid, match=f"is not YAML: '.*' is no {kind}\\n.*line 2, column 21"):
        load_registry(tmp_path / "models.yaml")
    (tmp_path / "labels.yaml").write_text(f"- cat\n- {word}\n")
    with pytest.raises(RegistryInvalid, match=f"on line 2 as .* YAML reads it as a wrong {kind}"):
        read_labels(tmp_path / "labels.yaml")


@pytest.mark.parametrize("path", ["\0", "\ud800"])
def test_labels_in_a_file_that_cannot_be_named_are_refused(path: str) -> None:
    with pytest.raises(
        RegistryInvalid, match="its name holds a character that no name of a file has"
    ) as caught:
        build_model_spec({**SOUND[0], "labels": path}, Path())
    assert caught.value.field == "labels"


def test_an_array_of_labels_is_refused() -> None:
    with pytest.raises(RegistryInvalid, match="holds a value of type ndarray: write a list of names"):
        build_model_spec({**SOUND[0], "labels": np.array(["a", "b"])}, Path())


def test_the_number_of_a_device_is_in_plain_digits() -> None:
    with pytest.raises(RegistryInvalid, match="device: 'cuda:٣' is none of"):
        build_model_spec({**SOUND[0], "device": "cuda:٣"}, Path())


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("batch_size", {"batch_size": True}),
        ("min_replicas", {"min_replicas": False}),
        ("num_gpus", {"num_gpus": True}),
        ("name", {"name": False}),
        ("preprocessing.mean", {"preprocessing": {"mean": [True, 0.5, 0.5]}}),
        ("preprocessing.size", {"preprocessing": {"size": True}}),
    ],
)
def test_bare_words_are_no_numbers(field: str, fields: dict[str, Any]) -> None:
    with pytest.raises(RegistryInvalid, match="YAML reads bare words such as yes, no, on and off") as caught:
        build_model_spec({**SOUND[0], **fields}, Path())
    assert caught.value.field == field
