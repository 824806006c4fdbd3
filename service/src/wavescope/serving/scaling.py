"""Number of replicas that a model needs, from the images that wait for them."""

from __future__ import annotations

from typing import Any

from ray.serve.config import AutoscalingContext

POLICY = "wavescope.serving.scaling:QueuedImages"
QUEUED = "queued_images"  # what replicas report


class QueuedImages:
    """Scales on the images that wait or are being scored, where Ray Serve by itself counts requests of any size.

    Ray Serve averages over the look-back period, and applies the bounds and the delays.

    Args:
        target: images per replica.
        chunk_rows: images in a call that no replica has taken yet.
    """

    def __init__(self, target: float, chunk_rows: int) -> None:
        self._target = target
        self._chunk_rows = chunk_rows

    def __call__(self, context: AutoscalingContext) -> tuple[float, dict[str, Any]]:
        """Replicas wanted, any fraction of one; nothing is remembered."""
        reported = (context.aggregated_metrics or {}).get(QUEUED, {})
        untaken = (context.total_queued_requests or 0.0) * self._chunk_rows
        wanted = (sum(reported.values()) + untaken) / self._target
        # A call that scores nothing, such as a prediction, needs a replica too.
        return max(wanted, float(context.total_num_requests > 0)), {}
