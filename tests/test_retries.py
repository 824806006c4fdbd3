"""Retry policies."""

from __future__ import annotations

import pytest

from wavescope.retries import RetryPolicy


@pytest.mark.parametrize(
    ("failures", "delay_s"), [(1, 0.1), (2, 0.2), (3, 0.4), (5, 1.6), (6, 3.0), (10**6, 3.0)]
)
def test_delays_double_up_to_the_longest(failures: int, delay_s: float) -> None:
    policy = RetryPolicy(attempts=8, first_delay_s=0.1, max_delay_s=3.0)
    assert policy.delay_s(failures) == pytest.approx(delay_s, rel=1e-12)
