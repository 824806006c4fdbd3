"""The asynchronous client."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self, Unpack

import httpx

from wavescope_client import _wire
from wavescope_client._async import AsyncJob, AsyncStream, Session
from wavescope_client._calls import Top
from wavescope_client._flows import Flows, ImageRequest, for_batch, for_image
from wavescope_client._images import Image
from wavescope_client._retry import RetryPolicy
from wavescope_client._status import Estimate, Partial, Progress, Result
from wavescope_client._types import Explanation, PredictionFields, RequestFields, Target


class AsyncClient:
    """Client of a Wavescope service for asyncio.

    It has the methods of :class:`Client`, to be awaited, except ``stream``, ``stream_batch`` and ``job``, which send no
    request by themselves. Use it as an asynchronous context manager, or await :meth:`aclose`. Image files are read and
    encoded in a thread, so that the event loop goes on.

    Usage:

        >>> async with AsyncClient("http://127.0.0.1:8000") as client:
        ...     cat, dog = await asyncio.gather(client.explain("cat.jpg"), client.explain("dog.jpg"))
        >>> cat.target.label, dog.target.label
        ('tabby', 'beagle')

    Args:
        url: address of the service, such as ``http://127.0.0.1:8000``; it may have a path prefix.
        api_key: key that is sent with every request; printable ASCII. The environment is not read.
        priority: the service computes interactive requests before batch ones; ``None`` for its default.
        timeout_s: longest wait for one reply, in seconds; an explanation takes seconds to minutes.
        headers: further headers, sent with every request.
        retry: when a request is sent again.
        transport: asynchronous transport of httpx, for proxies and tests.
        sleep: waits for a number of seconds between two tries; awaited.
        clock: reads a monotonic clock, in seconds.

    Raises:
        ValueError: the key is not printable ASCII.
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
        options = _wire.client_options(
            url, api_key=api_key, priority=priority, timeout_s=timeout_s, headers=headers
        )
        self._flows = Flows(retry, clock)
        self._session = Session(httpx.AsyncClient(transport=transport, **options), sleep, self._flows)

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
        """Explain the prediction for one image.

        Cancelling the task closes the connection, and the service stops the work that only it waited for.

        Args:
            image: path of a file, the bytes of a file, the file opened in binary mode, a Pillow image, or an array or
                tensor (height, width[, channels]) of uint8 or uint16.
            other: second image, which ``kind="compare"`` needs and no other kind takes.
            figure: whether the reply brings the figure, so that ``save_png`` costs no second computation.
            fresh: whether the service computes the explanation even if it has a cached one.
            **fields: fields of the request, see :class:`RequestFields`; the service has a default for each.

        Returns:
            The explanation.

        Raises:
            ServiceError: the service refused the request; the subclass says why.
            ConnectionFailed, TimedOut, InvalidReply: there is no usable reply.
            TypeError, ValueError, OSError: the image cannot be read or encoded.

        Example:
            >>> explanation = await client.explain("cat.jpg", seed=1)
            >>> explanation.target.label
            'tabby'
        """
        request = for_image(image, other, **fields)
        return await self._session.run(self._flows.explain(request, figure=figure, fresh=fresh))

    async def explain_batch(
        self,
        images: Sequence[Image],
        targets: Sequence[Target | Sequence[Target]] | None = None,
        *,
        figure: bool = False,
        fresh: bool = False,
        **fields: Unpack[RequestFields],
    ) -> list[Explanation]:
        """Explain several images, each for one or several classes, in one request.

        Args:
            images: images as in :meth:`explain`.
            targets: one entry per image: a class, a sequence of classes, or ``None`` for the predicted class.
            figure: whether the reply brings the figures.
            fresh: whether the service computes the explanations even if it has cached ones.
            **fields: fields of the request, the same for every image.

        Returns:
            One explanation per image and class: image by image, and within an image class by class.

        Raises:
            TypeError: one image or one class where a sequence is due.
            ServiceError: the service refused the request; ``field`` names an image at fault, such as ``images[1]``.
            ConnectionFailed, TimedOut, InvalidReply: there is no usable reply.

        Example:
            >>> explanations = await client.explain_batch(["cat.jpg", "dog.jpg"], targets=["lynx", None])
            >>> [explanation.target.label for explanation in explanations]
            ['lynx', 'beagle']
        """
        request = for_batch(images, targets, **fields)
        return await self._session.run(self._flows.explain_batch(request, figure=figure, fresh=fresh))

    async def png(
        self,
        image: Image,
        other: Image | None = None,
        *,
        fresh: bool = False,
        **fields: Unpack[RequestFields],
    ) -> bytes:
        r"""Explain an image and return the figure alone.

        Args:
            image: image as in :meth:`explain`.
            other: second image, for ``kind="compare"``.
            fresh: whether the service computes the explanation even if it has a cached one.
            **fields: fields of the request.

        Returns:
            The bytes of a PNG file.

        Raises:
            ServiceError: the service refused the request.
            ConnectionFailed, TimedOut, InvalidReply: there is no usable reply.

        Example:
            >>> figure = await client.png("cat.jpg", kind="sobol", baseline="blur")
            >>> figure[:4]
            b'\x89PNG'
        """
        return await self._session.run(self._flows.png(for_image(image, other, **fields), fresh=fresh))

    def stream(
        self,
        image: Image,
        other: Image | None = None,
        *,
        fresh: bool = False,
        **fields: Unpack[RequestFields],
    ) -> AsyncStream[Progress | Partial | Result[Explanation]]:
        """Explain an image and follow its progress; not awaited.

        The request is sent when the first event is asked for.

        Args:
            image: image as in :meth:`explain`.
            other: second image, for ``kind="compare"``.
            fresh: whether the service computes the explanation even if it has a cached one.
            **fields: fields of the request.

        Returns:
            An asynchronous iterator over :class:`Progress` and :class:`Partial` events, which ends with one
            :class:`Result`. It raises what :meth:`explain` raises, and :class:`StreamBroken` where the connection is
            cut before the end.

        Example:
            >>> async with client.stream("cat.jpg") as events:
            ...     async for event in events:
            ...         if isinstance(event, Progress):
            ...             print(f"{event.forwards} of at most {event.planned} forwards")
            0 of at most 628 forwards
            314 of at most 628 forwards
            >>> event.reply.target.label
            'tabby'
        """
        flow = self._flows.stream(for_image(image, other, **fields), fresh=fresh)
        return AsyncStream(self._session.driver(), flow)

    def stream_batch(
        self,
        images: Sequence[Image],
        targets: Sequence[Target | Sequence[Target]] | None = None,
        *,
        fresh: bool = False,
        **fields: Unpack[RequestFields],
    ) -> AsyncStream[Progress | Partial | Result[list[Explanation]]]:
        """Explain several images and follow their progress; not awaited.

        Args:
            images: images as in :meth:`explain`.
            targets: one entry per image, as in :meth:`explain_batch`.
            fresh: whether the service computes the explanations even if it has cached ones.
            **fields: fields of the request, the same for every image.

        Returns:
            An asynchronous iterator as in :meth:`stream`; the :class:`Result` holds a list, as :meth:`explain_batch`
            returns it.

        Raises:
            TypeError: one image or one class where a sequence is due.

        Example:
            >>> events = [event async for event in client.stream_batch(["cat.jpg", "dog.jpg"])]
            >>> [explanation.target.label for explanation in events[-1].reply]
            ['tabby', 'beagle']
        """
        flow = self._flows.stream(for_batch(images, targets, **fields), fresh=fresh)
        return AsyncStream(self._session.driver(), flow)

    async def estimate(
        self, image: Image, other: Image | None = None, **fields: Unpack[RequestFields]
    ) -> Estimate:
        """Estimate the cost of an explanation; nothing is scored.

        Args:
            image: image as in :meth:`explain`.
            other: second image, for ``kind="compare"``.
            **fields: fields of the request.

        Returns:
            Forwards, expected seconds, and whether the service has the result already.

        Raises:
            ServiceError: the service would refuse the request.
            ConnectionFailed, TimedOut, InvalidReply: there is no usable reply.

        Example:
            >>> (await client.estimate("cat.jpg")).expected_s
            1.5
        """
        return await self._session.run(self._flows.estimate(for_image(image, other, **fields)))

    async def estimate_batch(
        self,
        images: Sequence[Image],
        targets: Sequence[Target | Sequence[Target]] | None = None,
        **fields: Unpack[RequestFields],
    ) -> Estimate:
        """Estimate the cost of explaining several images; nothing is scored.

        Args:
            images: images as in :meth:`explain`.
            targets: one entry per image, as in :meth:`explain_batch`.
            **fields: fields of the request, the same for every image.

        Returns:
            The estimate for the whole batch.

        Raises:
            TypeError: one image or one class where a sequence is due.
            ServiceError: the service would refuse the request.
            ConnectionFailed, TimedOut, InvalidReply: there is no usable reply.

        Example:
            >>> (await client.estimate_batch(["cat.jpg", "dog.jpg"])).forwards
            1256
        """
        return await self._session.run(self._flows.estimate(for_batch(images, targets, **fields)))

    # ---- models ---------------------------------------------------------------------------------
    async def predict(self, image: Image, **fields: Unpack[PredictionFields]) -> Top:
        """Classify an image, after the model's own preprocessing.

        Args:
            image: image as in :meth:`explain`.
            **fields: ``model``, and ``top_k``, the number of classes; the service has defaults.

        Returns:
            The most probable classes, the most probable first.

        Raises:
            ServiceError: the service refused the request.
            ConnectionFailed, TimedOut, InvalidReply: there is no usable reply.

        Example:
            >>> [prediction.label for prediction in await client.predict("cat.jpg", top_k=2)]
            ['tabby', 'Egyptian cat']
        """
        return await self._session.run(self._flows.predict(for_image(image, **fields)))

    async def predict_batch(self, images: Sequence[Image], **fields: Unpack[PredictionFields]) -> list[Top]:
        """Classify several images in one request.

        Args:
            images: images as in :meth:`explain`.
            **fields: ``model`` and ``top_k``, as in :meth:`predict`.

        Returns:
            For each image, in order, its most probable classes.

        Raises:
            TypeError: one image where a sequence is due.
            ServiceError: the service refused the request.
            ConnectionFailed, TimedOut, InvalidReply: there is no usable reply.

        Example:
            >>> [len(top) for top in await client.predict_batch(["cat.jpg", "cat.jpg"], top_k=3)]
            [3, 3]
        """
        return await self._session.run(self._flows.predict_batch(for_batch(images, **fields)))

    async def models(self) -> dict[str, dict[str, Any]]:
        """List the registered models.

        Returns:
            Details by model name, each as :meth:`model` returns them.

        Raises:
            ServiceError: the service refused the request.
            ConnectionFailed, TimedOut, InvalidReply: there is no usable reply.

        Example:
            >>> [name for name, details in (await client.models()).items() if details["ready"]]
            ['efficientnet-lite0']
        """
        return await self._session.run(self._flows.models())

    async def model(self, name: str) -> dict[str, Any]:
        """Describe one model.

        Args:
            name: name of the model in the registry.

        Returns:
            Its ``name``, ``state``, ``device``, ``precision``, whether it has ``gradients``, and other details.

        Raises:
            UnknownModel: no model of that name is registered.
            ServiceError: the service refused the request.
            ConnectionFailed, TimedOut, InvalidReply: there is no usable reply.

        Example:
            >>> (await client.model("efficientnet-lite0"))["state"]
            'ready'
        """
        return await self._session.run(self._flows.model(name))

    async def ready(self) -> bool:
        """Check whether a model can score now; the service is asked once, without retries.

        Returns:
            Whether the service is ready.

        Raises:
            ServiceError: the service answered neither yes nor no.
            ConnectionFailed, TimedOut: there is no reply.

        Example:
            >>> await client.ready()
            True
        """
        return await self._session.run(self._flows.ready())

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
        """Submit a job that explains one image.

        The service finishes the job even if this client, a connection or one of the service's processes dies.

        Args:
            image: image as in :meth:`explain`.
            other: second image, for ``kind="compare"``.
            fresh: whether the service computes the explanation even if it has a cached one.
            idempotency_key: 1 to 128 printable ASCII characters; the service takes requests with the same key as the
                same job. By default every call makes a key of its own, so that a retry leaves no second job behind.
            **fields: fields of the request.

        Returns:
            The job.

        Raises:
            ValueError: the key is not printable ASCII.
            IdempotencyConflict: the key was used for another request.
            ServiceError: the service refused the request.
            ConnectionFailed, TimedOut, InvalidReply: there is no usable reply.

        Example:
            >>> job = await client.submit("cat.jpg", plan="full")
            >>> async for status in job.watch():
            ...     print(status.state)
            queued
            running
            succeeded
            >>> (await job.result()).target.label
            'tabby'
        """
        return await self._submit(for_image(image, other, **fields), fresh, idempotency_key)

    async def submit_batch(
        self,
        images: Sequence[Image],
        targets: Sequence[Target | Sequence[Target]] | None = None,
        *,
        fresh: bool = False,
        idempotency_key: str | None = None,
        **fields: Unpack[RequestFields],
    ) -> AsyncJob[list[Explanation]]:
        """Submit one job that explains several images.

        Args:
            images: images as in :meth:`explain`.
            targets: one entry per image, as in :meth:`explain_batch`.
            fresh: whether the service computes the explanations even if it has cached ones.
            idempotency_key: key of the request, as in :meth:`submit`.
            **fields: fields of the request, the same for every image.

        Returns:
            The job; its result is a list, as :meth:`explain_batch` returns it.

        Raises:
            TypeError: one image or one class where a sequence is due.
            ValueError: the key is not printable ASCII.
            IdempotencyConflict: the key was used for another request.
            ServiceError: the service refused the request.
            ConnectionFailed, TimedOut, InvalidReply: there is no usable reply.

        Example:
            >>> job = await client.submit_batch(["cat.jpg", "dog.jpg"])
            >>> (await job.status()).images
            2
        """
        return await self._submit(for_batch(images, targets, **fields), fresh, idempotency_key)

    def job(self, job_id: str) -> AsyncJob[Any]:
        """Refer to a job by its id, wherever it was submitted; not awaited, no request is sent.

        Args:
            job_id: id of the job, :attr:`AsyncJob.id`.

        Returns:
            The job, whether or not the service knows it.

        Example:
            >>> submitted = await client.submit("cat.jpg")
            >>> (await client.job(submitted.id).status()).state
            'queued'
        """
        return AsyncJob(self._session, job_id)

    async def _submit(self, request: ImageRequest, fresh: bool, idempotency_key: str | None) -> AsyncJob[Any]:
        flow = self._flows.submit(request, fresh=fresh, idempotency_key=idempotency_key)
        return AsyncJob(self._session, (await self._session.run(flow)).id)

    # ---- connections ----------------------------------------------------------------------------
    async def aclose(self) -> None:
        """Close the connections; leaving the ``async with`` block does the same.

        Example:
            >>> client = AsyncClient("http://127.0.0.1:8000")
            >>> await client.ready()
            True
            >>> await client.aclose()
        """
        await self._session.http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()
