"""``wavescope.v1.ExplanationService``: RPCs that are thin over the data plane, and raise where they fail."""

# The methods are named as the RPCs are.
# ruff: noqa: N802

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from wavescope.engine.events import PartialIndices, Progress
from wavescope.ingress.grpc.converters import (
    from_estimate,
    from_explanations,
    from_job,
    from_models,
    from_partial,
    from_predictions,
    from_progress,
    to_prediction,
    to_request,
)
from wavescope.ingress.grpc.interceptor import Servicer, streaming, unary
from wavescope.ingress.job_replies import check_idempotency_key, check_job_id
from wavescope.ingress.plane import CallContext, Event
from wavescope.ingress.request_metrics import JOB, PREDICTION, recording
from wavescope_proto.v1 import explanation_pb2 as pb


class ExplanationServicer(Servicer):
    """The RPCs of the service."""

    @unary(pb.ExplainResponse)
    async def Explain(self, message: pb.ExplainRequest, call: CallContext) -> pb.ExplainResponse:
        """Explains images."""
        with recording(self._recorder, "grpc") as labels:
            explain_request = await asyncio.to_thread(to_request, message, self._limits)
            labels.learn(explain_request)
            explanations = await self._plane.explain(explain_request, call)
            return await asyncio.to_thread(from_explanations, explanations, batch=explain_request.batch)

    @streaming(pb.ExplainStreamResponse)
    async def ExplainStream(
        self, message: pb.ExplainStreamRequest, call: CallContext
    ) -> AsyncGenerator[pb.ExplainStreamResponse, None]:
        """Explain images, and stream progress and partial indices meanwhile."""
        with recording(self._recorder, "grpc") as labels:
            explain_request = await asyncio.to_thread(to_request, message.request, self._limits)
            labels.learn(explain_request)
            with self._streams.place(call.caller):
                async with aclosing(self._plane.stream(explain_request, call)) as events:
                    async for event in events:
                        yield await _event(event, batch=explain_request.batch)

    @unary(pb.EstimateResponse)
    async def Estimate(self, message: pb.EstimateRequest, call: CallContext) -> pb.EstimateResponse:
        """Estimate the cost of a request."""
        explain_request = await asyncio.to_thread(to_request, message.request, self._limits)
        return from_estimate(await self._plane.estimate(explain_request, call))

    @unary(pb.PredictResponse)
    async def Predict(self, message: pb.PredictRequest, call: CallContext) -> pb.PredictResponse:
        """Classifies images."""
        with recording(self._recorder, "grpc") as labels:
            predict_request = to_prediction(message, self._limits)
            labels.kind, labels.model = PREDICTION, predict_request.model
            return from_predictions(await self._plane.predict(predict_request, call))

    @unary(pb.ListModelsResponse)
    async def ListModels(self, message: pb.ListModelsRequest, call: CallContext) -> pb.ListModelsResponse:
        """Lists the models."""
        del message, call
        return from_models(await self._plane.models())

    @unary(pb.SubmitJobResponse)
    async def SubmitJob(self, message: pb.SubmitJobRequest, call: CallContext) -> pb.SubmitJobResponse:
        """Submits a job; the idempotency key of the message comes before that of the metadata."""
        with recording(self._recorder, "grpc") as labels:
            in_message = message.HasField("idempotency_key")
            key = check_idempotency_key(message.idempotency_key if in_message else call.idempotency_key)
            explain_request = await asyncio.to_thread(to_request, message.request, self._limits)
            labels.kind, labels.model = JOB, explain_request.model
            return pb.SubmitJobResponse(job=from_job(await self._plane.submit(explain_request, call, key)))

    @unary(pb.GetJobResponse)
    async def GetJob(self, message: pb.GetJobRequest, call: CallContext) -> pb.GetJobResponse:
        """Describes a job."""
        return pb.GetJobResponse(job=from_job(await self._plane.job(check_job_id(message.id), call)))

    @streaming(pb.WatchJobResponse)
    async def WatchJob(
        self, message: pb.WatchJobRequest, call: CallContext
    ) -> AsyncGenerator[pb.WatchJobResponse, None]:
        """Describes a job whenever it changes."""
        with self._streams.place(call.caller):
            async with aclosing(self._plane.watch(check_job_id(message.id), call)) as states:
                async for job in states:
                    yield pb.WatchJobResponse(job=from_job(job))

    @unary(pb.GetJobResultResponse)
    async def GetJobResult(
        self, message: pb.GetJobResultRequest, call: CallContext
    ) -> pb.GetJobResultResponse:
        """Answers with the explanations of a job that has succeeded."""
        explanations, batch = await self._plane.result(check_job_id(message.id), call)
        result = await asyncio.to_thread(from_explanations, explanations, batch=batch)
        return pb.GetJobResultResponse(result=result)

    @unary(pb.CancelJobResponse)
    async def CancelJob(self, message: pb.CancelJobRequest, call: CallContext) -> pb.CancelJobResponse:
        """Cancels a job."""
        return pb.CancelJobResponse(job=from_job(await self._plane.cancel(check_job_id(message.id), call)))


async def _event(event: Event, *, batch: bool) -> pb.ExplainStreamResponse:
    if isinstance(event, Progress):
        return pb.ExplainStreamResponse(progress=from_progress(event))
    if isinstance(event, PartialIndices):
        return pb.ExplainStreamResponse(partial=from_partial(event))
    result = await asyncio.to_thread(from_explanations, event.explanations, batch=batch)
    return pb.ExplainStreamResponse(result=result)
