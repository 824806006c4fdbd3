"""Class names in the files of every editor and framework."""

from __future__ import annotations

import codecs
import contextlib
import gzip
import json
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from wavescope.errors import RegistryInvalid
from wavescope.models.label_files import (
    MAX_LABELS_BYTES,
    MAX_NAME_CHARS,
    LabelsInvalid,
    parse_names,
    parse_yaml,
    read_labels,
)
from wavescope.models.spec import ModelSpec

WREN_ROBIN = ("wren", "robin")


def read(folder: Path, name: str, content: bytes | str) -> tuple[str, ...]:
    data = content.encode() if isinstance(content, str) else content
    (folder / name).write_bytes(data)
    return read_labels(folder / name)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("lf.txt", "wren\n robin \n\n"),
        ("crlf.txt", "wren\r\nrobin"),
        ("cr.txt", "wren\rrobin\r"),
        ("mark.txt", codecs.BOM_UTF8 + b"wren\r\nrobin\r\n"),
        ("le.txt", codecs.BOM_UTF16_LE + "wren\r\nrobin\r\n".encode("utf-16-le")),
        ("be.txt", codecs.BOM_UTF16_BE + "wren\nrobin".encode("utf-16-be")),
        ("joined.txt", codecs.BOM_UTF8 + b"wren\n" + codecs.BOM_UTF8 + b"robin\n"),  # cat a.txt b.txt
        ("invisible.txt", "\u200bwren\u00a0\nrobin\u200e\n\x1a"),
        ("darknet.names", "wren\nrobin\n"),
        ("blank.txt", "0 wren\n1 robin\n"),
        ("colon.txt", "0: wren\n1: robin\n"),
        ("comma.csv", "0,wren\n1,robin\n"),
        ("semicolon.csv", "0;wren\r\n1;robin\r\n"),
        ("tab.tsv", "0\twren\n1\trobin\n"),
        ("quoted.csv", '0,"wren"\n1,"robin"\n'),
        ("all-quoted.csv", '"0","wren"\n"1","robin"\n'),
        ("lines.csv", '"wren"\n"robin"\n'),
        ("lines.txt", '"wren"\n"robin"\n'),
        ("single.txt", "'wren'\n'robin'\n"),
        ("with-index.txt", '"0 wren"\n"1 robin"\n'),
        ("any-order.txt", "1 robin\n0 wren\n"),
        ("synset.txt", "n01530575 wren\nn01558993 robin\n"),
        ("both.txt", "0 n01530575 wren\n1 n01558993 robin\n"),
        ("list.json", '["wren", "robin"]'),
        ("mark.json", codecs.BOM_UTF8 + b'["wren", "robin"]'),
        ("index.json", '{"0": "wren", "1": "robin"}'),
        ("any-order.json", '{"1": "robin", "0": "wren"}'),
        ("name.json", '{"robin": 1, "wren": 0}'),
        ("text-index.json", '{"robin": "1", "wren": "0"}'),
        ("keras.json", '{"0": ["n01530575", "wren"], "1": ["n01558993", "robin"]}'),
        ("pairs.json", '[["n01530575", "wren"], ["n01558993", "robin"]]'),
        ("config.json", '{"model_type": "vit", "id2label": {"0": "wren", "1": "robin"}}'),
        ("both.json", '{"id2label": {"0": "wren", "1": "robin"}, "label2id": {"wren": 0, "robin": 1}}'),
        ("list.yaml", "- wren\n- robin\n"),
        ("index.yaml", "0: wren\n1: robin\n"),
        ("text-index.yml", "'0': wren\n'1': robin\n"),
        ("name.yaml", "wren: 0\nrobin: 1\n"),
        ("data.yaml", "path: ../birds\nnc: 2\nnames: [wren, robin]\n"),
        ("map.yaml", "train: images/train\nnames:\n  0: wren\n  1: robin\n"),
        ("content.txt", '["wren", "robin"]\n'),
        ("python.txt", "['wren', 'robin']"),
        ("gist.txt", "{0: 'wren',\n 1: \"robin\"}"),
    ],
    ids=lambda value: value if isinstance(value, str) and re.fullmatch(r"[\w-]+\.\w+", value) else "",
)
def test_names_are_read(tmp_path: Path, name: str, content: bytes | str) -> None:
    assert read(tmp_path, name, content) == WREN_ROBIN


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("digits.txt", "0\n1\n2\n", ("0", "1", "2")),
        ("numbers.txt", "3 wheels\ntruck\n", ("3 wheels", "truck")),
        ("ours.txt", "class 0\nclass 1\n", ("class 0", "class 1")),
        ("synset.txt", "n01440764 tench, Tinca tinca\n", ("tench, Tinca tinca",)),
        ("ids.txt", "n01440764\nn01443537\n", ("n01440764", "n01443537")),
        ("angle.txt", "<unknown>\nwren\n", ("<unknown>", "wren")),
        ("bzip.txt", "BZhello\nPFx\n", ("BZhello", "PFx")),
        ("bracket.txt", "[unknown] bird\nwren\n", ("[unknown] bird", "wren")),
        ("controls.txt", "a\u2028b\x0bc\nd", ("a\u2028b\x0bc", "d")),
        ("one.json", '{"names": 0, "id2label": 1}', ("names", "id2label")),
        # Either way round they are the same names: of MNIST, and of the folders of a data set.
        ("mnist.json", '{"0": "0", "1": "1"}', ("0", "1")),
        ("swapped.json", '{"0": "1", "1": "0"}', ("1", "0")),
        ("folders.json", '{"0": 0, "1": 1}', ("0", "1")),
        ("sorted.json", '{"0": 0, "1": 1, "10": 2, "2": 3}', ("0", "1", "10", "2")),
        ("twice.txt", "crane\ncrane\n", ("crane", "crane")),
        ("norway.yaml", "- 'no'\n- \"1.5\"\n", ("no", "1.5")),
        ("quotes.txt", '"wren"\nrobin\n', ('"wren"', "robin")),
        ("quotes.csv", '"tench, Tinca tinca"\ngoldfish\n', ("tench, Tinca tinca", "goldfish")),
        ("doubled.csv", '"the ""king"" wren"\n"robin"\n', ('the "king" wren', "robin")),
        ("two.csv", '"a","b"\n"c","d"\n', ('"a","b"', '"c","d"')),
        ("trailing.txt", "wren\nplane: 747\n", ("wren", "plane: 747")),
        ("persian.txt", "\u0646\u200c\u0646\n", ("\u0646\u200c\u0646",)),
    ],
)
def test_names_stay_as_they_are(tmp_path: Path, name: str, content: str, expected: tuple[str, ...]) -> None:
    assert read(tmp_path, name, content) == expected


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"", "names no class"),
        ("a.txt", "\ufeff\n\n", "names no class"),
        ("a.txt", "wren\n\nrobin\n", "has an empty name on line 2"),
        # Encodings.
        ("latin.txt", "wren\nm\xe9sange\n".encode("latin-1"), "is not UTF-8: 0xe9, byte 6 of the file, on line 2;"),
        ("cut.txt", codecs.BOM_UTF16_LE + b"\x00", "is not UTF-16-LE: 0x00, byte 2 of the file"),
        ("32.txt", codecs.BOM_UTF32_LE + "wren".encode("utf-32-le"), "mark of UTF-32, which is not read: save it as"),
        ("no-mark.txt", "wren".encode("utf-16-le"), "UTF-16 without its mark: character 1 is 0x00; save it as UTF-8"),
        # Indices.
        ("one.txt", "1 wren\n2 robin\n", "count from 1 to 2: the first class of a model is 0"),
        ("gap.txt", "0 wren\n2 robin\n", "1 is missing, though they go up to 2; if the numbers belong to the names"),
        ("twice.txt", "0 wren\n0 robin\n", "0 is there twice"),
        ("minus.txt", "-1 wren\n0 robin\n", "-1 is negative"),
        ("empty.csv", '0,wren\n1,""\n', "has an empty name as the name of class 1"),
        ("bare.csv", "0,wren\n1,\n", "has an index without a name on line 2"),
        ("clsloc.txt", "n01530575 1 wren\nn01558993 2 robin\n", "count from 1 to 2"),
        ("heading.csv", "index,name\n0,wren\n1,robin\n", "looks like a heading: remove it"),
        ("after.csv", "wren,0\nrobin,1\n", "ends in a number on every line"),
        ("heading.csv", "name,index\nwren,0\nrobin,1\n", "on every line but the first, which looks like a heading"),
        ("heading.tsv", "name\tindex\nwren\t1\nrobin\t2\n", "on every line but the first, which looks like a heading"),
        ("quoted.csv", '"name","index"\n"wren","0"\n"robin","1"\n', "on every line but the first, which looks like"),
        ("quoted.csv", '"index","name"\n"0","wren"\n"1","robin"\n', "looks like a heading: remove it"),
        ("after.csv", '"wren","0"\n"robin","1"\n', "ends in a number on every line"),
        ("mixed.txt", "n01530575 wren\nrobin\n", "has no WordNet identifier for name 2"),
        # Maps.
        ("a.json", '{"1": "wren", "2": "robin"}', "is a map in which they count from 1 to 2"),
        ("a.json", '{"0": "wren", "2": "robin"}', "is a map in which 1 is missing"),
        ("a.json", '{"0": "wren", "00": "robin"}', "is a map in which 0 is there twice"),
        ("a.json", '{"-1": "wren", "0": "robin"}', "is a map in which -1 is negative"),
        ("a.json", '{"wren": 0, "robin": 0}', "is a map in which 0 is there twice"),
        ("a.json", '{"wren": 1, "robin": 2}', "count from 1 to 2"),
        ("a.json", '{"wren": 0, "wren": 1}', "has the key 'wren' twice"),
        ("a.json", '{"0": 1, "1": 2, "2": 0}', "has numbers on both sides: 0: 1 may be class 0 with the name 1"),
        ("a.json", '{"0": "1", "1": "2", "2": "0"}', "has numbers on both sides"),
        ("a.json", '{"0": 5, "1": 7}', "has the number 5 as the name of class 0, not text: write it in quotes"),
        ("a.json", '{"wren": "bird", "0": "robin"}', "neither are all its keys indices nor all its values"),
        ("a.json", '{"architectures": ["ViT"]}', "neither are all its keys indices nor all its values"),
        ("a.json", '{"0": ["wren", "Troglodytes"]}', "has a list as the name of class 0, not text"),
        ("a.json", '[{"id": 0, "name": "wren"}]', "has a map as the name of class 0, not text"),
        ("a.json", '{"id2label": {"0": "a", "1": "b"}, "label2id": {"a": 1, "b": 0}}', "'a' as class 1 in label2id"),
        ("a.json", '{"id2label": {}}', "is a map in which no class is named"),
        ("data.yaml", "nc: 3\nnames: [wren, robin]\n", "has nc 3, but 2 names"),
        # Other content.
        ("a.json", b"{", "is not JSON: Expecting property name .* at line 1, column 2"),
        ("a.json", "[1, 2]", "has the number 1 as the name of class 0, not text: write it in quotes"),
        ("a.json", "[true]", "has True as the name of class 0"),
        ("a.json", '["wren", null]', "has nothing as the name of class 1"),
        ("a.json", '["wren", " "]', "has an empty name as the name of class 1"),
        ("a.json", r'["\ud83d"]', "has half a character in the name of class 0"),
        ("a.json", "[]", "names no class"),
        ("a.json", "{}", "names no class"),
        ("a.json", '"wren"', "holds one text: write a list of names"),
        ("a.json", "[" * 100_000, "nested too deep"),
        ("a.json", "1" * 5000, "too long a number"),
        ("a.yaml", "wren\nrobin\n", "holds one text"),
        ("a.yaml", "", "holds nothing"),
        ("a.yaml", "- 0x" + "f" * 5000, "YAML reads it as a number"),
        ("a.yaml", "[wren", "is not YAML: .* on line 1"),
        ("a.yaml", "- wren\x07", "a character that YAML does not allow"),
        ("a.yaml", "[" * 5000, "nested too deep|is not YAML"),
        ("a.yaml", "&a [*a]", "has nothing as the name of class 0|has a list as"),
        ("a.yaml", "!!python/object/apply:os.getcwd []", "names no class"),
        ("a.txt", "{wren", "begins with '{' but is neither JSON nor YAML"),
        ("lfs.txt", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "LFS pointer.*git lfs pull"),
        ("names.txt.gz", gzip.compress(b"wren\nrobin\n"), "is compressed by gzip: unpack it"),
        ("names.npy", b"\x93NUMPY\x01\x00", "is a NumPy array, which is not read"),
        ("lfs-mark.txt", "\ufeffversion https://git-lfs.github.com/spec/v1\n", "LFS pointer"),
        ("page.json", "<html><body>Sign in</body></html>", "is a web page: download the file itself"),
        ("page.txt", "<!DOCTYPE html>\n<html>\n", "is a web page: download the file itself"),
        ("voc.txt", '<?xml version="1.0"?>\n<a/>', "is XML"),
        ("map.pbtxt", "item {\n  id: 1\n  name: 'wren'\n}\n", "label map of TensorFlow's detection models"),
        ("list.txt", "- wren\n- robin\n", "has '- ' before every name: call the file .yaml"),
        ("spaces.txt", "wren" + " " * 1_000_000 + "robin", "has 1000009 characters on line 1: every name has a line"),
        ("spaces.json", json.dumps(["wren", "a" + " " * 1_000_000 + "b"]), "has 1000002 characters as the name of"),
        ("big.txt", b"wren\n" * (MAX_LABELS_BYTES // 5 + 1), "is larger than 4 MiB"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)  # fmt: skip
def test_what_is_wrong_is_said(tmp_path: Path, name: str, content: bytes | str, message: str) -> None:
    with pytest.raises(RegistryInvalid, match=message) as caught:
        read(tmp_path, name, content)
    assert caught.value.field == "labels"
    assert name in caught.value.message
    assert len(caught.value.message) < 400 + len(str(tmp_path))


@pytest.mark.parametrize(
    ("word", "read"),
    [
        ("yes", "True"),
        ("No", "False"),
        ("on", "True"),
        ("OFF", "False"),
        ("true", "True"),
        ("null", "nothing"),
        ("~", "nothing"),
        ("1", "the number 1"),
        ("1.50", "the number 1.5"),
        ("0x1F", "the number 31"),
        ("12:30:00", "the number 45000"),
        ("1_000", "the number 1000"),
        ("2024-01-31", "the date 2024-01-31"),
        ("2024-13-45", "a wrong timestamp"),
        (".nan", "the number nan|a number"),
        ("0x" + "f" * 900, "a number"),
    ],
)
@pytest.mark.parametrize("form", ["list", "index", "name", "names"])
def test_a_bare_word_of_yaml_is_named_with_its_place(tmp_path: Path, word: str, read: str, form: str) -> None:
    content = {
        "list": f"- wren\n- {word}\n",
        "index": f"0: wren\n1: {word}\n",
        "name": f"wren: 0\n{word}: 1\n",
        "names": f"names:\n- wren\n- {word}\n",
    }[form]
    (tmp_path / "a.yaml").write_text(content)
    with pytest.raises(RegistryInvalid) as caught:
        read_labels(tmp_path / "a.yaml")
    line = content[: content.index(word, 5)].count("\n") + 1
    place = rf"{re.escape(word[:80])} on line {line} as the name of class 1"
    expected = rf"has the bare word {place}: YAML reads it as ({read}); write it in quotes"
    assert re.search(expected, caught.value.message), caught.value.message


def test_an_empty_entry_of_yaml_is_named(tmp_path: Path) -> None:
    with pytest.raises(RegistryInvalid, match="has nothing on line 2 as the name of class 1"):
        read(tmp_path, "a.yaml", "- wren\n-\n")


def test_aliases_of_aliases_are_read_once() -> None:
    lines = ["a0: &a0 [wren]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 60)]
    with pytest.raises(LabelsInvalid, match="neither are all its keys indices"):
        parse_names(parse_yaml("\n".join(lines)))


@pytest.mark.parametrize(
    "line",
    [
        f"{start}{blank * 1000}{end}"
        for start in ("a", "0", "n01440764", '"')
        for blank in ("\t", "\t ", ",", "0", '"')
        for end in ("b", "0", '"')
    ],
    ids=lambda line: repr(line[:3] + line[-3:]),
)
def test_a_line_takes_time_in_proportion_to_its_length(tmp_path: Path, line: str) -> None:
    """Five hundred such lines; with nested repeats a single one took seconds."""
    content = "\n".join([line[:MAX_NAME_CHARS]] * 500)
    began = time.process_time()
    with contextlib.suppress(RegistryInvalid):
        read(tmp_path, "a.txt", content)
    assert time.process_time() - began < 2


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RegistryInvalid, match=r"absent\.txt' cannot be read: No such file"):
        read_labels(tmp_path / "absent.txt")
    with pytest.raises(RegistryInvalid, match="is not a file"):
        read_labels(tmp_path)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    with pytest.raises(RegistryInvalid, match="is not a file"):
        read_labels(tmp_path / "pipe.txt")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("imagenet", "holds one text: write a list"),
        ((1, 2), "has the number 1 as the name of class 0"),
        (("wren", "\u200b"), "has an empty name as the name of class 1"),
    ],
)
def test_labels_from_python_are_held_to_the_same(labels: Any, message: str) -> None:
    with pytest.raises(RegistryInvalid, match=message):
        ModelSpec(name="m", source="timm:x", labels=labels)
    spec = ModelSpec(name="m", source="timm:x", labels=["\ufeffwren", "robin "])  # pyright: ignore[reportArgumentType]
    assert spec.labels == WREN_ROBIN


NAMES = st.lists(
    st.text(st.characters(codec="utf-8", categories=["L", "M", "P", "S", "Zs"]), min_size=1, max_size=12).map(
        lambda text: f"x{text}x"
    ),
    min_size=1,
    max_size=6,
)


@given(NAMES, st.randoms(use_true_random=False))
def test_what_is_written_is_read_back_in_every_form(names: list[str], random: Any) -> None:
    expected = parse_names(names)
    entries = list(enumerate(names))
    random.shuffle(entries)
    for content in (names, dict(entries), {str(index): name for index, name in entries}):
        assert parse_names(json.loads(json.dumps(content))) == expected
        assert parse_names(parse_yaml(yaml.safe_dump(content))) == expected
    by_text = {str(index): name for index, name in entries}
    assert parse_names({"id2label": by_text, "label2id": {}}) == expected
    assert parse_names({"names": by_text, "nc": len(names)}) == expected
    if len(set(names)) == len(names):
        assert parse_names({name: index for index, name in entries}) == expected


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=12,
    )
)
def test_any_content_is_names_or_refused_on_purpose(content: Any) -> None:
    for parsed in (content, parse_yaml(yaml.safe_dump(content))):
        try:
            names = parse_names(parsed)
        except LabelsInvalid:
            continue
        assert all(names)
        assert names
