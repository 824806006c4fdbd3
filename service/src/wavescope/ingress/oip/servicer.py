"""The Open Inference Protocol over gRPC."""

# The methods are named as the RPCs are, and their context as Ray Serve looks for it.
# ruff: noqa: N802

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from google.protobuf.json_format import ParseDict

from wavescope.ingress.guard import Context, answered
from wavescope.ingress.oip import catalogue
from wavescope.ingress.oip.inference import infer
from wavescope.ingress.oip.messages import check_size, from_inferred, to_asked
from wavescope.ingress.plane import Call, DataPlane, Doorkeeper, IngressLimits, RequestRecorder
from wavescope.ingress.recording import recording
from wavescope_proto.inference import open_inference_pb2 as pb

Reply = TypeVar("Reply")


class OipServicer:
    """``inference.GRPCInferenceService``, for a class that holds the data plane and what stands before it."""

    _plane: DataPlane
    _limits: IngressLimits
    _doorkeeper: Doorkeeper
    _recorder: RequestRecorder

    async def ServerLive(self, message: pb.ServerLiveRequest, grpc_context: Context) -> pb.ServerLiveResponse:
        """Whether the server answers."""

        async def answer(call: Call) -> pb.ServerLiveResponse:
            return pb.ServerLiveResponse(live=True)

        return await self._guarded(answer, grpc_context, pb.ServerLiveResponse())

    async def ServerReady(
        self, message: pb.ServerReadyRequest, grpc_context: Context
    ) -> pb.ServerReadyResponse:
        """Whether a model can score."""

        async def answer(call: Call) -> pb.ServerReadyResponse:
            return pb.ServerReadyResponse(ready=await self._plane.ready())

        return await self._guarded(answer, grpc_context, pb.ServerReadyResponse())

    async def ModelReady(self, message: pb.ModelReadyRequest, grpc_context: Context) -> pb.ModelReadyResponse:
        """Whether a model can score."""

        async def answer(call: Call) -> pb.ModelReadyResponse:
            named = catalogue.find(self._plane, message.name, message.version)
            details = await self._plane.model(named.model)
            return pb.ModelReadyResponse(ready=bool(details.get("ready")))

        return await self._guarded(answer, grpc_context, pb.ModelReadyResponse())

    async def ServerMetadata(
        self, message: pb.ServerMetadataRequest, grpc_context: Context
    ) -> pb.ServerMetadataResponse:
        """What the server says of itself."""

        async def answer(call: Call) -> pb.ServerMetadataResponse:
            return pb.ServerMetadataResponse(**catalogue.server_metadata())

        return await self._guarded(answer, grpc_context, pb.ServerMetadataResponse())

    async def ModelMetadata(
        self, message: pb.ModelMetadataRequest, grpc_context: Context
    ) -> pb.ModelMetadataResponse:
        """The tensors of a model."""

        async def answer(call: Call) -> pb.ModelMetadataResponse:
            named = catalogue.find(self._plane, message.name, message.version)
            details = await self._plane.model(named.model)
            return ParseDict(catalogue.model_metadata(named, details), pb.ModelMetadataResponse())

        return await self._guarded(answer, grpc_context, pb.ModelMetadataResponse())

    async def ModelInfer(self, message: pb.ModelInferRequest, grpc_context: Context) -> pb.ModelInferResponse:
        """The tensors of a model, or of an explainer."""

        async def answer(call: Call) -> pb.ModelInferResponse:
            with recording(self._recorder, "grpc") as labels:
                check_size(message, self._limits)
                inferred = await infer(
                    self._plane,
                    message.model_name,
                    message.model_version,
                    partial(to_asked, message, self._limits),
                    call,
                    limits=self._limits,
                    labels=labels,
                )
                return await asyncio.to_thread(from_inferred, inferred, message.id or call.request_id)

        return await self._guarded(answer, grpc_context, pb.ModelInferResponse())

    async def _guarded(
        self, answer: Callable[[Call], Awaitable[Reply]], context: Context, empty: Reply
    ) -> Reply:
        return await answered(answer, context, empty=empty, doorkeeper=self._doorkeeper, limits=self._limits)
