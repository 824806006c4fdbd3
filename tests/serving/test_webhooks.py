"""Webhooks of monitors: signed as Standard Webhooks, sent to listed hosts until they are taken."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests import polling
from tests.serving.monitored import (
    CALL,
    CONFIG,
    FakeMeasurer,
    MonitoredPlane,
    drain,
    images,
    make_workers,
    run,
    send,
)

from wavescope.engine.monitors.config import AlarmHook
from wavescope.errors import InvalidRequest
from wavescope.models.remote.hosts import allowed_hosts
from wavescope.serving.monitors import webhooks
from wavescope.serving.monitors.effects import Effects
from wavescope.serving.monitors.webhooks import (
    Delivery,
    Message,
    Receiver,
    after,
    check_receiver,
    encode_message,
    parse_secret,
    sign,
)
from wavescope.settings import Settings
from wavescope.store import open_store
from wavescope.store.codec import decode

SECRET = b"0123456789abcdef0123456789"
MESSAGE = Message(id="m1", type="t", source="/s", subject="birds", time=1.7e9, data={"alarm": 1})


class Receiving(ThreadingHTTPServer):
    """A receiver that answers with the statuses it is given, one after the other, then 204."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.statuses: list[int] = []
        self.received: list[tuple[dict[str, str], bytes]] = []
        self.endless = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook"

    @property
    def hosts(self) -> str:
        return f"127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    server: Receiving  # pyright: ignore[reportIncompatibleVariableOverride]  # it serves no other

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.received.append(({name.lower(): value for name, value in self.headers.items()}, body))
        status = self.server.statuses.pop(0) if self.server.statuses else 204
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/other")
        if not self.server.endless:
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.end_headers()
        try:
            while True:
                self.wfile.write(b"x" * 4096)
        except OSError:
            pass

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiving]:
    server = Receiving()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def sent(receiver: Receiving, *, hosts: str | None = None, timeout_s: float = 10.0) -> int | None:
    listed = allowed_hosts((hosts or receiver.hosts,), "webhook_hosts")
    to = Receiver(receiver.url, SECRET)
    return asyncio.run(webhooks.send(to, MESSAGE, now=1.7e9, hosts=listed, timeout_s=timeout_s))


def test_the_signature_is_that_of_the_standard() -> None:
    """The example of the Standard Webhooks' reference implementations."""
    secret = parse_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    signed = sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_message_arrives_signed_as_a_cloudevent(receiver: Receiving) -> None:
    assert sent(receiver) == 204
    ((headers, body),) = receiver.received
    assert headers["host"] == receiver.hosts
    content = json.loads(body)
    assert (content["specversion"], content["id"], content["subject"]) == ("1.0", "m1", "birds")
    assert headers["content-type"] == "application/cloudevents+json"
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(SECRET, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"


def test_the_same_message_has_the_same_bytes() -> None:
    assert encode_message(MESSAGE) == encode_message(replace(MESSAGE))


def test_redirects_are_not_followed(receiver: Receiving) -> None:
    receiver.statuses = [302]
    assert sent(receiver) == 302
    assert len(receiver.received) == 1


def test_an_endless_reply_is_not_read_to_its_end(receiver: Receiving) -> None:
    receiver.endless = True
    assert sent(receiver) == 204


def test_a_host_that_is_not_listed_is_not_called(receiver: Receiving) -> None:
    assert sent(receiver, hosts="example.org") is None
    assert receiver.received == []


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, "delivered"),
        (204, "delivered"),
        (410, "disabled"),
        (302, "pending"),
        (500, "pending"),
        (None, "pending"),
    ],
)
def test_what_becomes_of_an_attempt(status: int | None, outcome: str) -> None:
    found = after(Delivery(), 100.0, status)
    assert (found.outcome, found.status, found.attempts) == (outcome, status, 1)
    assert found.next_at == (105.0 if outcome == "pending" else 0.0)


def test_pauses_grow_until_it_is_given_up() -> None:
    delivery, now, pauses = Delivery(), 0.0, []
    while delivery.outcome == "pending":
        delivery = after(delivery, now, 503)
        pauses.append(delivery.next_at - now)
        now = delivery.next_at
    assert pauses[:-1] == list(webhooks.PAUSES_S)
    assert delivery.outcome == "failed"


@pytest.mark.parametrize(
    ("secret", "words"),
    [("short", "24"), ("whsec_***", "base64"), ("whsec_c2hvcnQ=", "24")],
)
def test_a_weak_secret_is_refused(secret: str, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words) as refused:
        parse_secret(secret)
    assert refused.value.field == "webhook.secret"


@pytest.mark.parametrize(
    ("url", "secret", "words"),
    [
        ("http://other/hook", {"file": "key"}, "WAVESCOPE_WEBHOOK_HOSTS"),
        ("ftp://listed/hook", {"file": "key"}, "http"),
        ("http://user@listed/hook", {"file": "key"}, "without a user"),
        ("http://listed/hook", {"file": "../key"}, "webhook_secrets_dir"),
        ("http://listed/hook", {"file": "none"}, "webhook_secrets_dir"),
        ("http://listed/hook", {"env": "HOME"}, "WAVESCOPE_WEBHOOK_SECRET"),
        ("http://listed/hook", {"env": "WAVESCOPE_WEBHOOK_SECRET_NONE"}, "not set"),
    ],
)
def test_a_receiver_that_cannot_be_is_refused(
    tmp_path: Path, url: str, secret: dict[str, str], words: str
) -> None:
    (tmp_path / "key").write_bytes(SECRET)
    settings = Settings(webhook_hosts=("listed",), webhook_secrets_dir=tmp_path)
    with pytest.raises(InvalidRequest, match=words):
        check_receiver(url, secret, settings)
    assert check_receiver("http://listed/hook", {"file": "key"}, settings).secret == SECRET
    assert SECRET.decode() not in repr(check_receiver("http://listed/hook", {"file": "key"}, settings))


def test_an_alarm_is_delivered_once_after_the_receiver_was_away(tmp_path: Path, receiver: Receiving) -> None:
    (tmp_path / "key").write_bytes(SECRET)
    store = open_store("", state_dir=tmp_path / "state", result_bytes=0)
    plane = MonitoredPlane(store, webhook_hosts=(receiver.hosts,), webhook_secrets_dir=tmp_path)
    receiver.statuses = [503]
    config = replace(CONFIG, webhook=AlarmHook(url=receiver.url, secret={"file": "key"}))

    def outcome() -> str:
        _, _, effects = store.load_checkpoint("m")
        assert effects is not None
        return decode(effects, Effects).deliveries["1"].outcome

    async def work() -> None:
        await plane.put_monitor("m", config, CALL)
        await send(plane, images(CONFIG.reference.size) + images(30, "blurred"))
        await drain(plane, store)
        workers = make_workers(store, FakeMeasurer(), plane.settings, webhook_clock=lambda: 4e9)
        workers.start_once()
        await polling.until(lambda: outcome() == "delivered")
        await workers.stop()

    run(work())
    (first, body), (second, again) = receiver.received
    assert first["webhook-id"] == second["webhook-id"]
    assert json.loads(body) == json.loads(again)
    data = json.loads(body)["data"]
    assert (data["monitor"], data["cause"], data["alarm"]["id"]) == ("m", "input", 1)
    store.close()
