"""Signed webhooks: CloudEvents in JSON, with the headers of Standard Webhooks, to listed hosts alone.

The signature is HMAC-SHA256 of ``id.timestamp.body`` (https://www.standardwebhooks.com). What was delivered is kept by
the caller, so that a message is sent until it was taken, at least once; its id stays the same.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import json
import os
import ssl
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit, urlunsplit

import httpx

from wavescope.errors import InvalidRequest
from wavescope.models.remote.hosts import AllowedHosts, allowed_hosts, host_of
from wavescope.settings import Settings

PAUSES_S: Final = (5.0, 30.0, 120.0, 600.0, 3600.0, 10_800.0, 21_600.0, 43_200.0)
MIN_SECRET_BYTES: Final = 24
SECRET_PREFIX: Final = "whsec_"  # noqa: S105  # what such a key begins with
VARIABLE_PREFIX: Final = "WAVESCOPE_WEBHOOK_SECRET"
MAX_REPLY_BYTES: Final = 64 * 2**10
GONE: Final = 410

Outcome = Literal["pending", "delivered", "failed", "disabled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message.

    Attributes:
        id: unique, the same for every attempt.
        type: such as ``io.wavescope.monitor.alarm``.
        source: path of what it is about.
        subject: name of what it is about.
        time: of what happened, s since 1970.
        data: JSON-ready content.
    """

    id: str
    type: str
    source: str
    subject: str
    time: float
    data: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """State of the delivery of a message.

    Attributes:
        attempts: so far.
        next_at: when the next one is due, s since 1970; 0 for at once.
        outcome: ``pending`` until it is taken, was refused for good (``disabled``), or failed too often.
        status: of the last reply; ``None`` where there was none.
    """

    attempts: int = 0
    next_at: float = 0.0
    outcome: Outcome = "pending"
    status: int | None = None


@dataclass(frozen=True, slots=True)
class Receiver:
    """Receiver of messages.

    Attributes:
        url: http or https, of a listed host.
        secret: key of the signature.
    """

    url: str
    secret: bytes = field(repr=False)


def encode_message(message: Message) -> bytes:
    """The body: a CloudEvent 1.0 in JSON; the same bytes for the same message."""
    content = {
        "specversion": "1.0",
        "id": message.id,
        "type": message.type,
        "source": message.source,
        "subject": message.subject,
        "time": datetime.fromtimestamp(message.time, UTC)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "data": message.data,
    }
    return json.dumps(content, separators=(",", ":"), sort_keys=True, allow_nan=False).encode("ascii")


def sign(secret: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """The header ``webhook-signature``: ``v1,`` and HMAC-SHA256 of ``id.timestamp.body`` in base64.

    Example:
        >>> sign(b"k" * 24, "msg_1", 1700000000, b"{}")
        'v1,E3sCg9uS8x43RKlJqcda1EcaYZxNkN+l2u7RBZBSZQQ='
    """
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode("ascii")


def parse_secret(text: str) -> bytes:
    """The key in text: base64 after ``whsec_``, or the text itself.

    Raises:
        InvalidRequest: it is shorter than 24 bytes, or no base64.
    """
    text = text.strip()
    try:
        found = (
            base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
            if text.startswith(SECRET_PREFIX)
            else text.encode("utf-8")
        )
    except (binascii.Error, ValueError):
        raise InvalidRequest(
            f"the webhook's secret begins with {SECRET_PREFIX} and is no base64 after it",
            field="webhook.secret",
        ) from None
    if len(found) < MIN_SECRET_BYTES:
        raise InvalidRequest(
            f"the webhook's secret has {len(found)} bytes; it must have at least {MIN_SECRET_BYTES}",
            field="webhook.secret",
            minimum=MIN_SECRET_BYTES,
        )
    return found


def after(delivery: Delivery, now: float, status: int | None) -> Delivery:
    """The delivery after one more attempt.

    Args:
        delivery: before.
        now: s since 1970.
        status: of the reply; ``None`` where there was none in time.

    Example:
        >>> after(Delivery(), 100.0, 503)
        Delivery(attempts=1, next_at=105.0, outcome='pending', status=503)
    """
    made = replace(delivery, attempts=delivery.attempts + 1, status=status)
    if status is not None and 200 <= status < 300:
        return replace(made, outcome="delivered")
    if status == GONE:
        return replace(made, outcome="disabled")
    if made.attempts > len(PAUSES_S):
        return replace(made, outcome="failed")
    return replace(made, next_at=now + PAUSES_S[made.attempts - 1])


def check_receiver(url: str, secret: dict[str, str], settings: Settings) -> Receiver:
    """The receiver that a monitor names.

    Args:
        url: of the receiver.
        secret: ``{"file": NAME}`` in the directory of the settings, or ``{"env": NAME}``.
        settings: listed hosts, and the directory.

    Raises:
        InvalidRequest: names the field and the setting.
    """
    hosts = allowed_hosts(settings.webhook_hosts, "webhook_hosts")
    host, port = _address(url)
    if not hosts.admits(host, port):
        raise InvalidRequest(
            f"webhook.url is of {host}:{port}, which is not among webhook_hosts (WAVESCOPE_WEBHOOK_HOSTS): "
            "whoever runs the service has to list it",
            field="webhook.url",
        )
    return Receiver(url, parse_secret(_read_secret(secret, settings)))


async def send(
    receiver: Receiver, message: Message, *, now: float, hosts: AllowedHosts, timeout_s: float
) -> int | None:
    """Sends a message once: the status of the reply, ``None`` where there is none.

    Redirects are not followed, no proxy is asked, and the name is looked up and checked at every attempt.

    Args:
        receiver: of the message.
        message: to be sent.
        now: s since 1970, for the signature.
        hosts: that may be asked.
        timeout_s: longest time of all of it.
    """
    body, timestamp = encode_message(message), int(now)
    headers = {
        "content-type": "application/cloudevents+json",
        "webhook-id": message.id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign(receiver.secret, message.id, timestamp, body),
        "user-agent": "wavescope",
    }
    try:
        async with asyncio.timeout(timeout_s):
            host, port = _address(receiver.url)
            addresses = await asyncio.to_thread(hosts.resolve, host, port)
            return await _post(receiver.url, addresses[0], body, headers, timeout_s)
    except (OSError, TimeoutError, httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, InvalidRequest):
        return None


async def _post(url: str, ip: str, body: bytes, headers: dict[str, str], timeout_s: float) -> int:
    parts = urlsplit(url)
    # To the address that was checked, under the name that was meant.
    netloc = f"[{ip}]" if ":" in ip else ip
    named = f"{netloc}:{parts.port}" if parts.port else netloc
    target = urlunsplit((parts.scheme, named, parts.path, parts.query, ""))
    headers = {**headers, "host": parts.netloc}
    extensions = {"sni_hostname": parts.hostname} if parts.scheme == "https" else {}
    async with (
        httpx.AsyncClient(trust_env=False, follow_redirects=False, timeout=timeout_s) as client,
        client.stream("POST", target, content=body, headers=headers, extensions=extensions) as reply,
    ):
        read = 0
        async for piece in reply.aiter_raw():
            read += len(piece)
            if read > MAX_REPLY_BYTES:
                break
        return reply.status_code


def _address(url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        host, port = host_of(parts.hostname or ""), parts.port
    except ValueError:
        host, port, parts = "", None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host or parts.username or parts.password:
        raise InvalidRequest(
            "webhook.url must be http:// or https://, with a host and without a user", field="webhook.url"
        )
    return host, port or (443 if parts.scheme == "https" else 80)


def _read_secret(secret: dict[str, str], settings: Settings) -> str:
    name = secret.get("env")
    if name is not None:
        if not name.startswith(VARIABLE_PREFIX):
            raise InvalidRequest(
                f"webhook.secret.env must begin with {VARIABLE_PREFIX}: no other variable is read",
                field="webhook.secret",
            )
        value = os.environ.get(name)
        if value is None:
            raise InvalidRequest(
                f"the variable {name[:64]} of webhook.secret is not set", field="webhook.secret"
            )
        return value
    name = secret.get("file", "")
    directory = settings.webhook_secrets_dir
    if directory is None or Path(name).name != name or name in ("", ".", ".."):
        raise InvalidRequest(
            "webhook.secret.file is the name of a file in webhook_secrets_dir (WAVESCOPE_WEBHOOK_SECRETS_DIR), which "
            + ("is not set" if directory is None else "has no such file"),
            field="webhook.secret",
        )
    try:
        return (directory / name).read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        raise InvalidRequest(
            "webhook.secret.file cannot be read from webhook_secrets_dir", field="webhook.secret"
        ) from None
