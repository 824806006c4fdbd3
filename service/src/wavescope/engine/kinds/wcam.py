"""Kind ``wcam``: Sobol indices of wavelet coefficients in space and scale (paper, section 3)."""

from __future__ import annotations

from wavescope.engine.kinds.kind import WAVELET_PARTITIONS, Kind

KIND = Kind(
    name="wcam",
    summary="which parts of the wavelet transform matter, in space and per scale",
    transform="wavelet",
    partitions=WAVELET_PARTITIONS,
    adaptive=True,
    sections=("contrast",),
)
