"""What the ingress needs from the rest of the service: one data plane under two thin transports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

from wavescope.engine.types import Explanation, ExplanationRequest

Transport = Literal["http", "grpc"]


class DataPlane(Protocol):
    """The service behind the protocols."""

    async def explain(
        self, image: bytes, model: str, request: ExplanationRequest, *, request_id: str
    ) -> Explanation:
        """Explain one encoded image.

        Raises:
            WavescopeError: what is to be told to the caller; ``UnknownModel`` before any error of the model.
        """
        ...

    async def models(self) -> dict[str, dict[str, Any]]:
        """JSON-ready details by model name; ``ready`` (bool) among them."""
        ...

    async def ready(self) -> bool:
        """Whether a model can score."""
        ...

    async def metrics(self) -> str:
        """The whole application's metrics in Prometheus' text format."""
        ...


class RequestRecorder(Protocol):
    """Counts the requests for explanations."""

    def request(self, *, kind: str, model: str, protocol: Transport, code: str, duration_s: float) -> None:
        """Record one answered request.

        Args:
            kind: of the product, empty where the request was refused before it was known.
            model: empty where the request names no known model, so that callers cannot make up label values.
            protocol: how it came.
            code: ``ok``, or the code of the error.
            duration_s: from its headers to its whole answer, s.
        """
        ...


class NullRecorder:
    """Records nothing."""

    def request(self, *, kind: str, model: str, protocol: Transport, code: str, duration_s: float) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True)
class IngressLimits:
    """Limits that come from the settings.

    Attributes:
        max_body_bytes: of a whole HTTP body, and of the image in an RPC.
        retry_after_s: told to clients that may come again.
        loopback_only: whether RPCs from other hosts are refused. A server that can be told its address needs no such
            check; Ray Serve's gRPC proxy listens on every interface.
    """

    max_body_bytes: int = 32 * 1024 * 1024
    retry_after_s: int = 1
    loopback_only: bool = False
