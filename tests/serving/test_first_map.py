"""A stream counts the time to what it shows first."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests.ingress.fakes import make_explanation
from tests.serving.test_workers import REQUEST

from wavescope.engine.events import Finished, Listener, PartialIndices
from wavescope.engine.types import Indices
from wavescope.ingress.plane import CallContext, ExplainRequest
from wavescope.serving.aggregator import EstimatorAggregator
from wavescope.telemetry.counters import Counters

PARTIAL = PartialIndices(image=0, forwards=2, rows=2, indices=Indices(np.zeros(4), None, None, None))


@pytest.mark.parametrize("partials", [0, 3])
def test_a_stream_is_counted_once_at_its_first_partial_indices_or_at_its_end(partials: int) -> None:
    counters = Counters()
    found = make_explanation()
    shown = asyncio.Event()
    count = ("wavescope_time_to_first_map_seconds_count", (("model", REQUEST.model),))

    async def work(request: ExplainRequest, call: CallContext, listener: Listener) -> tuple[Any, ...]:
        del request, call
        for _ in range(partials):
            shown.clear()
            listener.partial(lambda: PARTIAL)
            await shown.wait()
        return (found,)

    aggregator: Any = SimpleNamespace(_explain_in_time=work, _reporter=SimpleNamespace(counters=counters))
    aggregator._count_first_map = lambda *given: EstimatorAggregator._count_first_map(aggregator, *given)

    async def story() -> None:
        events = []
        async for event in EstimatorAggregator.stream(aggregator, REQUEST, CallContext("", "ann")):
            assert counters.snapshot()[count] == 1, "counted before it is shown"
            events.append(event)
            shown.set()
        assert [type(event) for event in events] == [PartialIndices] * partials + [Finished]

    asyncio.run(story())
