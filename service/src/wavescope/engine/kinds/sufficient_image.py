"""Kind ``sufficient-image``: the least of the image that keeps the label (paper, section 4.2)."""

from __future__ import annotations

from wavescope.engine.kinds.kind import WAVELET_PARTITIONS, Kind
from wavescope.engine.types import ExplanationRequest, Outputs


def depth_forwards(request: ExplanationRequest, n_factors: int, outputs: Outputs) -> int:
    """Images scored for the reconstruction depth: of the n top factors alone, n = 0..K."""
    del request, outputs
    return n_factors + 1


KIND = Kind(
    name="sufficient-image",
    summary="the least number of top factors that keeps the label (`reconstruction_depth`), and their image",
    transform="wavelet",
    partitions=WAVELET_PARTITIONS,
    adaptive=True,
    sections=("sufficiency",),
    extra_forwards=depth_forwards,
)
