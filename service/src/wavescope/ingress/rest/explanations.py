"""HTTP endpoints of explanations, of estimates of their cost, and of predictions."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from wavescope.engine.types import Explanation
from wavescope.ingress.call_context import call_of
from wavescope.ingress.plane import ExplainPlane
from wavescope.ingress.replies import to_predictions
from wavescope.ingress.request_metrics import PREDICTION, recording
from wavescope.ingress.rest.bodies import read_prediction, read_request
from wavescope.ingress.rest.negotiation import EVENTS, negotiate
from wavescope.ingress.rest.responses import represent
from wavescope.ingress.rest.routes import Routes
from wavescope.ingress.rest.sse import EventStream, explanation_events

CACHE_HEADER = "Wavescope-Cache"


class ExplainRoutes(Routes[ExplainPlane]):
    """Endpoints of explanations and predictions."""

    async def explain(self, request: Request) -> Response:
        """``POST /v1/explanations``."""
        with ExitStack() as around:
            labels = around.enter_context(recording(self._recorder, "http"))
            accept = request.headers.get("accept")
            representation = negotiate(accept)
            explain_request = await read_request(request, self._limits)
            labels.learn(explain_request)
            if explain_request.batch:  # known only now; refused before anything is computed
                representation = negotiate(accept, batch=True)
            call = call_of(request)
            if representation.media_type == EVENTS:
                events = explanation_events(
                    self._plane.stream(explain_request, call), batch=explain_request.batch
                )
                place = self._streams.place(call.caller)
                return EventStream(events, call.request_id, place, around=around.pop_all())
            explanations = await self._plane.explain(explain_request, call)
            response = await represent(
                explanations, representation, batch=explain_request.batch, draw=self._draw
            )
            response.headers[CACHE_HEADER] = format_cache_header(explanations)
            return response

    async def estimate(self, request: Request) -> Response:
        """``POST /v1/explanations:estimate``."""
        explain_request = await read_request(request, self._limits)
        return JSONResponse(asdict(await self._plane.estimate(explain_request, call_of(request))))

    async def predict(self, request: Request) -> Response:
        """``POST /v1/predictions``."""
        with recording(self._recorder, "http") as labels:
            predict_request = await read_prediction(request, self._limits)
            labels.kind, labels.model = PREDICTION, predict_request.model
            return JSONResponse(to_predictions(await self._plane.predict(predict_request, call_of(request))))


def format_cache_header(explanations: tuple[Explanation, ...]) -> str:
    """Format the cache header: ``hit`` if nothing had to be computed."""
    return "hit" if all(explanation.cached for explanation in explanations) else "miss"
