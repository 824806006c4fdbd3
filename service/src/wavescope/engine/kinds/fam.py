"""Kind ``fam``: Sobol indices of Fourier magnitudes, the Fourier attribution map."""

from __future__ import annotations

from wavescope.engine.kinds.kind import Kind

KIND = Kind(
    name="fam",
    summary="which frequencies matter, as a map of the centred spectrum and as a radial profile",
    transform="fourier",
    partitions=("circle", "square", "grid"),
    sections=("contrast",),
)
