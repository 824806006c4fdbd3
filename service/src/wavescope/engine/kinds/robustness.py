"""Kind ``robustness``: how often the label survives corruption, beside the depth (paper, appendix B.3)."""

from __future__ import annotations

from wavescope.engine.kinds.kind import WAVELET_PARTITIONS, Kind
from wavescope.engine.kinds.sufficient_image import depth_forwards
from wavescope.engine.types import ExplanationRequest, Outputs

CORRUPTED_IMAGES = 19 * 5
REFERENCE_CORRUPTED_IMAGES = 14 * 6  # the authors count the strongest severity twice


def _extra_forwards(request: ExplanationRequest, n_factors: int, outputs: Outputs) -> int:
    corrupted = REFERENCE_CORRUPTED_IMAGES if request.compat == "reference" else CORRUPTED_IMAGES
    return depth_forwards(request, n_factors, outputs) + corrupted


KIND = Kind(
    name="robustness",
    summary="how often the label survives 19 corruptions of 5 severities, beside the reconstruction depth",
    transform="wavelet",
    partitions=WAVELET_PARTITIONS,
    adaptive=True,
    sections=("sufficiency", "robustness"),
    corrupts=True,
    extra_forwards=_extra_forwards,
)
