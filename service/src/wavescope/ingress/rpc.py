"""gRPC: a thin transport over the data plane, with paired conversions."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from typing import Any, Protocol
from urllib.parse import unquote

import grpc
import numpy as np

from wavescope.engine.types import BandImportance, Explanation, Indices, LevelImportance, Prediction
from wavescope.errors import BodyTooLarge, WavescopeError
from wavescope.ingress.middleware import choose_request_id
from wavescope.ingress.plane import DataPlane, IngressLimits, NullRecorder, RequestRecorder
from wavescope.ingress.problems import Forbidden, defect, grpc_code, is_hidden, problem
from wavescope.ingress.recording import recording
from wavescope.ingress.replies import finite, little_endian
from wavescope.ingress.schemas import Parsed, parse_fields
from wavescope_proto.v1 import explanation_pb2 as pb

_LOG = logging.getLogger(__name__)


class Context(Protocol):
    """The part of a gRPC servicer's context that is used; Ray Serve's own class has it as well."""

    def set_code(self, code: grpc.StatusCode) -> None: ...
    def set_details(self, details: str) -> None: ...
    def set_trailing_metadata(self, trailing_metadata: list[tuple[str, str]]) -> None: ...
    def invocation_metadata(self) -> Iterable[tuple[str, Any]]: ...
    def peer(self) -> str: ...


async def explain(
    plane: DataPlane,
    message: pb.ExplainRequest,
    context: Context,
    *,
    limits: IngressLimits,
    recorder: RequestRecorder | None = None,
) -> pb.ExplainResponse:
    """Answer ``ExplanationService/Explain``.

    Never raises for a failed request: code, message and trailing metadata are set on the context and an empty
    reply is returned, because a raised error would lose the metadata and show the caller its traceback.
    """
    request_id = choose_request_id(_metadata(context, "x-request-id"))
    try:
        with recording(recorder or NullRecorder(), "grpc") as labels:
            _admit(context.peer(), limits)
            parsed = await asyncio.to_thread(to_request, message, limits)
            labels.learn(parsed)
            explanation = await plane.explain(
                parsed.image, parsed.model, parsed.request, request_id=request_id
            )
            reply = await asyncio.to_thread(from_explanation, explanation)
    except WavescopeError as error:
        if is_hidden(error):
            _LOG.error("RPC failed", exc_info=error, extra={"request_id": request_id})
        _refuse(context, grpc_code(error), problem(error, request_id))
        return pb.ExplainResponse()
    except Exception:  # noqa: BLE001  # the one broad handler of gRPC: logs, and hides details
        _LOG.exception("RPC failed", extra={"request_id": request_id})
        _refuse(context, grpc.StatusCode.INTERNAL, defect(request_id))
        return pb.ExplainResponse()
    context.set_trailing_metadata([("x-request-id", request_id)])
    return reply


def to_request(message: pb.ExplainRequest, limits: IngressLimits) -> Parsed:
    """The valid request behind a message; the same model and the same messages as over HTTP.

    Raises:
        BodyTooLarge: the image has more bytes than the service reads.
        InvalidRequest: a field is wrong.
    """
    if len(message.image) > limits.max_body_bytes:
        raise BodyTooLarge(
            f"the image is larger than {limits.max_body_bytes} bytes",
            field="image",
            max_body_bytes=limits.max_body_bytes,
        )
    fields = {field.name: value for field, value in message.ListFields() if field.name != "image"}
    if (target := message.WhichOneof("target")) is not None:
        fields["target"] = fields.pop(target)
    return parse_fields(fields, message.image)


def from_explanation(explanation: Explanation) -> pb.ExplainResponse:
    """The reply as a message.

    Raises:
        InternalError: a number is not finite.
    """
    reply = pb.ExplainResponse(
        id=explanation.id,
        kind=explanation.kind,
        model=explanation.model,
        outcome=explanation.outcome,
        target=_prediction(explanation.target),
        prediction=[_prediction(prediction) for prediction in explanation.prediction],
        levels=[_level(level) for level in explanation.levels or ()],
        forwards=explanation.forwards,
        timing=explanation.timing,
        warnings=explanation.warnings,
    )
    crop = explanation.crop
    reply.crop.CopyFrom(pb.Crop(left=crop.left, top=crop.top, right=crop.right, bottom=crop.bottom))
    reply.parameters.update(explanation.parameters)
    if explanation.indices is not None:
        reply.indices.CopyFrom(_indices(explanation.indices))
    if (maps := explanation.maps) is not None:
        for name in ("wcam", "spatial_wcam", "factors"):
            getattr(reply.maps, name).CopyFrom(_tensor(getattr(maps, name), name))
    return reply


def _admit(peer: str, limits: IngressLimits) -> None:
    if limits.loopback_only and not is_local(peer):
        raise Forbidden("only this host is served: start the service with --no-auth to serve others")


def is_local(peer: str) -> bool:
    """Whether a gRPC peer, such as ``ipv4:127.0.0.1:50000`` or ``ipv6:[::1]:50000``, is on this host."""
    kind, _, address = unquote(peer).partition(":")
    if kind == "unix":
        return True
    try:
        return ip_address(address.rpartition(":")[0].strip("[]")).is_loopback
    except ValueError:
        return False


def _metadata(context: Context, name: str) -> str | None:
    found = (value for key, value in context.invocation_metadata() if key.lower() == name)
    value = next(found, None)
    return value if isinstance(value, str) else None


def _refuse(context: Context, code: grpc.StatusCode, told: dict[str, Any]) -> None:
    """Set a refusal on the context; metadata holds ASCII only."""
    metadata = [("wavescope-code", told["code"]), ("x-request-id", told["request_id"])]
    if told["field"] is not None:
        field = told["field"].encode("ascii", "backslashreplace").decode("ascii")
        metadata.append(("wavescope-field", field))
    if told["limits"]:
        metadata.append(("wavescope-limits", json.dumps(told["limits"])))
    context.set_code(code)
    context.set_details(told["message"])
    context.set_trailing_metadata(metadata)


def _prediction(prediction: Prediction) -> pb.Prediction:
    return pb.Prediction(index=prediction.index, label=prediction.label, probability=prediction.probability)


def _indices(indices: Indices) -> pb.Indices:
    intervals = _numbers(indices.interval_95, "interval_95")
    return pb.Indices(
        total=_numbers(indices.total, "total"),
        first=_numbers(indices.first, "first"),
        standard_error=_numbers(indices.standard_error, "standard_error"),
        interval_95=[pb.Interval(low=low, high=high) for low, high in intervals],
    )


def _numbers(array: np.ndarray | None, name: str) -> Sequence[Any]:
    return () if array is None else finite(array, name).tolist()


def _tensor(array: np.ndarray, name: str) -> pb.Tensor:
    shape, dtype, data = little_endian(array, name)
    return pb.Tensor(shape=shape, dtype=dtype, data=data)


def _importance(band: BandImportance | LevelImportance | None) -> pb.Importance | None:
    if band is None:
        return None
    return pb.Importance(sum=band.sum, share=band.share, mean_share=band.mean_share)


def _level(level: LevelImportance) -> pb.Level:
    scale_from_px, scale_to_px = level.scale_px
    return pb.Level(
        level=level.level,
        scale_from_px=scale_from_px,
        scale_to_px=scale_to_px,
        importance=_importance(level),
        horizontal=_importance(level.horizontal),
        vertical=_importance(level.vertical),
        diagonal=_importance(level.diagonal),
    )
