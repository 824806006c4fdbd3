"""Values that requests do not expect, and damage to text and bytes."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

LONG = 20_000
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 7, 2**31, 2**53 + 1, 2**63, -(2**64), 10**400, 0.5, -0.0, 1e308, 5e-324,
    float("nan"), float("inf"), float("-inf"), "", " ", "\0", "\ud800", "é" * 300, "A" * LONG, "1e999",
    "null", "wcam", "../../etc/passwd", "{{7*7}}", "\r\nX-Injected: 1", "٣", [], [[]], [None] * 300, [[[0, 0, 0]]],
    {}, {"base64": ""}, {"base64": "!!!"}, {"base64": None}, {"b64": 1}, {"image": {"image": {"b64": ""}}},
    {"": {"": {}}}, {"__proto__": 1},
)  # fmt: skip
# What a JSON value may be replaced with where no library would write it.
TOKENS: tuple[bytes, ...] = (
    b"1e400", b"-1e400", b"NaN", b"-Infinity", b"01", b"+1", b".5", b"0x10", b"tru", b"'x'", b"", b",", b"undefined",
    b"9" * 5000, b"1." + b"0" * 5000, b'"\\ud800"', b'"\\x"', b'"\t"', b'"\xff\xfe"', b'"\xed\xa0\x80"', b'"',
    b"[" * 2000, b'{"a":' * 2000, b"[" * 100_000 + b"]" * 100_000, b'{"a":1,"a":2}', b"/**/1", b"\xef\xbb\xbf1",
)  # fmt: skip
_MARK = "\x01here\x01"


def damaged_json(document: Any, rng: random.Random) -> bytes:
    """A JSON text like that of a document, with one to three values, names or bytes that are wrong."""
    changed = json.loads(json.dumps(document))
    token: bytes | None = None
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if not (places := list(_places(changed))):
            break
        container, key = rng.choice(places)
        match rng.randrange(6):
            case 0 | 1 | 2:
                container[key] = _value(rng)
            case 3 if token is None:
                container[key], token = _MARK, rng.choice(TOKENS)
            case 4 if isinstance(container, dict):
                container[rng.choice(("", "x", "seed", "image", "A" * 500, "\ud800"))] = container.pop(key)
            case 4 if isinstance(container, list):
                container.append(_value(rng))
            case _:
                del container[key]
    text = json.dumps(changed).encode("ascii")
    if token is not None:
        text = text.replace(json.dumps(_MARK).encode("ascii"), token)
    return damaged(text, rng) if rng.random() < 0.15 else text


def _value(rng: random.Random) -> Any:
    return deepcopy(rng.choice(VALUES))  # it may be changed in turn


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """(container, key) of every value within."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(pairs):
        yield value, key
        yield from _places(inner)


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Bytes with a few that are changed, missing, or too many."""
    found = bytearray(content or b"\0")
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(found) + 1)
        match rng.randrange(5):
            case 0:
                found[at : at + 1] = rng.randbytes(1)
            case 1:
                del found[at : at + rng.randint(1, 40)]
            case 2:
                found[at:at] = rng.randbytes(rng.randint(1, 40))
            case 3:
                found[at:at] = found[at : at + 60] * rng.randint(1, 20)
            case _:
                del found[at:]
    return bytes(found)


def text(rng: random.Random) -> str:
    """Text that a header may hold as bytes of Latin-1."""
    match rng.randrange(4):
        case 0:
            return rng.choice(
                ("", " ", ",", ";q=", "*/*;q=9", "=?utf-8?b?AA==?=", "a" * 4000, "\t", '"', "%00")
            )
        case 1:
            return str(rng.choice((0, -1, 1, 2**63, 10**30, 0.001, "nan", "inf", "1e9")))
        case 2:
            return "".join(chr(rng.randint(32, 126)) for _ in range(rng.randint(0, 200)))
        case _:
            return "".join(chr(rng.randint(160, 255)) for _ in range(rng.randint(1, 60)))
