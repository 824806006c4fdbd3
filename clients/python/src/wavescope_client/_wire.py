"""Conversion of calls, replies and errors to and from those of httpx, for both clients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

from wavescope_client import _calls
from wavescope_client._calls import Call, Reply
from wavescope_client._errors import ConnectionFailed, InvalidReply, StreamBroken, TimedOut

CONNECT_TIMEOUT_S = 10.0


def client_options(
    url: str,
    *,
    api_key: str | None,
    priority: str | None,
    timeout_s: float,
    headers: Mapping[str, str] | None,
) -> dict[str, Any]:
    """Collect the arguments of ``httpx.Client`` and ``httpx.AsyncClient``.

    Raises:
        ValueError: the key is not printable ASCII.
    """
    return {
        "base_url": url,
        "timeout": httpx.Timeout(timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s)),
        "headers": _calls.build_headers(api_key, priority) | dict(headers or {}),
    }


def build_request(http: httpx.Client | httpx.AsyncClient, call: Call) -> httpx.Request:
    """Build the httpx request of a call."""
    timeout = http.timeout
    if call.silence_s is not None:
        read = call.silence_s if timeout.read is None else min(timeout.read, call.silence_s)
        timeout = httpx.Timeout(connect=timeout.connect, read=read, write=timeout.write, pool=timeout.pool)
    return http.build_request(
        call.method, call.path, headers=dict(call.headers), content=call.content or None, timeout=timeout
    )


def read_reply(response: httpx.Response, content: bytes = b"") -> Reply:
    """Convert an httpx response, or the head of one that is streamed."""
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Reply(response.status_code, headers, content)


@contextmanager
def translate_errors(url: httpx.URL) -> Iterator[None]:
    """Translate the errors of httpx for a reply that did not come.

    Raises:
        ConnectionFailed, TimedOut, InvalidReply: instead of the error of httpx.
    """
    try:
        yield
    except httpx.ConnectTimeout as error:
        raise ConnectionFailed(f"no connection to {url} in time") from error
    except httpx.TimeoutException as error:
        raise TimedOut(f"no reply from {url} within the time allowed") from error
    except httpx.TransportError as error:
        raise ConnectionFailed(f"no reply from {url}: {error}") from error
    except httpx.DecodingError as error:
        raise InvalidReply(f"the reply is not encoded as it says: {error}") from error


@contextmanager
def translate_stream_errors(url: httpx.URL) -> Iterator[None]:
    """Translate the errors of httpx for a stream that was cut.

    Raises:
        StreamBroken, InvalidReply: instead of the error of httpx.
    """
    try:
        yield
    except httpx.TimeoutException as error:
        raise StreamBroken(f"the stream from {url} fell silent") from error
    except httpx.TransportError as error:
        raise StreamBroken(f"the stream from {url} was cut: {error}") from error
    except httpx.DecodingError as error:
        raise InvalidReply(f"the reply is not encoded as it says: {error}") from error
