"""The values that each choice of a request may take, and the limits of the adaptive plan, for every protocol."""

from __future__ import annotations

from typing import Any

import pywt

from wavescope.core.gradients import METHODS
from wavescope.core.partition import FOURIER_PARTITIONS, PARTITIONS
from wavescope.core.rendering.pixel import BASELINES
from wavescope.core.scores import AUTO, SCORES
from wavescope.core.sobol.design import SAMPLERS
from wavescope.core.sobol.estimators import ESTIMATORS
from wavescope.engine.kinds import KINDS

# Choices beyond so many values are listed nowhere whole: schemas have a string, errors the closest values.
MANY_CHOICES = 12

# What the adaptive plan predicts indices from, before a factor is perturbed.
PRIORS = (AUTO, "size", "gradients")

CHOICES: dict[str, tuple[str | None, ...]] = {
    "kind": tuple(KINDS),
    "score": (AUTO, *SCORES),
    "plan": ("full", "adaptive"),
    "prior": PRIORS,
    "wavelet": tuple(pywt.wavelist(kind="discrete")),
    "partition": (*PARTITIONS, *(name for name in FOURIER_PARTITIONS if name not in PARTITIONS)),
    "sampler": tuple(SAMPLERS),
    "estimator": tuple(ESTIMATORS),
    "approximation": ("perturb", "keep", "drop"),
    "value_policy": ("clip", "minmax", "none"),
    "baseline": BASELINES,
    "compat": (None, "reference"),
    "method": METHODS,
}

# Of the adaptive plan: a tenth of the forwards of the full plan's defaults.
ADAPTIVE_FORWARDS = 628
# Fields that say when an adaptive plan stops; the full plan takes none of them. (A ``deadline_s`` ends any plan.)
STOPS = ("max_forwards", "standard_error", "top_k", "accuracy")
# Fields of kinds that differentiate the model, and of the designs by which all others perturb factors.
OF_GRADIENTS = ("method", "samples", "noise")
OF_DESIGN = ("nb_design", "sampler", "estimator")
# Ends an adaptive plan of a request that has none of these.
ADAPTIVE_ACCURACY = 0.95
# What the full plan alone can do, or does best: given any of it, the full plan is the default.
FULL_ALONE: dict[str, tuple[str, ...] | None] = {
    "nb_design": None,  # whatever it is: it is the size of a full plan
    "compat": None,
    "estimator": tuple(name for name, estimator in ESTIMATORS.items() if not estimator.adaptive),
    "sampler": tuple(name for name, sampler in SAMPLERS.items() if not sampler.nested),
}
# Partitions whose maps correlate better with the truth for a tenth of the forwards (``make adaptive``).
ADAPTIVE_PARTITIONS = ("grid", "aligned")

# Defaults under ``compat: "reference"``, beyond how things are computed; kinds add their own.
REFERENCE: dict[str, Any] = {"score": "logit", "seed": 42, "value_policy": "minmax"}
