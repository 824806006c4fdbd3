"""Class names from files of every editor and framework, and from what YAML and JSON make of lists and maps of them.

Where two readings are possible the file is refused: a wrong name would look right.
"""

from __future__ import annotations

import codecs
import json
import re
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml

from wavescope.errors import RegistryInvalid
from wavescope.file_magic import HEAD_BYTES, recognise_magic, recognise_text
from wavescope.models.labels import clean_name

MAX_LABELS_BYTES: Final = 4 * 2**20
MAX_NAME_CHARS: Final = 1024

_AS_TEXT = "save it as UTF-8"
_JSON_LIST = "write the names as a JSON list, in index order"
_LINE_END = re.compile(r"\r\n|\r|\n")
_INDEXED = re.compile(r"""("?)([+-]?[0-9]{1,9})\1(?:\s*[,;:]|\s)\s*(.*)""")
_SEPARATORS = (",", ";", ":", "\t")
_SYNSET = re.compile(r"(n[0-9]{8})(?:\s*[,;:]|\s)\s*(.+)")
_WORDNET_ID = re.compile(r"n[0-9]{8}")
_INDEX = re.compile(r"[+-]?[0-9]{1,9}")
# Other files, and what to do about them, by the keys of file_magic.
_UNPACK = "unpack it"
_OTHER_FILES = {
    "lfs": "is a Git LFS pointer, not the file itself: run 'git lfs pull'",
    "html": "is a web page: download the file itself",
    "xml": "is XML, which is not read: " + _JSON_LIST,
    "gzip": f"is compressed by gzip: {_UNPACK}",
    "zstd": f"is compressed by zstd: {_UNPACK}",
    "xz": f"is compressed by xz: {_UNPACK}",
    "bzip2": f"is compressed by bzip2: {_UNPACK}",
    "7z": f"is an archive: {_UNPACK}",
    "rar": f"is an archive: {_UNPACK}",
    "tar": f"is an archive: {_UNPACK}",
    "hdf5": "is an HDF5 file, which is not read: " + _JSON_LIST,
    "numpy": "is a NumPy array, which is not read: " + _JSON_LIST,
}
_LABEL_MAP = re.compile(r"item\s*\{", re.IGNORECASE)

Result = TypeVar("Result")


class LabelsInvalid(ValueError):
    """Names of classes are wrong; the message is the end of a sentence that begins with where they are from."""


@dataclass(frozen=True, slots=True)
class BareWord:
    """A word without quotes that YAML reads as something other than text.

    Attributes:
        word: as it is written.
        value: what YAML makes of it.
        line: of the file, from 1.
    """

    word: str
    value: Any
    line: int


class Pairs(tuple[tuple[Any, Any], ...]):
    """The entries of a map in the order of the file, those of one key too."""


def read_labels(path: Path) -> tuple[str, ...]:
    """Class names in index order, from a file.

    Args:
        path: text with a name on every line, with or without its index or WordNet's identifier before it; or JSON or
            YAML as :func:`parse_names` reads it. UTF-8, or UTF-16 with its mark; at most 4 MiB.

    Raises:
        RegistryInvalid: the file is missing, unreadable, empty, holds something else, or could be read in two ways.
    """
    try:
        data = _read_bytes(path)
        _check_type(recognise_magic(data[:HEAD_BYTES]))
        text = _decode(data)
        start = clean_name(text[:HEAD_BYTES]).encode()
        _check_type(recognise_magic(start) or recognise_text(start))
        suffix = path.suffix.lower()
        if suffix == ".json":
            return parse_names(_parse_json(text))
        if suffix in (".yaml", ".yml"):
            return parse_names(parse_yaml(text))
        return _parse_text(text, table=suffix in (".csv", ".tsv"))
    except LabelsInvalid as error:
        raise RegistryInvalid(f"labels: {str(path)!r} {error}", field="labels") from error


def parse_names(content: Any) -> tuple[str, ...]:
    """Class names in index order, from a list or a map.

    Args:
        content: a list of names; a map of indices to names or of names to indices; or a map that holds either under
            ``id2label`` (Hugging Face) or ``names`` (Ultralytics). Each name may be a pair of WordNet's identifier and
            the name.

    Raises:
        LabelsInvalid: it is something else, an entry is no name, the indices are not 0..n - 1, or a map could be read
            in both directions.
    """
    content = _as_pairs(content)
    if isinstance(content, Pairs):
        return _parse_map(Pairs((key, _as_pairs(value)) for key, value in content))
    if isinstance(content, str | bytes | BareWord) or not isinstance(content, Sequence):
        raise LabelsInvalid(f"holds {_describe(content)}: write a list of names, in index order")
    if not content:
        raise LabelsInvalid("names no class: there must be at least one class")
    return tuple(_parse_name(entry, f"the name of class {index}") for index, entry in enumerate(content))


def _as_pairs(value: Any) -> Any:
    """Turn a mapping into :class:`Pairs`; anything else stays."""
    return Pairs(value.items()) if isinstance(value, Mapping) else value


def parse_yaml(text: str) -> Any:
    """Content of a YAML file, its maps as :class:`Pairs`, and what is no text as :class:`BareWord`.

    Raises:
        LabelsInvalid: it is not YAML.
    """
    try:
        node = yaml.compose(text, yaml.SafeLoader)
        return None if node is None else value_of_node(node)
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f" on line {error.problem_mark.line + 1}"
        raise LabelsInvalid(f"is not YAML: {error.problem}{line}") from error
    except yaml.YAMLError as error:
        raise LabelsInvalid("is not YAML: it holds a character that YAML does not allow") from error
    except RecursionError as error:
        raise LabelsInvalid("is YAML nested too deep") from error


def value_of_node(node: yaml.Node, known: dict[int, Any] | None = None) -> Any:
    """Content of a node of YAML, as :func:`parse_yaml` returns it."""
    known = {} if known is None else known  # what is repeated by an alias is read once
    if id(node) not in known:
        known[id(node)] = None  # of a list that holds itself
        if isinstance(node, yaml.MappingNode):
            found: Any = Pairs(
                (value_of_node(key, known), value_of_node(value, known)) for key, value in node.value
            )
        elif isinstance(node, yaml.SequenceNode):
            found = [value_of_node(entry, known) for entry in node.value]
        elif node.tag == "tag:yaml.org,2002:str":
            found = node.value
        else:
            found = BareWord(node.value, _construct(node), node.start_mark.line + 1)
        known[id(node)] = found
    return known[id(node)]


def _construct(node: yaml.Node) -> Any:
    try:
        return yaml.SafeLoader("").construct_object(node)
    except (yaml.YAMLError, ValueError, LookupError, AttributeError):
        return f"a wrong {node.tag.rpartition(':')[2]}"


def _read_bytes(path: Path) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for its writer
            raise LabelsInvalid("is not a file")
        with path.open("rb") as file:
            data = file.read(MAX_LABELS_BYTES + 1)
    except OSError as error:
        raise LabelsInvalid(f"cannot be read: {error.strerror}") from error
    except (UnicodeError, ValueError) as error:  # half a character, or NUL
        if isinstance(error, LabelsInvalid):
            raise
        raise LabelsInvalid(
            "cannot be read: its name holds a character that no name of a file has"
        ) from error
    if len(data) > MAX_LABELS_BYTES:
        raise LabelsInvalid(f"is larger than {MAX_LABELS_BYTES >> 20} MiB, which no list of names is")
    return data


def _check_type(key: str | None) -> None:
    """Check that a file is of no type, by its key of ``file_magic``, that holds no names."""
    if key in _OTHER_FILES:
        raise LabelsInvalid(_OTHER_FILES[key])


def _decode(data: bytes) -> str:
    """The text of a file, by its mark."""
    if data.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        raise LabelsInvalid(f"begins with the mark of UTF-32, which is not read: {_AS_TEXT}")
    marks = {codecs.BOM_UTF16_LE: "UTF-16-LE", codecs.BOM_UTF16_BE: "UTF-16-BE", codecs.BOM_UTF8: "UTF-8"}
    mark, encoding = next(
        ((mark, name) for mark, name in marks.items() if data.startswith(mark)), (b"", "UTF-8")
    )
    try:
        text = data[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        at = len(mark) + error.start
        byte, line = f"0x{data[at]:02x}", data.count(b"\n", 0, at) + 1
        raise LabelsInvalid(
            f"is not {encoding}: {byte}, byte {at} of the file, on line {line}; {_AS_TEXT}"
        ) from error
    zero = text.find("\0")
    if zero >= 0:
        raise LabelsInvalid(f"is no text, or UTF-16 without its mark: character {zero} is 0x00; {_AS_TEXT}")
    return text


def _parse_json(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=Pairs)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise LabelsInvalid(f"is not JSON: {error.msg} at {place}") from error
    except (RecursionError, ValueError) as error:  # or an integer of thousands of digits
        raise LabelsInvalid("is JSON nested too deep, or with too long a number") from error


# ---- text ---------------------------------------------------------------------------------------


def _parse_text(text: str, *, table: bool) -> tuple[str, ...]:
    """The names of a file of lines, which may after all hold a list or map of JSON, YAML or Python.

    Args:
        text: of the file.
        table: the file's ending is of a table (CSV), in which only the names that need quotes may have them.
    """
    start = clean_name(text[:1024])
    if _LABEL_MAP.match(start):
        raise LabelsInvalid(
            f"is a label map of TensorFlow's detection models, which is not read: {_JSON_LIST}"
        )
    if start.startswith(("{", "[")):
        structure = _parse_structure(text)
        if structure is not None:
            return parse_names(structure)
        if start.startswith("{"):
            raise LabelsInvalid("begins with '{' but is neither JSON nor YAML")
    lines = _without_quotes(_split_lines(text), table=table)
    names = _without_indices(lines)
    without = _without_wordnet_ids(names)
    if without != names and names == lines:
        names = _without_indices(without)
    else:
        names = without
    return tuple(_parse_name(name, f"the name of class {index}") for index, name in enumerate(names))


def _split_lines(text: str) -> list[str]:
    """The lines of a file, clean, none of them empty."""
    lines = _LINE_END.split(text)
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_NAME_CHARS:
            raise LabelsInvalid(
                f"has {len(line)} characters on line {number}: every name has a line of its own"
            )
    lines = [clean_name(line) for line in lines]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise LabelsInvalid("names no class: there must be at least one class")
    for number, line in enumerate(lines, 1):
        if not line:
            raise LabelsInvalid(f"has an empty name on line {number}, between others")
    if all(line.startswith("- ") for line in lines):
        raise LabelsInvalid("has '- ' before every name: call the file .yaml, or leave the dashes out")
    return lines


def _parse_structure(text: str) -> Any:
    """A list or map in JSON, or as YAML reads it and Python prints it; ``None`` where it is neither."""
    for parse in (_parse_json, parse_yaml):
        try:
            found = parse(text.strip("\ufeff"))
        except LabelsInvalid:
            continue
        if isinstance(found, list | Pairs):
            return found
    return None


def _without_indices(lines: list[str]) -> list[str]:
    """Lines such as ``0 cat``, ``0: cat`` and ``0,cat`` in the order of their indices; others as they are."""
    matches = [_INDEXED.fullmatch(line) for line in lines]
    found = [match for match in matches if match is not None]
    if len(found) == len(lines):
        indices = [int(match[2]) for match in found]
        try:
            order = _check_indices(indices)
        except LabelsInvalid as error:
            raise LabelsInvalid(
                f"has a number at the start of every line, but as an index {error}; if the numbers belong to the "
                f"names, {_JSON_LIST}"
            ) from error
        for number, match in enumerate(found, 1):
            if not clean_name(match[3]):
                raise LabelsInvalid(f"has an index without a name on line {number}")
        return [_unquote(clean_name(found[place][3])) for place in order]
    if matches[0] is None and len(found) == len(lines) - 1 > 0:
        counted = sorted(int(match[2]) for match in found)
        if counted == list(range(len(found))):
            raise LabelsInvalid(
                "has an index on every line but the first, which looks like a heading: remove it"
            )
    _check_trailing_numbers(lines)
    return lines


def _check_trailing_numbers(lines: list[str]) -> None:
    """Check that the lines, or all but a heading, do not end in 0, 1, … or 1, 2, …, which may be indices.

    Raises:
        LabelsInvalid: they do.
    """
    trailing = [_trailing_number(line) for line in lines]
    numbers = sorted(number for number in trailing if number is not None)
    count = len(numbers)
    heading = count == len(lines) - 1 and trailing[0] is None
    if len(lines) == 1 or not (heading or count == len(lines)):
        return
    if numbers in (list(range(count)), list(range(1, count + 1))):
        but = " but the first, which looks like a heading: remove it; the number" if heading else ", which"
        raise LabelsInvalid(
            f"ends in a number on every line{but} may be an index or belong to the name: write the index first, or "
            f"{_JSON_LIST.removeprefix('write ')}"
        )


def _trailing_number(line: str) -> int | None:
    """The number at the end of a line such as ``cat,0`` and ``"cat","0"``; ``None`` where there is none."""
    quote = '"' if line.endswith('"') else ""
    rest = line.removesuffix(quote)
    stem = rest.rstrip("0123456789")
    digits = rest[len(stem) :]
    before = stem.removesuffix(quote)
    if not 1 <= len(digits) <= 9 or (quote and before == stem):
        return None
    name = before.rstrip()
    separated = name.endswith(_SEPARATORS) or "\t" in before[len(name) :]
    return int(digits) if separated else None


def _without_quotes(lines: list[str], *, table: bool) -> list[str]:
    """Lines such as ``"cat"`` without the quotes, where all have them or the file is a table; others as they are."""
    if table or all(_is_quoted(line, '"') for line in lines):
        return [_unquote(line) for line in lines]
    return [line[1:-1] for line in lines] if all(_is_quoted(line, "'") for line in lines) else lines


def _without_wordnet_ids(lines: list[str]) -> list[str]:
    """Lines such as ``n01440764 tench, Tinca tinca`` without the identifier; others as they are."""
    matches = [_SYNSET.fullmatch(line) for line in lines]
    if not any(matches):
        return lines
    for number, match in enumerate(matches, 1):
        if match is None:
            raise LabelsInvalid(f"has no WordNet identifier for name {number}, though for others")
    return [match[2] for match in matches if match is not None]


def _unquote(name: str) -> str:
    return name[1:-1].replace('""', '"') if _is_quoted(name, '"') else name


def _is_quoted(text: str, quote: str) -> bool:
    """Whether a text is one field in quotes, and not several such as ``"0","cat"``; quotes within are doubled."""
    within = text[1:-1].replace(2 * quote, "")
    return len(text) > 1 and text.startswith(quote) and text.endswith(quote) and quote not in within


# ---- lists and maps -----------------------------------------------------------------------------


def _parse_name(entry: Any, place: str) -> str:
    """One name, or a pair of WordNet's identifier and the name, as torchvision and Keras have it."""
    if isinstance(entry, list | tuple) and not isinstance(entry, Pairs) and len(entry) == 2:
        identifier, name = entry
        if isinstance(identifier, str) and _WORDNET_ID.fullmatch(identifier):
            entry = name
    if isinstance(entry, BareWord):
        read = entry.value if isinstance(entry.value, str) else _describe(entry.value)
        word = f"the bare word {entry.word[:80]}" if entry.word else "nothing"
        raise LabelsInvalid(
            f"has {word} on line {entry.line} as {place}: YAML reads it as {read}; write it in quotes"
        )
    if not isinstance(entry, str):
        raise LabelsInvalid(f"has {_describe(entry)} as {place}, not text{_remedy(entry)}")
    if len(entry) > MAX_NAME_CHARS:
        raise LabelsInvalid(f"has {len(entry)} characters as {place}; at most {MAX_NAME_CHARS} are taken")
    name = clean_name(entry)
    if not name:
        raise LabelsInvalid(f"has an empty name as {place}")
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise LabelsInvalid(f"has half a character in {place}, which UTF-8 cannot hold") from error
    return name


def _describe(value: Any) -> str:
    """Name a value in a few words, whatever its size."""
    if isinstance(value, BareWord):
        value = value.value
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value)
        case int() | float():
            return f"the number {value}" if abs(value) < 1e18 else "a number"
        case str():
            return "one text"
        case Pairs() | Mapping():
            return "a map"
        case list() | tuple():
            return "a list"
        case date():
            return f"the date {value}"
    return f"a value of type {type(value).__name__}"


def _remedy(value: Any) -> str:
    """Remedy for a value that stands where a name should; most are words that YAML reads as something else."""
    if isinstance(value, list | tuple | Mapping):
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return ": write it in quotes"
    return " (as YAML reads bare words such as yes, no, on, off, null and dates): write the word in quotes"


def _parse_map(entries: Pairs) -> tuple[str, ...]:
    """The names of a map: of a model's or data set's configuration, or of indices and names in either direction."""
    keys = [key.word if isinstance(key, BareWord) else key for key, _ in entries]
    known: dict[str, Any] = {key: value for key, value in entries if isinstance(key, str)}
    for key in keys:
        if not isinstance(key, str | int) or isinstance(key, bool):
            raise LabelsInvalid(f"has a key that is {_describe(key)}")
    seen: set[str] = set()
    for key in map(str, keys):
        if key in seen:
            raise LabelsInvalid(f"has the key {key[:80]!r} twice")
        seen.add(key)
    if isinstance(known.get("id2label"), Pairs):
        return _parse_config(known)
    names = known.get("names")
    if isinstance(names, list | tuple):
        found = parse_names(names)
        count = _as_index(known.get("nc"))
        if count is not None and count != len(found):
            raise LabelsInvalid(f"has nc {count}, but {len(found)} names")
        return found
    if not entries:
        raise LabelsInvalid("names no class: there must be at least one class")
    return _parse_either_way(entries)


def _parse_config(known: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of a configuration of Hugging Face."""
    found = _order(known["id2label"])
    other = known.get("label2id")
    if isinstance(other, Pairs):
        for name, index in other:
            place = _as_index(index)
            if (
                isinstance(name, str)
                and place is not None
                and found[place : place + 1] != (clean_name(name),)
            ):
                raise LabelsInvalid(f"has {name[:80]!r} as class {place} in label2id, but not in id2label")
    return found


def _parse_either_way(entries: Pairs) -> tuple[str, ...]:
    """The names of a map of indices to names, or of names to indices."""
    turned = Pairs((value, key) for key, value in entries)
    by_key, by_value = (
        _attempt(lambda: _order(_as_written(entries))),
        _attempt(lambda: _order(_as_written(turned))),
    )
    if isinstance(by_key, tuple) and isinstance(by_value, tuple):
        if by_key != by_value:
            different = (pair for pair in _as_written(entries) if pair[0] != pair[1])
            key, value = next(different)
            raise LabelsInvalid(
                f"has numbers on both sides: {key}: {value} may be class {key} with the name {value}, or the other way "
                f"round; {_JSON_LIST}"
            )
        return by_key
    if isinstance(by_key, tuple):
        return _order(entries)
    if isinstance(by_value, tuple):
        return _order(turned)
    if all(_as_index(key) is not None for key, _ in entries):
        raise by_key
    if all(_as_index(value) is not None for _, value in entries):
        raise by_value
    raise LabelsInvalid(
        "is a map, but neither are all its keys indices nor all its values; names stand in a list, or in a map of "
        "indices to names"
    )


def _attempt(parse: Callable[[], Result]) -> Result | LabelsInvalid:
    try:
        return parse()
    except LabelsInvalid as error:
        return error


def _number_as_text(value: Any) -> Any:
    """A number as the text that it is written as, which could be a name."""
    if isinstance(value, BareWord) and isinstance(value.value, int) and not isinstance(value.value, bool):
        return value.word
    return (
        str(value) if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1e9 else value
    )


def _as_written(entries: Iterable[tuple[Any, Any]]) -> Pairs:
    """The entries, numbers as text."""
    return Pairs((_number_as_text(index), _number_as_text(name)) for index, name in entries)


def _order(entries: Iterable[tuple[Any, Any]]) -> tuple[str, ...]:
    """The names of pairs of index and name, in the order of the indices."""
    pairs = list(entries)
    indices: list[int] = []
    for key, _ in pairs:
        index = _as_index(key)
        if index is None:
            shown = f"{key[:80]!r}" if isinstance(key, str) else _describe(key)
            raise LabelsInvalid(f"has {shown} where an index should be")
        indices.append(index)
    try:
        order = _check_indices(indices)
    except LabelsInvalid as error:
        raise LabelsInvalid(f"is a map in which {error}") from error
    return tuple(
        _parse_name(pairs[place][1], f"the name of class {index}") for index, place in enumerate(order)
    )


def _as_index(value: Any) -> int | None:
    """The index that a key or a value is: a number, or text of digits."""
    if isinstance(value, BareWord):
        value = value.word if isinstance(value.value, int) and not isinstance(value.value, bool) else None
    if isinstance(value, str):
        return int(value) if _INDEX.fullmatch(value) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1e9 else None


def _check_indices(indices: list[int]) -> list[int]:
    """Places of 0, 1, … n - 1 in the list.

    Raises:
        LabelsInvalid: one is negative, there twice, or missing; as the middle of a sentence.
    """
    if not indices:
        raise LabelsInvalid("no class is named")
    if min(indices) < 0:
        raise LabelsInvalid(f"{min(indices)} is negative")
    places: dict[int, int] = {}
    for place, index in enumerate(indices):
        if index in places:
            raise LabelsInvalid(f"{index} is there twice")
        places[index] = place
    if min(indices) == 1 and max(indices) == len(indices):
        raise LabelsInvalid(
            f"they count from 1 to {len(indices)}: the first class of a model is 0, so count from 0"
        )
    missing = next((index for index in range(len(indices)) if index not in places), None)
    if missing is not None:
        raise LabelsInvalid(f"{missing} is missing, though they go up to {max(indices)}")
    return [places[index] for index in range(len(indices))]
