"""The parser of server-sent events against the examples and rules of the WHATWG's HTML standard."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.client.wire import split

from wavescope_client._sse import Event, Parser


def parse(*chunks: bytes) -> list[tuple[str, str]]:
    parser = Parser()
    return [(event.type, event.data) for chunk in chunks for event in parser.feed(chunk)]


# The standard, 9.2.6: its own examples, with what it says of each.
EXAMPLES = {
    "stock ticker": (b"data: YHOO\ndata: +2\ndata: 10\n\n", [("message", "YHOO\n+2\n10")]),
    "comment, identifiers and one event cut off": (
        b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event",
        [("message", "first event"), ("message", "second event")],
    ),
    "empty data": (b"data\n\ndata\ndata\n\ndata:", [("message", ""), ("message", "\n")]),
    "one space is dropped": (b"data:test\n\ndata: test\n\n", [("message", "test"), ("message", "test")]),
    "named events": (
        b"event: add\ndata: 73857293\n\nevent: remove\ndata: 2153\n\n",
        [("add", "73857293"), ("remove", "2153")],
    ),
}
RULES = {
    "an event without data is none, and its type is forgotten": (
        b"event: a\n\ndata: b\n\n",
        [("message", "b")],
    ),
    "unknown fields and retry are passed over": (b"retry: 3\nfoo: 1\nbar\ndata: b\n\n", [("message", "b")]),
    "a byte order mark is dropped once": ("\ufeffdata: \ufeff\n\n".encode(), [("message", "\ufeff")]),
    "only the first two spaces differ": (b"data:  b \n\n", [("message", " b ")]),
    "a colon may be in the value": (b"data: a:b: c\n\n", [("message", "a:b: c")]),
    "field names are case-sensitive": (b"Data: a\n\ndata: b\n\n", [("message", "b")]),
    "keep-alives between and within events": (
        b":\n\n:\ndata: a\n: x\ndata: b\n:\n\n:\n\n",
        [("message", "a\nb")],
    ),
    "other line breaks of Unicode are none": (
        "data: a\u2028b\u2029c\x0bd\x0ce\x85f\n\n".encode(),
        [("message", "a\u2028b\u2029c\x0bd\x0ce\x85f")],
    ),
    "bytes that are not UTF-8 become the replacement character": (
        b"data: a\xffb\n\n",
        [("message", "a\ufffdb")],
    ),
}


@pytest.mark.parametrize(
    ("stream", "expected"), [*EXAMPLES.values(), *RULES.values()], ids=[*EXAMPLES, *RULES]
)
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
def test_what_the_standard_says(stream: bytes, expected: list[tuple[str, str]], line_end: bytes) -> None:
    stream = stream.replace(b"\n", line_end)
    assert parse(stream) == expected
    assert parse(*(bytes([byte]) for byte in stream)) == expected


TEXT = st.text(st.characters(exclude_characters="\r\n", codec="utf-8"), max_size=12)
LINES = st.lists(
    st.tuples(st.sampled_from(["data", "event", "id", "retry", "", "unknown"]), TEXT) | st.none(), max_size=30
)
PLACES = st.lists(st.integers(0, 10_000), max_size=20)


def slowly(lines: list[tuple[str, str] | None]) -> list[tuple[str, str]]:
    """The standard's own algorithm, 9.2.6, over lines that are split already; ``None`` is an empty one."""
    told, kind, data = [], "", ""
    for line in lines:
        match line:
            case None:
                if data:
                    told.append((kind or "message", data.removesuffix("\n")))
                kind, data = "", ""
            case ("event", value):
                kind = value
            case ("data", value):
                data += value + "\n"
    return told


@given(LINES, st.sampled_from(["\n", "\r", "\r\n"]), PLACES)
def test_events_do_not_depend_on_where_bytes_are_cut(
    lines: list[tuple[str, str] | None], line_end: str, places: list[int]
) -> None:
    told = ["" if line is None else f"{line[0]}: {line[1]}" for line in lines]
    stream = "".join(f"{line}{line_end}" for line in told).encode()
    assert parse(*split(stream, places)) == slowly(lines)


@given(st.binary(max_size=200) | st.text(":\r\n dat", max_size=60).map(str.encode), PLACES)
def test_any_bytes_are_parsed_the_same_however_they_are_cut(stream: bytes, places: list[int]) -> None:
    assert parse(*split(stream, places)) == parse(stream)


def test_a_long_event_in_small_pieces_is_put_together_once() -> None:
    data = "0123456789" * 100_000
    parser = Parser()
    stream = f"event: result\ndata: {data}\n\n".encode()
    told = [
        event for start in range(0, len(stream), 1000) for event in parser.feed(stream[start : start + 1000])
    ]
    assert told == [Event("result", data)]
