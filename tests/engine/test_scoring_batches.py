"""Chunks of any requests in shared device batches: the scores of each alone, every batch full but the last."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError, Future
from dataclasses import replace
from math import ceil
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.classifiers import (
    FunctionClassifier,
    TorchClassifier,
    details,
    linear_classifier,
    random_picture,
)
from tests.fakes.recorders import Tally

from wavescope.core.rendering.masks import NestedMasks
from wavescope.engine.plan import Plan, Stack, chunks, make_plan, make_stack
from wavescope.engine.protocols import Classifier, Rows
from wavescope.engine.scoring.batching import Batcher
from wavescope.engine.scoring.scoreboard import Scored
from wavescope.engine.scoring.scorer import DeviceBatches, Part, Rendering, Scorer
from wavescope.engine.types import ExplanationRequest
from wavescope.errors import ModelChanged, ModelFailure

SHAPE = (3, 17, 22)
WEIGHTS = np.random.default_rng(2).normal(size=SHAPE)
REQUEST = ExplanationRequest(grid_size=4, nb_design=2, levels=2)  # 36 rows
DARK = 0.05  # below every perturbed image of the other plans


def plan_of(picture: int, **fields: Any) -> Plan:
    return make_plan(random_picture(SHAPE, seed=picture), replace(REQUEST, **fields), max_forwards=10_000)


CAT, DOG = plan_of(1), plan_of(3, partition="subbands", nb_design=4, seed=5)
STACK = make_stack(np.random.default_rng(4).integers(0, 256, (11, *SHAPE), dtype=np.uint8))
ROWS = NestedMasks(np.arange(16, dtype=np.int32), np.arange(9, dtype=np.int32))


def part(
    work: Plan | Stack,
    classifier: Classifier,
    start: int,
    stop: int,
    rows: Rows | None = None,
    score: str = "logit",
    targets: tuple[int, ...] = (0,),
) -> Part:
    rendering = Rendering(work, classifier)
    return Part(rendering, rows, start, stop, score, targets)


def alone(
    work: Plan | Stack, start: int, stop: int, rows: Rows | None = None, targets: tuple[int, ...] = (0,)
) -> Scored:
    """What a run of its own gives."""
    classifier = linear_classifier(WEIGHTS, batch_size=stop - start)
    return Scorer(work, classifier).score(rows, start, stop, "logit", targets)


def same(found: Scored, expected: Scored) -> None:
    assert (found.values == expected.values).all()
    assert (found.predicted == expected.predicted).all()
    assert (found.confidence == expected.confidence).all()


def test_chunks_of_two_requests_share_full_batches_and_keep_their_bits() -> None:
    classifier = linear_classifier(WEIGHTS, batch_size=8)
    batcher = Batcher(DeviceBatches(classifier))
    wanted = [(CAT, 0, 13), (DOG, 0, 13), (CAT, 13, 26), (DOG, 13, 24), (CAT, 26, 36)]
    futures = [batcher.submit(part(work, classifier, start, stop)) for work, start, stop in wanted]
    batcher.drain()
    for future, (work, start, stop) in zip(futures, wanted, strict=True):
        same(future.result(), alone(work, start, stop))
    assert classifier.batches == [8] * 7 + [4]  # 60 rows


@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=8),
    batch=st.integers(1, 9),
    works=st.lists(st.sampled_from(["cat", "dog", "stack", "rows"]), min_size=8, max_size=8),
)
def test_any_chunks_in_any_batch_have_the_bits_of_each_alone(
    lengths: list[int], batch: int, works: list[str]
) -> None:
    known: dict[str, tuple[Plan | Stack, Rows | None]] = {
        "cat": (CAT, None),
        "dog": (DOG, None),
        "stack": (STACK, None),
        "rows": (CAT, ROWS),
    }
    classifier = linear_classifier(WEIGHTS, batch_size=batch)
    batcher = Batcher(DeviceBatches(classifier))
    wanted = []
    for length, name in zip(lengths, works, strict=False):
        work, rows = known[name]
        stop = min(length, 9)
        wanted.append((work, stop, rows, batcher.submit(part(work, classifier, 0, stop, rows))))
    batcher.drain()
    for work, stop, rows, future in wanted:
        same(future.result(), alone(work, 0, stop, rows))
    total = sum(stop for _, stop, _, _ in wanted)
    assert len(classifier.batches) == ceil(total / batch)
    assert sum(classifier.batches) == total


def test_each_chunk_has_its_own_score_and_targets() -> None:
    classifier = linear_classifier(WEIGHTS, batch_size=8)
    batcher = Batcher(DeviceBatches(classifier))
    logits = batcher.submit(part(CAT, classifier, 0, 3, targets=(1, 0)))
    margins = batcher.submit(part(CAT, classifier, 0, 3, score="margin"))
    batcher.drain()
    assert logits.result().values.shape == (3, 2)
    assert (logits.result().values[:, 0] == -logits.result().values[:, 1]).all()
    np.testing.assert_allclose(margins.result().values[:, 0], 2 * logits.result().values[:, 1])
    assert classifier.batches == [6]


def test_a_request_that_keeps_asking_does_not_keep_others_waiting() -> None:
    """One request with two chunks here at any time, as its window allows, and one with a single chunk."""
    classifier = linear_classifier(WEIGHTS, batch_size=4)
    batcher = Batcher(DeviceBatches(classifier))
    waiting = iter(list(chunks(CAT.rows, 4)))
    done: list[str] = []

    def ask() -> None:
        following = next(waiting, None)
        if following is not None:
            future = batcher.submit(part(CAT, classifier, *following))
            future.add_done_callback(lambda _: (done.append("many"), ask()))

    ask()
    ask()
    batcher.submit(part(DOG, classifier, 0, 4)).add_done_callback(lambda _: done.append("one"))
    batcher.drain()
    assert done == ["many"] * 2 + ["one"] + ["many"] * 7


def test_a_cancelled_chunk_starts_no_further_row() -> None:
    futures: list[Future[Scored]] = []
    classifier = FunctionClassifier(lambda image: (float(image.sum()), 0.0), details(SHAPE, batch_size=4))
    forward = classifier.forward

    def cancels_the_first(images: np.ndarray) -> np.ndarray:
        futures[0].cancel()
        return forward(images)

    classifier.forward = cancels_the_first
    batcher = Batcher(DeviceBatches(classifier))
    futures += [batcher.submit(part(CAT, classifier, 0, 30)), batcher.submit(part(DOG, classifier, 0, 6))]
    batcher.drain()
    with pytest.raises(CancelledError):
        futures[0].result()
    assert len(futures[1].result().predicted) == 6
    assert classifier.batches == [4, 4, 2]


def fails_on_dark(image: np.ndarray) -> tuple[float, float]:
    """Not a number where the image is black."""
    value = float((image * 0.25 + 0.4).max())
    return (float("nan") if value < DARK else value), 0.0


def test_a_score_that_is_not_finite_fails_its_own_chunk_alone() -> None:
    classifier = FunctionClassifier(fails_on_dark, details(SHAPE, batch_size=8))
    batcher = Batcher(DeviceBatches(classifier))
    black = np.full((6, *SHAPE), 255, dtype=np.uint8)
    black[4] = 0
    futures = [
        batcher.submit(part(CAT, classifier, 0, 3)),
        batcher.submit(part(make_stack(black), classifier, 0, 6)),
        batcher.submit(part(DOG, classifier, 0, 9)),
    ]
    batcher.drain()
    with pytest.raises(ModelFailure, match="not finite for perturbation 4") as caught:
        futures[1].result()
    assert caught.value.limits == {"row": 4}
    for future, work, count in ((futures[0], CAT, 3), (futures[2], DOG, 9)):
        expected = Scorer(work, FunctionClassifier(fails_on_dark, details(SHAPE, batch_size=9)))
        same(future.result(), expected.score(None, 0, count, "logit", [0]))


def test_what_cannot_be_launched_fails_its_own_chunk_alone_and_none_is_put_out_of_order() -> None:
    classifier = linear_classifier(WEIGHTS, batch_size=8)
    batcher = Batcher(DeviceBatches(classifier))
    before = batcher.submit(part(CAT, classifier, 0, 12))
    bad = batcher.submit(part(DOG, classifier, 0, 2, targets=(99,)))
    after = batcher.submit(part(CAT, classifier, 12, 20))
    batcher.drain()
    with pytest.raises(IndexError):
        bad.result()
    same(before.result(), alone(CAT, 0, 12))
    same(after.result(), alone(CAT, 12, 20))


def test_a_model_that_fails_fails_every_chunk_that_needs_it_and_then_goes_on() -> None:
    classifier = linear_classifier(WEIGHTS, batch_size=8)
    forward, broken = classifier.forward, [True]

    def fails(images: np.ndarray) -> np.ndarray:
        if broken[0]:
            raise ModelFailure("out of memory")
        return forward(images)

    classifier.forward = fails
    batcher = Batcher(DeviceBatches(classifier))
    futures = [batcher.submit(part(work, classifier, 0, 3)) for work in (CAT, DOG)]
    batcher.drain()
    for future in futures:
        with pytest.raises(ModelFailure, match="out of memory"):
            future.result()
    broken[0] = False
    later = batcher.submit(part(CAT, classifier, 0, 3))
    batcher.drain()
    same(later.result(), alone(CAT, 0, 3))


def test_a_call_comes_before_the_next_batch_and_its_error_is_its_callers() -> None:
    classifier = linear_classifier(WEIGHTS, batch_size=4)
    batcher = Batcher(DeviceBatches(classifier))
    first = batcher.submit(part(CAT, classifier, 0, 30))
    seen = batcher.call(lambda: (first.done(), list(classifier.batches)))
    wrong = batcher.call(lambda: 1 // 0)
    left = batcher.call(lambda: classifier.batches.append(-1))
    left.cancel()
    batcher.drain()
    assert seen.result() == (False, [])
    with pytest.raises(ZeroDivisionError):
        wrong.result()
    assert -1 not in classifier.batches


def test_images_are_counted_once_in_shared_batches() -> None:
    tally, classifier = Tally(), linear_classifier(WEIGHTS, batch_size=8)
    batcher = Batcher(DeviceBatches(classifier, recorder=tally))
    for work in (CAT, DOG):
        batcher.submit(part(work, classifier, 0, 13))
    batcher.drain()
    assert tally.images_rendered == tally.images_scored == {"fake": 26}


def test_a_thread_scores_what_others_submit() -> None:
    classifier = linear_classifier(WEIGHTS, batch_size=4)
    batcher = Batcher(DeviceBatches(classifier))
    threading.Thread(target=batcher.run, daemon=True).start()
    for start, stop in chunks(CAT.rows, 10):
        same(batcher.submit(part(CAT, classifier, start, stop)).result(timeout=60), alone(CAT, start, stop))
    assert (
        batcher.call(lambda: threading.current_thread()).result(timeout=60) is not threading.current_thread()
    )


def refused(future: Future[Any]) -> None:
    """The call may be made again, and ended before anybody worked on it."""
    with pytest.raises(ModelChanged, match="send it again") as caught:
        future.result(timeout=0)
    assert caught.value.retryable


@pytest.mark.parametrize("thread", ["none yet", "has ended"])
def test_a_closed_batcher_refuses_at_once_what_comes(thread: str) -> None:
    classifier = linear_classifier(WEIGHTS, batch_size=4)
    batcher = Batcher(DeviceBatches(classifier))
    batcher.close()
    if thread == "has ended":
        batcher.run()
    refused(batcher.submit(part(CAT, classifier, 0, 3)))
    refused(batcher.call(lambda: None))
    assert classifier.batches == []


@pytest.mark.parametrize("closed", ["before the thread starts", "while a batch is scored"])
def test_what_waited_when_it_was_closed_is_done_before_the_thread_ends(closed: str) -> None:
    classifier = linear_classifier(WEIGHTS, batch_size=4)
    batcher = Batcher(DeviceBatches(classifier))
    forward = classifier.forward

    def closes(images: np.ndarray) -> np.ndarray:
        batcher.close()
        return forward(images)

    chunk, told = batcher.submit(part(CAT, classifier, 0, 30)), batcher.call(lambda: "done")
    if closed == "before the thread starts":
        batcher.close()
    else:
        classifier.forward = closes
    batcher.run()
    same(chunk.result(timeout=0), alone(CAT, 0, 30))
    assert told.result(timeout=0) == "done"
    refused(batcher.submit(part(CAT, classifier, 0, 3)))


def test_whatever_races_with_closing_has_an_end() -> None:
    """Every future ends: scored where it came before, refused where it came after."""
    for _ in range(50):
        classifier = linear_classifier(WEIGHTS, batch_size=4)
        batcher = Batcher(DeviceBatches(classifier))
        threads = [threading.Thread(target=batcher.run), threading.Thread(target=batcher.close)]
        for thread in threads:
            thread.start()
        futures = [batcher.submit(part(CAT, classifier, 0, 1)) for _ in range(5)]
        for thread in threads:
            thread.join(timeout=60)
        assert all(future.done() for future in futures)
        assert all(isinstance(failure, ModelChanged) for future in futures if (failure := future.exception()))


def test_torch_tensors_are_batched_alike() -> None:
    torch = pytest.importorskip("torch")
    w = torch.asarray(WEIGHTS, dtype=torch.float32)

    def outputs(images: Any) -> Any:
        values = (images * 0.25 + 0.4).mul(w).sum(dim=(1, 2, 3))
        return torch.stack([values, -values], dim=1)

    classifier = TorchClassifier(outputs, details(SHAPE, batch_size=8), "cpu")
    batcher = Batcher(DeviceBatches(classifier))
    futures = [batcher.submit(part(work, classifier, 0, 13)) for work in (CAT, DOG)]
    batcher.drain()
    for future, work in zip(futures, (CAT, DOG), strict=True):
        assert isinstance(future.result().values, np.ndarray)
        np.testing.assert_allclose(future.result().values, alone(work, 0, 13).values, rtol=1e-4, atol=1e-3)
