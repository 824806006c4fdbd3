"""The clients against a real service on a real socket, and against replies made up for them."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from tests.client.conftest import serving
from tests.client.wire import MODELS, Script
from tests.ingress.fakes import FIGURE, IMAGE, MODEL, Asked, FakePlane, make_explanation
from tests.polling import DEADLINE_S

from wavescope import errors
from wavescope.engine import events
from wavescope.engine.types import Explanation, ExplanationRequest
from wavescope.ingress.access import Access
from wavescope.ingress.plane import NullAuthenticator
from wavescope_client import (
    AsyncClient,
    Client,
    ConnectionFailed,
    CostLimitExceeded,
    Estimate,
    InternalError,
    InvalidRequest,
    JobCancelled,
    JobFailed,
    JobUnfinished,
    NotAnImage,
    Partial,
    Prediction,
    Progress,
    Result,
    RetryPolicy,
    TimedOut,
    TooLarge,
    Unauthenticated,
    Unavailable,
    UnknownJob,
    UnknownModel,
)


def test_an_image_is_explained(client: Client, plane: FakePlane, tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(IMAGE)
    result = client.explain(path, seed=5, target="tabby", nb_design=4)
    request = ExplanationRequest(seed=5, target="tabby", nb_design=4)
    assert plane.calls == [Asked((IMAGE,), MODEL, request, (("tabby",),), None, result.request_id or "")]
    assert result.maps is not None
    assert plane.explanation.maps is not None
    assert result.maps.wcam is not None
    np.testing.assert_array_equal(result.maps.wcam, plane.explanation.maps.wcam)
    assert result.parameters["seed"] == 5
    assert result.save_png(tmp_path / "out.png").read_bytes() == FIGURE


def test_a_figure_that_was_not_asked_for_cannot_be_saved(client: Client, tmp_path: Path) -> None:
    result = client.explain(IMAGE, figure=False)
    assert result.figure is None
    with pytest.raises(ValueError, match="figure=True"):
        result.save_png(tmp_path / "out.png")


def test_the_figure_can_be_had_alone(client: Client) -> None:
    assert client.png(IMAGE) == FIGURE


def test_two_images_are_compared(client: Client, plane: FakePlane) -> None:
    plane.explanation = make_explanation("compare")
    result = client.explain(IMAGE, b"other", kind="compare")
    assert (plane.calls[0].images, plane.calls[0].other) == ((IMAGE,), b"other")
    assert result.comparison is not None
    assert result.comparison.other.kind == "compare"
    assert client.png(IMAGE, b"other", kind="compare") == FIGURE
    with pytest.raises(InvalidRequest, match="other is required for kind compare"):
        client.explain(IMAGE, kind="compare")


def test_a_batch_is_explained_in_order(client: Client, plane: FakePlane) -> None:
    results = client.explain_batch([IMAGE, b"second"], [("tabby", 3), None], seed=2)
    assert (plane.calls[0].images, plane.calls[0].targets) == ((IMAGE, b"second"), (("tabby", 3), (None,)))
    assert [result.parameters["target"] for result in results] == ["tabby", 3, None]
    assert {result.request_id for result in results} == {plane.calls[0].request_id}
    assert results[0].figure is None


def test_a_batch_may_be_of_one_image_and_have_figures(client: Client, plane: FakePlane) -> None:
    (result,) = client.explain_batch([IMAGE], target=5, figure=True)
    assert plane.calls[0].targets == ((5,),)
    assert result.figure == FIGURE


def test_one_image_or_class_where_several_are_due_is_told_at_once(client: Client) -> None:
    with pytest.raises(TypeError, match="images must be a sequence with one entry per image, not str"):
        client.explain_batch("cat.jpg")
    with pytest.raises(TypeError, match="targets must be a sequence with one entry per image, not str"):
        client.explain_batch([IMAGE], "tabby")


def test_a_fault_in_a_batch_is_named(client: Client, plane: FakePlane) -> None:
    with pytest.raises(InvalidRequest, match="one entry per image: it has 1 and images has 2") as caught:
        client.explain_batch([IMAGE, IMAGE], [1])
    assert caught.value.field == "targets"
    plane.error = errors.NotAnImage("the file cannot be decoded as an image", field="images[1]")
    with pytest.raises(NotAnImage, match="cannot be decoded") as wrong:
        client.explain_batch([IMAGE, b"x"])
    assert wrong.value.field == "images[1]"


def test_models_and_readiness_are_told(client: Client, plane: FakePlane) -> None:
    told = client.models()[MODEL]
    assert (told["ready"], told["device"]) == (True, "cpu")
    assert client.model(MODEL) == {"name": MODEL, **told}
    with pytest.raises(UnknownModel, match="model 'made up' is not registered; registered: "):
        client.model("made up")
    assert client.ready()
    plane.is_ready = False
    assert not client.ready()


def test_what_an_explanation_would_cost_is_told(client: Client, plane: FakePlane) -> None:
    assert client.estimate(IMAGE, kind="fam") == Estimate(88, 1.5, 0.25, cached=False)
    assert client.estimate_batch([IMAGE, IMAGE]).forwards == 88
    assert [(asked.request.kind, len(asked.images)) for asked in plane.calls] == [("fam", 1), ("wcam", 2)]


def test_classes_are_predicted(client: Client) -> None:
    best = client.predict(IMAGE, model=MODEL, top_k=2)
    assert best == (Prediction(1, "class 1", 0.5), Prediction(0, "class 0", 0.25))
    assert client.predict_batch([IMAGE, IMAGE], top_k=1) == [best[:1]] * 2
    with pytest.raises(InvalidRequest, match="top_k"):
        client.predict(IMAGE, top_k=0)


def test_priority_and_freshness_arrive(url: str, plane: FakePlane) -> None:
    with Client(url, priority="batch") as client:
        client.explain(IMAGE, fresh=True)
        client.submit(IMAGE)
    assert [(asked.call.priority, asked.call.fresh) for asked in plane.calls] == [
        ("batch", True),
        ("batch", False),
    ]


class Door(NullAuthenticator):
    """Knows one key."""

    def caller(self, key: str | None) -> str:
        if key != "a key":
            raise errors.Unauthenticated("an API key is needed")
        return "somebody"


def test_a_key_opens_what_is_closed_without(plane: FakePlane) -> None:
    with serving(plane, Access(Door())) as url:
        with Client(url, api_key="a key") as client:
            assert client.explain(IMAGE).id == "an-id"
            assert client.submit(IMAGE).status().state == "queued"
        with Client(url) as client, pytest.raises(Unauthenticated, match="an API key is needed"):
            client.explain(IMAGE)
        with Client(url, api_key="another") as client, pytest.raises(Unauthenticated, match="is needed"):
            next(client.stream(IMAGE))
    assert {asked.call.caller for asked in plane.calls} == {"somebody"}


def test_an_explanation_is_told_while_it_is_computed(client: Client, plane: FakePlane) -> None:
    with client.stream(IMAGE, seed=3) as stream:
        *told, result = stream
    assert [event.forwards for event in told if isinstance(event, Progress)] == [0, 44]
    (partial,) = (event for event in told if isinstance(event, Partial))
    assert (partial.image, partial.forwards, partial.rows) == (0, 22, 2)
    np.testing.assert_array_equal(partial.indices.total, plane.explanation.indices.total)
    assert isinstance(result, Result)
    assert result.reply.request_id == plane.calls[0].request_id
    assert plane.calls[0].request.seed == 3
    *_, last = client.stream_batch([IMAGE, IMAGE], [("a", 1), None])
    assert len(last.reply) == 3


def test_a_refusal_of_a_stream_and_a_failure_within_are_the_same_errors(
    client: Client, plane: FakePlane
) -> None:
    with pytest.raises(UnknownModel, match="made up"):
        next(client.stream(IMAGE, model="made up"))
    crop = replace(plane.explanation.crop, left=float("nan"))  # found when the result is encoded
    plane.explanation = replace(plane.explanation, crop=crop)
    with pytest.raises(InternalError, match="internal error; see the log") as caught:
        list(client.stream(IMAGE))
    assert caught.value.status == 500


class Endless(FakePlane):
    """Streams one event, and then nothing until it is closed."""

    ended: threading.Event

    async def stream(self, request: Any, call: Any) -> AsyncGenerator[Any, None]:
        try:
            yield events.Progress(0, 88, 0.0, None)
            await asyncio.Event().wait()
        finally:
            self.ended.set()


@pytest.fixture
def endless(explanation: Explanation) -> Endless:
    plane = Endless(explanation)
    plane.ended = threading.Event()
    return plane


def test_leaving_a_stream_stops_the_work_behind_it(endless: Endless) -> None:
    with serving(endless) as url, Client(url) as client:
        with client.stream(IMAGE) as told:
            assert next(told) == Progress(0, 88, 0.0, None)
            assert not endless.ended.is_set()
        assert endless.ended.wait(timeout=DEADLINE_S)


def test_cancelling_a_task_stops_the_work_behind_its_stream(endless: Endless) -> None:
    async def leave(url: str) -> None:
        async with AsyncClient(url) as client:
            begun = asyncio.Event()

            async def watch() -> None:
                async for _ in client.stream(IMAGE):
                    begun.set()

            task = asyncio.create_task(watch())
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(endless.ended.wait, 10)

    with serving(endless) as url:
        asyncio.run(leave(url))


def test_a_job_is_submitted_watched_and_read(client: Client, plane: FakePlane) -> None:
    job = client.submit(IMAGE, seed=7)
    assert repr(job) == "Job('job-1')"
    assert (job.status().state, job.status().created_at) == ("queued", datetime.fromtimestamp(1000, UTC))
    with pytest.raises(JobUnfinished, match="is queued"):
        job.result()
    assert [(status.state, status.forwards) for status in job.watch()] == [
        ("queued", 0),
        ("running", 44),
        ("succeeded", 88),
    ]
    assert job.wait(timeout_s=0).finished_at == datetime.fromtimestamp(1002.5, UTC)
    found = client.job("job-1").result(figure=True)
    assert (found.parameters["seed"], found.figure) == (7, FIGURE)
    assert plane.calls[0].request.seed == 7


def test_a_job_of_a_batch_has_a_list_for_its_result(client: Client, plane: FakePlane) -> None:
    job = client.submit_batch([IMAGE, IMAGE], [("a", 1), None])
    assert job.status().images == 2
    plane.finish(job.id)
    assert [found.parameters["target"] for found in job.result()] == ["a", 1, None]


def test_a_job_can_be_cancelled(client: Client) -> None:
    job = client.submit(IMAGE)
    assert job.cancel().state == job.wait().state == "cancelled"
    with pytest.raises(JobCancelled, match="was cancelled"):
        job.result()
    with pytest.raises(UnknownJob, match="no job is 'other'"):
        client.job("other").status()


def test_a_job_that_failed_says_why_and_is_not_asked_for_again(client: Client, plane: FakePlane) -> None:
    job = client.submit(IMAGE)
    problem = {"code": "model_unavailable", "message": "no replica answers", "field": None, "limits": {}}
    plane.jobs[job.id] = replace(plane.jobs[job.id], state="failed", error=problem)
    with pytest.raises(JobFailed, match="the job failed: no replica answers") as caught:
        job.result()
    assert (caught.value.status, caught.value.limits) == (409, {"problem": problem})
    assert job.status().error == problem


def test_an_idempotency_key_gives_the_same_job(client: Client) -> None:
    first, second, other = (client.submit(IMAGE, idempotency_key=key) for key in ("a", "a", None))
    assert first.id == second.id != other.id


def test_the_asynchronous_client_does_all_of_it(url: str, plane: FakePlane) -> None:
    async def run() -> None:
        async with AsyncClient(url) as client:
            first, second = await asyncio.gather(client.explain(IMAGE, seed=1), client.explain(IMAGE, seed=2))
            assert (first.parameters["seed"], second.parameters["seed"]) == (1, 2)
            assert await client.png(IMAGE) == FIGURE
            assert len(await client.explain_batch([IMAGE, IMAGE])) == 2
            told = [event async for event in client.stream(IMAGE)]
            assert isinstance(told[-1], Result)
            assert (await client.estimate(IMAGE)).forwards == (await client.estimate_batch([IMAGE])).forwards
            assert (await client.predict(IMAGE))[0].index == (await client.predict_batch([IMAGE]))[0][0].index
            assert (await client.model(MODEL))["ready"] == (await client.models())[MODEL]["ready"]
            assert await client.ready()
            job = await client.submit(IMAGE)
            assert [status.state async for status in job.watch()] == ["queued", "running", "succeeded"]
            assert (await job.wait()).ended
            assert (await job.status()).ended
            assert (await job.result()).id == "an-id"
            batch = await client.submit_batch([IMAGE])
            assert (await batch.cancel()).state == "cancelled"
            with pytest.raises(JobCancelled, match="was cancelled"):
                await client.job(batch.id).result()
            with pytest.raises(TypeError, match="images must be a sequence"):
                await client.explain_batch("cat.jpg")

    asyncio.run(run())
    assert plane.calls


def test_refusals_are_errors_that_carry_data(client: Client, plane: FakePlane) -> None:
    with pytest.raises(InvalidRequest, match="levels must be at least 1, not 0") as wrong:
        client.explain(IMAGE, levels=0)
    assert (wrong.value.field, wrong.value.limits, wrong.value.status) == ("levels", {"minimum": 1}, 422)
    with pytest.raises(UnknownModel, match="made up"):
        client.explain(IMAGE, model="made up")
    plane.error = errors.CostLimitExceeded("too many", field="nb_design", max_forwards=10)
    with pytest.raises(CostLimitExceeded, match="too many") as costly:
        client.explain(IMAGE)
    assert costly.value.limits == {"max_forwards": 10}
    assert costly.value.request_id == plane.calls[-1].request_id
    plane.error = ZeroDivisionError("secret")
    with pytest.raises(InternalError, match="internal error; see the log"):
        client.explain(IMAGE)


def test_a_body_over_the_limit_is_refused_over_a_socket(client: Client) -> None:
    with pytest.raises(TooLarge, match="larger than 100000 bytes"):
        client.explain(b"x" * 100_001)


def test_a_refused_connection_is_told(url: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        client = Client(address, retry=RetryPolicy(attempts=1))
        with client, pytest.raises(ConnectionFailed, match="no reply from"):
            client.models()


def test_a_call_is_repeated_until_it_is_answered() -> None:
    waits_s: list[float] = []
    script = Script(
        httpx.ConnectError("refused"),
        httpx.Response(503, headers={"Retry-After": "3"}, json={"code": "model_unavailable", "message": "m"}),
        httpx.Response(200, json=MODELS),
    )
    with Client("http://test", transport=script, sleep=waits_s.append) as client:
        assert client.models() == {"a": {"ready": True}}
    assert len(waits_s) == 2
    assert 0.25 <= waits_s[0] <= 0.5
    assert waits_s[1] == 3


def test_the_last_refusal_is_raised() -> None:
    busy = [httpx.Response(503, json={"code": "model_unavailable", "message": f"m{i}"}) for i in range(3)]
    waits_s: list[float] = []
    client = Client("http://test", transport=Script(*busy), sleep=waits_s.append, retry=RetryPolicy(3))
    with client, pytest.raises(Unavailable, match="m2"):
        client.explain(IMAGE)
    assert len(waits_s) == 2


def test_the_last_failure_is_raised() -> None:
    waits_s: list[float] = []
    script = Script(httpx.ReadError("reset"), httpx.ConnectTimeout("slow"))
    client = Client("http://test", transport=script, sleep=waits_s.append, retry=RetryPolicy(2))
    with client, pytest.raises(ConnectionFailed, match="no connection to http://test"):
        client.models()
    assert len(waits_s) == 1


def test_a_timeout_and_a_wrong_request_are_not_repeated() -> None:
    script = Script(
        httpx.ReadTimeout("slow"), httpx.Response(422, json={"code": "invalid_request", "message": "m"})
    )
    with Client("http://test", transport=script, sleep=pytest.fail) as client:
        with pytest.raises(TimedOut, match="within the time allowed"):
            client.explain(IMAGE)
        with pytest.raises(InvalidRequest, match="m"):
            client.explain(IMAGE)


def test_readiness_is_asked_once() -> None:
    script = Script(httpx.Response(503, json={}))
    with Client("http://test", transport=script, sleep=pytest.fail) as client:
        assert not client.ready()


def test_a_path_prefix_and_headers_are_sent() -> None:
    script = Script(httpx.Response(200, json=MODELS))
    with Client("http://test/prefix", transport=script, headers={"Authorization": "Bearer k"}) as client:
        client.models()
    assert str(script.requests[0].url) == "http://test/prefix/v1/models"
    assert script.requests[0].headers["authorization"] == "Bearer k"
