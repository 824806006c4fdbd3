"""Kind ``compare``: two images, and how importance moved between scales and places from one to the other."""

from __future__ import annotations

from wavescope.engine.kinds.kind import WAVELET_PARTITIONS, Kind, SecondImage

KIND = Kind(
    name="compare",
    summary="how importance moved from `image` to `other`, in scale and in place",
    transform="wavelet",
    partitions=WAVELET_PARTITIONS,
    adaptive=True,
    sections=("comparison",),
    second_image=SecondImage(given=True),
)
