"""Kind ``sobol``: Sobol indices of masked pixels (Fel et al. 2021)."""

from __future__ import annotations

from wavescope.engine.kinds.kind import Kind

KIND = Kind(
    name="sobol",
    summary="which pixels matter, the baseline in the pixel domain",
    transform="pixel",
    partitions=("grid",),
    defaults={"grid_size": 8},  # Fel et al. 2021
    sections=("contrast",),
)
