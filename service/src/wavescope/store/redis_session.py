"""Sessions of the Redis store: its connections, the Lua scripts that run on them, and errors in our words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import redis
from redis.backoff import ExponentialBackoff
from redis.connection import parse_url
from redis.retry import Retry

from wavescope.errors import InvalidRequest, StoreUnavailable

_PING_AFTER_S = 30  # a connection that was idle for longer is pinged before it is used
# Errors of Redis: their meaning in the words of our log.
_REASONS = {
    "OutOfMemoryError": "it has no memory left (maxmemory)",
    "ReadOnlyError": "it is a replica that only reads: name its primary",
    "BusyLoadingError": "it is reading its data, and serves soon",
    "NoPermissionError": "its user may not do this",
    "AuthenticationError": "it wants a password, or another one",
    "unauthenticated": "it wants a password, or another one",
    "OOM ": "it has no memory left (maxmemory)",
    "READONLY ": "it is a replica that only reads: name its primary",
    "MISCONF ": "it cannot write to its own disk",
}


class RedisSessions:
    """Connections to a server, made at the first call, and the scripts of a store.

    Args:
        url: ``redis://[[user]:password@]host[:port][/db]`` or ``rediss://…`` for TLS; never shown in messages.
        scripts: texts of the scripts, by name.
        prefix: prefix of all keys of the store.
        clock: reads the time in seconds since 1970, for tests; ``None`` for the server's clock.
        timeout_s: longest duration of a call, in seconds.
        results_timeout_s: the same for calls about cached results.

    Raises:
        InvalidRequest: the URL cannot be parsed.
    """

    def __init__(
        self,
        url: str,
        scripts: Mapping[str, str],
        *,
        prefix: str,
        clock: Callable[[], float] | None,
        timeout_s: float,
        results_timeout_s: float,
    ) -> None:
        self._prefix = prefix
        self._clock = clock
        options = _parse(url)
        self._pools = [
            _pool(options, within_s) for within_s in (timeout_s, min(timeout_s, results_timeout_s))
        ]
        # The library does not type replies by whether the client is asynchronous.
        clients: list[Any] = [redis.Redis(connection_pool=pool) for pool in self._pools]
        self._client, self._quick_client = clients
        self._scripts = {name: self._client.register_script(text) for name, text in scripts.items()}

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        """Translate the errors of Redis to :class:`StoreUnavailable`."""
        try:
            yield
        except redis.RedisError as error:
            # Its message may name hosts, which are no caller's business; it is chained for the log.
            raise StoreUnavailable(
                f"the store of jobs and results does not answer: {_reason(error)}"
            ) from error

    def _run(self, name: str, *arguments: Any, quick: bool = False) -> Any:
        """Run a script; ``quick`` for calls about cached results."""
        time = "" if self._clock is None else repr(self._clock())
        with self._translate_errors():
            return self._scripts[name](
                args=[self._prefix, time, *arguments], client=self._quick_client if quick else self._client
            )

    def close(self) -> None:
        for pool in self._pools:
            pool.disconnect()


def _parse(url: str) -> dict[str, Any]:
    """Parse a URL to the options of a connection."""
    try:
        options: dict[str, Any] = dict(parse_url(url))
    except ValueError:
        # Not chained: a part of the password may be in the message.
        raise InvalidRequest("store_url is no URL of a Redis server", field="store_url") from None
    user, password = options.pop("username", None), options.pop("password", None)
    if password is not None:
        # The representation of a pool shows its options, but not the content of a credential provider.
        options["credential_provider"] = redis.UsernamePasswordCredentialProvider(user, password)
    return options


def _pool(options: dict[str, Any], timeout_s: float) -> redis.ConnectionPool:
    """Make a pool on whose connections a call takes about ``timeout_s`` at most: to connect, ping and reply."""
    limits = {
        "socket_timeout": timeout_s / 2,
        "socket_connect_timeout": timeout_s / 4,
        # Only after a broken connection: a silent server would take as long again.
        "retry": Retry(ExponentialBackoff(base=0.02, cap=0.1), 1, supported_errors=(redis.ConnectionError,)),
        "health_check_interval": _PING_AFTER_S,
    }
    pool = redis.ConnectionPool(**limits | options)
    try:
        pool.connection_class(**pool.connection_kwargs)  # made, not connected: to check the options
    except TypeError as error:
        raise InvalidRequest(
            "store_url has an option that a connection to Redis does not know", field="store_url"
        ) from error
    return pool


def _reason(error: redis.RedisError) -> str:
    kind = type(error).__name__
    text = f"{kind} {error}"
    return next((f"{kind}, {meaning}" for word, meaning in _REASONS.items() if word in text), kind)
