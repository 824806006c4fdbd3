"""What a replica does with a chunk that nobody waits for any more."""

from __future__ import annotations

import numpy as np
import pytest
import ray
from ray import serve
from ray.exceptions import RayError
from skimage import data
from tests.cluster.service import eventually, settled

from wavescope.engine.plan import make_plan
from wavescope.engine.requests import make_request
from wavescope.engine.types import Preprocessing
from wavescope.imaging.source import ImageSource
from wavescope.serving import names

MODEL = "efficientnet-lite0"
FORWARDS = f'wavescope_forwards_total{{model="{MODEL}"}}'


def test_no_further_device_batch_starts_once_a_cancellation_reaches_the_replica(service):
    handle = serve.get_app_handle(names.model_application(MODEL))
    preprocessing: Preprocessing = handle.details.remote().result().preprocessing
    picture = ImageSource(data.chelsea(), preprocessing).picture(1)
    plan = make_plan(picture, make_request(grid_size=20, nb_design=4, plan="full"), max_forwards=10_000)
    reference = ray.put(plan)

    def score(start: int, stop: int):
        return handle.score.remote("", plan.digest, [reference], None, start, stop, "logit", (0,))

    before = settled(service, FORWARDS)
    chunk = score(0, plan.rows)
    eventually(lambda: service.metric(FORWARDS) > before, "the chunk is being scored")
    chunk.cancel()
    with pytest.raises((RayError, serve.exceptions.RequestCancelledError)):
        chunk.result()
    eventually(
        lambda: service.metric(f'wavescope_queued_images{{model="{MODEL}"}}') == 0, "no image waits any more"
    )
    stopped = settled(service, FORWARDS)
    assert stopped - before < plan.rows
    assert np.isfinite(score(0, 8).result().values).all()
    eventually(lambda: service.metric(FORWARDS) == stopped + 8, "the device has done nothing else since")
