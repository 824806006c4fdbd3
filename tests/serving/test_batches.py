"""Chunks of different requests in the device batches of one replica: every batch full, and no number changed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from skimage import data
from tests.polling import DEADLINE_S, until

import wavescope
from wavescope.core.rendering.masks import NestedMasks
from wavescope.engine.plan import Plan, chunks, make_plan
from wavescope.engine.protocols import Classifier
from wavescope.engine.requests import make_request
from wavescope.engine.scoring.scorer import Rendering, Scorer
from wavescope.engine.types import ModelDetails
from wavescope.errors import ModelFailure
from wavescope.imaging.source import ImageSource
from wavescope.models.spec import DEFAULT_MODEL
from wavescope.serving import replica as serving
from wavescope.serving.replica import ModelReplica
from wavescope.settings import Settings
from wavescope.telemetry.counters import Counters


class Counted:
    """A classifier that notes the size of every batch it is given."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self.batches: list[int] = []
        self.may_go_on = threading.Event()  # every forward waits for it
        self.may_go_on.set()

    @property
    def details(self) -> ModelDetails:
        return self._classifier.details

    def to_device(self, array: np.ndarray) -> Any:
        return self._classifier.to_device(array)

    def forward(self, images: Any) -> Any:
        self.batches.append(len(images))
        assert self.may_go_on.wait(DEADLINE_S)
        return self._classifier.forward(images)


class Quiet:
    """A reporter that has no hub to report to."""

    def __init__(self, deployment: str, model: str = "", **where: object) -> None:
        self.counters = Counters()

    def start_once(self) -> None:
        return None


class Given:
    """What is fetched for a reference, and how often it was."""

    def __init__(self, plan: Plan | Exception) -> None:
        self._plan = plan
        self.fetched = 0

    def __await__(self) -> Any:
        async def fetch() -> Plan:
            self.fetched += 1
            if isinstance(self._plan, Exception):
                raise self._plan
            return self._plan

        return fetch().__await__()


@pytest.fixture(scope="module")
def default_model() -> Classifier:
    return wavescope.load_model()


@pytest.fixture
def model(default_model: Classifier) -> Counted:
    return Counted(default_model)


@pytest.fixture
def replica(model: Counted, monkeypatch: pytest.MonkeyPatch) -> ModelReplica:
    monkeypatch.setattr(serving, "load", lambda spec, **_: model)
    monkeypatch.setattr(serving, "Reporter", Quiet)
    made = ModelReplica(DEFAULT_MODEL, Settings(log_level="error"))
    model.batches.clear()
    return made


def plan_of(image: np.ndarray, model: Counted, **fields: Any) -> Plan:
    source = ImageSource(image, model.details.preprocessing)
    return make_plan(source.picture(1), make_request(**fields), max_forwards=10_000)


def run(*calls: Awaitable[Any]) -> list[Any]:
    async def together() -> list[Any]:
        return list(await asyncio.gather(*calls, return_exceptions=True))

    return asyncio.run(together())


def test_two_explanations_in_shared_batches_of_the_default_model_have_the_bits_of_each_alone(
    replica: ModelReplica, model: Counted, default_model: Classifier
) -> None:
    cat = plan_of(data.chelsea(), model, grid_size=4, nb_design=2)
    cup = plan_of(data.coffee(), model, kind="fam", grid_size=5, nb_design=2)
    wanted = [
        (plan, start, stop) for plan in (cat, cup) for start, stop in chunks(plan.rows, 11)
    ]  # no multiple of a batch
    found = run(
        *(
            replica.score("", plan.digest, [Given(plan)], None, start, stop, "probability", (281, 967))
            for plan, start, stop in wanted
        )
    )
    total = cat.rows + cup.rows
    full, rest = divmod(total, model.details.batch_size)
    assert sorted(model.batches, reverse=True) == [model.details.batch_size] * full + [rest] * (rest > 0)
    for (plan, start, stop), scored in zip(wanted, found, strict=True):
        scorer = Scorer(plan, default_model)
        parts = [
            scorer.score(None, *batch, "probability", (281, 967)) for batch in scorer.batches(start, stop)
        ]
        assert (scored.values == np.concatenate([part.values for part in parts])).all()
        assert (scored.confidence == np.concatenate([part.confidence for part in parts])).all()


def test_a_plan_is_fetched_and_prepared_once_for_all_its_chunks(
    replica: ModelReplica, model: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    class Noted(Rendering):
        def __init__(self, work: Plan, *args: Any) -> None:
            made.append(work.digest)
            super().__init__(work, *args)

    monkeypatch.setattr(serving, "Rendering", Noted)
    plan = plan_of(data.chelsea(), model, grid_size=4, nb_design=2)
    reference = Given(plan)
    run(
        replica.predict("", plan.digest, [reference]),
        *(
            replica.score("", plan.digest, [reference], None, start, stop, "logit", (0,))
            for start, stop in chunks(plan.rows, 8)
        ),
    )
    assert reference.fetched == 1
    assert made == [plan.digest]


def test_a_plan_that_could_not_be_fetched_is_fetched_again(replica: ModelReplica, model: Counted) -> None:
    plan = plan_of(data.chelsea(), model, grid_size=4, nb_design=2)
    (lost,) = run(replica.predict("", plan.digest, [Given(ConnectionError("its owner died"))]))
    assert isinstance(lost, ConnectionError)
    ((_, outputs),) = run(replica.predict("", plan.digest, [Given(plan)]))
    assert outputs.shape == (1000,)


def test_the_plans_kept_are_bounded(replica: ModelReplica, model: Counted) -> None:
    plans = [
        plan_of(data.chelsea(), model, grid_size=4, nb_design=1, seed=seed)
        for seed in range(serving.RENDERINGS_KEPT + 2)
    ]
    for plan in plans:
        run(replica.predict("", plan.digest, [Given(plan)]))
    first, last = Given(plans[0]), Given(plans[-1])
    run(replica.predict("", plans[0].digest, [first]), replica.predict("", plans[-1].digest, [last]))
    assert (first.fetched, last.fetched) == (1, 0)


def test_a_cancelled_chunk_leaves_the_device_to_others(replica: ModelReplica, model: Counted) -> None:
    plan = plan_of(data.chelsea(), model, grid_size=8, nb_design=2)
    rows = NestedMasks(np.arange(plan.n_factors, dtype=np.int32), np.arange(8, dtype=np.int32))

    async def leaves() -> Any:
        await replica.predict("", plan.digest, [Given(plan)])
        model.may_go_on.clear()
        left = asyncio.create_task(
            replica.score("", plan.digest, [Given(plan)], None, 0, plan.rows, "logit", (0,))
        )
        await until(lambda: len(model.batches) == 2)  # the first was the prediction's
        left.cancel()
        with pytest.raises(asyncio.CancelledError):
            await left
        model.may_go_on.set()
        return await replica.score("", plan.digest, [Given(plan)], rows, 0, 8, "logit", (0,))

    scored = asyncio.run(leaves())
    assert len(scored.predicted) == 8
    assert sum(model.batches) < plan.rows


def test_a_failure_is_that_of_its_own_request(
    replica: ModelReplica, model: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    cat = plan_of(data.chelsea(), model, grid_size=4, nb_design=1)
    cup = plan_of(data.coffee(), model, grid_size=4, nb_design=1)
    render = Rendering.render

    def spoils_the_cup(self: Rendering, rows: Any, start: int, stop: int, out: np.ndarray) -> None:
        render(self, rows, start, stop, out)
        if self._work.digest == cup.digest:
            out[...] = np.nan

    monkeypatch.setattr(Rendering, "render", spoils_the_cup)
    failed, fine = run(
        replica.score("", cup.digest, [Given(cup)], None, 0, 10, "logit", (0,)),
        replica.score("", cat.digest, [Given(cat)], None, 0, 10, "logit", (0,)),
    )
    assert isinstance(failed, ModelFailure)
    assert np.isfinite(fine.values).all()


def test_a_replica_that_no_longer_scores_is_unhealthy(replica: ModelReplica) -> None:
    assert run(replica.check_health()) == [None]

    class Ended:
        def is_alive(self) -> bool:
            return False

    replica._loaded = replace(replica._loaded, thread=Ended())
    (found,) = run(replica.check_health())
    assert isinstance(found, RuntimeError)
