"""Requests in the protocols of others, and a servicer that answers them over a data plane."""

from __future__ import annotations

import asyncio
import json
import struct
from dataclasses import dataclass, field
from typing import Any

import httpx
from fastapi import FastAPI
from tests.ingress.fakes import FakeContext, MemoryRecorder, send

from wavescope.ingress.grpc.servicer import ExplanationServicer
from wavescope.ingress.kserve.oip.servicer import OipServicer
from wavescope.ingress.openapi.request_examples import TINY_PNG
from wavescope.ingress.plane import (
    Authenticator,
    DataPlane,
    IngressLimits,
    NullAuthenticator,
    RequestRecorder,
)
from wavescope.ingress.ray_proxy.ongoing import Ongoing
from wavescope.ingress.stream_limits import OpenStreams
from wavescope_proto.inference import open_inference_pb2 as pb


@dataclass
class Servicer(OipServicer, ExplanationServicer):
    """What a gateway gives the servicers that it inherits."""

    _plane: DataPlane
    _limits: IngressLimits = field(default_factory=IngressLimits)
    _authenticator: Authenticator = field(default_factory=NullAuthenticator)
    _recorder: RequestRecorder = field(default_factory=MemoryRecorder)
    _streams: OpenStreams = field(default_factory=lambda: OpenStreams(IngressLimits()))
    _ongoing: Ongoing = field(default_factory=lambda: Ongoing(IngressLimits().max_ongoing))


def image(name: str = "image", **changed: Any) -> dict[str, Any]:
    """An input tensor in JSON with one encoded file."""
    return {"name": name, "datatype": "BYTES", "shape": [1], "data": [TINY_PNG]} | changed


def infer(app: FastAPI, model: str, content: dict[str, Any], **options: Any) -> httpx.Response:
    """One inference in JSON."""
    told = json.dumps(
        {"inputs": [image()]} | content
    )  # in ASCII, so that names may be what UTF-8 cannot hold
    return send(app, "POST", f"/v2/models/{model}/infer", content=told, **options)


def in_binary(*elements: bytes) -> bytes:
    """The binary form of a tensor of files."""
    return b"".join(struct.pack("<I", len(element)) + element for element in elements)


def parameters(values: dict[str, Any]) -> dict[str, pb.InferParameter]:
    """Parameters as messages have them."""
    kinds = {bool: "bool_param", int: "int64_param", float: "double_param", str: "string_param"}
    return {name: pb.InferParameter(**{kinds[type(value)]: value}) for name, value in values.items()}


def infer_rpc(
    servicer: Servicer, message: pb.ModelInferRequest, context: FakeContext | None = None
) -> pb.ModelInferResponse:
    """One inference over gRPC, without a socket."""
    return asyncio.run(servicer.ModelInfer(message, context or FakeContext()))
