"""Keys of cached results, and what is done with a store that does not answer."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest
from tests.fakes.classifiers import details
from tests.ingress.fakes import make_explanation
from tests.polling import DEADLINE_S
from tests.serving.test_workers import REQUEST

from wavescope.core.scores import resolve_score
from wavescope.engine.choices import CHOICES
from wavescope.engine.requests import make_request
from wavescope.engine.types import Outputs, Preprocessing
from wavescope.errors import IdempotencyConflict, InvalidRequest
from wavescope.ingress.plane import CallContext, ExplainRequest
from wavescope.models.spec import ModelSpec
from wavescope.serving.aggregator import EstimatorAggregator, retime
from wavescope.serving.cache_key import cache_key
from wavescope.serving.jobs.workers import Done
from wavescope.serving.plane import RayDataPlane
from wavescope.settings import Settings
from wavescope.store import open_store
from wavescope.store.codec import encode


@pytest.mark.parametrize("outputs", get_args(Outputs))
def test_a_request_that_names_no_score_has_the_key_of_the_one_that_it_is_explained_by(
    outputs: Outputs,
) -> None:
    def key(score: str) -> str:
        return cache_key(replace(REQUEST, request=make_request(score=score)), outputs, "a digest")

    assert key("auto") == key(resolve_score("auto", outputs))
    assert len({key(score) for score in CHOICES["score"]}) == len(CHOICES["score"]) - 1


@pytest.mark.parametrize("outputs", get_args(Outputs))
def test_a_job_that_names_no_score_is_the_one_of_the_same_key_that_does(
    tmp_path: Path, outputs: Outputs
) -> None:
    async def estimate(request: ExplainRequest, call: CallContext) -> None:
        del request, call

    spec = ModelSpec(name="m", source="onnx:m.onnx", preprocessing=Preprocessing(), outputs=outputs)
    plane: Any = SimpleNamespace(
        _store=open_store("", state_dir=tmp_path, result_bytes=0),
        _settings=Settings(),
        _quota=lambda caller: SimpleNamespace(max_jobs=9),
        _identify=lambda request, call: request,
        _directory=SimpleNamespace(spec=lambda name: spec),
        _aggregator=SimpleNamespace(estimate=estimate),
    )
    plane._submit = partial(RayDataPlane._submit, plane)

    def submit(score: str) -> str:
        request, call = replace(REQUEST, request=make_request(score=score)), CallContext("", "ann")
        return asyncio.run(RayDataPlane.submit(plane, request, call, "a key")).id

    named = resolve_score("auto", outputs)
    assert submit("auto") == submit(named) == submit("auto")
    with pytest.raises(IdempotencyConflict, match="a key"):
        submit("probability")


@pytest.mark.parametrize("why_none", [None, "the operator Sin has no rule"])
def test_a_request_that_names_no_prior_has_the_key_of_the_one_that_its_model_gets(
    why_none: str | None,
) -> None:
    aggregator: Any = SimpleNamespace(_settings=Settings())
    model = replace(details((3, 8, 8)), revision="a digest", no_gradients=why_none)

    def key(prior: str) -> str | None:
        request = replace(REQUEST, request=make_request(plan="adaptive", prior=prior))
        return EstimatorAggregator._cache_key(aggregator, request, model, CallContext("", "ann"))

    assert key("auto") == key("size" if why_none else "gradients")
    if why_none:
        with pytest.raises(InvalidRequest, match="has no gradients: the operator Sin has no rule"):
            key("gradients")
    else:
        assert key("size") != key("gradients")


def test_a_class_has_one_key_by_its_name_and_by_its_index() -> None:
    aggregator: Any = SimpleNamespace(_settings=Settings())
    model = replace(details((3, 8, 8), classes=3), revision="a digest")

    def key(target: Any, against: Any) -> str | None:
        request = replace(
            REQUEST, targets=((target,),), request=make_request(target=target, against=against, plan="full")
        )
        return EstimatorAggregator._cache_key(aggregator, request, model, CallContext("", "ann"))

    assert key("class 1", "class 2") == key(1, 2) == key("index:1", "2")
    different = [key(1, 2), key(2, 1), key(1, None), key(None, 2), key("none of them", 2), key(99, 2)]
    assert len(set(different)) == len(different)


@pytest.mark.parametrize("shared", [False, True])
def test_keys_have_results_of_their_own_unless_they_share_them(shared):
    aggregator = SimpleNamespace(_settings=Settings(results_shared=shared))
    model = replace(details((3, 8, 8)), revision="a digest")
    ann, bob, nobody = (
        EstimatorAggregator._cache_key(aggregator, REQUEST, model, CallContext("", name))
        for name in ("ann", "bob", "")
    )
    assert (ann == bob == nobody) == shared
    assert len({ann, bob, nobody}) == (1 if shared else 3)


def test_a_silent_store_keeps_an_explanation_waiting_for_a_moment_only():
    """The store says nothing until the explanation has gone on without it."""
    silent = threading.Event()
    store = SimpleNamespace(
        get_cached=lambda key: silent.wait(), put_cached=lambda key, result: silent.wait()
    )
    aggregator = SimpleNamespace(_settings=Settings(result_cache_timeout_s=0.05), _store=store)

    async def ask() -> None:
        try:
            async with asyncio.timeout(DEADLINE_S):
                assert await EstimatorAggregator._load_cached(aggregator, "key", REQUEST) is None
                await EstimatorAggregator._save_result(aggregator, "key", (make_explanation(),))
        finally:
            silent.set()  # or the end of the loop waits for its threads

    asyncio.run(ask())


def test_a_kept_result_is_told_with_times_of_its_own_request():
    kept = encode(
        Done((replace(make_explanation(), timing={"plan_s": 1.0, "score_s": 2.0, "total_s": 3.0}),), False)
    )
    aggregator = SimpleNamespace(_settings=Settings(), _store=SimpleNamespace(get_cached=lambda key: kept))
    found = asyncio.run(EstimatorAggregator._load_cached(aggregator, "key", REQUEST))
    assert found is not None
    (told,) = retime(found, 0.25)
    assert (told.id, told.cached) == (REQUEST.identities[0], True)
    assert told.timing == {"plan_s": 0.0, "score_s": 0.0, "total_s": 0.25}
