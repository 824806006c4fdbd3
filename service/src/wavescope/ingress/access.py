"""Access over HTTP: decided from the headers alone, before any of the body is read.

It is decided twice: where bodies are received, in front of Ray Serve's proxy, so that a stranger sends none; and in the
gateway, which does not rely on being reached that way.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

from wavescope.admission.wait_estimate import Priority
from wavescope.errors import Forbidden
from wavescope.ingress.call_context import authenticate
from wavescope.ingress.plane import Authenticator, NullAuthenticator
from wavescope.ingress.prefix import route_path
from wavescope.ingress.problems import MalformedRequest

METRICS_PATH: Final = "/metrics"
# Probes, and the documentation, which says how a key is sent.
OPEN_PATHS: Final = frozenset(
    ("/livez", "/readyz", "/v2/health/live", "/v2/health/ready", "/docs", "/openapi.json", "/-/healthz")
)
OPEN_FOLDER: Final = "/docs/"
# A name or an address, and a port: nothing of a URL around it. Colons are for IPv6 addresses, in brackets.
_HOST: Final = re.compile(r"(?:\[[0-9A-Za-z:.%_-]+\]|[0-9A-Za-z._~%-]+)(?::[0-9]{0,5})?")
# Of inference events: a monitor's token in its address stands for a key.
_TOKEN_PATH: Final = re.compile(r"/v1/monitors/[^/]+/events/[^/]+")
_EVENTS_PATH: Final = re.compile(r"/v1/events|/v1/monitors/[^/]+/events")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Access:
    """Requirements that a request must meet to be admitted.

    Attributes:
        authenticator: knows the keys.
        allowed_origins: of pages that may call from a browser, beside those that the service serves itself.
        metrics_need_key: whether ``/metrics`` needs a key too.
        local_names_only: whether the ``Host`` must be a name or address of this host. Without keys this stands between
            the service and any page in a browser on this host, whose name may be made to lead here.
        allowed_hosts: further names of this host, in lower case: of a container, or of a gateway in front.
        events_need_key: whether inference events need a key too, where their address has no token.
    """

    authenticator: Authenticator = field(default_factory=NullAuthenticator)
    allowed_origins: tuple[str, ...] = ()
    metrics_need_key: bool = False
    local_names_only: bool = False
    allowed_hosts: tuple[str, ...] = ()
    events_need_key: bool = True


def enter(scope: Scope, access: Access) -> None:
    """Sets ``caller`` and ``priority`` in the state of a request that may come in; raises as :func:`check`."""
    state = scope.setdefault("state", {})
    state["caller"], state["priority"] = check(scope, access)


def check(scope: Scope, access: Access) -> tuple[str, Priority]:
    """The caller of a request that may come in, and its priority.

    Raises:
        MalformedRequest: no ``Host``, several, or what is none.
        Forbidden: another site's page in a browser, or a name that is not this host's.
        Unauthenticated: a key is needed, and none that is known came.
        InvalidRequest: no such priority.
    """
    headers = Headers(scope=scope)
    host = _host(headers, scope.get("http_version", "1.1"))
    if access.local_names_only and host is not None and not _is_local_name(host, access.allowed_hosts):
        raise Forbidden(
            f"header Host is {host[:64]}, not localhost or a loopback address: without API keys, and without "
            "--no-auth, the service answers to these only, and to names in allowed_hosts (WAVESCOPE_ALLOWED_HOSTS)",
            field="Host",
        )
    origins = headers.getlist("origin")
    if origins and not (len(origins) == 1 and _may_call(origins[0], host, access)):
        raise Forbidden(
            "header Origin is another site than this service, and not among its allowed_origins",
            field="Origin",
        )
    authenticator = NullAuthenticator() if _is_open(route_path(scope), access) else access.authenticator
    return authenticate(headers.get, authenticator)


def _host(headers: Headers, http_version: str) -> str | None:
    """The host that a request is sent to; ``None`` where HTTP/1.0 leaves it out."""
    hosts = headers.getlist("host")
    if not hosts and http_version == "1.0":
        return None
    if len(hosts) != 1:
        raise MalformedRequest(
            f"a request has one header Host, this one {len(hosts) or 'none'}", field="Host"
        )
    if not _HOST.fullmatch(hosts[0]):
        raise MalformedRequest("header Host must be a name or an address, and a port", field="Host")
    return hosts[0]


def _may_call(origin: str, host: str | None, access: Access) -> bool:
    return origin in access.allowed_origins or _same_site(origin, host)


def is_probe(path: str) -> bool:
    """Whether a path is a probe, which is answered however busy the service is."""
    return path == METRICS_PATH or path in OPEN_PATHS


def _is_open(path: str, access: Access) -> bool:
    if path == METRICS_PATH:
        return not access.metrics_need_key
    if _TOKEN_PATH.fullmatch(path) or (_EVENTS_PATH.fullmatch(path) and not access.events_need_key):
        return True
    return path in OPEN_PATHS or path.startswith(OPEN_FOLDER)


def _is_local_name(host: str, allowed: tuple[str, ...]) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name == "localhost" or name.endswith(".localhost") or name in allowed:
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def _same_site(origin: str, host: str | None) -> bool:
    """Whether a page's origin is the address that was called."""
    try:
        page, called = urlsplit(origin), urlsplit(f"//{host or ''}")
        default = _DEFAULT_PORTS.get(page.scheme)
        return (
            default is not None
            and page.hostname is not None
            and page.hostname == called.hostname
            and (page.port or default) == (called.port or default)
        )
    except ValueError:  # no port, or no address
        return False
