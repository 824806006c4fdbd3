"""Reconstruction depth of some clean crops: how little of an image is enough for its label; 1,400 forwards each."""

from __future__ import annotations

import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from pathlib import Path

import numpy as np
from bench.drift.bank import KEPT, Arrays
from bench.drift.crops import PHOTOGRAPHS, files

CROPS = 2  # of each photograph
FACTORS = 784


def crops() -> list[tuple[str, int]]:
    """Photograph and number of every crop."""
    return [(photograph, number) for number, photograph in product(range(CROPS), PHOTOGRAPHS)]


def finish(*, workers: int) -> None:
    """Measures what is left, each crop on one core."""
    left = [one for one in crops() if not _path(*one).exists()]
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for done, _ in enumerate(pool.map(measure, *zip(*left, strict=True)) if left else (), 1):
            print(f"depth of {done} of {len(left)} crops", file=sys.stderr, flush=True)


def measure(photograph: str, number: int) -> None:
    """Depth of one crop: the number of components that are enough for its label; 785 where not even all are."""
    from bench.drift.models import classifier

    import wavescope  # here: reading needs no model

    path = _path(photograph, number)
    if path.exists():
        return
    crop = files(photograph, number)["clean"]
    found = wavescope.explain(crop, model=classifier(), kind="sufficient-image", plan="adaptive", seed=0)
    assert found.sufficiency is not None
    depth = found.sufficiency.depth
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.array(FACTORS + 1 if depth is None else depth))


def read(bank: Arrays) -> Arrays:
    """Depths of the crops that were measured, and their positions in the bank."""
    images, depths = [], []
    for photograph, number in crops():
        path = _path(photograph, number)
        same = np.flatnonzero(bank["photograph"] == PHOTOGRAPHS.index(photograph))
        if path.exists() and number < len(same):
            images.append(int(same[number]))
            depths.append(float(np.load(path)))
    return {"depth/images": np.array(images, np.int64), "depth/values": np.array(depths)}


def _path(photograph: str, number: int) -> Path:
    return KEPT / "depth" / f"{photograph}-{number}.npy"
