"""The synchronous client."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self, Unpack

import httpx

from wavescope_client import _wire
from wavescope_client._calls import Top
from wavescope_client._flows import Flows, ImageRequest, for_batch, for_image
from wavescope_client._images import Image
from wavescope_client._retry import RetryPolicy
from wavescope_client._status import Estimate, Partial, Progress, Result
from wavescope_client._sync import Job, Session, Stream
from wavescope_client._types import Explanation, PredictionFields, RequestFields, Target


class Client:
    """Client of a Wavescope service.

    It holds connections open: use it as a context manager, or call :meth:`close`. Threads may share it.

    Every method that sends a request raises a subclass of :class:`ServiceError` where the service refuses it, such as
    :class:`InvalidRequest` or :class:`QueueFull`, and :class:`ConnectionFailed`, :class:`TimedOut` or
    :class:`InvalidReply` where there is no usable reply. The whole tree is in :mod:`wavescope_client._errors`.

    Usage:

        >>> with Client("http://127.0.0.1:8000") as client:
        ...     explanation = client.explain("cat.jpg", target="tabby")
        >>> explanation.target.label
        'tabby'
        >>> for level in explanation.levels:
        ...     print(level.scale_px, f"{level.share:.0%}")
        (8, None) 55%
        (4, 8) 21%
        (2, 4) 15%
        (1, 2) 9%

    Args:
        url: address of the service, such as ``http://127.0.0.1:8000``; it may have a path prefix.
        api_key: key that is sent with every request; printable ASCII. The environment is not read.
        priority: the service computes interactive requests before batch ones; ``None`` for its default.
        timeout_s: longest wait for one reply, in seconds; an explanation takes seconds to minutes.
        headers: further headers, sent with every request.
        retry: when a request is sent again.
        transport: transport of httpx, for proxies and tests.
        sleep: waits for a number of seconds between two tries.
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
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        options = _wire.client_options(
            url, api_key=api_key, priority=priority, timeout_s=timeout_s, headers=headers
        )
        self._flows = Flows(retry, clock)
        self._session = Session(httpx.Client(transport=transport, **options), sleep, self._flows)

    # ---- explanations ---------------------------------------------------------------------------
    def explain(
        self,
        image: Image,
        other: Image | None = None,
        *,
        figure: bool = True,
        fresh: bool = False,
        **fields: Unpack[RequestFields],
    ) -> Explanation:
        """Explain the prediction for one image.

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
            >>> explanation = client.explain("cat.jpg", levels=3)
            >>> explanation.target.label, explanation.forwards
            ('tabby', 628)
            >>> explanation.save_png("cat-explained.png").name
            'cat-explained.png'
            >>> comparison = client.explain("clean.jpg", "foggy.jpg", kind="compare").comparison
            >>> print(f"{comparison.scale_shift:.2f} of the importance moved to another scale")
            0.25 of the importance moved to another scale
        """
        request = for_image(image, other, **fields)
        return self._session.run(self._flows.explain(request, figure=figure, fresh=fresh))

    def explain_batch(
        self,
        images: Sequence[Image],
        targets: Sequence[Target | Sequence[Target]] | None = None,
        *,
        figure: bool = False,
        fresh: bool = False,
        **fields: Unpack[RequestFields],
    ) -> list[Explanation]:
        """Explain several images, each for one or several classes, in one request.

        All classes of an image are scored in the same pass: a further class costs almost nothing.
        With plan ``adaptive`` the first one decides what is scored, and has the numbers of :meth:`explain`; the others
        are explained from the same rows.

        Args:
            images: images as in :meth:`explain`.
            targets: one entry per image: a class, a sequence or array of classes, or ``None`` for the predicted
                class. Without ``targets`` every image is explained for the field ``target``, or for its own predicted
                class.
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
            >>> explanations = client.explain_batch(
            ...     ["cat.jpg", "dog.jpg"], targets=[["tabby", "Egyptian cat"], None]
            ... )
            >>> [explanation.target.label for explanation in explanations]
            ['tabby', 'Egyptian cat', 'beagle']
        """
        request = for_batch(images, targets, **fields)
        return self._session.run(self._flows.explain_batch(request, figure=figure, fresh=fresh))

    def png(
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
            >>> figure = client.png("cat.jpg", kind="fam")
            >>> figure[:4]
            b'\x89PNG'
        """
        return self._session.run(self._flows.png(for_image(image, other, **fields), fresh=fresh))

    def stream(
        self,
        image: Image,
        other: Image | None = None,
        *,
        fresh: bool = False,
        **fields: Unpack[RequestFields],
    ) -> Stream[Progress | Partial | Result[Explanation]]:
        """Explain an image and follow its progress.

        The request is sent when the first event is asked for.

        Args:
            image: image as in :meth:`explain`.
            other: second image, for ``kind="compare"``.
            fresh: whether the service computes the explanation even if it has a cached one.
            **fields: fields of the request.

        Returns:
            An iterator over :class:`Progress` and :class:`Partial` events, which ends with one :class:`Result`. It
            raises what :meth:`explain` raises, and :class:`StreamBroken` where the connection is cut before the end.

        Example:
            >>> with client.stream("cat.jpg") as events:
            ...     for event in events:
            ...         match event:
            ...             case Progress(forwards=forwards, planned=planned):
            ...                 print(f"{forwards} of at most {planned} forwards")
            ...             case Partial(indices=indices):
            ...                 print(f"largest index so far: factor {indices.total.argmax()}")
            ...             case Result(reply=explanation):
            ...                 print(explanation.target.label)
            0 of at most 628 forwards
            314 of at most 628 forwards
            largest index so far: factor 4
            tabby
        """
        flow = self._flows.stream(for_image(image, other, **fields), fresh=fresh)
        return Stream(self._session.driver(), flow)

    def stream_batch(
        self,
        images: Sequence[Image],
        targets: Sequence[Target | Sequence[Target]] | None = None,
        *,
        fresh: bool = False,
        **fields: Unpack[RequestFields],
    ) -> Stream[Progress | Partial | Result[list[Explanation]]]:
        """Explain several images and follow their progress.

        Args:
            images: images as in :meth:`explain`.
            targets: one entry per image, as in :meth:`explain_batch`.
            fresh: whether the service computes the explanations even if it has cached ones.
            **fields: fields of the request, the same for every image.

        Returns:
            An iterator as in :meth:`stream`; the :class:`Result` holds a list, as :meth:`explain_batch` returns it.

        Raises:
            TypeError: one image or one class where a sequence is due.

        Example:
            >>> *_, result = client.stream_batch(["cat.jpg", "dog.jpg"])
            >>> [explanation.target.label for explanation in result.reply]
            ['tabby', 'beagle']
        """
        flow = self._flows.stream(for_batch(images, targets, **fields), fresh=fresh)
        return Stream(self._session.driver(), flow)

    def estimate(self, image: Image, other: Image | None = None, **fields: Unpack[RequestFields]) -> Estimate:
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
            >>> client.estimate("cat.jpg", max_forwards=628)
            Estimate(forwards=628, expected_s=1.5, queue_s=0.25, cached=False)
        """
        return self._session.run(self._flows.estimate(for_image(image, other, **fields)))

    def estimate_batch(
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
            >>> client.estimate_batch(["cat.jpg", "dog.jpg"]).forwards
            1256
        """
        return self._session.run(self._flows.estimate(for_batch(images, targets, **fields)))

    # ---- models ---------------------------------------------------------------------------------
    def predict(self, image: Image, **fields: Unpack[PredictionFields]) -> Top:
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
            >>> for prediction in client.predict("cat.jpg", top_k=2):
            ...     print(prediction.label, prediction.probability)
            tabby 0.5
            Egyptian cat 0.25
        """
        return self._session.run(self._flows.predict(for_image(image, **fields)))

    def predict_batch(self, images: Sequence[Image], **fields: Unpack[PredictionFields]) -> list[Top]:
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
            >>> [best.label for (best,) in client.predict_batch(["cat.jpg", "cat.jpg"], top_k=1)]
            ['tabby', 'tabby']
        """
        return self._session.run(self._flows.predict_batch(for_batch(images, **fields)))

    def models(self) -> dict[str, dict[str, Any]]:
        """List the registered models.

        Returns:
            Details by model name, each as :meth:`model` returns them.

        Raises:
            ServiceError: the service refused the request.
            ConnectionFailed, TimedOut, InvalidReply: there is no usable reply.

        Example:
            >>> for name, details in client.models().items():
            ...     print(name, details["state"])
            efficientnet-lite0 ready
            other loading
        """
        return self._session.run(self._flows.models())

    def model(self, name: str) -> dict[str, Any]:
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
            >>> client.model("efficientnet-lite0")["device"]
            'cpu'
        """
        return self._session.run(self._flows.model(name))

    def ready(self) -> bool:
        """Check whether a model can score now; the service is asked once, without retries.

        Returns:
            Whether the service is ready.

        Raises:
            ServiceError: the service answered neither yes nor no.
            ConnectionFailed, TimedOut: there is no reply.

        Example:
            >>> client.ready()
            True
        """
        return self._session.run(self._flows.ready())

    # ---- jobs -----------------------------------------------------------------------------------
    def submit(
        self,
        image: Image,
        other: Image | None = None,
        *,
        fresh: bool = False,
        idempotency_key: str | None = None,
        **fields: Unpack[RequestFields],
    ) -> Job[Explanation]:
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
            >>> job = client.submit("cat.jpg", plan="full")
            >>> job.wait().state
            'succeeded'
            >>> job.result().target.label
            'tabby'
        """
        return self._submit(for_image(image, other, **fields), fresh, idempotency_key)

    def submit_batch(
        self,
        images: Sequence[Image],
        targets: Sequence[Target | Sequence[Target]] | None = None,
        *,
        fresh: bool = False,
        idempotency_key: str | None = None,
        **fields: Unpack[RequestFields],
    ) -> Job[list[Explanation]]:
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
            >>> job = client.submit_batch(["cat.jpg", "dog.jpg"], idempotency_key="cat and dog")
            >>> client.submit_batch(["cat.jpg", "dog.jpg"], idempotency_key="cat and dog").id == job.id
            True
        """
        return self._submit(for_batch(images, targets, **fields), fresh, idempotency_key)

    def job(self, job_id: str) -> Job[Any]:
        """Refer to a job by its id, wherever it was submitted; no request is sent.

        Args:
            job_id: id of the job, :attr:`Job.id`.

        Returns:
            The job, whether or not the service knows it.

        Example:
            >>> submitted = client.submit("cat.jpg")
            >>> client.job(submitted.id).status().state
            'queued'
        """
        return Job(self._session, job_id)

    def _submit(self, request: ImageRequest, fresh: bool, idempotency_key: str | None) -> Job[Any]:
        flow = self._flows.submit(request, fresh=fresh, idempotency_key=idempotency_key)
        return Job(self._session, self._session.run(flow).id)

    # ---- connections ----------------------------------------------------------------------------
    def close(self) -> None:
        """Close the connections; leaving the ``with`` block does the same.

        Example:
            >>> client = Client("http://127.0.0.1:8000")
            >>> client.ready()
            True
            >>> client.close()
        """
        self._session.http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
