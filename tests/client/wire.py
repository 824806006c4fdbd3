"""Replies made up for the clients, a clock that only sleeping moves, and both clients behind one face."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import httpx

from wavescope_client import AsyncClient, AsyncStream, Client, Stream

MODELS = {"models": ["a"], "details": {"a": {"ready": True}}}


class Chunks(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body in these chunks, which an error may end; says whether it was closed."""

    def __init__(self, *chunks: bytes | Exception) -> None:
        self.chunks = chunks
        self.given = 0
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self.chunks:
            if isinstance(chunk, Exception):
                raise chunk
            self.given += 1
            yield chunk

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self:
            yield chunk

    def close(self) -> None:
        self.closed = True

    async def aclose(self) -> None:
        self.closed = True


class Script(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Answers with one reply or failure after the other."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.streamed: object = None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        self.streamed = answer.stream  # httpx puts a stream of its own around it
        return answer

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return self.handle_request(request)

    @property
    def body(self) -> Chunks:
        """The body of the last reply, which streams."""
        assert isinstance(self.streamed, Chunks)
        return self.streamed

    def paths(self) -> list[str]:
        return [f"{request.method} {request.url.raw_path.decode()}" for request in self.requests]


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.slept_s: list[float] = []

    def clock(self) -> float:
        return self.now_s

    def sleep(self, delay_s: float) -> None:
        self.slept_s.append(delay_s)
        self.now_s += delay_s

    async def asleep(self, delay_s: float) -> None:
        self.sleep(delay_s)


class Sync:
    """The synchronous client over a script."""

    def __init__(self, script: Script, **options: Any) -> None:
        self.script, self.time = script, Time()
        self.client = Client(
            "http://test", transport=script, sleep=self.time.sleep, clock=self.time.clock, **options
        )

    def call(self, name: str, *args: Any, **fields: Any) -> Any:
        return getattr(self.client, name)(*args, **fields)

    def job(self, name: str, *args: Any, **fields: Any) -> Any:
        return getattr(self.client.job("a job/1"), name)(*args, **fields)

    def ask(self, name: str, *args: Any, **fields: Any) -> Any:
        """What a method tells in the end, whether it is a stream or not."""
        given = self.call(name, *args, **fields)
        return self.take(given) if isinstance(given, Stream | AsyncStream) else given

    def take(self, stream: Stream[Any] | AsyncStream[Any], count: int | None = None) -> list[Any]:
        """What a stream tells, up to so many, then closed."""
        told: list[Any] = []
        assert isinstance(stream, Stream)
        with stream:
            for event in stream:
                told.append(event)
                if len(told) == count:
                    break
        return told


class Async(Sync):
    """The asynchronous one."""

    def __init__(self, script: Script, **options: Any) -> None:
        self.script, self.time = script, Time()
        self.loop = asyncio.Runner()
        self.async_client = AsyncClient(
            "http://test", transport=script, sleep=self.time.asleep, clock=self.time.clock, **options
        )

    def call(self, name: str, *args: Any, **fields: Any) -> Any:
        return self._awaited(getattr(self.async_client, name)(*args, **fields))

    def job(self, name: str, *args: Any, **fields: Any) -> Any:
        return self._awaited(getattr(self.async_client.job("a job/1"), name)(*args, **fields))

    def take(self, stream: Stream[Any] | AsyncStream[Any], count: int | None = None) -> list[Any]:
        async def take() -> list[Any]:
            told: list[Any] = []
            assert isinstance(stream, AsyncStream)
            async with stream:
                async for event in stream:
                    told.append(event)
                    if len(told) == count:
                        break
            return told

        return self.loop.run(take())

    def _awaited(self, given: Any) -> Any:
        return self.loop.run(given) if asyncio.iscoroutine(given) else given


def event(kind: str, content: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps(content)}\n\n".encode()


def events(*chunks: bytes | Exception) -> httpx.Response:
    """A reply that streams."""
    headers = {"Content-Type": "text/event-stream; charset=utf-8", "X-Request-ID": "r"}
    return httpx.Response(200, headers=headers, stream=Chunks(*chunks))


def refusal(status: int, code: str, headers: dict[str, str] | None = None) -> httpx.Response:
    return httpx.Response(status, headers=headers, json=problem(code))


def problem(code: str, **more: Any) -> dict[str, Any]:
    return {"code": code, "message": "m", "field": None, "limits": {}, "request_id": "q"} | more


def job(state: str = "queued", **changed: Any) -> dict[str, Any]:
    """A job as the service tells it."""
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).isoformat().replace("+00:00", "Z")
    told = {
        "id": "a job/1",
        "state": state,
        "kind": "wcam",
        "model": "m",
        "images": 1,
        "created_at": at,
        "started_at": None,
        "finished_at": None,
        "forwards": 0,
        "planned": 0,
        "eta_s": None,
        "error": None,
        "links": {"self": "/v1/jobs/1", "events": "/v1/jobs/1/events", "result": "/v1/jobs/1/result"},
    }
    return told | changed


def split(data: bytes, places: Sequence[int]) -> list[bytes]:
    """The same bytes, cut at these places."""
    cuts = sorted({place % (len(data) + 1) for place in places})
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
