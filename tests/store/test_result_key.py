"""The key of a request tells two requests apart whenever their answers may differ."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from wavescope.engine.requests import make_request
from wavescope.store.result_key import result_key

REQUEST: dict[str, Any] = {
    "images": (b"one", b"two"),
    "model": "m",
    "revision": "r",
    "parameters": make_request().parameters(),
    "targets": ((None,), (3, "cat")),
    "version": "1.0",
}

REQUESTS = st.fixed_dictionaries(
    {
        "images": st.lists(st.binary(max_size=2), max_size=3).map(tuple),
        "model": st.text(max_size=2),
        "revision": st.text(max_size=2),
        "parameters": st.dictionaries(
            st.sampled_from("ab"), st.none() | st.integers(0, 2) | st.text(max_size=1)
        ),
        "targets": st.lists(st.none() | st.integers(0, 2) | st.text(max_size=1), max_size=2).map(tuple),
        "version": st.text(max_size=2),
        "owner": st.text(max_size=2),
    }
)


def test_the_same_request_has_the_same_key_in_any_order_of_its_parameters() -> None:
    backwards = dict(reversed(REQUEST["parameters"].items()))
    assert result_key(**REQUEST) == result_key(**REQUEST | {"parameters": backwards})


def test_the_key_stays_what_it_is() -> None:
    fixed = REQUEST | {"parameters": {"seed": 0, "kind": "wcam"}}
    assert result_key(**fixed) == "9eacf89fd294eacb70334f344b787910f8572923591af8d3b32c97dc019b7589"


def test_every_part_counts() -> None:
    others: list[dict[str, Any]] = [
        {"images": (b"one",)},
        {"images": (b"two", b"one")},
        {"images": (b"on", b"etwo")},
        {"images": (b"one", b"two", b"")},
        {"model": "r", "revision": "m"},
        {"model": "mr", "revision": ""},
        {"parameters": REQUEST["parameters"] | {"seed": 1}},
        {"parameters": REQUEST["parameters"] | {"seed": None}},
        {"parameters": REQUEST["parameters"] | {"deadline_s": 1.0}},
        {"parameters": REQUEST["parameters"] | {"deadline_s": 1}},
        {"targets": ((None,), ("3", "cat"))},
        {"targets": ((None, 3), ("cat",))},
        {"version": "1.1"},
        {"model": "\ud800"},
        {"owner": "ann"},
        {"owner": "two"},
    ]
    keys = [result_key(**REQUEST)] + [result_key(**REQUEST | other) for other in others]
    assert len(set(keys)) == len(keys)


@given(one=REQUESTS, other=REQUESTS)
def test_keys_are_equal_only_where_requests_are(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert (result_key(**one) == result_key(**other)) == (one == other)
