"""Between gRPC messages and what the rest of the ingress holds, in both directions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from google.protobuf.json_format import ParseDict

from wavescope.engine.events import PartialIndices, Progress
from wavescope.engine.types import Explanation
from wavescope.errors import BodyTooLarge
from wavescope.ingress.job_replies import job_reply
from wavescope.ingress.plane import (
    Estimate,
    ExplainRequest,
    IngressLimits,
    JobStatus,
    Predictions,
    PredictRequest,
    Target,
)
from wavescope.ingress.replies import to_batch, to_indices, to_predictions, to_reply
from wavescope.ingress.schemas.parsing import Files, parse_fields, settle_prediction, validate
from wavescope.ingress.schemas.request import PredictionFields
from wavescope_proto.v1 import explanation_pb2 as pb

_NOT_FIELDS = ("image", "images", "other", "targets")
_LEVEL_NUMBERS = ("sum", "share", "mean_share")


def to_request(message: pb.ExplainRequest, limits: IngressLimits) -> ExplainRequest:
    """The valid request behind a message; the same model and the same messages as over HTTP.

    Raises:
        BodyTooLarge: the images have more bytes than the service reads.
        InvalidRequest: a field is wrong.
    """
    files = Files(
        image=message.image or None,
        images=tuple(message.images) or None,
        other=message.other or None,
    )
    _check_size(files, limits)
    fields: dict[str, Any] = {
        field.name: value for field, value in message.ListFields() if field.name not in _NOT_FIELDS
    }
    for name in ("target", "against"):
        if (given := message.WhichOneof(name)) is not None:
            fields[name] = fields.pop(given)
    if message.targets:
        fields["targets"] = [_targets(entry) for entry in message.targets]
    return parse_fields(fields, files, limits)


def to_prediction(message: pb.PredictRequest, limits: IngressLimits) -> PredictRequest:
    """The valid request behind a message; raises as :func:`to_request`."""
    files = Files(image=message.image or None, images=tuple(message.images) or None)
    _check_size(files, limits)
    fields = {field.name: value for field, value in message.ListFields() if field.name not in _NOT_FIELDS}
    return settle_prediction(validate(PredictionFields, fields), files, limits)


def _check_size(files: Files, limits: IngressLimits) -> None:
    size = len(files.image or b"") + sum(map(len, files.images or ())) + len(files.other or b"")
    if size > limits.max_body_bytes:
        several = files.images is not None or files.other is not None
        raise BodyTooLarge(
            f"the image{'s are' if several else ' is'} larger than {limits.max_body_bytes} bytes",
            field="images" if files.images is not None else "image",
            max_body_bytes=limits.max_body_bytes,
        )


def _targets(entry: pb.TargetList) -> Target | list[Target]:
    """An entry of ``targets`` as JSON has it."""
    found = [_target(target) for target in entry.targets]
    return found if len(found) > 1 else found[0] if found else None


def _target(target: pb.Target) -> Target:
    which = target.WhichOneof("target")
    return None if which is None else getattr(target, which)


def from_explanation(explanation: Explanation) -> pb.ExplainResponse:
    """The reply as a message.

    Raises:
        InternalError: a number is not finite.
    """
    return ParseDict(_named(to_reply(explanation)), pb.ExplainResponse())


def from_batch(explanations: Sequence[Explanation]) -> pb.ExplainResponse:
    """The reply to a batch as a message.

    Raises:
        InternalError: a number is not finite.
    """
    return ParseDict(_named(to_batch(explanations)), pb.ExplainResponse())


def from_explanations(explanations: Sequence[Explanation], *, batch: bool) -> pb.ExplainResponse:
    """The reply as a message, of one explanation where it is no batch.

    Raises:
        InternalError: a number is not finite.
    """
    if batch:
        return from_batch(explanations)
    (explanation,) = explanations
    return from_explanation(explanation)


def from_progress(progress: Progress) -> pb.Progress:
    """Progress of a request, as a message."""
    return pb.Progress(
        forwards=progress.forwards,
        planned=progress.planned,
        elapsed_s=progress.elapsed_s,
        eta_s=progress.eta_s,
    )


def from_partial(partial: PartialIndices) -> pb.PartialIndices:
    """Indices so far, as a message.

    Raises:
        InternalError: a number is not finite.
    """
    indices = ParseDict(_named(to_indices(partial.indices)), pb.Indices())
    return pb.PartialIndices(
        image=partial.image, forwards=partial.forwards, rows=partial.rows, indices=indices
    )


def from_estimate(estimate: Estimate) -> pb.EstimateResponse:
    """Expected cost of a request, as a message."""
    return pb.EstimateResponse(**asdict(estimate))


def from_predictions(predictions: Predictions) -> pb.PredictResponse:
    """Predictions, as a message.

    Raises:
        InternalError: a number is not finite.
    """
    reply = to_predictions(predictions)
    entries = zip(reply["predictions"], reply.pop("warnings"), strict=True)
    reply["predictions"] = [{"top": top, "warnings": warnings} for top, warnings in entries]
    return ParseDict(reply, pb.PredictResponse())


def from_models(details: Mapping[str, dict[str, Any]]) -> pb.ListModelsResponse:
    """The registered models, as a message."""
    models = [
        {"name": name, "ready": bool(model.get("ready")), "details": model} for name, model in details.items()
    ]
    return ParseDict({"models": models}, pb.ListModelsResponse())


def from_job(job: JobStatus) -> pb.Job:
    """A job, as a message."""
    reply = job_reply(job)
    del reply["links"]
    return ParseDict(reply, pb.Job())


def _named(reply: Any) -> Any:
    """A JSON reply with names for the parts of its pairs, as a message has them."""
    if isinstance(reply, list):
        return [_named(part) for part in reply]
    if not isinstance(reply, dict):
        return reply
    named: dict[str, Any] = {}
    for name, value in reply.items():
        if name == "effect":
            named["effects"] = _effects(value or [], reply["effect_error"])
        elif name == "effect_error":  # with the effects
            continue
        elif value is None or name == "parameters":  # absent; a Struct, whose keys are not ours to change
            named[name] = value
        elif name == "scale_px":
            named["scale_from_px"], named["scale_to_px"] = value
        elif name == "frequency":
            named["frequency_from"], named["frequency_to"] = value
        elif name == "interval_95":
            named[name] = _interval(value)
        else:
            named[name] = _named(value)
    if "horizontal" in named:  # a level, whose own numbers are a message as its orientations' are
        named["importance"] = {number: named.pop(number) for number in _LEVEL_NUMBERS}
    return named


def _effects(slopes: list[float | None], errors: list[float | None] | None) -> list[dict[str, Any]]:
    """The effects of the factors, one message each: a list of numbers has no place for those that are not known."""
    known: list[float | None] = [None] * len(slopes) if errors is None else errors
    return [{"slope": slope, "standard_error": error} for slope, error in zip(slopes, known, strict=True)]


def _interval(value: list[Any]) -> Any:
    """[low, high], or a list of them."""
    if value and not isinstance(value[0], list):
        return {"low": value[0], "high": value[1]}
    return [_interval(pair) for pair in value]
