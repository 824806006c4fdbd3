"""The address that ``wavescope serve`` listens on: whether it may be served, and that no other command takes it."""

from __future__ import annotations

import errno
import http.client
import ipaddress
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from wavescope.errors import InvalidRequest
from wavescope.settings import Settings

PROBE_S = 1.0  # for an answer of its own probe, of which a service that is ready needs milliseconds


def check_address(settings: Settings) -> None:
    """Refuses what cannot or should not be served.

    Raises:
        InvalidRequest: names the setting.
    """
    if not (settings.no_auth or settings.api_keys_file or _is_loopback(settings.host)):
        raise InvalidRequest(
            f"host is {settings.host!r}, which others can reach, and there are no API keys: "
            "serve 127.0.0.1, name a file of keys with --api-keys, or say --no-auth",
            field="host",
        )
    if not settings.port:
        raise InvalidRequest("port is 0, and HTTP needs one of its own: choose from 1 to 65535", field="port")
    if settings.port == settings.grpc_port:
        raise InvalidRequest(
            f"port and grpc_port are both {settings.port}: HTTP and gRPC need one each", field="grpc_port"
        )


@contextmanager
def reserved_ports(settings: Settings) -> Iterator[None]:
    """Keeps the ports of HTTP and gRPC for this command, from now until its proxy has ended.

    Ray's proxies let other sockets of the user listen at their ports too: two services would share the connections.

    Raises:
        InvalidRequest: a port is taken, or the host is none of this machine's; names the setting.
    """
    with ExitStack() as held:
        for field, port in (("port", settings.port), ("grpc_port", settings.grpc_port)):
            if port:
                held.enter_context(_reserve(settings.host, port, field))
        yield


def _reserve(host: str, port: int, field: str) -> socket.socket:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        reserved = socket.socket(family)
    except OSError as error:
        raise _unusable(host, port, field, error) from error
    try:
        # Not refused for the connections of a service that has just ended.
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(address)
        # The proxy, which allows the same, may share the port from here on, and the next command may not.
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except OSError as error:
        reserved.close()
        raise _unusable(host, port, field, error) from error
    return reserved


def _unusable(host: str, port: int, field: str, error: OSError) -> InvalidRequest:
    if error.errno == errno.EADDRINUSE:
        return InvalidRequest(f"{field} {port} is taken on {host}: choose another", field=field)
    return InvalidRequest(f"{field} {port} cannot be listened on at {host}: {error.strerror}", field=field)


def is_ready(host: str, port: int) -> bool:
    """Whether the service that listens there answers explanations, by its own probe ``/readyz``.

    Args:
        host: an address of this machine; of an unspecified one, its loopback address is asked.
        port: of HTTP.
    """
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # nothing is bound to it
    connection = http.client.HTTPConnection(reached, port, timeout=PROBE_S)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def url_of(host: str, port: int) -> str:
    """The address of the service as a URL."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
