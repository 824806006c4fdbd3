"""What ``make attribution`` scores: replies of ``wcam`` and ``wam`` in turn, and curves over pixels by their maps."""

from __future__ import annotations

import hashlib
import time
from typing import Any

import numpy as np
from bench.screening import runs
from bench.screening.runs import Arrays, Run
from bench.screening.subject import LEVELS, SCORE, Subject

import wavescope
from wavescope.core import gradients, maps
from wavescope.core.faithfulness import counts, rank_groups, superpixels
from wavescope.core.partition import Partition, factor_sums
from wavescope.engine.plan import Plan, pixel_plan
from wavescope.engine.steps import wam
from wavescope.imaging.source import ImageSource

# Of every reply, by the method's name: its parameters, and those of a short one that makes sessions and threads.
REPLIES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "adaptive": ({"plan": "adaptive", "prior": "size", "max_forwards": 628}, {"max_forwards": 32}),
    "adaptive, gradients": (
        {"plan": "adaptive", "prior": "gradients", "max_forwards": 100},
        {"max_forwards": 32},
    ),
    "smoothgrad": ({"kind": "wam", "method": "smoothgrad", "samples": 25}, {"samples": 2}),
    "integrated gradients": (
        {"kind": "wam", "method": "integrated_gradients", "samples": 25},
        {"samples": 2},
    ),
}
DEFAULT = "adaptive"
MODULES = (*runs.PLAN, gradients, wam)


def replies(photograph: str, model: str, seed: int) -> Run:
    """Every reply of :data:`REPLIES`, one after the other: value of every factor, map over the image, and cost."""
    return Run(photograph, model, f"replies-{runs.version(MODULES)}-{SCORE}-{seed}", _replies, (seed,))


def _replies(of: Subject, seed: int) -> Arrays:
    def explain(fields: dict[str, Any]) -> wavescope.Explanation:
        return wavescope.explain(of.image, model=of.classifier, score=SCORE, seed=seed, **fields)

    arrays: Arrays = {}
    for fields, short in REPLIES.values():
        explain(fields | short)
    for name, (fields, _) in REPLIES.items():
        began = time.process_time()
        found = explain(fields)
        arrays[f"{name}-seconds"] = np.asarray(time.process_time() - began)
        assert found.importance is not None
        assert found.maps is not None
        assert found.maps.spatial is not None
        arrays |= {f"{name}-total": found.importance, f"{name}-spatial": found.maps.spatial}
        forwards, differentiated = found.forwards, 0
        if found.attributions is not None:  # counts gradients as forwards, and scores nothing else
            forwards, differentiated = 0, found.attributions.samples
        elif found.screening is not None:
            differentiated = found.screening.gradients
        arrays |= {f"{name}-forwards": np.asarray(forwards), f"{name}-gradients": np.asarray(differentiated)}
    return arrays


def spatial(total: np.ndarray, factors: Partition, size: tuple[int, int]) -> np.ndarray:
    """(h, w) the map over the image that a reply with these indices of ``wcam`` has."""
    return maps.spatial_map(maps.factor_map(factors.factors, total), LEVELS, size)


# ---- over pixels, as the faithfulness section of a reply has it -----------------------------------
def curves(photograph: str, model: str, spatial: np.ndarray) -> Run:
    """Insertion and deletion of pixels by a map: areas over the probability of the whole image."""
    groups = rank_groups(spatial).astype(np.uint8)
    name = f"pixels-{hashlib.sha256(groups.tobytes()).hexdigest()[:16]}"
    return Run(photograph, model, name, _curves, (groups.tobytes(), groups.shape))


def _curves(of: Subject, ranked: bytes, shape: tuple[int, int]) -> Arrays:
    groups = np.frombuffer(ranked, np.uint8).reshape(shape)
    plan, fraction = _over_pixels(of, groups), counts(groups.size) / groups.size
    order, steps = np.arange(plan.n_factors, dtype=np.int32), np.arange(len(fraction), dtype=np.int32)
    return runs.areas(of, plan, order, steps, fraction)


def subsets(photograph: str, model: str) -> Run:
    """Probabilities of images that lack random cells of pixels, and of the whole: for µ-fidelity."""
    return Run(photograph, model, "pixel-subsets", _subsets, ())


def _subsets(of: Subject) -> Arrays:
    cells = superpixels(*of.classifier.details.preprocessing.size)
    return runs.without_subsets(of, _over_pixels(of, cells.factors))


def cells(spatial: np.ndarray) -> np.ndarray:
    """(M,) sums of a map over the cells of :func:`subsets`."""
    found = superpixels(*spatial.shape)
    return factor_sums(spatial, found.factors, found.n_factors)


def _over_pixels(of: Subject, factors: np.ndarray) -> Plan:
    picture = ImageSource(of.image, of.classifier.details.preprocessing).picture(1)
    return pixel_plan(of.plan(1, 0), picture.pixels, factors.astype(np.int32))
