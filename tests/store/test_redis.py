"""A server that forgets scripts, is killed, has no memory left, or wants a password."""

from __future__ import annotations

import subprocess
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import redis
from tests.programs import find_program
from tests.store.servers import Clock, Place, RedisServer
from tests.store.test_jobs import new

from wavescope.errors import InvalidRequest, StoreUnavailable
from wavescope.store import open_store
from wavescope.store.redis import RedisStore

MakeRedis = Callable[..., RedisServer]


def connect(server: RedisServer, **options: Any) -> RedisStore:
    return RedisStore(server.url, result_bytes=1000, **options)


def everything(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)) + repr(error)


def test_leases_are_told_by_the_servers_clock(redis_place: Place, redis_server: RedisServer) -> None:
    store = redis_place.open()
    with redis.Redis.from_url(redis_server.url) as client:
        seconds, _ = cast("tuple[int, int]", client.time())
    job, _ = store.submit(new("1"))
    assert seconds <= job.created_at < seconds + 60
    assert store.claim("w1", 600.0) is not None
    assert store.claim("w2", 600.0) is None
    assert store.heartbeat("1", "w1", 0.0, forwards=0, planned=0)
    assert store.claim("w2", 600.0) is not None
    store.close()


def test_a_server_that_forgot_the_scripts_is_told_them_again(
    redis_place: Place, redis_server: RedisServer
) -> None:
    store = redis_place.open()
    store.submit(new("1"))
    with redis.Redis.from_url(redis_server.url) as client:
        client.script_flush()
        assert store.claim("w1", 15.0) is not None
        client.script_flush()
    assert store.finish("1", "w1", b"done")
    store.close()


def test_connections_that_the_server_closed_are_made_anew(
    redis_place: Place, redis_server: RedisServer
) -> None:
    store = redis_place.open()
    store.submit(new("1"))
    with redis.Redis.from_url(redis_server.url) as client:
        client.client_kill_filter(_type="normal", skipme=True)
    assert store.get("1").state == "queued"
    store.close()


def test_a_killed_server_is_unavailable_and_serves_again_when_it_is_back(own_redis: RedisServer) -> None:
    store = connect(own_redis)
    store.submit(new("1"))
    own_redis.kill()
    for call in (lambda: store.get("1"), lambda: store.submit(new("2")), lambda: store.claim("w1", 15.0)):
        with pytest.raises(StoreUnavailable, match="does not answer: ConnectionError") as caught:
            call()
        assert isinstance(caught.value.__cause__, redis.ConnectionError)
    own_redis.start()
    assert store.count_unfinished() == 0  # it kept nothing
    assert store.submit(new("2"))[1]
    store.close()


def test_jobs_outlast_a_killed_server_that_writes_an_append_only_file(make_redis: MakeRedis) -> None:
    server = make_redis(options=("--appendonly", "yes", "--appendfsync", "always"))
    store = connect(server)
    store.submit(new("1", idempotency_key="k"))
    store.claim("w1", 600.0)
    store.save_chunk("1", "call", 0, b"scores")
    before = store.get("1")
    server.kill()
    server.start()
    assert store.get("1") == before
    assert store.load_chunks("1", "call") == [(0, b"scores")]
    assert store.claim("w2", 600.0) is None
    assert store.finish("1", "w1", b"done")
    assert store.result("1") == b"done"
    store.close()


def test_a_server_that_does_not_answer_in_time_is_unavailable(own_redis: RedisServer) -> None:
    store = connect(own_redis, timeout_s=0.1)
    store.submit(new("1"))
    with redis.Redis.from_url(own_redis.url) as client:
        client.client_pause(600_000)
    with pytest.raises(StoreUnavailable, match="TimeoutError"):
        store.get("1")
    store.close()


def test_a_job_whose_payload_redis_evicted_is_given_to_a_worker_all_the_same(
    redis_place: Place, redis_server: RedisServer
) -> None:
    store = redis_place.open()
    store.submit(new("1"))
    with redis.Redis.from_url(redis_server.url) as client:
        client.delete(f"{redis_place.prefix}payload:1")
    found = store.claim("w1", 15.0)
    assert found is not None
    assert found[1] == b""
    store.close()


def test_a_server_without_memory_left_refuses_whole_changes(own_redis: RedisServer) -> None:
    store = connect(own_redis)
    for job_id in ("1", "2", "3"):
        store.submit(new(job_id, idempotency_key=job_id))
    store.claim("w1", 600.0)
    store.claim("w1", 0.0)
    with redis.Redis.from_url(own_redis.url) as client:
        keys = sorted(client.keys())
        before = [client.dump(key) for key in keys]
        client.config_set("maxmemory", 1)
        for call in (
            lambda: store.submit(new("4")),
            lambda: store.claim("w2", 15.0),
            lambda: store.heartbeat("1", "w1", 15.0, forwards=1, planned=2),
            lambda: store.finish("1", "w1", b"done"),
            lambda: store.finish("1", "w1", {"code": "internal"}),
            lambda: store.release("1", "w1"),
            lambda: store.release("1", "w1", after_s=5.0),
            lambda: store.cancel("3"),
            lambda: store.save_chunk("1", "call", 0, b"scores"),
            lambda: store.put_cached("k", b"result"),
        ):
            with pytest.raises(StoreUnavailable):
                call()
        assert (sorted(client.keys()), [client.dump(key) for key in keys]) == (keys, before)
        client.config_set("maxmemory", 0)
    assert store.finish("1", "w1", b"done")
    assert store.claim("w2", 15.0) is not None
    store.close()


def test_nothing_is_left_of_purged_jobs_and_forgotten_results(
    redis_place: Place, redis_server: RedisServer
) -> None:
    store = redis_place.open(result_bytes=4)
    for job_id in ("1", "2", "3"):
        store.submit(new(job_id, idempotency_key=job_id))
    store.claim("w1", 600.0)
    for start in (0, 64):
        store.save_chunk("1", "call", start, b"scores")
    store.finish("1", "w1", b"done")
    store.claim("w1", 600.0)
    store.finish("2", "w1", {"code": "internal"})
    store.cancel("3")
    store.submit(new("4"))
    store.claim("w1", 600.0)
    store.release("4", "w1", after_s=600.0)
    store.cancel("4")
    assert store.purge(finished_before=store.get("3").created_at + 600) == 4
    store.put_cached("key", b"r")
    with RedisStore(redis_server.url, prefix=redis_place.prefix, result_bytes=0)._client as client:
        RedisStore(redis_server.url, prefix=redis_place.prefix, result_bytes=0).put_cached("other", b"")
        left = {
            key.decode().removeprefix(redis_place.prefix) for key in client.keys(f"{redis_place.prefix}*")
        }
        totals = {"results:total", "payloads", "outputs"}
        assert left == {"number", "claims", "results:tick", "epoch", "clock"} | totals
        assert {client.get(f"{redis_place.prefix}{total}") for total in totals} == {b"0"}
    store.close()


def test_a_total_of_results_that_is_wrong_is_made_right(
    redis_place: Place, redis_server: RedisServer
) -> None:
    store = redis_place.open(result_bytes=10)
    with redis.Redis.from_url(redis_server.url) as client:
        client.set(f"{redis_place.prefix}results:total", 1000)  # as where somebody removed the results
        store.put_cached("k", b"result")
        assert client.get(f"{redis_place.prefix}results:total") == b"0"
    store.put_cached("k", b"result")
    assert store.get_cached("k") == b"result"
    store.close()


def test_stores_of_other_prefixes_do_not_meet(redis_server: RedisServer, redis_place: Place) -> None:
    one, other = redis_place.open(), connect(redis_server, prefix=f"{redis_place.prefix}other:")
    one.submit(new("1"))
    assert other.count_unfinished() == 0
    assert other.claim("w1", 15.0) is None
    one.close()
    other.close()


# ---- servers that lose or refuse -------------------------------------------------------------------------------------
def test_a_server_that_was_emptied_is_told_of_and_takes_jobs_again(
    own_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    submitter, worker = connect(own_redis), connect(own_redis)
    submitter.submit(new("1"))
    assert worker.claim("w1", 15.0) is not None
    assert worker.claim("w1", 15.0) is None
    assert "emptied" not in caplog.text
    with redis.Redis.from_url(own_redis.url) as client:
        client.flushall()
    assert worker.claim("w1", 15.0) is None
    assert caplog.text.count("emptied") == 1
    assert submitter.submit(new("2"))[1]
    assert caplog.text.count("emptied") == 2  # each process says it
    found = worker.claim("w1", 15.0)
    assert found is not None
    assert found[0].id == "2"
    submitter.check()
    worker.check()
    assert caplog.text.count("emptied") == 2
    for store in (submitter, worker):
        store.close()


def test_a_server_that_may_evict_jobs_is_refused_and_one_that_forgets_is_told_of(
    make_redis: MakeRedis,
) -> None:
    forgetful = connect(make_redis())
    assert [line for line in forgetful.check() if "append-only" in line]
    forgetful.close()
    safe = connect(make_redis(options=("--appendonly", "yes")))
    assert safe.check() == []
    safe.close()
    server = make_redis(options=("--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru"))
    evicting = connect(server)
    with pytest.raises(InvalidRequest, match="allkeys-lru; set noeviction") as caught:
        evicting.check()
    assert caught.value.field == "store_url"
    with redis.Redis.from_url(server.url) as client:
        client.config_set("maxmemory-policy", "volatile-lru")  # of ours none expires
    evicting.check()
    evicting.close()


def test_a_user_that_may_not_ask_how_the_server_is_set_up_can_use_it(own_redis: RedisServer) -> None:
    with redis.Redis.from_url(own_redis.url) as client:
        client.execute_command("ACL", "SETUSER", "jobs", "on", ">pw", "~*", "+@all", "-info")
    store = RedisStore(f"redis://jobs:pw@127.0.0.1:{own_redis.port}", result_bytes=0)
    assert [line for line in store.check() if "INFO" in line]
    assert store.submit(new("1"))[1]
    store.close()


def test_why_a_server_refuses_is_told(make_redis: MakeRedis) -> None:
    full, primary = make_redis(options=("--maxmemory", "1")), make_redis()
    replica = make_redis(options=("--replicaof", "127.0.0.1", str(primary.port)))
    guarded = make_redis(options=("--requirepass", "s3cr3t"))
    for server, why in ((full, "no memory left"), (replica, "only reads"), (guarded, "wants a password, or")):
        store = connect(server)
        for call in (store.check, lambda store=store: store.submit(new("1"))):
            with pytest.raises(StoreUnavailable, match=why):
                call()
        store.close()


def test_a_silent_server_is_asked_once_and_about_kept_results_hardly(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = connect(own_redis, timeout_s=2.0, results_timeout_s=0.2)
    store.submit(new("1"))
    store.get_cached("k")
    with redis.Redis.from_url(own_redis.url) as client:
        client.client_pause(600_000)
    asked: list[object] = []
    send = redis.Connection.send_packed_command
    monkeypatch.setattr(
        redis.Connection,
        "send_packed_command",
        lambda self, command, **options: (asked.append(command), send(self, command, **options))[1],
    )
    took_s: list[float] = []
    for call in (lambda: store.get_cached("k"), lambda: store.submit(new("2"))):
        asked.clear()
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match="TimeoutError"):
            call()
        took_s.append(time.monotonic() - began)
        assert len(asked) == 1
    assert took_s[0] < took_s[1]
    store.close()


@pytest.mark.parametrize("hours", [-5, 5])
def test_a_servers_clock_that_is_set_moves_no_lease_and_no_time_is_negative(
    redis_place: Place, hours: int
) -> None:
    clock = Clock()
    store = redis_place.open(clock)
    for job_id in ("1", "2", "3"):
        store.submit(new(job_id))
    store.claim("w1", 15.0)
    store.claim("w2", 15.0)
    store.release("2", "w2", after_s=10.0)
    clock.pass_s(hours * 3600)
    found = store.claim("w3", 15.0)
    assert found is not None
    assert found[0].id == "3"
    assert store.claim("w4", 15.0) is None
    clock.pass_s(11.0)
    found = store.claim("w4", 15.0)
    assert found is not None
    assert found[0].id == "2"
    clock.pass_s(5.0)
    found = store.claim("w4", 15.0)
    assert found is not None
    assert found[0].id in ("1", "3")
    assert store.finish("2", "w4", b"done")
    for job in map(store.get, ("1", "2", "3")):
        assert job.created_at <= (job.started_at or 0) <= (job.finished_at or job.started_at or 0)
    store.close()


# ---- secrets ---------------------------------------------------------------------------------------------------------
def test_the_password_is_used_and_never_told(make_redis: MakeRedis) -> None:
    server = make_redis(options=("--requirepass", "s3cr3t/@"))
    address = f"127.0.0.1:{server.port}/0"
    right = RedisStore(f"redis://:s3cr3t%2F%40@{address}", result_bytes=0)
    assert right.submit(new("1"))[1]
    assert "s3cr3t" not in repr(right) + repr(right._client)
    wrong = RedisStore(f"redis://:wr0ng@{address}", result_bytes=0)
    with pytest.raises(StoreUnavailable) as caught:
        wrong.count_unfinished()
    assert "wr0ng" not in everything(caught.value)
    server.kill()
    with pytest.raises(StoreUnavailable) as caught:
        right.count_unfinished()
    assert "s3cr3t" not in everything(caught.value)
    right.close()
    wrong.close()


@pytest.mark.parametrize(
    "url",
    [
        "redis://:s3cr/3t@host:6379",
        "redis://:s3cr3t@host:none",
        "redis://:s3cr3t@host?db=one",
        "redis://:s3cr3t@[",
    ],
)
def test_a_url_that_cannot_be_read_is_refused_without_telling_it(url: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="no URL of a Redis server") as caught:
        open_store(url, state_dir=tmp_path, result_bytes=0)
    assert caught.value.field == "store_url"
    assert "s3cr" not in str(caught.value) + repr(caught.value)
    assert caught.value.__cause__ is None


def test_an_unknown_option_of_the_url_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="an option") as caught:
        open_store("redis://:s3cr3t@host?speed=high", state_dir=tmp_path, result_bytes=0)
    assert caught.value.field == "store_url"
    assert "s3cr3t" not in str(caught.value) + str(caught.value.__cause__)


def test_tls_is_spoken_to_a_server_whose_certificate_is_trusted(
    tmp_path: Path, make_redis: MakeRedis
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *(find_program("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    options = ("--tls-cert-file", str(certificate), "--tls-key-file", str(key), "--tls-auth-clients", "no")
    server = make_redis(tls=(*options, "--tls-ca-cert-file", str(certificate)))
    address = f"rediss://127.0.0.1:{server.port}"
    trusting = open_store(f"{address}?ssl_ca_certs={certificate}", state_dir=tmp_path, result_bytes=0)
    assert trusting.count_unfinished() == 0
    strange = open_store(address, state_dir=tmp_path, result_bytes=0)
    with pytest.raises(StoreUnavailable, match="ConnectionError"):
        strange.count_unfinished()
    trusting.close()
    strange.close()
