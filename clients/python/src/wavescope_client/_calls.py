"""The protocol without I/O: from a request to a :class:`Call`, and from a :class:`Reply` to a result."""

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

Read = TypeVar("Read")
Top = tuple[Prediction, ...]
"""The most probable classes of one image."""

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
# The service sends a comment every 15 s where it has nothing to tell.
EVENTS_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Call:
    """An HTTP request to send.

    Attributes:
        path: percent-encoded.
        silence_s: the longest that the reply may pause, where that is less than for others.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    content: bytes = b""
    silence_s: float | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP reply that came; header names in lower case. The content of one that is streamed comes later."""

    status: int
    headers: Mapping[str, str]
    content: bytes = b""


def build_headers(api_key: str | None, priority: str | None) -> dict[str, str]:
    """The headers of every call of a client.

    Raises:
        ValueError: the key is not printable ASCII.
    """
    headers = {} if priority is None else {"Wavescope-Priority": priority}
    return headers if api_key is None else headers | {"Authorization": f"Bearer {_plain('api_key', api_key)}"}


def build_request(
    path: str,
    images: Sequence[tuple[str, bytes]],
    fields: Mapping[str, Any],
    *,
    accept: str = JSON,
    fresh: bool = False,
    idempotency_key: str | None = None,
) -> Call:
    """The call that sends image files: multipart, so that their bytes travel as they are.

    Args:
        path: what is asked of them.
        images: (part, bytes of a file); the parts are ``image``, ``images`` for each image of a batch, and ``other``.
        fields: everything else of the request.
        accept: the media type of the reply.
        fresh: computed anew even where the service has the result.
        idempotency_key: the service takes calls with the same one as the same call.

    Raises:
        ValueError: a field that JSON cannot say, or a key that is not printable ASCII.
    """
    boundary = uuid.uuid4().hex
    parts = [(f'name="{name}"; filename="{name}"', "application/octet-stream", data) for name, data in images]
    request = json.dumps(dict(fields), allow_nan=False).encode("ascii")
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
        headers["Idempotency-Key"] = _plain("idempotency_key", idempotency_key)
    return Call("POST", path, headers, content + f"--{boundary}--\r\n".encode())


def build_model(name: str) -> Call:
    """The call that asks for one model."""
    return Call("GET", f"/v1/models/{quote(name, safe='')}")


def build_job(job_id: str, *, method: str = "GET") -> Call:
    """The call that asks for the state of a job, or deletes it."""
    return Call(method, f"{JOBS}/{quote(job_id, safe='')}")


def build_result(job_id: str, accept: str) -> Call:
    """The call that asks for the result of a job."""
    return Call("GET", f"{build_job(job_id).path}/result", {"Accept": accept})


def build_watch(job_id: str) -> Call:
    """The call that asks for the events of a job."""
    return Call("GET", f"{build_job(job_id).path}/events", {"Accept": EVENTS}, silence_s=EVENTS_TIMEOUT_S)


def _plain(name: str, value: str) -> str:
    if not (value and value.isascii() and value.isprintable()):
        raise ValueError(f"{name} must be printable ASCII")  # not shown: it may be a secret
    return value


def parse_explanation(reply: Reply) -> Explanation:
    """The explanation in a reply.

    Raises:
        ServiceError: it is a refusal.
        InvalidReply: it is no explanation.
    """
    content = parse_json(reply)
    request_id = reply.headers.get("x-request-id")
    return _read(lambda: read_explanation(content, request_id), "an explanation")


def parse_batch(reply: Reply) -> list[Explanation]:
    """The explanations in the reply to a batch.

    Raises:
        ServiceError: it is a refusal.
        InvalidReply: it is no batch of explanations.
    """
    content = parse_json(reply)
    request_id = reply.headers.get("x-request-id")
    return _read(
        lambda: [read_explanation(entry, request_id) for entry in content["explanations"]],
        "a batch of explanations",
    )


def parse_found(reply: Reply) -> Explanation | list[Explanation]:
    """The result of a job: an explanation, or those of a batch; raises as both."""
    content = parse_json(reply)
    return _read(lambda: _found(content, reply.headers.get("x-request-id")), "the result of a job")


def parse_estimate(reply: Reply) -> Estimate:
    """The estimate in a reply.

    Raises:
        ServiceError: it is a refusal.
        InvalidReply: it is no estimate.
    """
    content = parse_json(reply)
    return _read(lambda: made(Estimate, content), "an estimate")


def parse_prediction(reply: Reply) -> Top:
    """The prediction of one image in a reply; raises as :func:`parse_predictions`."""
    predictions = parse_predictions(reply)
    if len(predictions) != 1:
        raise InvalidReply(f"the reply is not the prediction of one image but of {len(predictions)}")
    return predictions[0]


def parse_predictions(reply: Reply) -> list[Top]:
    """The predictions in a reply, image by image.

    Raises:
        ServiceError: it is a refusal.
        InvalidReply: it is no list of predictions.
    """
    content = parse_json(reply)
    return _read(
        lambda: [tuple(read_prediction(entry) for entry in top) for top in content["predictions"]],
        "a list of predictions",
    )


def parse_job(reply: Reply) -> JobStatus:
    """The job in a reply.

    Raises:
        ServiceError: it is a refusal.
        InvalidReply: it is no job.
    """
    content = parse_json(reply)
    return _read(lambda: _job(content), "a job")


def parse_head(reply: Reply) -> None:
    """Nothing, where a reply begins a stream of events.

    Raises:
        ServiceError: it is a refusal.
        InvalidReply: it is no stream of events.
    """
    _check(reply)
    media_type = reply.headers.get("content-type", "")
    if media_type.partition(";")[0].strip().lower() != EVENTS:
        raise InvalidReply(f"the reply is not {EVENTS} but {media_type!r}")


def read_event(event: Event, request_id: str | None) -> Progress | Partial | Result[Any] | None:
    """What an event of a stream tells; ``None`` for those younger than this client.

    Args:
        request_id: of the reply.

    Raises:
        ServiceError: it tells a refusal.
        InvalidReply: it is not what its type says.
    """

    def read() -> Progress | Partial | Result[Any] | None:
        match event.type:
            case "progress":
                return made(Progress, json.loads(event.data))
            case "partial":
                content = json.loads(event.data)
                return made(Partial, content, indices=read_indices(content["indices"]))
            case "result":
                return Result(_found(json.loads(event.data), request_id))
            case _:
                return None

    if event.type == "error":
        told = _read(lambda: dict(json.loads(event.data)), "an error")
        _refuse(told, _read(lambda: int(told["status"]), "an error"), request_id)
    return _read(read, "an event")


def read_job_event(event: Event, told: JobStatus | None, request_id: str | None) -> JobStatus | None:
    """The job after an event of its stream; raises as :func:`read_event`.

    Args:
        told: the job before; ``None`` before its state was told.
        request_id: of the reply.
    """
    match event.type:
        case "state":
            return _read(lambda: _job(json.loads(event.data)), "an event")
        case "progress" if told is not None:
            content = _read(lambda: dict(json.loads(event.data)), "an event")
            moved = ("forwards", "planned", "eta_s")
            return replace(told, **{name: content[name] for name in moved if name in content})
        case "error":
            read_event(event, request_id)  # raises
    return told


def parse_models(reply: Reply) -> dict[str, dict[str, Any]]:
    """Details by model name.

    Raises:
        ServiceError: it is a refusal.
        InvalidReply: it is no list of models.
    """
    content = parse_json(reply)
    return _read(
        lambda: {name: dict(content["details"][name]) for name in content["models"]}, "a list of models"
    )


def parse_model(reply: Reply) -> dict[str, Any]:
    """Details of a model.

    Raises:
        ServiceError: it is a refusal.
        InvalidReply: it is no model.
    """
    content = parse_json(reply)
    return _read(lambda: {"name": content["name"], **content}, "a model")


def parse_ready(reply: Reply) -> bool:
    """Whether a model can score.

    Raises:
        ServiceError: a refusal that does not tell.
    """
    if reply.status == 503:
        return False
    _check(reply)
    return True


def parse_png(reply: Reply) -> bytes:
    """The bytes of the figure.

    Raises:
        ServiceError: it is a refusal.
        InvalidReply: it is no PNG.
    """
    _check(reply)
    if not reply.content.startswith(b"\x89PNG\r\n\x1a\n"):
        raise InvalidReply("the reply is not a PNG file")
    return reply.content


def parse_json(reply: Reply) -> Any:
    """The JSON in a reply.

    Raises:
        ServiceError: it is a refusal.
        InvalidReply: it is no JSON.
    """
    _check(reply)
    try:
        return json.loads(reply.content)
    except ValueError as error:
        raise InvalidReply(f"the reply is not JSON: {error}") from error


def _check(reply: Reply) -> None:
    if reply.status not in (200, 202):
        try:
            told = json.loads(reply.content)
        except ValueError:
            told = None
        _refuse(told, reply.status, reply.headers.get("x-request-id"))


def _refuse(told: Any, status: int, request_id: str | None) -> NoReturn:
    """Raise the error of a problem, as well as it is told."""
    if not isinstance(told, dict) or "code" not in told:
        told = {"code": f"http_{status}", "message": f"the service answered with status {status}"}
    code, limits = str(told["code"]), told.get("limits")
    error = BY_CODE.get(code) or BY_STATUS.get(status, ServiceError)
    raise error(
        str(told.get("message", "")),
        status=status,
        code=code,
        field=told.get("field"),
        limits=limits if isinstance(limits, dict) else None,
        request_id=told.get("request_id") or request_id,
    )


def _found(content: Any, request_id: str | None) -> Explanation | list[Explanation]:
    if "explanations" in content:
        return [read_explanation(entry, request_id) for entry in content["explanations"]]
    return read_explanation(content, request_id)


def _job(content: Any) -> JobStatus:
    times = {name: content[name] for name in ("created_at", "started_at", "finished_at")}
    read = {name: None if at is None else datetime.fromisoformat(at) for name, at in times.items()}
    return made(JobStatus, content, **read)


def _read(read: Callable[[], Read], what: str) -> Read:
    """What ``read`` makes of a reply, its stumbling told as an invalid reply."""
    try:
        return read()
    except (KeyError, TypeError, ValueError, AttributeError, binascii.Error) as error:
        raise InvalidReply(f"the reply is not {what}: {type(error).__name__} {error}") from error
