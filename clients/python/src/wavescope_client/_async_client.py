"""The asynchronous client."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self, Unpack

import httpx

from wavescope_client import _wire
from wavescope_client._async import AsyncJob, AsyncStream, Shell
from wavescope_client._calls import Top
from wavescope_client._flows import Flows, Question, batch, one
from wavescope_client._images import Image
from wavescope_client._retry import RetryPolicy
from wavescope_client._status import Estimate, Partial, Progress, Result
from wavescope_client._types import Explanation, PredictionFields, RequestFields, Target


class AsyncClient:
    """A Wavescope service, for asyncio: :class:`Client` with its methods to be awaited.

    Not awaited are ``stream``, ``stream_batch`` and ``job``. Arguments are those of :class:`Client`, ``transport`` and
    ``sleep`` asynchronous ones. Use it as an asynchronous context manager, or await :meth:`aclose`. Image files are
    read and encoded in a thread.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        priority: Literal["interactive", "batch"] | None = None,
        timeout_s: float = 300.0,
        headers: Mapping[str, str] | None = None,
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008  # frozen
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        options = _wire.options(url, api_key=api_key, priority=priority, timeout_s=timeout_s, headers=headers)
        self._flows = Flows(retry, clock)
        self._shell = Shell(httpx.AsyncClient(transport=transport, **options), sleep, self._flows)

    # ---- explanations ---------------------------------------------------------------------------
    async def explain(
        self,
        image: Image,
        other: Image | None = None,
        *,
        figure: bool = True,
        fresh: bool = False,
        **fields: Unpack[RequestFields],
    ) -> Explanation:
        question = one(image, other, **fields)
        return await self._shell.run(self._flows.explain(question, figure=figure, fresh=fresh))

    async def explain_batch(
        self,
        images: Sequence[Image],
        targets: Sequence[Target | Sequence[Target]] | None = None,
        *,
        figure: bool = False,
        fresh: bool = False,
        **fields: Unpack[RequestFields],
    ) -> list[Explanation]:
        question = batch(images, targets, **fields)
        return await self._shell.run(self._flows.explain_batch(question, figure=figure, fresh=fresh))

    async def png(
        self,
        image: Image,
        other: Image | None = None,
        *,
        fresh: bool = False,
        **fields: Unpack[RequestFields],
    ) -> bytes:
        return await self._shell.run(self._flows.png(one(image, other, **fields), fresh=fresh))

    def stream(
        self,
        image: Image,
        other: Image | None = None,
        *,
        fresh: bool = False,
        **fields: Unpack[RequestFields],
    ) -> AsyncStream[Progress | Partial | Result[Explanation]]:
        flow = self._flows.stream(one(image, other, **fields), fresh=fresh)
        return AsyncStream(self._shell.steps(), flow)

    def stream_batch(
        self,
        images: Sequence[Image],
        targets: Sequence[Target | Sequence[Target]] | None = None,
        *,
        fresh: bool = False,
        **fields: Unpack[RequestFields],
    ) -> AsyncStream[Progress | Partial | Result[list[Explanation]]]:
        flow = self._flows.stream(batch(images, targets, **fields), fresh=fresh)
        return AsyncStream(self._shell.steps(), flow)

    async def estimate(
        self, image: Image, other: Image | None = None, **fields: Unpack[RequestFields]
    ) -> Estimate:
        return await self._shell.run(self._flows.estimate(one(image, other, **fields)))

    async def estimate_batch(
        self,
        images: Sequence[Image],
        targets: Sequence[Target | Sequence[Target]] | None = None,
        **fields: Unpack[RequestFields],
    ) -> Estimate:
        return await self._shell.run(self._flows.estimate(batch(images, targets, **fields)))

    # ---- models ---------------------------------------------------------------------------------
    async def predict(self, image: Image, **fields: Unpack[PredictionFields]) -> Top:
        return await self._shell.run(self._flows.predict(one(image, **fields)))

    async def predict_batch(self, images: Sequence[Image], **fields: Unpack[PredictionFields]) -> list[Top]:
        return await self._shell.run(self._flows.predict_batch(batch(images, **fields)))

    async def models(self) -> dict[str, dict[str, Any]]:
        return await self._shell.run(self._flows.models())

    async def model(self, name: str) -> dict[str, Any]:
        return await self._shell.run(self._flows.model(name))

    async def ready(self) -> bool:
        return await self._shell.run(self._flows.ready())

    # ---- jobs -----------------------------------------------------------------------------------
    async def submit(
        self,
        image: Image,
        other: Image | None = None,
        *,
        fresh: bool = False,
        idempotency_key: str | None = None,
        **fields: Unpack[RequestFields],
    ) -> AsyncJob[Explanation]:
        return await self._submit(one(image, other, **fields), fresh, idempotency_key)

    async def submit_batch(
        self,
        images: Sequence[Image],
        targets: Sequence[Target | Sequence[Target]] | None = None,
        *,
        fresh: bool = False,
        idempotency_key: str | None = None,
        **fields: Unpack[RequestFields],
    ) -> AsyncJob[list[Explanation]]:
        return await self._submit(batch(images, targets, **fields), fresh, idempotency_key)

    def job(self, job_id: str) -> AsyncJob[Any]:
        return AsyncJob(self._shell, job_id)

    async def _submit(self, question: Question, fresh: bool, idempotency_key: str | None) -> AsyncJob[Any]:
        flow = self._flows.submit(question, fresh=fresh, idempotency_key=idempotency_key)
        return AsyncJob(self._shell, (await self._shell.run(flow)).id)

    # ---- connections ----------------------------------------------------------------------------
    async def aclose(self) -> None:
        await self._shell.http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()
