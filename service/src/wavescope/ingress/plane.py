"""What the ingress needs from the rest of the service: one data plane under two thin transports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

from wavescope.engine.types import Explanation, ExplanationRequest

Transport = Literal["http", "grpc"]
Target = int | str | None


class DataPlane(Protocol):
    """The service behind the protocols."""

    async def explain(
        self,
        images: tuple[bytes, ...],
        model: str,
        request: ExplanationRequest,
        *,
        targets: tuple[tuple[Target, ...], ...],
        other: bytes | None,
        request_id: str,
    ) -> tuple[Explanation, ...]:
        """Explain encoded images.

        Args:
            images: one, or a batch.
            model: its name.
            request: every parameter; ``target`` gives way to ``targets``.
            targets: per image, the classes it is explained for; at least one, ``None`` for the predicted class.
            other: the encoded image to compare with, where the kind is ``compare``.
            request_id: for the log.

        Returns:
            One explanation per image and target, in image-major order.

        Raises:
            WavescopeError: what is to be told to the caller; ``UnknownModel`` before any error of the model. An error
                about one image of a batch names it in ``field``: ``images[1]``.
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


@dataclass(frozen=True, slots=True)
class Parsed:
    """A valid request.

    Attributes:
        model: name of the model, not yet looked up.
        images: the encoded files, not yet decoded.
        targets: per image, the classes it is explained for; at least one, ``None`` for the predicted class.
        other: the file to compare with, where the kind is ``compare``.
        request: everything else; its ``target`` is in ``targets`` already.
        batch: whether the reply is a list, even of one.
    """

    model: str
    images: tuple[bytes, ...]
    targets: tuple[tuple[Target, ...], ...]
    other: bytes | None
    request: ExplanationRequest
    batch: bool


async def ask(plane: DataPlane, parsed: Parsed, request_id: str) -> tuple[Explanation, ...]:
    """What the plane explains of a valid request."""
    return await plane.explain(
        parsed.images,
        parsed.model,
        parsed.request,
        targets=parsed.targets,
        other=parsed.other,
        request_id=request_id,
    )


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
        max_body_bytes: of a whole HTTP body, and of the images in an RPC together.
        max_images: of one batch.
        max_targets: classes that one image is explained for in one request.
        retry_after_s: told to clients that may come again.
        loopback_only: whether RPCs from other hosts are refused. A server that can be told its address needs no such
            check; Ray Serve's gRPC proxy listens on every interface.
    """

    max_body_bytes: int = 32 * 1024 * 1024
    max_images: int = 16
    max_targets: int = 16
    retry_after_s: int = 1
    loopback_only: bool = False
