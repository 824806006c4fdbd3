"""The Open Inference Protocol over gRPC."""

# The methods are named as the RPCs are.
# ruff: noqa: N802

from __future__ import annotations

import asyncio
from functools import partial

from google.protobuf.json_format import ParseDict

from wavescope.ingress.grpc.interceptor import Servicer, unary
from wavescope.ingress.kserve.oip import catalogue
from wavescope.ingress.kserve.oip.inference import infer
from wavescope.ingress.kserve.oip.messages import check_size, from_infer_reply, to_infer_request
from wavescope.ingress.plane import CallContext
from wavescope.ingress.request_metrics import recording
from wavescope_proto.inference import open_inference_pb2 as pb


class OipServicer(Servicer):
    """``inference.GRPCInferenceService``."""

    @unary(pb.ServerLiveResponse, probe=True)
    async def ServerLive(self, message: pb.ServerLiveRequest, call: CallContext) -> pb.ServerLiveResponse:
        """Whether the server answers."""
        del message, call
        return pb.ServerLiveResponse(live=True)

    @unary(pb.ServerReadyResponse, probe=True)
    async def ServerReady(self, message: pb.ServerReadyRequest, call: CallContext) -> pb.ServerReadyResponse:
        """Whether a model can score."""
        del message, call
        return pb.ServerReadyResponse(ready=await self._plane.ready())

    @unary(pb.ModelReadyResponse)
    async def ModelReady(self, message: pb.ModelReadyRequest, call: CallContext) -> pb.ModelReadyResponse:
        """Whether a model can score."""
        del call
        named = catalogue.find(self._plane, message.name, message.version)
        details = await self._plane.model(named.model)
        return pb.ModelReadyResponse(ready=bool(details.get("ready")))

    @unary(pb.ServerMetadataResponse)
    async def ServerMetadata(
        self, message: pb.ServerMetadataRequest, call: CallContext
    ) -> pb.ServerMetadataResponse:
        """Metadata of the server."""
        del message, call
        return pb.ServerMetadataResponse(**catalogue.server_metadata())

    @unary(pb.ModelMetadataResponse)
    async def ModelMetadata(
        self, message: pb.ModelMetadataRequest, call: CallContext
    ) -> pb.ModelMetadataResponse:
        """The tensors of a model."""
        del call
        named = catalogue.find(self._plane, message.name, message.version)
        details = await self._plane.model(named.model)
        return ParseDict(catalogue.model_metadata(named, details), pb.ModelMetadataResponse())

    @unary(pb.ModelInferResponse)
    async def ModelInfer(self, message: pb.ModelInferRequest, call: CallContext) -> pb.ModelInferResponse:
        """The tensors of a model, or of an explainer."""
        with recording(self._recorder, "grpc") as labels:
            check_size(message, self._limits)
            inferred = await infer(
                self._plane,
                message.model_name,
                message.model_version,
                partial(to_infer_request, message, self._limits),
                call,
                limits=self._limits,
                labels=labels,
            )
            return await asyncio.to_thread(from_infer_reply, inferred, message.id or call.request_id)
