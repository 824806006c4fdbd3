"""Scores of a job are kept chunk by chunk: whatever dies, none is scored twice, and the numbers stay the same."""

from __future__ import annotations

import asyncio
import io
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.counts.test_counts import PHOTOGRAPH
from tests.fakes.listeners import Listening
from tests.fakes.wire import Cheap, DyingModel, Steep, Wire

from wavescope.core.rendering.masks import DerivativeRows, NestedMasks, PickFreezeRows, RandomSubsets
from wavescope.engine.explain import ResolvedRequest, explain_all
from wavescope.engine.plan import make_stack
from wavescope.engine.requests import make_request
from wavescope.engine.types import Explanation, ExplanationRequest, ModelDetails
from wavescope.errors import ModelUnavailable, NotAnImage, StoreUnavailable
from wavescope.imaging.source import ImageSource
from wavescope.serving.generator_client import GeneratorClient
from wavescope.serving.jobs.score_cache import call_key
from wavescope.serving.runner import RayRunner, Replicas
from wavescope.telemetry.counters import Counters
from wavescope.telemetry.metrics import CHUNKS, Metric

FULL = make_request(plan="full", grid_size=6, nb_design=4, levels=3)
ROWS = 4 * 38
ADAPTIVE = make_request(plan="adaptive", grid_size=9, max_forwards=200)


class Memory:
    """A ledger in memory."""

    def __init__(self) -> None:
        self.chunks: dict[tuple[str, str], dict[int, bytes]] = {}

    def save_chunk(self, job_id: str, call: str, start: int, chunk: bytes) -> None:
        self.chunks.setdefault((job_id, call), {}).setdefault(start, chunk)

    def load_chunks(self, job_id: str, call: str) -> list[tuple[int, bytes]]:
        return sorted(self.chunks.get((job_id, call), {}).items())


class Silent:
    """A ledger that does not answer."""

    def __init__(self) -> None:
        self.asked = 0

    def save_chunk(self, job_id: str, call: str, start: int, chunk: bytes) -> None:
        self.load_chunks(job_id, call)

    def load_chunks(self, job_id: str, call: str) -> list[tuple[int, bytes]]:
        del job_id, call
        self.asked += 1
        raise StoreUnavailable("the store does not answer")


class Outcomes:
    """Counts how chunks ended."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def add(self, metric: Metric, amount: float = 1.0, *, model: str, outcome: str) -> None:
        assert (metric, amount, model) == (CHUNKS, 1.0, "cheap")
        self.counts[outcome] += 1


def through(
    model: Any,
    wire: Wire,
    request: ExplanationRequest = FULL,
    *,
    ledger: Any = None,
    chunk_rows: int = 16,
    listener: Any = None,
    job_id: str = "job",
    details: ModelDetails | None = None,
) -> tuple[Explanation, Counter[str]]:
    counters = Outcomes()
    handles = Replicas(
        generator=GeneratorClient(wire), model=model, name="cheap", window=2, chunk_rows=chunk_rows
    )
    runner = RayRunner(
        [PHOTOGRAPH], details or Cheap().details, handles, counters, ledger=ledger, job_id=job_id
    )
    resolved = ResolvedRequest(request, ((None, 3),), ("a", "b"))
    options = {} if listener is None else {"listener": listener}
    explanation, _ = asyncio.run(explain_all(runner, resolved, **options))
    return explanation, counters.counts


def same(one: Explanation, other: Explanation) -> None:
    assert one.indices.total.tobytes() == other.indices.total.tobytes()
    assert one.indices.standard_error.tobytes() == other.indices.standard_error.tobytes()
    assert (one.worth, one.forwards, one.warnings) == (other.worth, other.forwards, other.warnings)


@pytest.mark.parametrize("request_", [FULL, ADAPTIVE, replace(FULL, kind="sufficient-image")])
@pytest.mark.parametrize("after", [1, 4, 8])
def test_what_was_kept_is_not_scored_again_and_the_numbers_are_the_same(
    wire: Wire, request_: ExplanationRequest, after: int
) -> None:
    undisturbed, _ = through(wire, wire, request_)
    whole = wire.methods.count("score")
    ledger = Memory()
    with pytest.raises(ModelUnavailable):
        through(DyingModel(wire, after), wire, request_, ledger=ledger)
    wire.calls.clear()
    resumed, counters = through(wire, wire, request_, ledger=ledger)
    same(resumed, undisturbed)
    kept = counters["recalled"]
    assert kept >= after - 1  # the one beside the dying may have been cut off
    assert wire.methods.count("score") == counters["scored"] == whole - kept


@pytest.mark.parametrize("after", [1, 2, 6])
def test_gradients_that_were_kept_are_not_computed_again_and_the_numbers_are_the_same(
    steep: Wire, after: int
) -> None:
    request, options = replace(ADAPTIVE, prior="gradients"), {"details": Steep().details}
    undisturbed, _ = through(steep, steep, request, **options)
    assert undisturbed.screening.gradients == 16
    whole = steep.methods.count("score")
    ledger = Memory()
    with pytest.raises(ModelUnavailable):
        through(DyingModel(steep, after), steep, request, ledger=ledger, **options)
    steep.calls.clear()
    resumed, counters = through(steep, steep, request, ledger=ledger, **options)
    same(resumed, undisturbed)
    assert resumed.screening == undisturbed.screening
    assert steep.methods.count("score") == counters["scored"] == whole - counters["recalled"]


def test_nothing_is_scored_of_a_job_whose_scores_are_all_kept(wire: Wire) -> None:
    ledger, listening = Memory(), Listening()
    first, _ = through(wire, wire, ledger=ledger)
    wire.calls.clear()
    again, counters = through(wire, wire, ledger=ledger, listener=listening)
    same(again, first)
    assert wire.methods.count("score") == 0
    assert counters["recalled"] == -(-ROWS // 16)
    assert listening.counts == [ROWS] == listening.announced
    assert [partial.rows for partial in listening.partials] == [4]


@pytest.mark.parametrize("size", [16, 48])
def test_chunks_of_another_size_fill_what_is_missing(wire: Wire, size: int) -> None:
    undisturbed, _ = through(wire, wire)
    ledger = Memory()
    through(wire, wire, ledger=ledger, chunk_rows=32)
    (call,) = ledger.chunks.values()
    assert sorted(call) == [0, 32, 64, 96, 128]
    for start in (32, 64, 128):
        del call[start]
    wire.calls.clear()
    resumed, counters = through(wire, wire, ledger=ledger, chunk_rows=size)
    same(resumed, undisturbed)
    assert counters["recalled"] == 2
    # Two stretches, of 64 and of 24 rows.
    assert wire.methods.count("score") == -(-64 // size) + -(-24 // size)


def test_jobs_do_not_share_scores(wire: Wire) -> None:
    ledger = Memory()
    through(wire, wire, ledger=ledger)
    _, counters = through(wire, wire, ledger=ledger, job_id="another")
    assert counters["recalled"] == 0


def test_a_ledger_that_does_not_answer_costs_one_attempt_and_a_line_in_the_log(
    wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    undisturbed, _ = through(wire, wire)
    ledger = Silent()
    with caplog.at_level(logging.WARNING, "wavescope.serving.jobs.score_cache"):
        found, _ = through(wire, wire, ledger=ledger)
    same(found, undisturbed)
    assert ledger.asked == 1
    assert [record.message for record in caplog.records] == [
        "scores are not kept for a while: the store does not answer"
    ]


def test_what_another_version_kept_is_scored_again(wire: Wire) -> None:
    ledger = Memory()
    undisturbed, _ = through(wire, wire, ledger=ledger)
    (call,) = ledger.chunks.values()
    call[0] = b"of another version"
    found, counters = through(wire, wire, ledger=ledger)
    same(found, undisturbed)
    assert counters == {"recalled": len(call) - 1, "scored": 1}


# ---- keys --------------------------------------------------------------------------------------
STACK = make_stack(np.zeros((2, 3, 4, 4), np.uint8))
NESTED = NestedMasks(np.arange(3, dtype=np.int32), np.arange(4, dtype=np.int32))
MOVED = PickFreezeRows(np.arange(3, dtype=np.int32), np.arange(3, dtype=np.int32))


@pytest.mark.parametrize(
    "other",
    [
        lambda: (make_stack(np.ones((2, 3, 4, 4), np.uint8)), NESTED, "logit", (1, 2), "r"),
        lambda: (STACK, None, "logit", (1, 2), "r"),
        lambda: (STACK, replace(NESTED, keep=False), "logit", (1, 2), "r"),
        lambda: (STACK, replace(NESTED, counts=NESTED.counts[:-1]), "logit", (1, 2), "r"),
        lambda: (STACK, RandomSubsets(3, 1, 4, 0), "logit", (1, 2), "r"),
        lambda: (STACK, MOVED, "logit", (1, 2), "r"),
        lambda: (STACK, DerivativeRows(MOVED.base), "logit", (1, 2), "r"),
        lambda: (STACK, replace(MOVED, groups=(np.arange(2, dtype=np.int32),)), "logit", (1, 2), "r"),
        lambda: (STACK, NESTED, "margin", (1, 2), "r"),
        lambda: (STACK, NESTED, "logit", (1,), "r"),
        lambda: (STACK, NESTED, "logit", (12,), "r"),
        lambda: (STACK, NESTED, "logit", ((1, 2),), "r"),
        lambda: (STACK, NESTED, "logit", (1, 2, (1, 2)), "r"),
        lambda: (STACK, NESTED, "logit", (1, 2), "s"),
    ],
)
def test_calls_with_other_scores_have_other_keys(other: Callable[[], Any]) -> None:
    this = (STACK, NESTED, "logit", (1, 2), "r")
    assert call_key(*this) != call_key(*other())


def test_the_key_of_a_call_is_the_same_in_every_process() -> None:
    """Pinned: jobs outlive processes and updates of the service."""
    copied = NestedMasks(NESTED.order.copy(), NESTED.counts.copy())
    assert call_key(STACK, copied, "logit", (1, 2), "r") == call_key(STACK, NESTED, "logit", (1, 2), "r")
    key = "1468618abdb7c43bd309c6ca3441fdce71a659e5e9aa5964610e404098866a62"
    assert call_key(STACK, NESTED, "logit", (1, 2), "r") == key


# ---- predictions -------------------------------------------------------------------------------


def predicted(wire: Wire, images: list[bytes]) -> np.ndarray:
    return predicted_with_assumptions(wire, images)[0]


def predicted_with_assumptions(
    wire: Wire, images: list[bytes]
) -> tuple[np.ndarray, tuple[tuple[str, ...], ...]]:
    handles = Replicas(generator=GeneratorClient(wire), model=wire, name="cheap", window=2, chunk_rows=16)
    runner = RayRunner(images, Cheap().details, handles, Counters())
    return asyncio.run(runner.outputs([f"images[{place}]" for place in range(len(images))]))


def test_predictions_come_with_what_was_assumed_of_each_image(wire: Wire) -> None:
    buffer = io.BytesIO()
    grey = np.random.default_rng(0).integers(0, 256, (40, 40)).astype(np.int32)
    Image.fromarray(grey).save(buffer, "TIFF")
    _, assumptions = predicted_with_assumptions(wire, [PHOTOGRAPH, buffer.getvalue()])
    assert assumptions[0] == ()
    assert "255 was taken for white" in assumptions[1][0]


def test_outputs_are_those_of_the_model_for_the_preprocessed_images(wire: Wire) -> None:
    model = Cheap()
    preprocessing = model.details.preprocessing
    seen = ImageSource(PHOTOGRAPH, preprocessing).picture(1).pixels
    mean, std = (
        np.asarray(values, np.float32)[:, None, None] for values in (preprocessing.mean, preprocessing.std)
    )
    expected = model.forward(((seen - mean) / std)[None])[0]
    found = predicted(wire, [PHOTOGRAPH] * 40)
    assert (found.shape, found.dtype) == ((40, 10), np.float32)
    np.testing.assert_allclose(found, np.tile(expected, (40, 1)), rtol=1e-5, atol=1e-5)
    assert wire.methods.count("outputs") == 3


def test_an_image_that_cannot_be_predicted_is_named(wire: Wire) -> None:
    with pytest.raises(NotAnImage, match=r"^images\[1\]: ") as caught:
        predicted(wire, [PHOTOGRAPH, b"no image"])
    assert caught.value.field == "images[1]"
