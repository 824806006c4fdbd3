"""Scores by row: arrival order and repeats leave no trace."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from wavescope.core.sobol.estimators import jansen
from wavescope.engine.scoring.scoreboard import Scored, empty, join, missing, update


@st.composite
def chunked(draw: st.DrawFn) -> tuple[np.ndarray, int, list[tuple[int, int]]]:
    """(scores of all rows, K, every chunk at least once, in any order)."""
    n, factors = draw(st.integers(2, 5)), draw(st.integers(1, 6))
    rows = n * (factors + 2)
    cuts = sorted(draw(st.sets(st.integers(1, rows - 1), max_size=6)))
    chunks = list(zip([0, *cuts], [*cuts, rows], strict=True))
    again = draw(st.lists(st.sampled_from(chunks), max_size=3))
    values = np.array(draw(st.lists(st.floats(-9, 9), min_size=rows, max_size=rows)))
    return values, factors, draw(st.permutations([*chunks, *again]))


def scored(values: np.ndarray) -> Scored:
    """Two targets, a class and its probability that tell where they come from."""
    both = np.stack([values, -values], axis=1)
    return Scored(both, np.abs(values).astype(np.int32), values / 10)


def bits(board: Scored) -> bytes:
    return board.values.tobytes() + board.predicted.tobytes() + board.confidence.tobytes()


@given(case=chunked())
def test_any_order_with_any_repeats_gives_the_same_bits(
    case: tuple[np.ndarray, int, list[tuple[int, int]]],
) -> None:
    values, _factors, arrivals = case
    board = empty(len(values), 2)
    for start, stop in arrivals:
        board = update(board, start, scored(values[start:stop]))
    assert bits(board) == bits(scored(values))
    assert board.done == len(values)


@given(case=chunked(), data=st.data())
def test_what_is_missing_and_what_is_complete_is_told_of_any_board(
    case: tuple[np.ndarray, int, list[tuple[int, int]]], data: st.DataObject
) -> None:
    values, factors, arrivals = case
    board = empty(len(values), 2)
    for start, stop in data.draw(st.lists(st.sampled_from(arrivals))):
        board = update(board, start, scored(values[start:stop]))
    known = board.predicted != -1
    gaps = missing(board)
    told = np.zeros(len(values), dtype=bool)
    for start, stop in gaps:
        told[start:stop] = True
    assert (told == ~known).all()
    assert all(end < begin for (_, end), (begin, _) in itertools.pairwise(gaps))  # as long as can be
    whole = [group.all() for group in known.reshape(-1, factors + 2)]
    assert board.complete(factors + 2) == next(
        (at for at, group in enumerate(whole) if not group), len(whole)
    )
    assert bits(board.head(3)) == bits(Scored(board.values[:3], board.predicted[:3], board.confidence[:3]))


def test_an_update_leaves_the_board_it_started_from_alone() -> None:
    board = empty(6, 2)
    update(board, 0, scored(np.ones(3)))
    assert board.done == 0


def test_consecutive_chunks_join_to_the_whole() -> None:
    values = np.arange(7.0)
    assert bits(join([scored(values[:3]), scored(values[3:])])) == bits(scored(values))


def test_rows_are_a_then_b_then_c_design_row_by_design_row() -> None:
    board = update(empty(10, 2), 0, scored(np.arange(10.0)))
    found = board.pick_freeze(3, 0)
    assert found.a.tolist() == [0, 5]
    assert found.b.tolist() == [1, 6]
    assert found.c.tolist() == [[2, 7], [3, 8], [4, 9]]
    assert board.pick_freeze(3, 1).c.tolist() == [[-2, -7], [-3, -8], [-4, -9]]


def test_a_partial_board_gives_the_estimate_of_its_complete_design_rows() -> None:
    """Every two rows of the design give a whole partial map, wherever they lie."""
    values = np.random.default_rng(0).normal(size=20)
    board = update(update(empty(20, 2), 0, scored(values[:5])), 10, scored(values[10:]))
    board = update(board, 5, scored(values[5:8]))  # the second design row stays incomplete
    whole = update(empty(15, 2), 0, scored(np.delete(values, slice(5, 10))))
    assert board.done == 18
    assert (jansen(board.pick_freeze(3, 0)) == jansen(whole.pick_freeze(3, 0))).all()
