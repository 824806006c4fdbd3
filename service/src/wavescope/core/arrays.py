"""The array type of signatures, and the namespace of an array."""

from __future__ import annotations

from typing import Any

import array_api_compat
import numpy as np

Array = Any  # a NumPy array or a torch tensor; jaxtyping checks shape and dtype


def namespace(*arrays: Array) -> Any:
    """The array API namespace the arrays share."""
    return array_api_compat.array_namespace(*arrays)


def like(values: Array, reference: Array) -> Array:
    """``values`` (NumPy) as an array of ``reference``'s library, dtype and device."""
    xp = namespace(reference)
    return xp.asarray(values, dtype=reference.dtype, device=reference.device)


def to_numpy(array: Array) -> np.ndarray:
    """The array in host memory."""
    return np.asarray(array.cpu() if hasattr(array, "cpu") else array)
