"""Call context from HTTP headers and gRPC metadata: caller, priority, and whether a cached result will do."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import Any, Final, Protocol, cast, get_args
from urllib.parse import unquote

from starlette.requests import Request

from wavescope.admission.wait_estimate import Priority
from wavescope.errors import Forbidden, InvalidRequest
from wavescope.ingress.job_replies import IDEMPOTENCY_HEADER
from wavescope.ingress.plane import Authenticator, CallContext, IngressLimits

PRIORITY_HEADER: Final = "Wavescope-Priority"
MAX_REQUEST_ID_CHARS: Final = 128
PRIORITIES: Final = cast("tuple[Priority, ...]", get_args(Priority))

Header = Callable[[str], str | None]


class Context(Protocol):
    """Caller and metadata of an RPC: the part of gRPC's servicer context that Ray Serve's own class has as well."""

    def invocation_metadata(self) -> Iterable[tuple[str, Any]]: ...
    def trailing_metadata(self) -> Iterable[tuple[str, Any]] | None: ...
    def peer(self) -> str: ...


def call_of(request: Request) -> CallContext:
    """The call of an HTTP request that :mod:`wavescope.ingress.rest.middleware` has let in."""
    state = request.state
    fresh = wants_fresh(request.headers.get("cache-control"))
    key = request.headers.get(IDEMPOTENCY_HEADER)
    return CallContext(state.request_id, state.caller, state.priority, fresh, key)


def admit(
    context: Context, authenticator: Authenticator, limits: IngressLimits, *, request_id: str
) -> CallContext:
    """The call of an RPC, where it may be made.

    Args:
        context: of the RPC.
        authenticator: knows the keys.
        limits: whether other hosts are served.
        request_id: chosen already, so that a refusal can name it.

    Raises:
        Forbidden: it comes from another host, and only this one is served.
        Unauthenticated: its key is none of those configured.
        InvalidRequest: no such priority.
    """
    if limits.loopback_only and not is_local(context.peer()):
        raise Forbidden(
            "only this host is served: start the service with API keys, or --no-auth, to serve others"
        )

    def header(name: str) -> str | None:
        return metadata(context, name)

    caller, priority = authenticate(header, authenticator)
    return CallContext(
        request_id,
        caller,
        priority,
        wants_fresh(header("cache-control")),
        header(IDEMPOTENCY_HEADER.lower()),
    )


def authenticate(header: Header, authenticator: Authenticator) -> tuple[str, Priority]:
    """The name of the key that a call brought, and the call's priority.

    Args:
        header: gives a header or an entry of the metadata by its name in lower case.
        authenticator: knows the keys.

    Raises:
        Unauthenticated: its key is none of those configured.
        InvalidRequest: no such priority.
    """
    caller = authenticator.caller(_key(header))
    return caller, _priority(header(PRIORITY_HEADER.lower()), authenticator.priority(caller))


def metadata(context: Context, name: str) -> str | None:
    """An entry of an RPC's metadata, its first where there are several; ``None`` for binary ones.

    Args:
        context: of the RPC.
        name: in lower case.
    """
    found = (value for key, value in context.invocation_metadata() if key.lower() == name)
    value = next(found, None)
    return value if isinstance(value, str) else None


def is_local(peer: str) -> bool:
    """Whether a gRPC peer, such as ``ipv4:127.0.0.1:50000`` or ``ipv6:[::1]:50000``, is on this host."""
    kind, _, address = unquote(peer).partition(":")
    if kind == "unix":
        return True
    try:
        return ip_address(address.rpartition(":")[0].strip("[]")).is_loopback
    except ValueError:
        return False


def request_id_of(context: Context) -> str:
    """The caller's id for an RPC, else the one that Ray Serve's proxy gave it, else a new one."""
    # Before an RPC reaches us, the proxy's own id is in its trailing metadata, and stays in it.
    given = dict(context.trailing_metadata() or ()).get("request_id")
    offered = metadata(context, "x-request-id") or given
    return choose_request_id(offered if isinstance(offered, str) else None)


def choose_request_id(offered: str | None) -> str:
    """The caller's id where it is 1 to 128 printable ASCII characters, else a new one."""
    if offered and len(offered) <= MAX_REQUEST_ID_CHARS and offered.isascii() and offered.isprintable():
        return offered
    return uuid.uuid4().hex


def wants_fresh(cache_control: str | None) -> bool:
    """Whether ``Cache-Control`` asks for a result that is computed anew."""
    directives = {part.strip().lower() for part in (cache_control or "").split(",")}
    return not directives.isdisjoint(("no-cache", "no-store"))


def _key(header: Header) -> str | None:
    # Another scheme is not ours: a gateway in front may ask for a password of its own.
    scheme, _, key = (header("authorization") or "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else header("x-api-key")


def _priority(asked: str | None, best: Priority) -> Priority:
    """The priority that is asked for, the best allowed at most; without a wish the best allowed."""
    if asked is None:
        return best
    if asked not in PRIORITIES:
        raise InvalidRequest(
            f"header {PRIORITY_HEADER} must be one of {', '.join(PRIORITIES)}, not {asked[:32]!r}",
            field=PRIORITY_HEADER,
            allowed=list(PRIORITIES),
        )
    return cast("Priority", max(asked, best, key=PRIORITIES.index))
