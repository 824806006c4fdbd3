"""Where a remote model is: the URL of a registry entry, taken apart and checked.

::

    oip:https://host[:port]/v2/models/<name>[/versions/<version>]     REST, tensors as binary data
    oip:grpc://host:port/<name>[/<version>]                           gRPC, tensors as raw contents; grpcs:// with TLS
    kserve-v1:http://host[:port]/v1/models/<name>[:predict]           JSON instances

A path before ``/v2`` and ``/v1``, as of a gateway, is kept.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from wavescope.models.remote.hosts import host_of

Protocol = Literal["oip-rest", "oip-grpc", "kserve-v1"]

REMOTE_KINDS: tuple[str, ...] = ("oip", "kserve-v1")
FORMS = {
    "oip": "http(s)://host[:port]/v2/models/<name>[/versions/<version>] or grpc(s)://host:port/<name>[/<version>]",
    "kserve-v1": "http(s)://host[:port]/v1/models/<name>[:predict]",
}

_PART = r"(?!\.{1,2}(?:/|$|:))[A-Za-z0-9._-]+"
_PATHS = {
    "oip-rest": re.compile(
        rf"(?P<prefix>(?:/{_PART})*)/v2/models/(?P<name>{_PART})(?:/versions/(?P<version>{_PART}))?/?"
    ),
    "oip-grpc": re.compile(rf"(?P<prefix>)/(?P<name>{_PART})(?:/(?P<version>{_PART}))?/?"),
    "kserve-v1": re.compile(
        rf"(?P<prefix>(?:/{_PART})*)/v1/models/(?P<name>{_PART})(?::predict)?(?P<version>)"
    ),
}
_SCHEMES = {"oip": ("http", "https", "grpc", "grpcs"), "kserve-v1": ("http", "https")}


@dataclass(frozen=True, slots=True)
class Address:
    """One model on one server.

    Attributes:
        protocol: what is spoken there.
        secure: with TLS.
        host: a name in lower case, or an IP address as :mod:`ipaddress` writes it, without brackets.
        port: of the server.
        prefix: the path before that of the protocol, empty or from a slash on.
        model: its name on the server.
        version: empty for the server's choice.
    """

    protocol: Protocol
    secure: bool
    host: str
    port: int
    prefix: str
    model: str
    version: str

    @property
    def authority(self) -> str:
        """``host:port``, an IPv6 address in brackets."""
        return authority(self.host, self.port)

    def __str__(self) -> str:
        word = {"oip-rest": "http", "oip-grpc": "grpc", "kserve-v1": "http"}[self.protocol]
        scheme = f"{word}s" if self.secure else word
        return f"{scheme}://{self.authority}{self.path}"

    @property
    def path(self) -> str:
        """The path of the model itself."""
        if self.protocol == "kserve-v1":
            return f"{self.prefix}/v1/models/{self.model}"
        version = self.version
        if self.protocol == "oip-grpc":
            return f"/{self.model}" + (f"/{version}" if version else "")
        return f"{self.prefix}/v2/models/{self.model}" + (f"/versions/{version}" if version else "")


def authority(host: str, port: int) -> str:
    """``host:port``, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse(kind: str, url: str) -> Address:
    """The address in a registry's source.

    Args:
        kind: one of ``REMOTE_KINDS``.
        url: what follows the first colon.

    Raises:
        ValueError: with what is wrong, never with what stands before an ``@``.
    """
    if not re.fullmatch(r"[!-~]+", url) or "\\" in url:
        raise ValueError("a URL is printable ASCII without blanks and backslashes")
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise ValueError("a URL holds no user or password: give headers")
    if parts.scheme not in _SCHEMES[kind] or parts.query or parts.fragment or "?" in url or "#" in url:
        raise ValueError(f"is not of the form {FORMS[kind]}")
    secure = parts.scheme in ("https", "grpcs")
    protocol: Protocol = "kserve-v1"
    if kind == "oip":
        protocol = "oip-grpc" if parts.scheme.startswith("grpc") else "oip-rest"
    found = _PATHS[protocol].fullmatch(parts.path)
    if found is None:
        raise ValueError(f"is not of the form {FORMS[kind]}")
    port = _port(parts.port, parts.netloc, protocol, secure)
    return Address(
        protocol=protocol,
        secure=secure,
        host=host_of(parts.hostname or ""),
        port=port,
        prefix=found["prefix"],
        model=found["name"],
        version=found["version"] or "",
    )


def _port(port: int | None, netloc: str, protocol: Protocol, secure: bool) -> int:
    if port is None and (protocol == "oip-grpc" or netloc.endswith(":")):
        raise ValueError("names no port")
    if port == 0:
        raise ValueError("port 0 is none")
    if port is None:
        return 443 if secure else 80
    return port
