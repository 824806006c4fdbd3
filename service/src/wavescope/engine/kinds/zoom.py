"""Kind ``zoom``: the image beside itself at twice the size: importance of the newly visible scale (paper, B.4)."""

from __future__ import annotations

from wavescope.engine.kinds.kind import Kind, SecondImage
from wavescope.engine.kinds.wcam import KIND as WCAM

KIND = Kind(
    name="zoom",
    summary="the importance of the scale that appears when the image is enlarged twice",
    transform="wavelet",
    partitions=("aligned", "grid", "subbands", "levels"),
    defaults={"grid_size": 32, "nb_design": 4},  # the authors' zoom experiment
    reference_defaults={"partition": "grid"},
    sections=("zoom",),
    # As a plain map: ``levels`` of the request leaves room for the further level of the enlarged image.
    second_image=SecondImage(enlargement=2, extra_levels=1, same_class=True, planned_as=WCAM.name),
)
