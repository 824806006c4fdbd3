"""Monitors on a Redis that is killed, has no memory left, or whose clock is set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis
from tests.store.servers import Clock, Place, RedisServer
from tests.store.test_monitors import claim, make, ordered, record, seen

from wavescope.errors import StoreUnavailable
from wavescope.store.redis import RedisStore

MakeRedis = Callable[..., RedisServer]


def connect(server: RedisServer, **options: Any) -> RedisStore:
    return RedisStore(server.url, result_bytes=0, **options)


def fill(store: RedisStore) -> None:
    """A monitor with entries that wait, that ended, and that are folded; w1 has its lease."""
    make(store)
    store.append_entries("birds", [seen("a"), seen("b"), ordered("c")])
    claim(store, lease_s=600.0)
    store.end_observation("birds", 1, "w1", b"result", keep=True)
    store.save_checkpoint("birds", "w1", folded=1, state=b"state", status=b"status")
    store.save_effects("birds", "w1", b"effects")
    store.count_events("birds", {"invalid": 1})


def read(store: RedisStore) -> Any:
    return (
        store.get_monitor("birds"),
        store.load_checkpoint("birds"),
        store.read_entries("birds", after=0, limit=100, payloads=True),
        store.read_results("birds", since=0.0, until=1e12, limit=100),
    )


def test_monitors_outlast_a_killed_server_that_writes_an_append_only_file(make_redis: MakeRedis) -> None:
    server = make_redis(options=("--appendonly", "yes", "--appendfsync", "always"))
    store = connect(server)
    fill(store)
    before = read(store)
    server.kill()
    for call in (
        lambda: store.append_entries("birds", [seen("d")]),
        lambda: store.get_payload("birds", 1),
        lambda: claim(store),
        store.list_monitors,
    ):
        with pytest.raises(StoreUnavailable, match="does not answer: ConnectionError"):
            call()
    server.start()
    assert read(store) == before
    assert store.append_entries("birds", [seen("a"), seen("d")]) == [("duplicate", 1), ("accepted", 4)]
    assert claim(store, "w2") is None
    assert store.renew_monitor("birds", "w1", 15.0)
    store.close()


def test_a_server_that_lost_the_log_refuses_the_state_of_a_longer_one(own_redis: RedisServer) -> None:
    store = connect(own_redis)
    fill(store)
    own_redis.kill()
    own_redis.start()
    assert store.list_monitors() == []
    make(store)
    assert claim(store) == "birds"
    assert not store.save_checkpoint("birds", "w1", folded=1, state=b"of the lost", status=b"")
    store.close()


def test_leases_are_timed_by_the_servers_clock(redis_place: Place) -> None:
    store = redis_place.open()
    make(store)
    assert claim(store, "w1", lease_s=600.0) == "birds"
    assert claim(store, "w2") is None
    assert store.renew_monitor("birds", "w1", 0.0)
    assert claim(store, "w2") == "birds"
    store.close()


def test_a_server_without_memory_left_refuses_whole_changes(own_redis: RedisServer) -> None:
    store = connect(own_redis)
    fill(store)
    make(store, "idle")
    with redis.Redis.from_url(own_redis.url) as client:

        def everything() -> dict[Any, Any]:
            return {key: client.dump(key) for key in sorted(client.keys())}

        before = everything()
        client.config_set("maxmemory", 1)
        for call in (
            lambda: store.create_monitor(record("new"), max_monitors=9),
            lambda: store.configure_monitor("birds", paused=True),
            lambda: store.append_entries("birds", [seen("a"), seen("d")]),
            lambda: store.append_entries("birds", [ordered("d")]),
            lambda: store.count_events("birds", {"invalid": 1}),
            lambda: store.end_observation("birds", 2, "w1", b"result"),
            lambda: store.purge_entries("birds", before=2),
            lambda: claim(store, "w2"),
            lambda: store.renew_monitor("birds", "w1", 15.0),
            lambda: store.release_monitor("birds", "w1"),
            lambda: store.save_checkpoint("birds", "w1", folded=2, state=b"", status=b""),
            lambda: store.save_effects("birds", "w1", b""),
        ):
            with pytest.raises(StoreUnavailable, match="no memory left"):
                call()
        assert everything() == before
        store.drop_payloads("birds", [1])  # what makes room goes on
        store.delete_monitor("idle")
        client.config_set("maxmemory", 0)
    assert store.append_entries("birds", [seen("d")]) == [("accepted", 4)]
    store.close()


def test_nothing_is_left_of_a_deleted_monitor_nor_of_purged_entries(
    redis_place: Place, redis_server: RedisServer
) -> None:
    store = redis_place.open()
    assert isinstance(store, RedisStore)
    with redis.Redis.from_url(redis_server.url) as client:

        def left() -> set[str]:
            keys = client.keys(f"{redis_place.prefix}*")
            assert isinstance(keys, list)
            return {key.decode().removeprefix(redis_place.prefix) for key in keys}

        fill(store)
        for seq in (2, 3):
            store.end_observation("birds", seq, "w1", b"result")
        store.save_checkpoint("birds", "w1", folded=3, state=b"", status=b"")
        assert store.purge_entries("birds", before=9) == 3
        kept = {"monitor:birds", "monitor-events:birds", "monitor-state:birds", "monitor-leases", "clock"}
        assert left() == kept
        store.append_entries("birds", [seen("e"), seen("f")])
        store.end_observation("birds", 4, "w1", b"result", keep=True)
        assert "monitor-payload:4:birds" in left()
        store.delete_monitor("birds")
        assert left() == {"clock"}
    store.close()


def test_claims_with_nothing_to_do_write_nothing(own_redis: RedisServer) -> None:
    clock = Clock()
    store = connect(own_redis, clock=clock)
    make(store)
    claim(store)
    store.release_monitor("birds", "w1")
    with redis.Redis.from_url(own_redis.url) as client:

        def changes() -> int:
            info = client.info("persistence")
            assert isinstance(info, dict)
            return info["rdb_changes_since_last_save"]

        before = changes()
        for _ in range(10):
            clock.pass_s(1.0)
            assert claim(store, wake_after_s=60.0) is None
        assert changes() == before
        clock.pass_s(55.0)
        assert claim(store, wake_after_s=60.0) == "birds"
        assert changes() > before
    store.close()


@pytest.mark.parametrize("hours", [-5, 5])
def test_a_servers_clock_that_is_set_moves_no_lease(redis_place: Place, hours: int) -> None:
    clock = Clock()
    store = redis_place.open(clock)
    make(store, "held", "idle")
    assert [claim(store, worker) for worker in ("w1", "w2")] == ["held", "idle"]
    store.release_monitor("idle", "w2")
    clock.pass_s(hours * 3600)
    assert claim(store, "w3", wake_after_s=30.0) is None
    clock.pass_s(14.0)
    assert claim(store, "w3", wake_after_s=30.0) is None
    assert store.renew_monitor("held", "w1", 15.0)
    clock.pass_s(14.0)
    assert claim(store, "w3", wake_after_s=30.0) is None
    clock.pass_s(3.0)
    make(store, "new")
    assert [claim(store, "w3", wake_after_s=30.0) for _ in range(2)] == ["new", "idle"]
    assert claim(store, "w3", wake_after_s=0.0) == "held"
    store.close()


def test_an_image_that_redis_evicted_is_read_as_deleted(
    redis_place: Place, redis_server: RedisServer
) -> None:
    store = redis_place.open()
    make(store)
    store.append_entries("birds", [seen("a")])
    with redis.Redis.from_url(redis_server.url) as client:
        client.delete(f"{redis_place.prefix}monitor-payload:1:birds")
    assert store.get_payload("birds", 1) is None
    assert store.read_entries("birds", after=0, limit=9, payloads=True)[0].payload is None
    claim(store)
    assert store.end_observation("birds", 1, "w1", b"failed")
    assert store.get_monitor("birds").pending == 0
    store.close()
