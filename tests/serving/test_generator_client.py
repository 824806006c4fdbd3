"""The aggregator's calls of the generator: its methods with their parameters, sent again when one dies."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest
from ray.exceptions import ActorDiedError

from wavescope.errors import ModelUnavailable, NotAnImage
from wavescope.retries import RetryPolicy
from wavescope.serving.calls.local_handle import LocalHandle
from wavescope.serving.generator import PerturbationGenerator
from wavescope.serving.generator_client import GeneratorClient

AT_ONCE = RetryPolicy(attempts=3, first_delay_s=0.0, max_delay_s=0.0)
ANY: Any = None
METHODS = [name for name, _ in inspect.getmembers(GeneratorClient, callable) if not name.startswith("_")]


class Response:
    """As Ray Serve answers: a result, and the object that it is."""

    async def _to_object_ref(self) -> str:
        return "object"

    def __await__(self) -> Any:
        return asyncio.sleep(0, "plan").__await__()


class Remote:
    """A handle of a generator in another process."""

    plan = property(lambda self: self)

    def remote(self, *_: Any) -> Response:
        return Response()


class Generator:
    """Fails as often as it is told to, then plans."""

    def __init__(self, *failures: Exception) -> None:
        self._failures = list(failures)

    async def plan(self, *_: Any) -> str:
        if self._failures:
            raise self._failures.pop()
        return "plan"


def plan(handle: Any) -> Any:
    return asyncio.run(GeneratorClient(handle, retries=AT_ONCE).plan(b"", ANY, 1, ANY))


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_one_of_the_generator_with_the_same_parameters(name: str) -> None:
    asked, answered = (
        inspect.signature(getattr(owner, name)).parameters
        for owner in (GeneratorClient, PerturbationGenerator)
    )
    assert asked == answered


def test_a_plan_comes_with_its_object_where_it_is_one() -> None:
    assert plan(Remote()) == ("plan", "object")
    assert plan(LocalHandle(Generator())) == ("plan", None)


def test_a_call_is_sent_again_when_its_generator_dies() -> None:
    assert plan(LocalHandle(Generator(ActorDiedError(), ActorDiedError()))) == ("plan", None)
    with pytest.raises(ModelUnavailable, match="generator's plan: 3 replicas in a row died"):
        plan(LocalHandle(Generator(*(ActorDiedError() for _ in range(3)))))


def test_what_the_generator_refuses_is_not_sent_again() -> None:
    with pytest.raises(NotAnImage, match="no image"):
        plan(LocalHandle(Generator(NotAnImage("no image"))))
