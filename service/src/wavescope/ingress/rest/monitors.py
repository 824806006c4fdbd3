"""HTTP endpoints of monitors and of the sink of inference events."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Literal, TypeVar

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from wavescope.engine.monitors.config import Origin, check_name
from wavescope.engine.monitors.state import Command
from wavescope.errors import InvalidRequest
from wavescope.ingress.call_context import call_of
from wavescope.ingress.kserve.error_responses import Endpoint
from wavescope.ingress.monitor_replies import alarms_reply, diagnosis_reply, monitor_reply, report_reply
from wavescope.ingress.plane import IngressLimits, MonitorPlane, MonitorReport, MonitorStatus
from wavescope.ingress.problems import MalformedRequest
from wavescope.ingress.rest.bodies import limited_body, read_json_body, read_observations
from wavescope.ingress.rest.negotiation import EVENTS, JSON, PNG, negotiate
from wavescope.ingress.rest.sse import EventStream, monitor_events
from wavescope.ingress.schemas.monitor import AcknowledgeBody, RebaselineBody, parse_monitor
from wavescope.ingress.schemas.parsing import load_json, validate
from wavescope.ingress.stream_limits import OpenStreams

Body = TypeVar("Body", bound=BaseModel)
DrawReport = Callable[[MonitorReport], bytes]
UNSTORED = {"Cache-Control": "no-store"}
MAX_TOKEN_CHARS = 128


class MonitorRoutes:
    """Endpoints of monitors.

    Args:
        plane: the part of the data plane.
        limits: of requests.
        draw: makes the picture of a report, called in a thread; ``None`` where none are made.
        streams: those that are open.
    """

    def __init__(
        self, plane: MonitorPlane, limits: IngressLimits, draw: DrawReport | None, streams: OpenStreams
    ) -> None:
        self._plane = plane
        self._limits = limits
        self._draw = draw
        self._streams = streams

    async def put(self, request: Request) -> Response:
        """``PUT /v1/monitors/{name}``."""
        name = _name(request)
        config = parse_monitor(await read_json_body(request, self._limits))
        status, new = await self._plane.put_monitor(name, config, call_of(request))
        return _reply(request, status, 201 if new else 200)

    async def get(self, request: Request) -> Response:
        """``GET /v1/monitors/{name}``; with ``Accept: text/event-stream`` its status whenever it changes."""
        chosen = negotiate(request.headers.get("accept"), served=(JSON, EVENTS))
        call, name = call_of(request), _name(request)
        if chosen.media_type == EVENTS and request.method != "HEAD":
            states = self._plane.watch_monitor(name, call)
            place = self._streams.place(call.caller)
            return EventStream(monitor_events(states, root=_root(request)), call.request_id, place)
        return _reply(request, await self._plane.monitor(name, call))

    async def list_all(self, request: Request) -> Response:
        """``GET /v1/monitors``."""
        found = await self._plane.monitors(call_of(request))
        replies = [monitor_reply(status, _root(request)) for status in found]
        return JSONResponse({"monitors": replies}, headers=UNSTORED)

    async def delete(self, request: Request) -> Response:
        """``DELETE /v1/monitors/{name}``."""
        await self._plane.delete_monitor(_name(request), call_of(request))
        return Response(status_code=204)

    async def observe(self, request: Request) -> Response:
        """``POST /v1/monitors/{name}/observations``."""
        name = _name(request)
        observations = await read_observations(request, self._limits)
        outcomes = await self._plane.observe(name, observations, call_of(request))
        return JSONResponse({"name": name, "outcomes": list(outcomes)}, 202, headers=UNSTORED)

    def commands(self) -> dict[str, Endpoint]:
        """Endpoints of commands, by the verb that follows the monitor's name and a colon."""
        return {
            "acknowledge": self._acknowledge,
            "rebaseline": self._rebaseline,
            "pause": partial(self._obey, "pause"),
            "resume": partial(self._obey, "resume"),
            "renew-token": self._renew_token,
        }

    async def _acknowledge(self, request: Request) -> Response:
        body = await self._body(request, AcknowledgeBody)
        by = call_of(request).caller
        return await self._carry_out(
            request, Command(do="acknowledge", by=by, alarm=body.alarm, judgement=body.verdict)
        )

    async def _rebaseline(self, request: Request) -> Response:
        source: Origin = "given" if (await self._body(request, RebaselineBody)).source == "new" else "stream"
        return await self._carry_out(
            request, Command(do="rebaseline", by=call_of(request).caller, source=source)
        )

    async def _obey(self, do: Literal["pause", "resume"], request: Request) -> Response:
        return await self._carry_out(request, Command(do=do, by=call_of(request).caller))

    async def _renew_token(self, request: Request) -> Response:
        return _reply(request, await self._plane.renew_token(_name(request), call_of(request)))

    async def _carry_out(self, request: Request, command: Command) -> Response:
        status = await self._plane.command_monitor(_name(request), command, call_of(request))
        return _reply(request, status)

    async def _body(self, request: Request, schema: type[Body]) -> Body:
        return validate(schema, load_json(await read_json_body(request, self._limits), "the body"))

    async def report(self, request: Request) -> Response:
        """``GET /v1/monitors/{name}/report``."""
        served = (JSON,) if self._draw is None else (JSON, PNG)
        chosen = negotiate(request.headers.get("accept"), served=served)
        since, until = _time(request, "since"), _time(request, "until")
        report = await self._plane.monitor_report(_name(request), call_of(request), since=since, until=until)
        if chosen.media_type == PNG and self._draw is not None:
            drawn = await asyncio.to_thread(self._draw, report)
            return Response(drawn, headers=UNSTORED, media_type=PNG)
        return JSONResponse(report_reply(report, _root(request)), headers=UNSTORED)

    async def alarms(self, request: Request) -> Response:
        """``GET /v1/monitors/{name}/alarms``."""
        status = await self._plane.monitor(_name(request), call_of(request))
        return JSONResponse(alarms_reply(status, _root(request)), headers=UNSTORED)

    async def diagnosis(self, request: Request) -> Response:
        """``GET /v1/monitors/{name}/alarms/{id}/diagnosis``."""
        given = request.path_params["id"]
        if not (given.isascii() and given.isdigit() and len(given) < 10):
            raise InvalidRequest(f"the id of an alarm is its number, not {given[:32]!r}", field="id")
        found = await self._plane.diagnosis(_name(request), int(given), call_of(request))
        return JSONResponse(diagnosis_reply(found, _root(request)), headers=UNSTORED)

    # ---- events ----------------------------------------------------------------------------------
    async def event(self, request: Request) -> Response:
        """``POST /v1/events``, ``/v1/monitors/{name}/events``, ``/v1/monitors/{name}/events/{token}``.

        Answers 202 as soon as the event is stored, or counted as one that is not observed, and 400 whatever is wrong
        with it: brokers send 4xx of other kinds again.
        """
        name = request.path_params.get("name")
        token = request.path_params.get("token")
        if token is not None and len(token) > MAX_TOKEN_CHARS:
            raise InvalidRequest(f"a token has at most {MAX_TOKEN_CHARS} characters", field="token")
        body = await limited_body(request, self._limits)
        try:
            outcomes = await self._plane.receive_event(
                None if name is None else check_name(name), token, request.headers, body, call_of(request)
            )
        except InvalidRequest as wrong:
            raise MalformedRequest(wrong.message, field=wrong.field, **wrong.limits) from None
        return Response(status_code=202, headers={"Wavescope-Outcomes": _outcomes(outcomes), **UNSTORED})


def _outcomes(outcomes: dict[str, int]) -> str:
    return ", ".join(f"{name}={count}" for name, count in sorted(outcomes.items()))


def _reply(request: Request, status: MonitorStatus, code: int = 200) -> Response:
    content = monitor_reply(status, _root(request))
    headers = UNSTORED | ({"Location": content["links"]["self"]} if code == 201 else {})
    return JSONResponse(content, code, headers=headers)


def _name(request: Request) -> str:
    return check_name(request.path_params["name"])


def _root(request: Request) -> str:
    return request.scope.get("root_path", "").rstrip("/")


def _time(request: Request, name: str) -> float | None:
    """A time in the query: RFC 3339, or seconds since 1970."""
    given = request.query_params.get(name)
    if given is None:
        return None
    try:
        seconds = float(given)
    except ValueError:
        try:
            seconds = datetime.fromisoformat(given.replace(" ", "+")).timestamp()
        except (ValueError, OverflowError, OSError):
            seconds = -1.0
    if not 0 <= seconds < 1e11:
        raise InvalidRequest(
            f"{name} must be a time such as 2026-11-23T15:25:14Z, or seconds since 1970, not {given[:40]!r}",
            field=name,
        )
    return seconds
