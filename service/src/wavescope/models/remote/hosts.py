"""Hosts that may be called: the list of the settings, and the addresses that a name on it may stand for.

A remote model's URL comes from the registry, and at run time from whoever may change it. Nothing is reached that the
service's own settings do not list, so that a registry cannot make the service a way into the network it stands in.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from wavescope.errors import RegistryInvalid

Ip = ipaddress.IPv4Address | ipaddress.IPv6Address
GetAddrInfo = Callable[..., Sequence[tuple[object, object, object, str, tuple[object, ...]]]]

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
# The C library reads 2130706433, 0x7f.1 and 0177.0.0.1 as addresses: no name ends in such a part.
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*")
# Of clouds' metadata services, beside those that are link-local.
_METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in ("fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192")
)


def host_of(text: str) -> str:
    """A host as it is compared: a name in lower case without a last dot, or an IP address in its one spelling.

    Args:
        text: a name, or an IP address, of IPv6 without brackets.

    Raises:
        ValueError: it is neither, or a spelling of an address that only some libraries read as one.
    """
    text = text.lower()
    try:
        return str(_plain(ipaddress.ip_address(text)))
    except ValueError:
        pass
    name = text.removesuffix(".")
    if len(name) > 253 or not _NAME.fullmatch(name) or _NUMBER.fullmatch(name.rpartition(".")[2]):
        raise ValueError(f"{text!r} is neither the name of a host nor an IP address in its usual form")
    return name


def _plain(address: Ip) -> Ip:
    """The IPv4 address that an IPv6 address stands for, where it does; refuses those with a zone."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id:
            raise ValueError("an address with a zone")
        return address.ipv4_mapped or address
    return address


@dataclass(frozen=True, slots=True)
class _Entry:
    host: str
    port: int | None
    below: bool  # *.host: any name below it, not itself

    def admits(self, host: str, port: int) -> bool:
        if self.port not in (None, port):
            return False
        return host.endswith("." + self.host) if self.below else host == self.host


@dataclass(frozen=True, slots=True)
class AllowedHosts:
    """The hosts that may be asked; of none listed, none may.

    Attributes:
        entries: of the list.
        setting: that has the list, for messages.
    """

    entries: tuple[_Entry, ...] = ()
    setting: str = "remote_hosts"

    def admits(self, host: str, port: int) -> bool:
        """Whether a host, as of :func:`host_of`, is listed."""
        return any(entry.admits(host, port) for entry in self.entries)

    def resolve(self, host: str, port: int, *, getaddrinfo: GetAddrInfo = socket.getaddrinfo) -> list[str]:
        """The addresses to connect to, in the resolver's order.

        An address that is listed as such is as it is. A listed name may stand for any address but loopback (unless it
        is ``localhost``), link-local, multicast and metadata addresses, which have to be listed themselves.

        Raises:
            PermissionError: the host is not listed, or its name stands for an address that is not allowed.
            OSError: the name cannot be resolved.
        """
        if not self.admits(host, port):
            raise PermissionError(f"{host}:{port} is not among the hosts of the setting {self.setting}")
        if _is_address(host):
            return [host]
        found = getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(place[4][0]) for place in found))
        for text in addresses:
            address = _plain(ipaddress.ip_address(text))
            if _delicate(address, host) and not self.admits(str(address), port):
                raise PermissionError(
                    f"{host} stands for {address}, which the setting {self.setting} has to list by itself"
                )
        if not addresses:
            raise OSError(f"{host} has no address")
        return addresses


def allowed_hosts(entries: Iterable[str], setting: str = "remote_hosts") -> AllowedHosts:
    """The list of the settings, each entry ``host``, ``host:port`` or ``*.domain`` with or without a port.

    An IPv6 address with a port is in brackets.

    Raises:
        RegistryInvalid: an entry is none of these.
    """
    return AllowedHosts(tuple(_entry(entry, setting) for entry in entries), setting)


def _entry(text: str, setting: str) -> _Entry:
    below = text.startswith("*.")
    rest = text.removeprefix("*.")
    bracketed = re.fullmatch(r"\[([^\]]*)\](?::(\d{1,5}))?", rest)
    plain = re.fullmatch(r"([^:]*)(?::(\d{1,5}))?", rest)
    host, port = (bracketed or plain).groups() if bracketed or plain else (rest, None)  # type: ignore[union-attr]
    try:
        entry = _Entry(host_of(host), int(port) if port else None, below)
    except ValueError as error:
        raise _no_entry(setting, text, str(error)) from error
    if below and _is_address(entry.host):
        raise _no_entry(setting, text, "addresses have no names below them")
    if entry.port is not None and not 0 < entry.port < 2**16:
        raise _no_entry(setting, text, f"{entry.port} is no port")
    return entry


def _no_entry(setting: str, text: str, reason: str) -> RegistryInvalid:
    return RegistryInvalid(
        f"setting {setting}: {text!r} is not host, host:port or *.domain: {reason}", field=setting
    )


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _delicate(address: Ip, name: str) -> bool:
    local = name == "localhost" or name.endswith(".localhost")
    return (
        address.is_link_local
        or address.is_multicast
        or address.is_unspecified
        or (address.is_loopback and not local)
        or address in _METADATA
    )
