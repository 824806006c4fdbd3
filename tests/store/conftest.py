"""Both stores, Redis a real one, each test's own and gone after it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from tests.store.servers import Clock, Place, RedisServer

from wavescope.store.monitors import Monitors
from wavescope.store.protocols import Store


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def make_redis(tmp_path: Path) -> Iterator[Callable[..., RedisServer]]:
    """Starts servers that the test may kill."""
    servers: list[RedisServer] = []

    def make(**options: tuple[str, ...]) -> RedisServer:
        servers.append(RedisServer(tmp_path, **options))
        servers[-1].start()
        return servers[-1]

    yield make
    for server in servers:
        server.kill()


@pytest.fixture
def own_redis(make_redis: Callable[..., RedisServer]) -> RedisServer:
    """A server that the test may kill."""
    return make_redis()


@pytest.fixture
def redis_place(redis_server: RedisServer) -> Iterator[Place]:
    prefix = f"test-{secrets.token_hex(4)}:"
    yield Place("redis", redis_server.url, prefix)
    with redis.Redis.from_url(redis_server.url) as client:
        for key in client.scan_iter(match=f"{prefix}*"):
            client.delete(key)


@pytest.fixture
def sqlite_place(tmp_path: Path) -> Place:
    return Place("sqlite", str(tmp_path / "state" / "wavescope.db"))


@pytest.fixture(params=["sqlite", "redis"])
def place(request: pytest.FixtureRequest) -> Place:
    return request.getfixturevalue(f"{request.param}_place")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(place: Place, clock: Clock) -> Iterator[Store]:
    opened = place.open(clock)
    yield opened
    opened.close()


@pytest.fixture
def monitors(store: Store) -> Monitors:
    """The monitors of the store."""
    return store
