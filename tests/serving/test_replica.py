"""A replica by itself: which model it is, how fast, how much waits, and where the model is when it is elsewhere."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.fakes.classifiers import FunctionClassifier, details
from tests.fakes.handles import AT_ONCE, FakeCall, FakeHandle
from tests.polling import DEADLINE_S, until
from tests.serving.test_batches import Given, Quiet

from wavescope.engine.plan import Stack, make_stack
from wavescope.engine.protocols import Classifier
from wavescope.engine.types import ModelDetails
from wavescope.errors import ModelChanged, ModelUnavailable, RegistryInvalid, RemoteFailure
from wavescope.models.spec import ModelSpec
from wavescope.retries import RetryPolicy
from wavescope.serving import replica as serving
from wavescope.serving import runner as runners
from wavescope.serving.replica import TIMED_BATCHES, ModelReplica, seconds_per_image
from wavescope.serving.runner import RayRunner, Replicas
from wavescope.serving.scaling import QUEUED
from wavescope.settings import Settings
from wavescope.telemetry.counters import Counters

SPEC = ModelSpec(name="fake", source="embedded:efficientnet-lite0")
SHAPE = (1, 4, 4)
STACK = make_stack(np.arange(10 * 16, dtype=np.uint8).reshape(10, *SHAPE))
Make = Callable[..., ModelReplica]


def classifier(
    of_image: Callable[[np.ndarray], Any] | None = None, *, revision: str = "now"
) -> FunctionClassifier:
    of = replace(details(SHAPE, batch_size=4), revision=revision)
    return FunctionClassifier(of_image or (lambda image: (image.sum(), image[0, 0, 0])), of)


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Make:
    def made(*loaded: Classifier | Exception) -> ModelReplica:
        found = iter(loaded)

        def load(spec: ModelSpec, **_: Any) -> Classifier:
            one = next(found)
            if isinstance(one, Exception):
                raise one
            return one

        monkeypatch.setattr(serving, "load", load)
        monkeypatch.setattr(serving, "Reporter", Quiet)
        retries = RetryPolicy(attempts=9, first_delay_s=0.0, max_delay_s=0.0)
        return ModelReplica(SPEC, Settings(log_level="error"), retries=retries)

    return made


def outputs(
    replica: ModelReplica, revision: str, stack: Stack = STACK, start: int = 0, stop: int = 10
) -> Any:
    return replica.outputs(revision, stack.digest, [Given(stack)], start, stop)


def test_the_time_of_an_image_is_that_of_the_quickest_full_batch_after_the_first() -> None:
    model = classifier()
    times = iter(
        [0.0, 8.0, 10.0, 14.0, 20.0, 80.0, 80.0, 86.0, 90.0, 97.0]
    )  # batches of 8, 4, 60, 6 and 7 seconds
    assert seconds_per_image(model, clock=lambda: next(times)) == 4.0 / 4
    assert model.batches == [4] * (1 + TIMED_BATCHES)


def test_details_tell_the_time_of_an_image(make: Make) -> None:
    told = asyncio.run(make(classifier()).details())
    assert told.seconds_per_image is not None
    assert 0 < told.seconds_per_image < 10
    assert told.revision == "now"


@pytest.mark.parametrize("revision", ["now", ""])
def test_outputs_are_those_of_the_model_for_every_image(make: Make, revision: str) -> None:
    model = classifier()
    replica = make(model)
    model.batches.clear()
    found = asyncio.run(outputs(replica, revision, start=1, stop=10))
    normalised = (STACK.images[1:10].astype(np.float64) / 255 - 0.4) / 0.25
    np.testing.assert_allclose(found[:, 0], normalised.sum(axis=(1, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(found[:, 1], normalised[:, 0, 0, 0], rtol=1e-5)
    assert model.batches == [4, 4, 1]


def test_a_call_meant_for_another_revision_is_refused_and_scores_nothing(make: Make) -> None:
    model = classifier()
    replica = make(model)
    model.batches.clear()
    calls = (
        lambda: outputs(replica, "before"),
        lambda: replica.predict("before", STACK.digest, [Given(STACK)]),
        lambda: replica.score("before", STACK.digest, [Given(STACK)], None, 0, 4, "logit", (0,)),
    )
    for call in calls:
        with pytest.raises(ModelChanged, match="'fake' was updated"):
            asyncio.run(call())
    assert model.batches == []


class InTurn(FakeHandle):
    """A handle of several replicas, whose calls go to each in turn."""

    def __init__(self, *replicas: ModelReplica) -> None:
        super().__init__(replicas[0])
        self._replicas = itertools.cycle(replicas)

    def send(self, method: str, args: tuple[Any, ...]) -> FakeCall:
        self.target = next(self._replicas)
        return super().send(method, args)


def test_no_request_has_numbers_of_two_files(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replica died after the file of its model was replaced; the one in its place has read the new file."""
    monkeypatch.setattr(runners.ray, "put", Given)
    before, after = classifier(), classifier(lambda image: (0.0, 1.0), revision="next")
    sibling, restarted = make(before), make(after)
    for model in (before, after):
        model.batches.clear()

    async def ask(told: ModelDetails, *replicas: ModelReplica) -> Any:
        handles = Replicas(None, InTurn(*replicas), "fake", 2, 2, AT_ONCE)  # type: ignore[arg-type]
        return await RayRunner([], told, handles, Counters()).score(STACK, None, "logit", (0,))

    for told, computes, silent in ((before, before, after), (after, after, before)):
        with pytest.raises(ModelChanged, match="send it again"):
            asyncio.run(ask(told.details, sibling, restarted))
        assert silent.batches == []
        computes.batches.clear()
    assert asyncio.run(ask(after.details, restarted)).done


def test_images_are_counted_while_they_wait(make: Make) -> None:
    seen: list[float] = []
    model = classifier()
    replica = make(model)

    def look(image: np.ndarray) -> tuple[float, float]:
        seen.append(replica._queued)
        return 0.0, 0.0

    async def ask() -> tuple[float, float]:
        model._of_image = look
        score = ("now", STACK.digest, [Given(STACK)], None, 0, 7, "logit", (0,))
        await asyncio.gather(replica.score(*score), outputs(replica, "now", stop=3))
        return replica._queued, (await replica.record_autoscaling_stats())[QUEUED]

    assert asyncio.run(ask()) == (0, 0.0)
    assert seen[0] == 7 + 3


def test_a_cancelled_call_waits_no_more(make: Make) -> None:
    replica = make(classifier())

    async def leave() -> float:
        asking = asyncio.create_task(
            replica.score("", STACK.digest, [Stuck(STACK)], None, 0, 7, "logit", (0,))
        )
        await asyncio.sleep(0)
        assert (await replica.record_autoscaling_stats()) == {QUEUED: 7.0}
        assert replica._reporter.counters.snapshot()["wavescope_queued_images", (("model", "fake"),)] == 7
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        return (await replica.record_autoscaling_stats())[QUEUED]

    assert asyncio.run(leave()) == 0.0


class Stuck(Given):
    """A reference whose object never comes."""

    def __await__(self) -> Any:
        return asyncio.Event().wait().__await__()


def test_cancelled_outputs_start_no_further_batch(make: Make) -> None:
    may_go_on = threading.Event()
    model = classifier()
    replica = make(model)
    model.batches.clear()
    model._of_image = lambda image: (may_go_on.wait(DEADLINE_S), 0.0)

    async def leave() -> None:
        asking = asyncio.create_task(outputs(replica, ""))
        await until(lambda: bool(model.batches))
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        may_go_on.set()
        await asyncio.wrap_future(replica._loaded.batcher.call(lambda: None))  # after whatever waits

    asyncio.run(leave())
    assert model.batches == [4]


@pytest.mark.parametrize(
    "missing", [RemoteFailure("connection refused"), ModelUnavailable("connection refused")]
)
def test_a_model_elsewhere_that_does_not_answer_is_waited_for(make: Make, missing: Exception) -> None:
    replica = make(missing, missing, classifier())

    async def recover() -> None:
        with pytest.raises(ModelUnavailable, match="'fake' cannot score yet: connection refused"):
            await replica.details()
        await replica.check_health()
        assert replica._connecting is not None
        await replica._connecting
        assert (await replica.details()).revision == "now"
        assert (await outputs(replica, "now")).shape == (10, 2)

    asyncio.run(recover())


class Elsewhere(FunctionClassifier):
    """A model whose server may go over to another version."""

    def __init__(self, revision: str) -> None:
        of = replace(details(SHAPE, batch_size=4), revision=revision)
        super().__init__(lambda image: (image.sum(), 0.0), of)
        self.stale = False
        self.closed = threading.Event()

    def close(self) -> None:
        self.closed.set()


class Late(Given):
    """A reference whose object comes when it is told to."""

    def __init__(self, stack: Stack) -> None:
        super().__init__(stack)
        self.asked, self.comes = asyncio.Event(), asyncio.Event()

    def __await__(self) -> Any:
        async def fetch() -> Stack:
            self.asked.set()
            await self.comes.wait()
            return STACK

        return fetch().__await__()


@pytest.mark.parametrize("method", ["score", "outputs", "predict"])
def test_calls_that_wait_while_the_model_is_replaced_may_be_sent_again(make: Make, method: str) -> None:
    old, new = Elsewhere("now"), Elsewhere("next")
    replica = make(old, new)
    old.batches.clear()

    async def replaced() -> None:
        late = Late(STACK)
        arguments = {
            "score": ("now", STACK.digest, [late], None, 0, 4, "logit", (0,)),
            "outputs": ("now", STACK.digest, [late], 0, 4),
            "predict": ("now", STACK.digest, [late]),
        }
        asking = asyncio.create_task(getattr(replica, method)(*arguments[method]))
        await late.asked.wait()
        old.stale = True
        with pytest.raises(ModelUnavailable, match="is being loaded"):
            await replica.details()
        late.comes.set()
        with pytest.raises(ModelChanged, match="send it again"):
            await asyncio.wait_for(asking, 60)
        assert replica._connecting is not None
        await replica._connecting
        assert (await replica.details()).revision == "next"
        # The plan is rendered for the model that scores it.
        again = Given(STACK)
        await replica.score("next", STACK.digest, [again], None, 0, 4, "logit", (0,))
        assert again.fetched == 1

    asyncio.run(replaced())
    assert old.closed.wait(60)
    assert not new.closed.is_set()
    assert old.batches == []


def test_a_model_elsewhere_that_fails_while_it_is_timed_is_closed(make: Make) -> None:
    failing = Elsewhere("now")
    failing.forward = lambda images: (_ for _ in ()).throw(RemoteFailure("connection refused"))
    replica = make(failing, Elsewhere("now"))
    assert failing.closed.is_set()

    async def recover() -> str:
        await replica.check_health()
        assert replica._connecting is not None
        await replica._connecting
        return (await replica.details()).revision

    assert asyncio.run(recover()) == "now"


def test_a_model_that_is_registered_wrongly_fails_at_once(make: Make) -> None:
    with pytest.raises(RegistryInvalid, match="sha256"):
        make(RegistryInvalid("model 'fake': sha256: is wrong"))
