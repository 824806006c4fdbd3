"""Typed client of the aggregator: time limits, errors and cancellation of the gateway's calls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Any

from ray.serve.handle import DeploymentHandle

from wavescope.engine.types import Explanation
from wavescope.errors import DeadlineExceeded, ModelUnavailable, WavescopeError
from wavescope.ingress.plane import CallContext, Estimate, Event, ExplainRequest, Predictions, PredictRequest
from wavescope.serving.calls.dispatch import LOST, unwrapped
from wavescope.serving.calls.local_handle import LocalHandle

# A little more than the aggregator gives itself, whose words are the better ones.
GRACE_S = 5.0
DIED = "the process that computed this explanation died; send it again"


class AggregatorClient:
    """Calls :class:`wavescope.serving.aggregator.EstimatorAggregator`; the methods have the same names there.

    A call that is cancelled, or ends too late, stops the work. All of them raise:

        DeadlineExceeded: no answer in time.
        ModelUnavailable: the aggregator died while it worked on the call.
        WavescopeError: what was raised there.

    Args:
        handle: of the aggregator.
        timeout_s: the aggregator's own limit for one request.
        grace_s: waited beyond that limit.
    """

    def __init__(
        self, handle: DeploymentHandle | LocalHandle, timeout_s: float, *, grace_s: float = GRACE_S
    ) -> None:
        self._handle = handle
        self._timeout_s = timeout_s
        self._limit_s = timeout_s + grace_s

    async def explain(self, request: ExplainRequest, call: CallContext) -> tuple[Explanation, ...]:
        """Explains encoded images."""
        return await self._answer(self._handle.explain.remote(request, call))

    async def stream(self, request: ExplainRequest, call: CallContext) -> AsyncGenerator[Event, None]:
        """Explains encoded images, and reports progress and indices so far meanwhile."""
        events: Any = self._handle.options(stream=True).stream.remote(request, call)
        try:
            # Not asyncio.timeout: a generator that others iterate may end in another task than it began in.
            ends_s = time.monotonic() + self._limit_s
            items = aiter(events)
            while (
                event := await asyncio.wait_for(anext(items, None), ends_s - time.monotonic())
            ) is not None:
                yield event
        except WavescopeError as error:
            raise unwrapped(error) from None
        except TimeoutError as late:
            raise DeadlineExceeded.of_request(self._timeout_s) from late
        except LOST as lost:
            raise ModelUnavailable(DIED) from lost
        finally:
            events.cancel()  # the client is gone, or has everything: no further chunk is wanted

    async def estimate(self, request: ExplainRequest, call: CallContext) -> Estimate:
        """Estimates the cost of a request."""
        return await self._answer(self._handle.estimate.remote(request, call))

    async def predict(self, request: PredictRequest, call: CallContext) -> Predictions:
        """Scores encoded images as they are."""
        return await self._answer(self._handle.predict.remote(request, call))

    async def _answer(self, response: Any) -> Any:
        try:
            async with asyncio.timeout(self._limit_s):
                return await response
        except WavescopeError as error:
            raise unwrapped(error) from None
        except TimeoutError as late:
            response.cancel()
            raise DeadlineExceeded.of_request(self._timeout_s) from late
        except asyncio.CancelledError:
            response.cancel()
            raise
        except LOST as lost:
            raise ModelUnavailable(DIED) from lost
