"""The client against a real service on a real socket, and against replies made up for it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import uvicorn
from tests.ingress.fakes import FIGURE, IMAGE, MODEL, Asked, FakePlane, make_app, make_explanation

from wavescope import errors
from wavescope.engine.types import ExplanationRequest
from wavescope_client import (
    Client,
    ConnectionFailed,
    CostLimitExceeded,
    InternalError,
    InvalidRequest,
    NotAnImage,
    RetryPolicy,
    TimedOut,
    TooLarge,
    Unavailable,
    UnknownModel,
)


class Server(uvicorn.Server):
    """Says when it listens, so that nobody has to ask again and again."""

    listening = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()


@pytest.fixture
def url(plane: FakePlane) -> Iterator[str]:
    """The address of a service that answers with the plane's explanation."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = Server(
        uvicorn.Config(make_app(plane, max_body_bytes=100_000), log_level="warning", lifespan="off")
    )
    server.listening = threading.Event()
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    assert server.listening.wait(timeout=10)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(timeout=10)
    listener.close()


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with Client(url, retry=RetryPolicy(attempts=1)) as client:
        yield client


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
    assert client.models()[MODEL] == {"ready": True, "device": "cpu"}
    assert client.ready()
    plane.is_ready = False
    assert not client.ready()


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


class Script(httpx.BaseTransport):
    """Answers with one reply or failure after the other."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


MODELS = {"models": ["a"], "details": {"a": {"ready": True}}}


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
