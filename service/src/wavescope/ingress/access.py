"""Who may come in over HTTP: decided from the headers alone, before any of the body is read."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

from wavescope.errors import Forbidden
from wavescope.ingress.calls import authenticate
from wavescope.ingress.plane import Doorkeeper, OpenDoor

METRICS_PATH: Final = "/metrics"
# Probes, and the documentation that tells how a key is sent.
OPEN_PATHS: Final = frozenset(
    ("/livez", "/readyz", "/v2/health/live", "/v2/health/ready", "/docs", "/openapi.json")
)
OPEN_FOLDER: Final = "/docs/"
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Access:
    """What a request must bring.

    Attributes:
        doorkeeper: knows the keys.
        allowed_origins: of pages that may call from a browser, beside those that the service serves itself.
        metrics_need_key: whether ``/metrics`` needs a key too.
        local_names_only: whether the ``Host`` must be a name or address of this host. Without keys this stands between
            the service and any page in a browser on this host, whose name may be made to lead here.
    """

    doorkeeper: Doorkeeper = field(default_factory=OpenDoor)
    allowed_origins: tuple[str, ...] = ()
    metrics_need_key: bool = False
    local_names_only: bool = False


def enter(scope: Scope, access: Access) -> None:
    """Sets ``caller`` and ``priority`` in the state of a request that may come in.

    Raises:
        Forbidden: another site's page in a browser, or a name that is not this host's.
        Unauthenticated: a key is needed, and none that is known came.
        InvalidRequest: no such priority.
    """
    headers = Headers(scope=scope)
    host = headers.get("host")
    if access.local_names_only and host is not None and not _is_local_name(host):
        raise Forbidden(
            "header Host is not localhost or a loopback address: without API keys, and without --no-auth, "
            "the service answers to these only",
            field="Host",
        )
    origin = headers.get("origin")
    if origin is not None and origin not in access.allowed_origins and not _same_site(origin, host):
        raise Forbidden(
            "header Origin is another site than this service, and not among its allowed_origins",
            field="Origin",
        )
    doorkeeper = OpenDoor() if _is_open(scope["path"], access) else access.doorkeeper
    state = scope.setdefault("state", {})
    state["caller"], state["priority"] = authenticate(headers.get, doorkeeper)


def _is_open(path: str, access: Access) -> bool:
    if path == METRICS_PATH:
        return not access.metrics_need_key
    return path in OPEN_PATHS or path.startswith(OPEN_FOLDER)


def _is_local_name(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name == "localhost" or name.endswith(".localhost"):
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
