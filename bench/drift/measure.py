"""Measurement of one file: everything that any of the compared monitors looks at."""

from __future__ import annotations

from functools import cache

import numpy as np
from bench.drift.models import classifier, embedder
from bench.screening.subject import Given
from scipy.ndimage import laplace

from wavescope.core.monitoring.scores import band_energies
from wavescope.core.sobol.design import make_design
from wavescope.engine.plan import Plan, make_plan
from wavescope.engine.requests import make_request
from wavescope.engine.scoring.scorer import Scorer
from wavescope.imaging.source import ImageSource

DESIGN_ROWS = 8  # of which the first N are the design of N rows
PROJECTED = 20
LUMINANCE = np.array([0.299, 0.587, 0.114])
CLASSES, FEATURES = 1000, 1280


@cache
def projection(length: int) -> np.ndarray:
    """(length, 20) random directions of length 1, always the same."""
    drawn = np.random.default_rng([29, length]).normal(size=(length, PROJECTED))
    return drawn / np.linalg.norm(drawn, axis=0)


def plan_of(file: bytes, partition: str) -> Plan:
    """The plan of a file's profile."""
    picture = ImageSource(file, classifier().details.preprocessing).picture(1)
    request = make_request(kind="profile", partition=partition, nb_design=DESIGN_ROWS, seed=0)
    return make_plan(picture, request, max_forwards=10**5)


def pixels_of(file: bytes) -> np.ndarray:
    """(3, 224, 224) what the model sees of a file, in [0, 1]."""
    return ImageSource(file, classifier().details.preprocessing).picture(1).pixels


def profile_rows(n_factors: int, first: int, last: int) -> Given:
    """Mask rows of the design rows ``first`` to ``last`` (excluded): of A, C⁽¹⁾, C⁽²⁾ …; shares need no rows of B."""
    design = make_design("sobol", n_factors, DESIGN_ROWS, 0)
    rows = [np.tile(design.a[j], (n_factors + 1, 1)) for j in range(first, last)]
    for j, block in zip(range(first, last), rows, strict=True):
        block[1 + np.arange(n_factors), np.arange(n_factors)] = design.b[j]
    return Given(np.concatenate(rows).astype(np.float32))


def profile_scores(plan: Plan, model: str, target: int, first: int, last: int) -> np.ndarray:
    """(last − first, K + 1) logits of a class: of A, C⁽¹⁾, C⁽²⁾ …, design row by design row."""
    scorer, rows = Scorer(plan, classifier(model)), profile_rows(plan.n_factors, first, last)
    parts = [scorer.score(rows, *part, "logit", (target,)) for part in scorer.batches(0, rows.count)]
    return np.concatenate([part.values[:, 0] for part in parts]).reshape(-1, plan.n_factors + 1)


def measure(file: bytes, model: str, partition: str, first: int, last: int) -> dict[str, np.ndarray]:
    """Everything of one file under one model.

    Args:
        file: of an image.
        model: one of :data:`bench.drift.models.CHANGES`.
        partition: of the profile.
        first: design row of the profile.
        last: design row, excluded.
    """
    plan, pixels = plan_of(file, partition), pixels_of(file)
    features, logits = embedder(model)(pixels)
    exact = np.exp(logits.astype(np.float64) - logits.max())
    probabilities = exact / exact.sum()
    found = {
        "energies": band_energies(plan.array, plan.spec.levels),
        "predicted": np.asarray(int(np.argmax(logits)), np.int16),
        "confidence": np.asarray(probabilities.max()),
        "entropy": np.asarray(-float(probabilities @ np.log(np.maximum(probabilities, 1e-300)))),
        "laplacian": np.asarray(laplace(np.tensordot(LUMINANCE, pixels, 1)).var()),
        "bbsd": probabilities @ projection(CLASSES),
        "embedding": features.astype(np.float64) @ projection(FEATURES),
    }
    if last > first:
        found["scores"] = profile_scores(plan, model, int(found["predicted"]), first, last)
    return {
        key: value.astype(np.float32) if value.dtype == np.float64 else value for key, value in found.items()
    }
