"""The client over httpx: sends calls, and tries again where the policy says so."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, Unpack

import httpx

from wavescope_client import _calls
from wavescope_client._errors import ConnectionFailed, TimedOut
from wavescope_client._images import Image, image_bytes
from wavescope_client._retry import RetryPolicy
from wavescope_client._types import Explanation, RequestFields, Target

CONNECT_TIMEOUT_S = 10.0


class Client:
    """A Wavescope service.

    Holds connections open: use it as a context manager, or call :meth:`close`. Threads may share it.

    Args:
        url: of the service, such as ``http://127.0.0.1:8000``; may have a path prefix.
        timeout_s: for one reply; an explanation takes seconds to minutes.
        headers: sent with every request.
        retry: when to try again.
        transport: of httpx, for proxies and tests.
        sleep: waits for so many seconds between tries.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = 300.0,
        headers: Mapping[str, str] | None = None,
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008  # frozen
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._http = httpx.Client(
            base_url=url,
            timeout=httpx.Timeout(timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s)),
            headers=dict(headers or {}),
            transport=transport,
        )
        self._retry = retry
        self._sleep = sleep

    def explain(
        self,
        image: Image,
        other: Image | None = None,
        *,
        figure: bool = True,
        **fields: Unpack[RequestFields],
    ) -> Explanation:
        """Explain an image.

        Args:
            image: path of a file, its bytes, a Pillow image, or an array (height, width[, channels]) of uint8
                or uint16.
            other: the image to compare with; for ``kind="compare"``, which needs it.
            figure: ask for the figure as well, so that ``save_png`` costs no second computation.
            **fields: of the request; what is left out has the service's default for the kind.

        Raises:
            ServiceError: the service refused; the class says why.
            ConnectionFailed, TimedOut, InvalidReply: no usable reply.
        """
        return _calls.parse_explanation(self._explain(_parts(image, other), fields, _accept(figure)))

    def explain_batch(
        self,
        images: Sequence[Image],
        targets: Sequence[Target | Sequence[Target]] | None = None,
        *,
        figure: bool = False,
        **fields: Unpack[RequestFields],
    ) -> list[Explanation]:
        """Explain several images, each for one or several classes, in one request.

        Classes of one image are scored in the same pass: a further one costs almost nothing.

        Args:
            images: each as in :meth:`explain`.
            targets: one entry per image: a class, a sequence of classes, or ``None`` for the predicted class. Without
                them every image is explained for the field ``target``, or for its own predicted class.
            figure: ask for the figures as well.
            **fields: of the request, for every image.

        Returns:
            One explanation per image and class: image by image, and within an image class by class.

        Raises:
            TypeError: one image or one class where a sequence is due.
            ServiceError: as :meth:`explain`; ``field`` names an image at fault, such as ``images[1]``.
        """
        for name, given in (("images", images), ("targets", targets)):
            if isinstance(given, str | bytes):  # sequences as well, of letters
                raise TypeError(
                    f"{name} must be a sequence with one entry per image, not {type(given).__name__}"
                )
        request: dict[str, Any] = {**fields}
        if targets is not None:
            request["targets"] = [_entry(entry) for entry in targets]
        parts = [("images", image_bytes(image)) for image in images]
        return _calls.parse_batch(self._explain(parts, request, _accept(figure)))

    def png(self, image: Image, other: Image | None = None, **fields: Unpack[RequestFields]) -> bytes:
        """The figure alone, as the bytes of a PNG file; arguments and errors as :meth:`explain`."""
        return _calls.parse_png(self._explain(_parts(image, other), fields, "image/png"))

    def models(self) -> dict[str, dict[str, Any]]:
        """Details of the registered models by name; errors as :meth:`explain`."""
        return _calls.parse_models(self._send(_calls.Call("GET", "/v1/models")))

    def ready(self) -> bool:
        """Whether a model can score now; asks once. Errors as :meth:`explain`."""
        return _calls.parse_ready(self._send_once(_calls.Call("GET", "/readyz")))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _explain(
        self, images: Sequence[tuple[str, bytes]], fields: Mapping[str, Any], accept: str
    ) -> _calls.Reply:
        return self._send(_calls.build_explain(images, fields, accept=accept))

    def _send(self, call: _calls.Call) -> _calls.Reply:
        """The reply to a call, after as many tries as the policy allows."""
        attempt = 0
        while True:
            attempt += 1
            reply, failure = None, None
            try:
                reply = self._send_once(call)
            except ConnectionFailed as error:
                failure = error
            status, headers = (reply.status, reply.headers) if reply is not None else (None, {})
            delay_s = self._retry.next_delay_s(attempt, status, headers, random.random())
            if delay_s is not None:
                self._sleep(delay_s)
            elif reply is not None:
                return reply
            elif failure is not None:
                raise failure

    def _send_once(self, call: _calls.Call) -> _calls.Reply:
        try:
            response = self._http.request(
                call.method, call.path, headers=dict(call.headers), content=call.content or None
            )
        except httpx.ConnectTimeout as error:
            raise ConnectionFailed(f"no connection to {self._http.base_url} in time") from error
        except httpx.TimeoutException as error:
            raise TimedOut(f"no reply from {self._http.base_url} within the time allowed") from error
        except httpx.TransportError as error:
            raise ConnectionFailed(f"no reply from {self._http.base_url}: {error}") from error
        headers = {name.lower(): value for name, value in response.headers.items()}
        return _calls.Reply(response.status_code, headers, response.content)


def _accept(figure: bool) -> str:
    return "application/json; figure=png" if figure else "application/json"


def _parts(image: Image, other: Image | None) -> list[tuple[str, bytes]]:
    given = {"image": image} if other is None else {"image": image, "other": other}
    return [(name, image_bytes(content)) for name, content in given.items()]


def _entry(entry: Target | Sequence[Target]) -> Target | list[Target]:
    """An entry of ``targets`` as JSON has it; a name is a sequence too, and one class."""
    return entry if entry is None or isinstance(entry, int | str) else list(entry)
