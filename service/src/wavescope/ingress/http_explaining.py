"""HTTP: explanations, what they would cost, and predictions."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from wavescope.engine.types import Explanation
from wavescope.ingress.bodies import read_prediction, read_request
from wavescope.ingress.calls import call_of
from wavescope.ingress.negotiation import EVENTS, negotiate
from wavescope.ingress.open_streams import OpenStreams
from wavescope.ingress.plane import Explaining, IngressLimits, RequestRecorder
from wavescope.ingress.recording import PREDICTION, recording
from wavescope.ingress.replies import to_predictions
from wavescope.ingress.representing import Draw, represent
from wavescope.ingress.sse import EventStream, explanation_events

CACHE_HEADER = "Wavescope-Cache"


class ExplainingRoutes:
    """The endpoints, over the part of the data plane that explains."""

    def __init__(
        self,
        plane: Explaining,
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

    async def explain(self, request: Request) -> Response:
        """``POST /v1/explanations``."""
        with ExitStack() as around:
            labels = around.enter_context(recording(self._recorder, "http"))
            accept = request.headers.get("accept")
            representation = negotiate(accept)
            parsed = await read_request(request, self._limits)
            labels.learn(parsed)
            if parsed.batch:  # known only now; refused before anything is computed
                representation = negotiate(accept, batch=True)
            call = call_of(request)
            if representation.media_type == EVENTS:
                events = explanation_events(self._plane.stream(parsed, call), batch=parsed.batch)
                place = self._streams.place(call.caller)
                return EventStream(events, call.request_id, place, around=around.pop_all())
            explanations = await self._plane.explain(parsed, call)
            response = await represent(explanations, representation, batch=parsed.batch, draw=self._draw)
            response.headers[CACHE_HEADER] = cache_told(explanations)
            return response

    async def estimate(self, request: Request) -> Response:
        """``POST /v1/explanations:estimate``."""
        parsed = await read_request(request, self._limits)
        return JSONResponse(asdict(await self._plane.estimate(parsed, call_of(request))))

    async def predict(self, request: Request) -> Response:
        """``POST /v1/predictions``."""
        with recording(self._recorder, "http") as labels:
            asked = await read_prediction(request, self._limits)
            labels.kind, labels.model = PREDICTION, asked.model
            predicted = await self._plane.predict(asked.images, asked.model, asked.top_k, call_of(request))
            return JSONResponse(to_predictions(predicted))


def cache_told(explanations: tuple[Explanation, ...]) -> str:
    """Whether nothing had to be computed."""
    return "hit" if all(explanation.cached for explanation in explanations) else "miss"
