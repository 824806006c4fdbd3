"""The shapes in signatures are checked while tests run, or they would be mere comments."""

from __future__ import annotations

import jaxtyping
import numpy as np
import pytest

from wavescope.core.sobol.estimators import Scores
from wavescope.engine.types import CropBox


def test_a_wrong_shape_is_caught() -> None:
    with pytest.raises(jaxtyping.TypeCheckError, match="c"):
        Scores(np.ones(4), np.ones(4), np.ones((2, 5)))


def test_a_wrong_dtype_is_caught() -> None:
    with pytest.raises(jaxtyping.TypeCheckError, match="a"):
        Scores(np.ones(4, dtype=int), np.ones(4), np.ones((2, 4)))


def test_an_int_may_stand_for_a_float() -> None:
    assert CropBox(0, 0, 1, 1) == CropBox(0.0, 0.0, 1.0, 1.0)
