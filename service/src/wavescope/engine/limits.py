"""Limits of a request's fields, as far as they depend on neither the image nor the model."""

from __future__ import annotations

MAX_SEED = 2**53 - 1  # the largest integer that every JSON reader keeps exactly
MAX_LEVELS = 16
MAX_GRID_SIZE = 1024
MAX_NB_DESIGN = 65_536
LEAST_PATH = 2
MAX_SAMPLES = 1000  # of gradients: their mean errs by 3 % of one, and each takes the time of three forwards
LEAST_FORWARDS = 32  # of an adaptive plan: below, groups alone could be perturbed
# The cost that a service admits is a setting of its own; this keeps the field within a message's 32 bits.
MAX_FORWARDS = 10**9
# Partitions beyond are refused with the adaptive plan, which keeps a (K, K) covariance: 134 MB.
MAX_ADAPTIVE_FACTORS = 4096
