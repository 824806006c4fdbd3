"""``wavescope.v1.ExplanationService``: its methods, each behind the guard of all RPCs."""

# The methods are named as the RPCs are, and their context as Ray Serve looks for it.
# ruff: noqa: N802

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import TypeVar

from wavescope.ingress import rpc
from wavescope.ingress.calls import metadata
from wavescope.ingress.guard import Context, answered, streamed
from wavescope.ingress.jobs import IDEMPOTENCY_HEADER
from wavescope.ingress.open_streams import OpenStreams
from wavescope.ingress.plane import Call, DataPlane, Doorkeeper, IngressLimits, RequestRecorder
from wavescope_proto.v1 import explanation_pb2 as pb

Reply = TypeVar("Reply")


class ExplanationServicer:
    """The service, for a class that holds the data plane and what stands before it."""

    _plane: DataPlane
    _limits: IngressLimits
    _doorkeeper: Doorkeeper
    _recorder: RequestRecorder
    _streams: OpenStreams

    async def Explain(self, message: pb.ExplainRequest, grpc_context: Context) -> pb.ExplainResponse:
        return await self._answer(
            lambda call: rpc.explain(self._plane, message, call, self._limits, self._recorder),
            grpc_context,
            pb.ExplainResponse(),
        )

    async def ExplainStream(
        self, message: pb.ExplainStreamRequest, grpc_context: Context
    ) -> AsyncGenerator[pb.ExplainStreamResponse, None]:
        replies = self._stream(
            lambda call: rpc.explain_stream(
                self._plane, message, call, self._limits, self._recorder, self._streams
            ),
            grpc_context,
            pb.ExplainStreamResponse(),
        )
        async with aclosing(replies):
            async for reply in replies:
                yield reply

    async def Estimate(self, message: pb.EstimateRequest, grpc_context: Context) -> pb.EstimateResponse:
        return await self._answer(
            lambda call: rpc.estimate(self._plane, message, call, self._limits),
            grpc_context,
            pb.EstimateResponse(),
        )

    async def Predict(self, message: pb.PredictRequest, grpc_context: Context) -> pb.PredictResponse:
        return await self._answer(
            lambda call: rpc.predict(self._plane, message, call, self._limits, self._recorder),
            grpc_context,
            pb.PredictResponse(),
        )

    async def ListModels(self, message: pb.ListModelsRequest, grpc_context: Context) -> pb.ListModelsResponse:
        del message
        return await self._answer(
            lambda call: rpc.list_models(self._plane), grpc_context, pb.ListModelsResponse()
        )

    async def SubmitJob(self, message: pb.SubmitJobRequest, grpc_context: Context) -> pb.SubmitJobResponse:
        key = metadata(grpc_context, IDEMPOTENCY_HEADER.lower())
        return await self._answer(
            lambda call: rpc.submit_job(self._plane, message, call, self._limits, self._recorder, key),
            grpc_context,
            pb.SubmitJobResponse(),
        )

    async def GetJob(self, message: pb.GetJobRequest, grpc_context: Context) -> pb.GetJobResponse:
        return await self._answer(
            lambda call: rpc.get_job(self._plane, message, call), grpc_context, pb.GetJobResponse()
        )

    async def WatchJob(
        self, message: pb.WatchJobRequest, grpc_context: Context
    ) -> AsyncGenerator[pb.WatchJobResponse, None]:
        replies = self._stream(
            lambda call: rpc.watch_job(self._plane, message, call, self._streams),
            grpc_context,
            pb.WatchJobResponse(),
        )
        async with aclosing(replies):
            async for reply in replies:
                yield reply

    async def GetJobResult(
        self, message: pb.GetJobResultRequest, grpc_context: Context
    ) -> pb.GetJobResultResponse:
        return await self._answer(
            lambda call: rpc.get_job_result(self._plane, message, call),
            grpc_context,
            pb.GetJobResultResponse(),
        )

    async def CancelJob(self, message: pb.CancelJobRequest, grpc_context: Context) -> pb.CancelJobResponse:
        return await self._answer(
            lambda call: rpc.cancel_job(self._plane, message, call), grpc_context, pb.CancelJobResponse()
        )

    async def _answer(
        self, answer: Callable[[Call], Awaitable[Reply]], context: Context, empty: Reply
    ) -> Reply:
        return await answered(answer, context, empty=empty, doorkeeper=self._doorkeeper, limits=self._limits)

    def _stream(
        self, answer: Callable[[Call], AsyncGenerator[Reply, None]], context: Context, empty: Reply
    ) -> AsyncGenerator[Reply, None]:
        return streamed(answer, context, empty=empty, doorkeeper=self._doorkeeper, limits=self._limits)
