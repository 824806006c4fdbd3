"""The requests that faults and loads are tried with, and what their answers are held against."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
from PIL import Image
from skimage import data


def registry(replicas: int) -> str:
    """A registry of the embedded model with so many replicas of one core each."""
    return f"""\
models:
  - name: efficientnet-lite0
    source: embedded:efficientnet-lite0
    num_cpus: 1
    min_replicas: {replicas}
    max_replicas: {replicas}
"""


MODELS = registry(2)
# About 260 forwards each: a second or two on two cores, long enough to be interrupted.
FIELDS = {"kind": "wcam", "plan": "full", "grid_size": 8, "nb_design": 4}
ANSWER_S = 180.0
RETRYABLE = (429, 503, 504)
FRESH = {"Cache-Control": "no-cache"}


def photograph(name: str = "chelsea", side: int = 300) -> str:
    """A photograph that scikit-image ships, as the base64 of a JPEG file."""
    picture = Image.fromarray(np.asarray(getattr(data, name)()))
    picture.thumbnail((side, side))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=90)
    return base64.b64encode(file.getvalue()).decode("ascii")


IMAGE = photograph()


def body(seed: int, **fields: Any) -> dict[str, Any]:
    """A request that differs from others by its seed."""
    return {"image": {"base64": IMAGE}, "seed": seed, **FIELDS, **fields}


def truth(url: str, seeds: range) -> dict[int, Any]:
    """The indices of every seed from an undisturbed service."""
    with httpx.Client(base_url=url, timeout=ANSWER_S, headers=FRESH) as http:
        return {
            seed: http.post("/v1/explanations", json=body(seed)).raise_for_status().json()["indices"]
            for seed in seeds
        }


@dataclass(slots=True)
class Answers:
    """How synchronous calls ended.

    Attributes:
        right: results that equal the undisturbed ones.
        retryable: refusals that say so, and connections that broke.
        wrong: everything else, in words.
        right_at: times of the right ones, monotonic s: (sent, answered).
    """

    right: int = 0
    retryable: int = 0
    wrong: list[str] = field(default_factory=list)
    right_at: list[tuple[float, float]] = field(default_factory=list)

    def take(self, reply: httpx.Response, expected: Any, sent: float, answered: float) -> None:
        """Counts one answer."""
        if reply.status_code in RETRYABLE:
            self.retryable += 1
        elif reply.status_code == 200 and reply.json()["indices"] == expected:
            self.right += 1
            self.right_at.append((sent, answered))
        elif reply.status_code == 200:
            self.wrong.append("other numbers than undisturbed")
        else:
            self.wrong.append(f"{reply.status_code}: {reply.text[:200]}")
