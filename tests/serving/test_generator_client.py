"""The aggregator's calls of the generator: its methods with their parameters, sent again when one dies."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest
from ray.exceptions import ActorDiedError
from tests.fakes.handles import AT_ONCE, Answers, FakeHandle

from wavescope.errors import ModelUnavailable, NotAnImage
from wavescope.serving.calls.local_handle import LocalHandle
from wavescope.serving.generator import PerturbationGenerator
from wavescope.serving.generator_client import GeneratorClient

ANY: Any = None
METHODS = [name for name, _ in inspect.getmembers(GeneratorClient, callable) if not name.startswith("_")]


def plan(handle: Any) -> Any:
    return asyncio.run(GeneratorClient(handle, retries=AT_ONCE).plan(b"", ANY, 1, ANY, ANY))


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_one_of_the_generator_with_the_same_parameters(name: str) -> None:
    asked, answered = (
        inspect.signature(getattr(owner, name)).parameters
        for owner in (GeneratorClient, PerturbationGenerator)
    )
    assert asked == answered


def test_a_plan_comes_with_its_object_where_it_is_one() -> None:
    assert plan(FakeHandle(Answers("plan"))) == ("plan", "plan")  # the fake's result stands for its object
    assert plan(LocalHandle(Answers("plan"))) == ("plan", None)


def test_a_call_is_sent_again_when_its_generator_dies() -> None:
    assert plan(LocalHandle(Answers(ActorDiedError(), ActorDiedError(), "plan"))) == ("plan", None)
    with pytest.raises(ModelUnavailable, match="generator's plan: 8 replicas in a row died"):
        plan(LocalHandle(Answers(ActorDiedError())))


def test_what_the_generator_refuses_is_not_sent_again() -> None:
    with pytest.raises(NotAnImage, match="no image"):
        plan(LocalHandle(Answers(NotAnImage("no image"), "plan")))
