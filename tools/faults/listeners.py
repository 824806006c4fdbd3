"""What the service listens on, and what one message that needs no token does to it (Linux)."""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import grpc

LISTENING = "0A"  # in the kernel's tables
# Of Ray's control plane and raylets; without metadata it fails a check of theirs (Ray 2.60), which ends the process.
KILLING = "/ray.rpc.syncer.RaySyncer/StartSync"
ANSWER_S = 5.0


@dataclass(frozen=True, slots=True)
class Listener:
    """One address that is listened on over TCP.

    Attributes:
        address: of IP, an embedded IPv4 one as itself.
        port: of TCP.
        command: of the process.
    """

    address: ipaddress.IPv4Address | ipaddress.IPv6Address
    port: int
    command: str


def listeners(processes: Iterable[int]) -> list[Listener]:
    """What these processes listen on, from /proc."""
    owners: dict[str, str] = {}
    for process in processes:
        with suppress(OSError):  # it ended while we looked
            folder = Path(f"/proc/{process}")
            command = (folder / "cmdline").read_text(errors="replace").replace("\0", " ").strip()
            for handle in (folder / "fd").iterdir():
                with suppress(OSError):
                    owners[str(handle.readlink())] = command
    found: list[Listener] = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            entry = line.split()
            command = owners.get(f"socket:[{entry[9]}]")
            if entry[3] == LISTENING and command is not None:
                address, port = _address(entry[1])
                found.append(Listener(address, port, command))
    return found


def outside(found: Iterable[Listener]) -> list[Listener]:
    """Those that other hosts can reach."""
    return [listener for listener in found if not listener.address.is_loopback]


def send_killing_message(port: int) -> None:
    """One empty message, without a token, that ends whichever of Ray's servers takes it."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel, suppress(grpc.RpcError):
        channel.unary_unary(KILLING)(b"", timeout=ANSWER_S)


def _address(listed: str) -> tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]:
    """An address as the kernel's tables tell it: words of 32 bits in the machine's order."""
    words, port = listed.split(":")
    raw = b"".join(int(words[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(words), 8))
    address = ipaddress.ip_address(raw)
    return getattr(address, "ipv4_mapped", None) or address, int(port, 16)
