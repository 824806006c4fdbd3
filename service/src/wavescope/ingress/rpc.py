"""gRPC: what each RPC answers, thin over the data plane; a failure is raised, and told by :mod:`.guard`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from wavescope.engine.events import Finished, Progress
from wavescope.ingress.jobs import check_idempotency_key, check_job_id
from wavescope.ingress.messages import (
    from_estimate,
    from_explanations,
    from_job,
    from_models,
    from_partial,
    from_predicted,
    from_progress,
    to_prediction,
    to_request,
)
from wavescope.ingress.open_streams import OpenStreams
from wavescope.ingress.plane import Call, Explaining, IngressLimits, RequestRecorder, Telling, Working
from wavescope.ingress.recording import JOB, PREDICTION, recording
from wavescope.ingress.streams import Known, with_indices
from wavescope_proto.v1 import explanation_pb2 as pb


async def explain(
    plane: Explaining,
    message: pb.ExplainRequest,
    call: Call,
    limits: IngressLimits,
    recorder: RequestRecorder,
) -> pb.ExplainResponse:
    """``Explain``."""
    with recording(recorder, "grpc") as labels:
        parsed = await asyncio.to_thread(to_request, message, limits)
        labels.learn(parsed)
        explanations = await plane.explain(parsed, call)
        return await asyncio.to_thread(from_explanations, explanations, batch=parsed.batch)


async def explain_stream(
    plane: Explaining,
    message: pb.ExplainStreamRequest,
    call: Call,
    limits: IngressLimits,
    recorder: RequestRecorder,
    streams: OpenStreams,
) -> AsyncGenerator[pb.ExplainStreamResponse, None]:
    """``ExplainStream``."""
    with recording(recorder, "grpc") as labels:
        parsed = await asyncio.to_thread(to_request, message.request, limits)
        labels.learn(parsed)
        with streams.place(call.caller):
            async with aclosing(with_indices(plane.stream(parsed, call))) as events:
                async for event in events:
                    yield await _event(event, batch=parsed.batch)


async def _event(event: Progress | Known | Finished, *, batch: bool) -> pb.ExplainStreamResponse:
    if isinstance(event, Progress):
        return pb.ExplainStreamResponse(progress=from_progress(event))
    if isinstance(event, Known):
        return pb.ExplainStreamResponse(partial=from_partial(event))
    result = await asyncio.to_thread(from_explanations, event.explanations, batch=batch)
    return pb.ExplainStreamResponse(result=result)


async def estimate(
    plane: Explaining, message: pb.EstimateRequest, call: Call, limits: IngressLimits
) -> pb.EstimateResponse:
    """``Estimate``."""
    parsed = await asyncio.to_thread(to_request, message.request, limits)
    return from_estimate(await plane.estimate(parsed, call))


async def predict(
    plane: Explaining,
    message: pb.PredictRequest,
    call: Call,
    limits: IngressLimits,
    recorder: RequestRecorder,
) -> pb.PredictResponse:
    """``Predict``."""
    with recording(recorder, "grpc") as labels:
        asked = to_prediction(message, limits)
        labels.kind, labels.model = PREDICTION, asked.model
        return from_predicted(await plane.predict(asked.images, asked.model, asked.top_k, call))


async def list_models(plane: Telling) -> pb.ListModelsResponse:
    """``ListModels``."""
    return from_models(await plane.models())


async def submit_job(
    plane: Working,
    message: pb.SubmitJobRequest,
    call: Call,
    limits: IngressLimits,
    recorder: RequestRecorder,
    key: str | None,
) -> pb.SubmitJobResponse:
    """``SubmitJob``; ``key`` is the idempotency key of the metadata, which stands in for that of the message."""
    with recording(recorder, "grpc") as labels:
        if message.HasField("idempotency_key"):
            key = message.idempotency_key
        checked = check_idempotency_key(key)
        parsed = await asyncio.to_thread(to_request, message.request, limits)
        labels.kind, labels.model = JOB, parsed.model
        return pb.SubmitJobResponse(job=from_job(await plane.submit(parsed, call, checked)))


async def get_job(plane: Working, message: pb.GetJobRequest, call: Call) -> pb.GetJobResponse:
    """``GetJob``."""
    return pb.GetJobResponse(job=from_job(await plane.job(check_job_id(message.id), call)))


async def watch_job(
    plane: Working, message: pb.WatchJobRequest, call: Call, streams: OpenStreams
) -> AsyncGenerator[pb.WatchJobResponse, None]:
    """``WatchJob``."""
    with streams.place(call.caller):
        async with aclosing(plane.watch(check_job_id(message.id), call)) as states:
            async for job in states:
                yield pb.WatchJobResponse(job=from_job(job))


async def get_job_result(
    plane: Working, message: pb.GetJobResultRequest, call: Call
) -> pb.GetJobResultResponse:
    """``GetJobResult``."""
    explanations, batch = await plane.result(check_job_id(message.id), call)
    result = await asyncio.to_thread(from_explanations, explanations, batch=batch)
    return pb.GetJobResultResponse(result=result)


async def cancel_job(plane: Working, message: pb.CancelJobRequest, call: Call) -> pb.CancelJobResponse:
    """``CancelJob``."""
    return pb.CancelJobResponse(job=from_job(await plane.cancel(check_job_id(message.id), call)))
