"""Where the service under test listens."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """Ports on this host.

    Attributes:
        port: of HTTP.
        grpc_port: of gRPC.
    """

    port: int
    grpc_port: int

    @property
    def url(self) -> str:
        """Of HTTP."""
        return f"http://127.0.0.1:{self.port}"
