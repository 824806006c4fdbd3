"""Retry policies of calls within the cluster: how often a call is sent again, and after how long."""

from __future__ import annotations

import sys
from typing import Final

from wavescope.retries import RetryPolicy

# Calls whose replica dies: Ray Serve needs some seconds to notice, and to start another.
CHUNKS: Final = RetryPolicy(attempts=8, first_delay_s=0.1, max_delay_s=3.0)
PLANNING: Final = RetryPolicy(attempts=8, first_delay_s=0.1, max_delay_s=3.0)
ADMISSION: Final = RetryPolicy(attempts=8, first_delay_s=0.1, max_delay_s=3.0)
MODEL_DETAILS: Final = RetryPolicy(attempts=8, first_delay_s=0.1, max_delay_s=3.0)
METRICS: Final = RetryPolicy(attempts=8, first_delay_s=0.1, max_delay_s=3.0)
# A replica whose model is served elsewhere, by a server that does not answer yet.
REMOTE_MODEL: Final = RetryPolicy(attempts=sys.maxsize, first_delay_s=0.5, max_delay_s=10.0)
# A model that cannot be loaded, after the tries that follow each other at once.
LOADING: Final = RetryPolicy(attempts=sys.maxsize, first_delay_s=5.0, max_delay_s=300.0)
