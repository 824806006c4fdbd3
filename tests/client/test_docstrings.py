"""Every public method of the clients shows an example, and every example of a docstring prints its output."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import doctest
import inspect
import io
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from tests.client.conftest import serving
from tests.ingress.fakes import IMAGE, FakePlane, make_explanation

import wavescope_client
from wavescope.engine.events import Finished, PartialIndices, Progress
from wavescope.engine.types import Explanation, LevelImportance, Prediction
from wavescope.ingress.plane import Estimate, JobStatus, Predictions
from wavescope_client import AsyncClient, AsyncJob, AsyncStream, Client, Job, RetryPolicy, Stream
from wavescope_client._figure import FigureFile

ADDRESS = "http://127.0.0.1:8000"
DOG = IMAGE + b"dog"
CLASSES = (AsyncClient, AsyncJob, AsyncStream, Client, Job, RetryPolicy, Stream)
METHODS = {
    f"{owner.__name__}.{name}": method
    for owner in CLASSES
    for name, method in vars(owner).items()
    if inspect.isfunction(method) and not name.startswith("_")
}
DOCUMENTED: dict[str, Any] = {
    "wavescope_client": wavescope_client,
    **{owner.__name__: owner for owner in CLASSES},
    **METHODS,
    "FigureFile.save_png": FigureFile.save_png,
}
CHECKER = doctest.OutputChecker()


@dataclass
class ExampleService(FakePlane):
    """Answers as the examples say: cats are tabbies, and a job has ended when its state is asked for again."""

    polled: set[str] = field(default_factory=set)

    def _ask(self, request: Any, call: Any) -> tuple[Explanation, ...]:
        self.explanation = make_explanation(request.request.kind)
        changed: dict[str, Any] = {"forwards": 628}
        if self.explanation.levels is not None:
            changed["levels"] = levels(0.55, 0.21, 0.15, 0.09)
        if self.explanation.comparison is not None:
            changed["comparison"] = replace(self.explanation.comparison, scale_shift=0.25)
        self.explanation = replace(self.explanation, **changed)
        labels = [
            "beagle" if image == DOG and target is None else target or "tabby"
            for image, targets in zip(request.images, request.targets, strict=False)
            for target in targets
        ]
        explained = super()._ask(request, call)
        return tuple(
            replace(found, target=replace(found.target, label=label))
            for found, label in zip(explained, labels, strict=True)
        )

    async def stream(self, request: Any, call: Any) -> AsyncGenerator[Any, None]:
        explanations = self._ask(request, call)
        yield Progress(0, 628, 0.0, None)
        yield Progress(314, 628, 1.5, 1.5)
        yield PartialIndices(0, 314, 2, self.explanation.indices)
        yield Finished(explanations)

    async def estimate(self, request: Any, call: Any) -> Estimate:
        return Estimate(628 * len(request.targets), 1.5, 0.25, cached=False)

    async def predict(self, request: Any, call: Any) -> Predictions:
        predicted = await super().predict(request, call)
        top = (
            Prediction(281, "tabby", 0.5),
            Prediction(285, "Egyptian cat", 0.25),
            Prediction(287, "lynx", 0.1),
        )
        return replace(predicted, top=(top[: request.top_k],) * len(request.images))

    async def job(self, job_id: str, call: Any) -> JobStatus:
        status = await super().job(job_id, call)
        if job_id in self.polled and status.state == "queued":
            self.finish(job_id)
        self.polled.add(job_id)
        return status

    async def watch(self, job_id: str, call: Any) -> AsyncGenerator[JobStatus, None]:
        async for status in super().watch(job_id, call):
            yield replace(status, forwards={0: 0, 44: 314, 88: 628}[status.forwards], planned=628)


def levels(*shares: float) -> tuple[LevelImportance, ...]:
    scales = [
        (2 ** (len(shares) - 1), None),
        *((2**at, 2 ** (at + 1)) for at in range(len(shares) - 2, -1, -1)),
    ]
    return tuple(
        LevelImportance(at, scale, share, share, share, None, None, None)
        for at, (scale, share) in enumerate(zip(scales, shares, strict=True))
    )


@pytest.fixture(scope="module")
def service() -> ExampleService:
    return ExampleService(make_explanation())


@pytest.fixture(scope="module")
def url(service: ExampleService) -> Iterator[str]:
    with serving(service) as address:
        yield address


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, service: ExampleService) -> None:
    for name in ("cat", "dog", "clean", "foggy"):
        (tmp_path / f"{name}.jpg").write_bytes(DOG if name == "dog" else IMAGE)
    monkeypatch.chdir(tmp_path)
    for kept in (service.jobs, service.keys, service.polled):
        kept.clear()


@pytest.mark.usefixtures("images")
@pytest.mark.parametrize("name", DOCUMENTED)
def test_the_example_of_a_docstring_prints_its_output(name: str, url: str) -> None:
    text = inspect.getdoc(DOCUMENTED[name]) or ""
    examples = doctest.DocTestParser().get_examples(text.replace(ADDRESS, url))
    assert examples, f"{name} shows no example"
    asyncio.run(run(examples, url, asynchronous=name.startswith("Async")))


async def run(examples: list[doctest.Example], url: str, *, asynchronous: bool) -> None:
    """Run examples one after the other as ``python -m asyncio`` would, with a client at hand."""
    client = AsyncClient(url) if asynchronous else Client(url)
    names: dict[str, Any] = vars(wavescope_client) | {"asyncio": asyncio, "client": client}
    for example in examples:
        code = compile(example.source, "<docstring>", "single", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            value = eval(code, names)
            if inspect.iscoroutine(value):
                await value
        if not CHECKER.check_output(example.want, printed.getvalue(), 0):
            pytest.fail(f"{example.source}prints\n{printed.getvalue()}and not\n{example.want}")
    if isinstance(client, AsyncClient):
        await client.aclose()
    else:
        client.close()


@pytest.mark.parametrize("name", METHODS)
def test_every_argument_of_a_public_method_is_described(name: str) -> None:
    text = inspect.getdoc(METHODS[name]) or ""
    described = text.partition("Args:\n")[2].partition("\n\n")[0]
    arguments = [argument for argument in inspect.signature(METHODS[name]).parameters if argument != "self"]
    assert [argument for argument in arguments if f"{argument}:" not in described] == []


def test_both_clients_have_the_same_methods() -> None:
    def public(owner: type) -> set[str]:
        return {name for name in vars(owner) if not name.startswith("_")} - {"close", "aclose"}

    assert public(AsyncClient) == public(Client)
    assert public(AsyncJob) == public(Job)
