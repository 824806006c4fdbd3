"""Replicas follow the images that wait."""

from __future__ import annotations

import pytest
from ray.serve.config import AutoscalingConfig, AutoscalingContext, AutoscalingPolicy

from wavescope.serving.scaling import POLICY, QUEUED, QueuedImages

policy = QueuedImages(target=100.0, chunk_rows=64)


def context(*queued: float, untaken: float = 0.0, calls: float | None = None) -> AutoscalingContext:
    """What the controller knows when replicas report so many images and so many calls are with none of them."""
    return AutoscalingContext(
        deployment_id=None,
        deployment_name="ModelReplica",
        app_name="model-x",
        current_num_replicas=len(queued),
        target_num_replicas=len(queued),
        running_replicas=[],
        total_num_requests=len(queued) + untaken if calls is None else calls,
        total_queued_requests=untaken,
        aggregated_metrics={QUEUED: dict(enumerate(queued))} if queued else {},
        raw_metrics=None,
        capacity_adjusted_min_replicas=0,
        capacity_adjusted_max_replicas=10,
        policy_state={},
        last_scale_up_time=None,
        last_scale_down_time=None,
        current_time=None,
        config=None,
    )


@pytest.mark.parametrize(
    ("queued", "untaken", "replicas"),
    [
        ((200.0,), 0.0, 2.0),
        ((200.0, 150.0), 0.0, 3.5),
        ((50.0, 20.0), 0.0, 1.0),  # one is enough, and needed
        ((256.0,), 4.0, (256 + 4 * 64) / 100),
        ((), 0.0, 0.0),
    ],
)
def test_replicas_wanted_are_the_images_that_wait_over_the_target(queued, untaken, replicas):
    assert policy(context(*queued, untaken=untaken)) == (replicas, {})


def test_without_calls_nothing_is_wanted():
    assert policy(context(0.0, calls=0.0)) == (0.0, {})


def test_a_call_that_scores_nothing_keeps_a_replica():
    assert policy(context(0.0, calls=0.2)) == (1.0, {})


def test_ray_serve_finds_the_policy_by_its_name():
    config = AutoscalingConfig(
        min_replicas=0,
        max_replicas=3,
        policy=AutoscalingPolicy(policy_function=POLICY, policy_kwargs={"target": 100.0, "chunk_rows": 64}),
    )
    assert config.policy.get_policy() is QueuedImages
