"""HTTP protocol of the service without I/O: requests as :class:`Call`, results from a :class:`Reply`."""

from __future__ import annotations

import binascii
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NoReturn, TypeVar
from urllib.parse import quote

from wavescope_client._errors import BY_CODE, BY_STATUS, InvalidReply, ServiceError
from wavescope_client._replies import made, read_explanation, read_indices, read_prediction
from wavescope_client._sse import Event
from wavescope_client._status import Estimate, JobStatus, Partial, Progress, Result
from wavescope_client._types import Explanation, Prediction
from wavescope_client._values import plain_fields

ParsedT = TypeVar("ParsedT")
EXPLANATIONS = "/v1/explanations"
ESTIMATES = "/v1/explanations:estimate"
PREDICTIONS = "/v1/predictions"
JOBS = "/v1/jobs"
JSON, JSON_AND_FIGURE, PNG, EVENTS = (
    "application/json",
    "application/json; figure=png",
    "image/png",
    "text/event-stream",
)
# The service sends a comment every 15 s while there is no event.
EVENTS_TIMEOUT_S = 60.0


class Top(tuple[Prediction, ...]):
    """The most probable classes of one image, the most probable first.

    Attributes:
        warnings: sentences about what the service assumed of the image's file, and about the model.
    """

    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """HTTP request to send.

    Attributes:
        method: HTTP method.
        path: percent-encoded path.
        headers: headers of this call, beside those of the client.
        content: body.
        silence_s: longest pause within the reply in seconds, where that is less than for other calls.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    content: bytes = b""
    silence_s: float | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """HTTP reply, its header names in lower case; the content of a streamed one comes later."""

    status: int
    headers: Mapping[str, str]
    content: bytes = b""


def build_headers(api_key: str | None, priority: str | None) -> dict[str, str]:
    """Build the headers of every call of a client.

    Raises:
        ValueError: the key is not printable ASCII.
    """
    headers = {} if priority is None else {"Wavescope-Priority": priority}
    return (
        headers
        if api_key is None
        else headers | {"Authorization": f"Bearer {_check_printable('api_key', api_key)}"}
    )


def build_request(
    path: str,
    images: Sequence[tuple[str, bytes]],
    fields: Mapping[str, Any],
    *,
    accept: str = JSON,
    fresh: bool = False,
    idempotency_key: str | None = None,
) -> Call:
    """Build the call that sends image files, as multipart form data.

    Args:
        path: path of the operation.
        images: (part, bytes of a file); the parts are ``image``, ``images`` for each image of a batch, and ``other``.
        fields: all other fields of the request; scalars and arrays of NumPy and torch are taken as well.
        accept: media type of the reply.
        fresh: whether the service computes the result even if it has a cached one.
        idempotency_key: the service takes calls with the same key as the same call.

    Raises:
        TypeError, ValueError: a field has no JSON form, or the key is not printable ASCII.
    """
    # Written here, not by ``files=`` of httpx: a call stays plain data that is independent of httpx, and every retry
    # of it sends the same bytes. Names of parts are constants, so nothing in the headers needs escaping.
    boundary = uuid.uuid4().hex
    parts = [(f'name="{name}"; filename="{name}"', "application/octet-stream", data) for name, data in images]
    request = json.dumps(plain_fields(fields), allow_nan=False).encode("ascii")
    parts.append(('name="request"', JSON, request))
    content = b"".join(
        f"--{boundary}\r\nContent-Disposition: form-data; {name}\r\n".encode()
        + f"Content-Type: {media_type}\r\n\r\n".encode()
        + data
        + b"\r\n"
        for name, media_type, data in parts
    )
    headers = {"Accept": accept, "Content-Type": f"multipart/form-data; boundary={boundary}"}
    if fresh:
        headers["Cache-Control"] = "no-cache"
    if idempotency_key is not None:
        headers["Idempotency-Key"] = _check_printable("idempotency_key", idempotency_key)
    return Call("POST", path, headers, content + f"--{boundary}--\r\n".encode())


def build_model(name: str) -> Call:
    """Build the call that describes one model."""
    return Call("GET", f"/v1/models/{quote(name, safe='')}")


def build_job(job_id: str, *, method: str = "GET") -> Call:
    """Build the call that asks for the state of a job, or with DELETE cancels it."""
    return Call(method, f"{JOBS}/{quote(job_id, safe='')}")


def build_result(job_id: str, accept: str) -> Call:
    """Build the call that fetches the result of a job."""
    return Call("GET", f"{build_job(job_id).path}/result", {"Accept": accept})


def build_watch(job_id: str) -> Call:
    """Build the call that streams the events of a job."""
    return Call("GET", f"{build_job(job_id).path}/events", {"Accept": EVENTS}, silence_s=EVENTS_TIMEOUT_S)


def _check_printable(name: str, value: str) -> str:
    if not (value and value.isascii() and value.isprintable()):
        raise ValueError(f"{name} must be printable ASCII")  # not shown: it may be a secret
    return value


def parse_explanation(reply: Reply) -> Explanation:
    """Parse the explanation in a reply.

    Raises:
        ServiceError: the reply is a refusal.
        InvalidReply: the reply is no explanation.
    """
    content = parse_json(reply)
    request_id = reply.headers.get("x-request-id")
    return _read(lambda: read_explanation(content, request_id), "an explanation")


def parse_batch(reply: Reply) -> list[Explanation]:
    """Parse the explanations in the reply to a batch.

    Raises:
        ServiceError: the reply is a refusal.
        InvalidReply: the reply is no batch of explanations.
    """
    content = parse_json(reply)
    request_id = reply.headers.get("x-request-id")
    return _read(
        lambda: [read_explanation(entry, request_id) for entry in content["explanations"]],
        "a batch of explanations",
    )


def parse_result(reply: Reply) -> Explanation | list[Explanation]:
    """Parse the result of a job: an explanation, or the list of those of a batch.

    Raises:
        ServiceError: the reply is a refusal.
        InvalidReply: the reply is no result.
    """
    content = parse_json(reply)
    return _read(lambda: _read_result(content, reply.headers.get("x-request-id")), "the result of a job")


def parse_estimate(reply: Reply) -> Estimate:
    """Parse the estimate in a reply.

    Raises:
        ServiceError: the reply is a refusal.
        InvalidReply: the reply is no estimate.
    """
    content = parse_json(reply)
    return _read(lambda: made(Estimate, content), "an estimate")


def parse_prediction(reply: Reply) -> Top:
    """Parse the prediction for one image in a reply.

    Raises:
        ServiceError: the reply is a refusal.
        InvalidReply: the reply is not the prediction for one image.
    """
    predictions = parse_predictions(reply)
    if len(predictions) != 1:
        raise InvalidReply(f"the reply is not the prediction of one image but of {len(predictions)}")
    return predictions[0]


def parse_predictions(reply: Reply) -> list[Top]:
    """Parse the predictions in a reply, image by image.

    Raises:
        ServiceError: the reply is a refusal.
        InvalidReply: the reply is no list of predictions.
    """
    content = parse_json(reply)
    return _read(lambda: _read_predictions(content), "a list of predictions")


def _read_predictions(content: Any) -> list[Top]:
    found = [Top(read_prediction(entry) for entry in top) for top in content["predictions"]]
    for top, sentences in zip(found, content.get("warnings", ()), strict=False):
        top.warnings = tuple(sentences)
    return found


def parse_job(reply: Reply) -> JobStatus:
    """Parse the state of a job in a reply.

    Raises:
        ServiceError: the reply is a refusal.
        InvalidReply: the reply is no job.
    """
    content = parse_json(reply)
    return _read(lambda: _read_job(content), "a job")


def parse_head(reply: Reply) -> None:
    """Check that a reply begins a stream of events.

    Raises:
        ServiceError: the reply is a refusal.
        InvalidReply: the reply is no stream of events.
    """
    _check(reply)
    media_type = reply.headers.get("content-type", "")
    if media_type.partition(";")[0].strip().lower() != EVENTS:
        raise InvalidReply(f"the reply is not {EVENTS} but {media_type!r}")


def read_event(event: Event, request_id: str | None) -> Progress | Partial | Result[Any] | None:
    """Read an event of a stream; ``None`` for a type that is younger than this client.

    Args:
        event: the event.
        request_id: request id of the reply.

    Raises:
        ServiceError: the event is a refusal.
        InvalidReply: the event does not have the content of its type.
    """

    def read() -> Progress | Partial | Result[Any] | None:
        match event.type:
            case "progress":
                return made(Progress, json.loads(event.data))
            case "partial":
                content = json.loads(event.data)
                return made(Partial, content, indices=read_indices(content["indices"]))
            case "result":
                return Result(_read_result(json.loads(event.data), request_id))
            case _:
                return None

    if event.type == "error":
        problem = _read(lambda: dict(json.loads(event.data)), "an error")
        _raise_refusal(problem, _read(lambda: int(problem["status"]), "an error"), request_id)
    return _read(read, "an event")


def read_job_event(event: Event, last: JobStatus | None, request_id: str | None) -> JobStatus | None:
    """Read an event of the stream of a job: the state after it.

    Args:
        event: the event.
        last: state before the event; ``None`` before the first one.
        request_id: request id of the reply.

    Raises:
        ServiceError: the event is a refusal.
        InvalidReply: the event does not have the content of its type.
    """
    match event.type:
        case "state":
            return _read(lambda: _read_job(json.loads(event.data)), "an event")
        case "progress" if last is not None:
            content = _read(lambda: dict(json.loads(event.data)), "an event")
            changed = ("forwards", "planned", "eta_s")
            return replace(last, **{name: content[name] for name in changed if name in content})
        case "error":
            read_event(event, request_id)  # raises
    return last


def parse_models(reply: Reply) -> dict[str, dict[str, Any]]:
    """Parse the details of the models by name.

    Raises:
        ServiceError: the reply is a refusal.
        InvalidReply: the reply is no list of models.
    """
    content = parse_json(reply)
    return _read(
        lambda: {name: dict(content["details"][name]) for name in content["models"]}, "a list of models"
    )


def parse_model(reply: Reply) -> dict[str, Any]:
    """Parse the details of a model.

    Raises:
        ServiceError: the reply is a refusal.
        InvalidReply: the reply is no model.
    """
    content = parse_json(reply)
    return _read(lambda: {"name": content["name"], **content}, "a model")


def parse_ready(reply: Reply) -> bool:
    """Parse the reply to the readiness probe: whether a model can score.

    Raises:
        ServiceError: the reply is neither yes nor no.
    """
    if reply.status == 503:
        return False
    _check(reply)
    return True


def parse_png(reply: Reply) -> bytes:
    """Extract the bytes of the figure from a reply.

    Raises:
        ServiceError: the reply is a refusal.
        InvalidReply: the reply is no PNG.
    """
    _check(reply)
    if not reply.content.startswith(b"\x89PNG\r\n\x1a\n"):
        raise InvalidReply("the reply is not a PNG file")
    return reply.content


def parse_json(reply: Reply) -> Any:
    """Parse the JSON in a reply.

    Raises:
        ServiceError: the reply is a refusal.
        InvalidReply: the reply is no JSON.
    """
    _check(reply)
    try:
        return json.loads(reply.content)
    except ValueError as error:
        raise InvalidReply(f"the reply is not JSON: {error}") from error


def _check(reply: Reply) -> None:
    if reply.status not in (200, 202):
        try:
            problem = json.loads(reply.content)
        except ValueError:
            problem = None
        _raise_refusal(problem, reply.status, reply.headers.get("x-request-id"))


def _raise_refusal(problem: Any, status: int, request_id: str | None) -> NoReturn:
    """Raise the error of a problem; without one, an error of the status alone."""
    if not isinstance(problem, dict) or "code" not in problem:
        problem = {"code": f"http_{status}", "message": f"the service answered with status {status}"}
    code, limits = str(problem["code"]), problem.get("limits")
    error = BY_CODE.get(code) or BY_STATUS.get(status, ServiceError)
    raise error(
        str(problem.get("message", "")),
        status=status,
        code=code,
        field=problem.get("field"),
        limits=limits if isinstance(limits, dict) else None,
        request_id=problem.get("request_id") or request_id,
    )


def _read_result(content: Any, request_id: str | None) -> Explanation | list[Explanation]:
    if "explanations" in content:
        return [read_explanation(entry, request_id) for entry in content["explanations"]]
    return read_explanation(content, request_id)


def _read_job(content: Any) -> JobStatus:
    times = {name: content[name] for name in ("created_at", "started_at", "finished_at")}
    read = {name: None if at is None else datetime.fromisoformat(at) for name, at in times.items()}
    return made(JobStatus, content, **read)


def _read(read: Callable[[], ParsedT], what: str) -> ParsedT:
    """Call ``read``; its errors become :class:`InvalidReply`."""
    try:
        return read()
    except (KeyError, TypeError, ValueError, AttributeError, binascii.Error) as error:
        raise InvalidReply(f"the reply is not {what}: {type(error).__name__} {error}") from error
