"""Address of a remote model: the URL of a registry entry, taken apart and checked.

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

_PART = r"(?!\.{1,2}(?:/|$|:))[A-Za-z0-9._-]+"


@dataclass(frozen=True, slots=True)
class WireProtocol:
    """A protocol that model servers speak, and how its URLs are written.

    Attributes:
        name: of ``Address.protocol``.
        title: for people.
        source: the kind of source whose URLs name it.
        scheme: of a URL without TLS; with TLS an ``s`` follows.
        form: of its URLs, for messages.
        paths: what the path of a URL looks like, in groups ``prefix``, ``name`` and ``version``.
        path: of the model, made of ``prefix``, ``name`` and ``version``.
        version: how a version is written in the path.
        needs_port: whether a URL has to name the port.
        batch_size: images of the first request. 16 images of 224 x 224 in colour are 10 MB as binary data; a server
            that takes 4 MB is asked three times, once.
    """

    name: Protocol
    title: str
    source: str
    scheme: str
    form: str
    paths: re.Pattern[str]
    path: str
    version: str = ""
    needs_port: bool = False
    batch_size: int = 16


PROTOCOLS: dict[str, WireProtocol] = {
    protocol.name: protocol
    for protocol in (
        WireProtocol(
            name="oip-rest",
            title="Open Inference Protocol over HTTP",
            source="oip",
            scheme="http",
            form="http(s)://host[:port]/v2/models/<name>[/versions/<version>]",
            paths=re.compile(
                rf"(?P<prefix>(?:/{_PART})*)/v2/models/(?P<name>{_PART})(?:/versions/(?P<version>{_PART}))?/?"
            ),
            path="{prefix}/v2/models/{name}{version}",
            version="/versions/{}",
        ),
        WireProtocol(
            name="oip-grpc",
            title="Open Inference Protocol over gRPC",
            source="oip",
            scheme="grpc",
            form="grpc(s)://host:port/<name>[/<version>]",
            paths=re.compile(rf"(?P<prefix>)/(?P<name>{_PART})(?:/(?P<version>{_PART}))?/?"),
            path="/{name}{version}",
            version="/{}",
            needs_port=True,
        ),
        WireProtocol(
            name="kserve-v1",
            title="KServe v1",
            source="kserve-v1",
            scheme="http",
            form="http(s)://host[:port]/v1/models/<name>[:predict]",
            paths=re.compile(
                rf"(?P<prefix>(?:/{_PART})*)/v1/models/(?P<name>{_PART})(?::predict)?(?P<version>)"
            ),
            path="{prefix}/v1/models/{name}",
            batch_size=8,
        ),
    )
}


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
        scheme = self.wire_protocol.scheme + ("s" if self.secure else "")
        return f"{scheme}://{self.authority}{self.path}"

    @property
    def wire_protocol(self) -> WireProtocol:
        """Wire protocol of the address."""
        return PROTOCOLS[self.protocol]

    @property
    def path(self) -> str:
        """The path of the model itself."""
        wire = self.wire_protocol
        version = wire.version.format(self.version) if self.version else ""
        return wire.path.format(prefix=self.prefix, name=self.model, version=version)


def authority(host: str, port: int) -> str:
    """``host:port``, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse(kind: str, url: str) -> Address:
    """The address in a registry's source.

    Args:
        kind: of a source that is served elsewhere.
        url: what follows the first colon.

    Raises:
        ValueError: with what is wrong, never with what stands before an ``@``.
    """
    if not re.fullmatch(r"[!-~]+", url) or "\\" in url:
        raise ValueError("a URL is printable ASCII without blanks and backslashes")
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise ValueError("a URL holds no user or password: give headers")
    spoken = [wire for wire in PROTOCOLS.values() if wire.source == kind]
    wire = next((wire for wire in spoken if parts.scheme in (wire.scheme, f"{wire.scheme}s")), None)
    found = None if wire is None else wire.paths.fullmatch(parts.path)
    if wire is None or found is None or parts.query or parts.fragment or "?" in url or "#" in url:
        raise ValueError(f"is not of the form {' or '.join(wire.form for wire in spoken)}")
    secure = parts.scheme != wire.scheme
    port = _port(parts.port, parts.netloc, wire, secure=secure)
    return Address(
        protocol=wire.name,
        secure=secure,
        host=host_of(parts.hostname or ""),
        port=port,
        prefix=found["prefix"],
        model=found["name"],
        version=found["version"] or "",
    )


def _port(port: int | None, netloc: str, wire: WireProtocol, *, secure: bool) -> int:
    if port is None and (wire.needs_port or netloc.endswith(":")):
        raise ValueError("names no port")
    if port == 0:
        raise ValueError("port 0 is none")
    if port is None:
        return 443 if secure else 80
    return port
