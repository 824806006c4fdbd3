"""The values each choice of a request may take, in one place for every protocol."""

from __future__ import annotations

import pywt

from wavescope.core.partition import PARTITIONS
from wavescope.core.scores import SCORES

CHOICES: dict[str, tuple[str, ...]] = {
    "kind": ("wcam",),
    "score": SCORES,
    "plan": ("full",),
    "wavelet": tuple(pywt.wavelist(kind="discrete")),
    "partition": tuple(PARTITIONS),
    "sampler": ("sobol",),
    "estimator": ("jansen",),
    "approximation": ("perturb", "keep", "drop"),
    "value_policy": ("clip", "minmax", "none"),
}
