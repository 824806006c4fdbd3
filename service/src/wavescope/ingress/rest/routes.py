"""Base class of the endpoints of explanations and of jobs."""

from __future__ import annotations

from typing import Generic, TypeVar

from wavescope.ingress.plane import IngressLimits, RequestRecorder
from wavescope.ingress.rest.responses import Draw
from wavescope.ingress.stream_limits import OpenStreams

Plane = TypeVar("Plane")


class Routes(Generic[Plane]):
    """Endpoints over a part of the data plane.

    Args:
        plane: the part.
        limits: of requests.
        draw: makes the picture of an explanation.
        recorder: counts every request.
        streams: those that are open.
    """

    def __init__(
        self,
        plane: Plane,
        limits: IngressLimits,
        draw: Draw,
        recorder: RequestRecorder,
        streams: OpenStreams,
    ) -> None:
        self._plane = plane
        self._limits = limits
        self._draw = draw
        self._recorder = recorder
        self._streams = streams
