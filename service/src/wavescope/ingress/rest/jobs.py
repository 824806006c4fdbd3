"""HTTP endpoints of jobs."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from wavescope.ingress.call_context import call_of
from wavescope.ingress.job_replies import (
    check_idempotency_key,
    check_job_id,
    job_path,
    job_reply,
)
from wavescope.ingress.plane import JobPlane, JobStatus
from wavescope.ingress.request_metrics import JOB, recording
from wavescope.ingress.rest.bodies import read_request
from wavescope.ingress.rest.negotiation import EVENTS, RESULTS, negotiate
from wavescope.ingress.rest.responses import represent
from wavescope.ingress.rest.routes import Routes
from wavescope.ingress.rest.sse import EventStream, job_events


class JobRoutes(Routes[JobPlane]):
    """Endpoints of jobs."""

    async def submit(self, request: Request) -> Response:
        """``POST /v1/jobs``; 202 for a key that was used before as well, whose job may have ended."""
        with recording(self._recorder, "http") as labels:
            call = call_of(request)
            key = check_idempotency_key(call.idempotency_key)
            explain_request = await read_request(request, self._limits)
            labels.kind, labels.model = JOB, explain_request.model
            job = await self._plane.submit(explain_request, call, key)
        response = _job_response(request, job, 202)
        response.headers["Location"] = f"{_root(request)}{job_path(job.id)}"
        return response

    async def job(self, request: Request) -> Response:
        """``GET /v1/jobs/{id}``."""
        return _job_response(request, await self._plane.job(_id(request), call_of(request)))

    async def cancel(self, request: Request) -> Response:
        """``DELETE /v1/jobs/{id}``."""
        return _job_response(request, await self._plane.cancel(_id(request), call_of(request)))

    async def events(self, request: Request) -> Response:
        """``GET /v1/jobs/{id}/events``."""
        negotiate(request.headers.get("accept"), served=(EVENTS,))
        call = call_of(request)
        if request.method == "HEAD":  # has no body, so that nothing is waited for
            await self._plane.job(_id(request), call)
            return Response(media_type=EVENTS)
        states = self._plane.watch(_id(request), call)
        place = self._streams.place(call.caller)
        return EventStream(job_events(states, root=_root(request)), call.request_id, place)

    async def result(self, request: Request) -> Response:
        """``GET /v1/jobs/{id}/result``."""
        accept = request.headers.get("accept")
        representation = negotiate(accept, served=RESULTS)
        explanations, batch = await self._plane.result(_id(request), call_of(request))
        if batch:
            representation = negotiate(accept, served=RESULTS, batch=True)
        return await represent(explanations, representation, batch=batch, draw=self._draw)


def _job_response(request: Request, job: JobStatus, status: int = 200) -> Response:
    return JSONResponse(job_reply(job, _root(request)), status, headers={"Cache-Control": "no-store"})


def _id(request: Request) -> str:
    return check_job_id(request.path_params["id"])


def _root(request: Request) -> str:
    return request.scope.get("root_path", "").rstrip("/")
