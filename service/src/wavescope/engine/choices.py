"""The values each choice of a request may take, and the defaults of every kind, in one place for every protocol."""

from __future__ import annotations

from typing import Any, Literal

import pywt

from wavescope.core.design import SAMPLERS
from wavescope.core.estimators import ESTIMATORS
from wavescope.core.partition import FOURIER_PARTITIONS, PARTITIONS
from wavescope.core.pixel import BASELINES
from wavescope.core.scores import SCORES

Transform = Literal["wavelet", "fourier", "pixel"]

KINDS: dict[str, Transform] = {
    "wcam": "wavelet",
    "fam": "fourier",
    "sobol": "pixel",
    "sufficient-image": "wavelet",
    "profile": "wavelet",
    "compare": "wavelet",
    "robustness": "wavelet",
    "zoom": "wavelet",
}

CHOICES: dict[str, tuple[str | None, ...]] = {
    "kind": tuple(KINDS),
    "score": SCORES,
    "plan": ("full", "adaptive"),
    "wavelet": tuple(pywt.wavelist(kind="discrete")),
    "partition": (*PARTITIONS, *(name for name in FOURIER_PARTITIONS if name not in PARTITIONS)),
    "sampler": tuple(SAMPLERS),
    "estimator": tuple(ESTIMATORS),
    "approximation": ("perturb", "keep", "drop"),
    "value_policy": ("clip", "minmax", "none"),
    "baseline": BASELINES,
    "compat": (None, "reference"),
}

# The partitions a kind can have; its default comes first.
PARTITIONS_OF: dict[str, tuple[str, ...]] = {
    "wcam": ("grid", "aligned", "subbands", "levels"),
    "fam": ("circle", "square", "grid"),
    "sobol": ("grid",),
    "sufficient-image": ("grid", "aligned", "subbands", "levels"),
    "profile": ("subbands", "levels"),
    "compare": ("grid", "aligned", "subbands", "levels"),
    "robustness": ("grid", "aligned", "subbands", "levels"),
    "zoom": ("aligned", "grid", "subbands", "levels"),
}

# Partitions beyond are refused with the adaptive plan, which keeps a (K, K) covariance: 134 MB.
MAX_ADAPTIVE_FACTORS = 4096
# Of the adaptive plan: a tenth of the forwards of the full plan's defaults.
ADAPTIVE_FORWARDS = 628
# Fields that say when an adaptive plan stops; the full plan takes none of them. (A ``deadline_s`` ends any plan.)
STOPS = ("max_forwards", "standard_error", "top_k")
# What the full plan alone can do, or does best: given any of it, the full plan is the default.
FULL_ALONE: dict[str, tuple[str, ...] | None] = {
    "nb_design": None,  # whatever it is: it is the size of a full plan
    "compat": None,
    "estimator": tuple(name for name in ESTIMATORS if name != "jansen"),
    "sampler": ("latin_hypercube",),
}
# Kinds and partitions whose maps were measured to be as good for a tenth of the forwards (``make adaptive``).
ADAPTIVE_KINDS = ("wcam", "sufficient-image", "compare", "robustness")
ADAPTIVE_PARTITIONS = ("grid", "aligned")

# Where a kind's defaults differ from those of ``wcam``.
DEFAULTS_OF: dict[str, dict[str, Any]] = {
    kind: {"kind": kind, "partition": partitions[0]} for kind, partitions in PARTITIONS_OF.items()
}
DEFAULTS_OF["sobol"] |= {"grid_size": 8}  # Fel et al. 2021
DEFAULTS_OF["zoom"] |= {"grid_size": 32, "nb_design": 4}  # the authors' zoom experiment

# What ``compat: "reference"`` sets beyond how things are computed.
REFERENCE: dict[str, Any] = {
    "score": "logit",
    "seed": 42,
    "value_policy": "minmax",
    "partition": {"zoom": "grid"},
}
