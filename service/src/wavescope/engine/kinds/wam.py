"""Kind ``wam``: gradients by wavelet coefficients, the wavelet attribution method (Kasmi et al. 2025).

Source: "One Wave To Explain Them All: A Unifying Perspective On Feature Attribution", https://arxiv.org/abs/2410.01482.
"""

from __future__ import annotations

from wavescope.engine.gradient_cost import gradient_forwards
from wavescope.engine.kinds.kind import WAVELET_PARTITIONS, Kind
from wavescope.engine.types import ExplanationRequest, Outputs


def _extra_forwards(request: ExplanationRequest, n_factors: int, outputs: Outputs) -> int:
    del n_factors
    return request.samples * gradient_forwards(outputs, request.score)


KIND = Kind(
    name="wam",
    summary="which wavelet coefficients the score is most sensitive to, by gradients; needs a model that has some",
    transform="wavelet",
    partitions=WAVELET_PARTITIONS,
    defaults={"value_policy": "none"},
    fixed={"plan": "full", "compat": None, "value_policy": "none", "approximation": "perturb"},
    sections=("attributions",),
    gradients=True,
    extra_forwards=_extra_forwards,
)
