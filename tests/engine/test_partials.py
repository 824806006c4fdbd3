"""Indices on the way of a full plan: when they are told, and that they are those of a smaller plan."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from tests.fakes.classifiers import FunctionClassifier, details, random_picture
from tests.fakes.listeners import Listening

from wavescope.engine.explain import ResolvedRequest
from wavescope.engine.requests import make_request
from wavescope.engine.run import explain, explain_many
from wavescope.engine.types import Explanation, ExplanationRequest, Indices, Picture

SHAPE = (2, 16, 16)
PICTURE = random_picture(SHAPE, seed=0)
OTHER = random_picture(SHAPE, seed=1)
WIDTH = 4 * 4 + 2  # rows of the sample for each row of the design
NAMES = ("images[0]", "images[1]")
FULL: dict[str, Any] = {"plan": "full", "grid_size": 4, "levels": 2, "nb_design": 8}


def curved(batch_size: int = WIDTH) -> FunctionClassifier:
    """Three classes whose factors act together."""
    w = np.random.default_rng(1).normal(size=(3, *SHAPE)) / 4
    return FunctionClassifier(
        lambda image: np.tanh(np.tensordot(w, image, 3)) * 3, details(SHAPE, classes=3, batch_size=batch_size)
    )


def run(request: ExplanationRequest, model: FunctionClassifier | None = None, **options: Any) -> Explanation:
    return explain(PICTURE, request, model or curved(), identity="", max_forwards=10**6, **options)


def same(one: Indices, other: Indices) -> None:
    for name in ("total", "first", "standard_error", "interval_95"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("estimator", ["jansen", "glen", "saltelli"])
@pytest.mark.parametrize("sampler", ["sobol", "halton"])
def test_indices_of_the_first_rows_are_those_of_a_plan_of_so_many(sampler: str, estimator: str) -> None:
    """Designs of one seed are nested."""
    request = {**FULL, "sampler": sampler, "estimator": estimator}
    listening = Listening()
    done = run(make_request(**request), listener=listening)
    assert [partial.rows for partial in listening.partials] == [2, 4, 6, 8]
    for partial in listening.partials:
        if partial.rows != 6 or sampler != "sobol":
            same(partial.indices, run(make_request(**request | {"nb_design": partial.rows})).indices)
    same(listening.partials[-1].indices, done.indices)


def test_fewer_than_four_rows_have_no_errors() -> None:
    listening = Listening()
    run(make_request(**FULL), listener=listening)
    found = [partial.indices for partial in listening.partials]
    assert [one.standard_error is None for one in found] == [True, False, False, False]
    assert [one.interval_95 is None for one in found] == [True, False, False, False]


def test_the_first_answer_comes_with_the_second_design_row() -> None:
    listening = Listening()
    run(make_request(**FULL), listener=listening)
    assert [partial.forwards for partial in listening.partials] == [rows * WIDTH for rows in (2, 4, 6, 8)]


def test_batches_across_design_rows_are_told_when_two_more_are_complete() -> None:
    listening = Listening()
    run(make_request(**FULL), curved(batch_size=27), listener=listening)
    # Complete after each batch of one and a half: 1, 3, 4, 6, 7, 8.
    assert [(partial.rows, partial.forwards) for partial in listening.partials] == [
        (3, 54),
        (6, 108),
        (8, 144),
    ]


def test_every_forward_is_told_and_the_whole_announced() -> None:
    listening = Listening()
    done = run(make_request(**FULL), curved(batch_size=50), listener=listening)
    assert listening.announced == [144] == [done.forwards]
    assert listening.counts == [50, 50, 44]


def test_the_first_target_is_the_one_that_is_told_of() -> None:
    listening = Listening()
    resolved = ResolvedRequest(make_request(**FULL), ((2, 0),), ("a", "b"))
    found = explain_many([PICTURE], resolved, curved(), max_forwards=10**6, listener=listening)
    same(listening.partials[-1].indices, found[0].indices)


def test_images_of_a_batch_are_told_by_their_places() -> None:
    listening = Listening()
    resolved = ResolvedRequest(make_request(**FULL), ((None,), (None,)), ("a", "b"), NAMES)
    found = explain_many([PICTURE, OTHER], resolved, curved(), max_forwards=10**6, listener=listening)
    assert [partial.image for partial in listening.partials] == [0, 0, 0, 0, 1, 1, 1, 1]
    assert [partial.forwards for partial in listening.partials[:4]] == [
        partial.forwards for partial in listening.partials[4:]
    ]
    same(listening.partials[3].indices, found[0].indices)
    same(listening.partials[7].indices, found[1].indices)


@pytest.mark.parametrize("plan", [FULL, FULL | {"plan": "adaptive", "max_forwards": 64}])
def test_of_what_an_image_is_compared_with_nothing_is_told(plan: dict[str, Any]) -> None:
    listening = Listening()
    done = run(make_request(kind="compare", **plan), listener=listening, other=OTHER)
    assert listening.partials
    assert max(partial.forwards for partial in listening.partials) == done.forwards - (
        done.comparison.other.forwards
    )
    np.testing.assert_array_equal(listening.partials[-1].indices.total, done.indices.total)


def test_a_score_that_does_not_vary_has_no_indices_on_the_way() -> None:
    listening = Listening()
    model = FunctionClassifier(lambda _: (2.0, 1.0), details(SHAPE, batch_size=WIDTH))
    assert run(make_request(**FULL), model, listener=listening).outcome == "constant_score"
    assert [compute() for compute in listening.computations] == [None] * 4


def test_what_was_told_is_found_later_in_another_thread_as_at_once() -> None:
    eager, late = Listening(), Listening()
    at_once: list[bytes] = []
    eager.partial = lambda compute: at_once.append(compute().indices.total.tobytes())  # type: ignore[method-assign]
    run(make_request(**FULL), listener=eager)
    run(make_request(**FULL), listener=late)
    found: list[bytes] = []
    thread = threading.Thread(
        target=lambda: found.extend(partial.indices.total.tobytes() for partial in late.partials)
    )
    thread.start()
    thread.join()
    assert found == at_once


def test_listening_changes_no_bit() -> None:
    request = make_request(**FULL, kind="sufficient-image", faithfulness=True)
    heard, alone = run(request, listener=Listening()), run(request)
    same(heard.indices, alone.indices)
    assert heard.worth == alone.worth
    assert heard.forwards == alone.forwards
    assert heard.warnings == alone.warnings


def test_a_plan_of_one_row_tells_nothing_on_the_way() -> None:
    listening = Listening()
    run(make_request(**FULL | {"nb_design": 1}), listener=listening)
    assert listening.partials == []


def test_pictures_that_are_alike_are_told_alike() -> None:
    """Nothing of an earlier image is left in what is told of a later one."""
    listening = Listening()
    resolved = ResolvedRequest(make_request(**FULL), ((None,), (None,)), ("a", "b"), NAMES)
    pictures: list[Picture] = [PICTURE, PICTURE]
    explain_many(pictures, resolved, curved(), max_forwards=10**6, listener=listening)
    for one, other in zip(listening.partials[:4], listening.partials[4:], strict=True):
        same(one.indices, other.indices)
