"""The synchronous client."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self, Unpack

import httpx

from wavescope_client import _wire
from wavescope_client._calls import Top
from wavescope_client._flows import Flows, Question, batch, one
from wavescope_client._images import Image
from wavescope_client._retry import RetryPolicy
from wavescope_client._status import Estimate, Partial, Progress, Result
from wavescope_client._sync import Job, Shell, Stream
from wavescope_client._types import Explanation, PredictionFields, RequestFields, Target


class Client:
    """A Wavescope service.

    Holds connections open: use it as a context manager, or call :meth:`close`. Threads may share it.

    Args:
        url: of the service, such as ``http://127.0.0.1:8000``; may have a path prefix.
        api_key: sent with every request; printable ASCII. The environment is not read.
        priority: interactive requests go before those of a batch; ``None`` for the service's default.
        timeout_s: for one reply; an explanation takes seconds to minutes.
        headers: sent with every request.
        retry: when to try again.
        transport: of httpx, for proxies and tests.
        sleep: waits for so many seconds between tries.
        clock: seconds from some fixed moment.

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
        options = _wire.options(url, api_key=api_key, priority=priority, timeout_s=timeout_s, headers=headers)
        self._flows = Flows(retry, clock)
        self._shell = Shell(httpx.Client(transport=transport, **options), sleep, self._flows)

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
        """Explain an image.

        Args:
            image: path of a file, its bytes, a Pillow image, or an array (height, width[, channels]) of uint8
                or uint16.
            other: the image to compare with; for ``kind="compare"``, which needs it.
            figure: ask for the figure as well, so that ``save_png`` costs no second computation.
            fresh: have it computed anew even where the service has the result.
            **fields: of the request; what is left out has the service's default for the kind.

        Raises:
            ServiceError: the service refused; the class says why.
            ConnectionFailed, TimedOut, InvalidReply: no usable reply.
        """
        question = one(image, other, **fields)
        return self._shell.run(self._flows.explain(question, figure=figure, fresh=fresh))

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

        Classes of one image are scored in the same pass: a further one costs almost nothing.

        Args:
            images: each as in :meth:`explain`.
            targets: one entry per image: a class, a sequence of classes, or ``None`` for the predicted class. Without
                them every image is explained for the field ``target``, or for its own predicted class.
            figure: ask for the figures as well.
            fresh: as in :meth:`explain`.
            **fields: of the request, for every image.

        Returns:
            One explanation per image and class: image by image, and within an image class by class.

        Raises:
            TypeError: one image or one class where a sequence is due.
            ServiceError: as :meth:`explain`; ``field`` names an image at fault, such as ``images[1]``.
        """
        question = batch(images, targets, **fields)
        return self._shell.run(self._flows.explain_batch(question, figure=figure, fresh=fresh))

    def png(
        self,
        image: Image,
        other: Image | None = None,
        *,
        fresh: bool = False,
        **fields: Unpack[RequestFields],
    ) -> bytes:
        """The figure alone, as the bytes of a PNG file; arguments and errors as :meth:`explain`."""
        return self._shell.run(self._flows.png(one(image, other, **fields), fresh=fresh))

    def stream(
        self,
        image: Image,
        other: Image | None = None,
        *,
        fresh: bool = False,
        **fields: Unpack[RequestFields],
    ) -> Stream[Progress | Partial | Result[Explanation]]:
        """Explain an image, and be told on the way; the last event is the :class:`Result`.

        Arguments as :meth:`explain`. The request is sent when the first event is asked for.
        """
        flow = self._flows.stream(one(image, other, **fields), fresh=fresh)
        return Stream(self._shell.steps(), flow)

    def stream_batch(
        self,
        images: Sequence[Image],
        targets: Sequence[Target | Sequence[Target]] | None = None,
        *,
        fresh: bool = False,
        **fields: Unpack[RequestFields],
    ) -> Stream[Progress | Partial | Result[list[Explanation]]]:
        """The same for several images; arguments as :meth:`explain_batch`."""
        flow = self._flows.stream(batch(images, targets, **fields), fresh=fresh)
        return Stream(self._shell.steps(), flow)

    def estimate(self, image: Image, other: Image | None = None, **fields: Unpack[RequestFields]) -> Estimate:
        """What :meth:`explain` would cost; nothing is scored. Arguments and errors as there."""
        return self._shell.run(self._flows.estimate(one(image, other, **fields)))

    def estimate_batch(
        self,
        images: Sequence[Image],
        targets: Sequence[Target | Sequence[Target]] | None = None,
        **fields: Unpack[RequestFields],
    ) -> Estimate:
        """What :meth:`explain_batch` would cost; nothing is scored. Arguments and errors as there."""
        return self._shell.run(self._flows.estimate(batch(images, targets, **fields)))

    # ---- models ---------------------------------------------------------------------------------
    def predict(self, image: Image, **fields: Unpack[PredictionFields]) -> Top:
        """The most probable classes of an image, after the model's own preprocessing.

        Args:
            image: as in :meth:`explain`.
            **fields: ``model``, and ``top_k``, how many classes; the service has defaults.

        Raises:
            ServiceError, ConnectionFailed, TimedOut, InvalidReply: as :meth:`explain`.
        """
        return self._shell.run(self._flows.predict(one(image, **fields)))

    def predict_batch(self, images: Sequence[Image], **fields: Unpack[PredictionFields]) -> list[Top]:
        """The same for several images, in their order."""
        return self._shell.run(self._flows.predict_batch(batch(images, **fields)))

    def models(self) -> dict[str, dict[str, Any]]:
        """Details of the registered models by name; errors as :meth:`explain`."""
        return self._shell.run(self._flows.models())

    def model(self, name: str) -> dict[str, Any]:
        """Details of one model: ``state``, ``device``, ``precision`` and others; errors as :meth:`explain`."""
        return self._shell.run(self._flows.model(name))

    def ready(self) -> bool:
        """Whether a model can score now; asks once. Errors as :meth:`explain`."""
        return self._shell.run(self._flows.ready())

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
        """Have an image explained as a job, which the service does not lose and nobody has to wait for.

        Args:
            image, other, fresh, **fields: as in :meth:`explain`.
            idempotency_key: 1 to 128 printable ASCII characters; the service takes requests with the same one as the
                same job. By default every call makes a key of its own, so that no try of it leaves a second job behind.

        Raises:
            ValueError: the key is not printable ASCII.
            IdempotencyConflict: it was used for another request.
            ServiceError, ConnectionFailed, TimedOut, InvalidReply: as :meth:`explain`.
        """
        return self._submit(one(image, other, **fields), fresh, idempotency_key)

    def submit_batch(
        self,
        images: Sequence[Image],
        targets: Sequence[Target | Sequence[Target]] | None = None,
        *,
        fresh: bool = False,
        idempotency_key: str | None = None,
        **fields: Unpack[RequestFields],
    ) -> Job[list[Explanation]]:
        """The same for several images; arguments as :meth:`explain_batch`."""
        return self._submit(batch(images, targets, **fields), fresh, idempotency_key)

    def job(self, job_id: str) -> Job[Any]:
        """A job that was submitted before, here or elsewhere; asks nothing yet."""
        return Job(self._shell, job_id)

    def _submit(self, question: Question, fresh: bool, idempotency_key: str | None) -> Job[Any]:
        flow = self._flows.submit(question, fresh=fresh, idempotency_key=idempotency_key)
        return Job(self._shell, self._shell.run(flow).id)

    # ---- connections ----------------------------------------------------------------------------
    def close(self) -> None:
        """Close the connections."""
        self._shell.http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
