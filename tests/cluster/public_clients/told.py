"""How the scripts beside it tell what they got: one JSON document, arrays to the bit."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np

MODEL = "efficientnet-lite0"
EXPLAINER = f"{MODEL}-wcam"
# Options as text, as clients of these protocols send them.
OPTIONS = {"grid_size": "4", "nb_design": "4", "faithfulness": "false", "target": "null"}
NAMES = ("total", "standard_error", "interval_95", "wcam", "spatial_wcam", "factors")


def tensor(array: np.ndarray) -> dict[str, Any]:
    """An array to the bit."""
    data = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")
    return {"dtype": array.dtype.newbyteorder("<").str, "shape": list(array.shape), "data": data}


def tell(found: dict[str, Any]) -> None:
    """Print what was found."""
    print(json.dumps(found))
