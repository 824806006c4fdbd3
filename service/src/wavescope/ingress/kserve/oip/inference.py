"""Inference behind both transports: from images and parameters to tensors, over the data plane."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from wavescope.engine.types import CLASS_FIELDS, Explanation
from wavescope.errors import InvalidRequest
from wavescope.ingress.kserve.field_names import renamed_errors
from wavescope.ingress.kserve.oip import catalogue
from wavescope.ingress.kserve.oip.catalogue import IMAGE, OTHER, Named
from wavescope.ingress.kserve.oip.outputs import batch, check_wanted
from wavescope.ingress.kserve.oip.tensors import Output
from wavescope.ingress.plane import CallContext, DataPlane, ExplainRequest, IngressLimits, PredictRequest
from wavescope.ingress.replies import finite
from wavescope.ingress.request_metrics import PREDICTION, Labels
from wavescope.ingress.schemas.parsing import Files, load_json, parse_fields
from wavescope.ingress.schemas.request import ExplanationFields

# What a request's parameters may hold beside the fields of an explanation; the transports read it.
TRANSPORT_PARAMETERS = ("binary_data_output", "content_type")


@dataclass(frozen=True, slots=True)
class InferRequest:
    """A request, whichever transport it came by.

    Attributes:
        parameters: as they came, those of the transport left out.
        images: the encoded files by input.
        wanted: the outputs asked for; empty for all.
    """

    parameters: dict[str, Any]
    images: dict[str, tuple[bytes, ...]]
    wanted: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class InferReply:
    """A reply.

    Attributes:
        model: the name that was called.
        explanations: what the tensors were made of; empty where it was none.
        warnings: of predictions, sentences about each image; those of an explanation are in its JSON.
    """

    model: str
    outputs: tuple[Output, ...]
    explanations: tuple[Explanation, ...] = field(default=())
    warnings: tuple[tuple[str, ...], ...] = field(default=())

    @property
    def parameters(self) -> dict[str, str]:
        """Parameters of the reply: ``warnings`` as JSON, lists of sentences in order, where there is one."""
        return {"warnings": json.dumps(self.warnings)} if any(self.warnings) else {}


async def infer(
    plane: DataPlane,
    name: str,
    version: str,
    read: Callable[[], InferRequest],
    call: CallContext,
    *,
    limits: IngressLimits,
    labels: Labels,
) -> InferReply:
    """The tensors of a model, or of an explainer.

    Args:
        plane: the service.
        name: of the model, as it was called.
        version: of the model; empty for any.
        read: the request; called in a thread, since pixels are encoded there.
        call: goes with every call of the plane.
        limits: from the settings.
        labels: learn what the request is.

    Raises:
        WavescopeError: the error that the caller receives.
    """
    named = catalogue.find(plane, name, version)
    request = await asyncio.to_thread(_read, read, named)
    if named.kind is None:
        return await _predict(plane, named, request, call, labels)
    with renamed_errors(_places(request)):
        explain_request = await asyncio.to_thread(_parse, named, request, limits)
        labels.learn(explain_request)
        explanations = await plane.explain(explain_request, call)
    outputs = await asyncio.to_thread(batch, explanations, request.wanted)
    return InferReply(name, outputs, explanations)


def _read(read: Callable[[], InferRequest], named: Named) -> InferRequest:
    request = read()
    if len(named.inputs) == len(request.images) == 1:
        # Whatever the tensor is called, nothing else can be meant.
        (images,) = request.images.values()
        request = replace(request, images={IMAGE: images})
    for name in request.images:
        if name not in named.inputs:
            raise InvalidRequest(
                f"{name[:64]!r} is no input of model {named.name}; its inputs are {', '.join(named.inputs)}",
                field="inputs",
                supported=list(named.inputs),
            )
    for name in named.inputs:
        if name not in request.images:
            raise InvalidRequest(f"input {name} is required", field=name)
    check_wanted(request.wanted, named.outputs, named.name)
    return request


async def _predict(
    plane: DataPlane, named: Named, request: InferRequest, call: CallContext, labels: Labels
) -> InferReply:
    labels.kind, labels.model = PREDICTION, named.model
    if request.parameters:
        name = next(iter(request.parameters))
        raise InvalidRequest(f"{name[:64]!r} is no parameter: model {named.name} takes none", field=name[:64])
    with renamed_errors(_places(request)):
        predictions = await plane.predict(PredictRequest(named.model, request.images[IMAGE], top_k=1), call)
    outputs = (Output("outputs", finite(predictions.outputs, "outputs")),)
    return InferReply(named.name, outputs, warnings=predictions.warnings)


def _places(request: InferRequest) -> dict[str, str]:
    """Names of the images in the request: the elements of the input ``image``."""
    return {f"images[{i}]": f"{IMAGE}[{i}]" for i in range(len(request.images[IMAGE]))}


def check_count(n_images: int, limits: IngressLimits) -> None:
    """Refuse more images than one request may hold.

    Raises:
        InvalidRequest: names the limit.
    """
    if n_images > limits.max_images:
        raise InvalidRequest(
            f"the request holds {n_images} images; at most {limits.max_images} are taken in one request",
            field="images",
            max_images=limits.max_images,
        )


def _parse(named: Named, request: InferRequest, limits: IngressLimits) -> ExplainRequest:
    """The valid request for explanations that an explainer's name, its parameters and its images make."""
    for name in ("kind", "model"):
        if name in request.parameters:
            raise InvalidRequest(
                f"{name} is no parameter here: the model's name {named.name} gives it", field=name
            )
    fields = {name: _plain(name, value) for name, value in request.parameters.items()}
    images, other = request.images[IMAGE], request.images.get(OTHER)
    if other is not None and (len(images), len(other)) != (1, 1):
        raise InvalidRequest(
            f"kind compare takes one image and one other, not {len(images)} and {len(other)}", field=OTHER
        )
    files = Files(other=other[0]) if other else Files()
    # One image needs no list, so that several classes of it can be asked for.
    files = Files(image=images[0], other=files.other) if len(images) == 1 else Files(images=images)
    return parse_fields(fields | {"kind": named.kind, "model": named.model}, files, limits)


def _text_fields() -> frozenset[str]:
    """The fields whose values are text or null alone."""
    properties = ExplanationFields.model_json_schema()["properties"]
    return frozenset(
        name
        for name, schema in properties.items()
        if {branch.get("type") for branch in schema.get("anyOf", [schema])} <= {"string", "null"}
    )


TEXT_FIELDS = _text_fields()


def _plain(name: str, value: Any) -> Any:
    """A parameter as JSON has it: many clients send text alone, such as ``"8"``, ``"true"`` and ``"null"``."""
    if not isinstance(value, str) or (name in TEXT_FIELDS and value != "null"):
        return value
    try:
        parsed = load_json(value.encode("utf-8"), name)
    except (InvalidRequest, UnicodeEncodeError):
        return value  # text after all: a class's name, or something that the field itself refuses
    if name in CLASS_FIELDS and parsed is not None:
        return value  # a class's name, which may look like any JSON; what digits mean depends on the names
    return parsed
