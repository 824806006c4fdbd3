"""Kind ``profile``: the scale profile, total indices of whole sub-bands or levels; cheap enough for monitoring."""

from __future__ import annotations

from wavescope.engine.kinds.kind import Kind

KIND = Kind(
    name="profile",
    summary="importance per sub-band, at the cost of a few dozen forwards",
    transform="wavelet",
    partitions=("subbands", "levels"),
    sections=("profile", "contrast"),
)
