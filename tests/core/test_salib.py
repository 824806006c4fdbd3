"""Agreement with SALib (Saltelli's first order, Jansen's total order) on the same scores."""

from __future__ import annotations

import numpy as np
import pytest
from SALib.analyze import sobol
from tests.oracles.indices import Known, g_function, ishigami, pick_freeze

from wavescope.core.sobol.design import SAMPLERS, make_design
from wavescope.core.sobol.estimators import Scores, jansen, saltelli_first

KNOWN = {"ishigami": ishigami(), "g-function": g_function()}


def salib(f_a: np.ndarray, f_b: np.ndarray, f_c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(first, total) of scores laid out as SALib lays out its samples: A_j, C_j⁽¹⁾ … C_j⁽ᴷ⁾, B_j."""
    factors = len(f_c)
    problem = {"num_vars": factors, "names": [str(k) for k in range(factors)], "bounds": [[0, 1]] * factors}
    scores = np.column_stack([f_a, f_c.T, f_b]).ravel()
    found = sobol.analyze(problem, scores, calc_second_order=False, num_resamples=2, seed=0)
    return found["S1"], found["ST"]


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
@pytest.mark.parametrize("known", KNOWN.values(), ids=KNOWN)
@pytest.mark.parametrize("n", [8, 256])
def test_indices_agree_with_salib_on_shared_samples(known: Known, sampler: str, n: int) -> None:
    """SALib divides by the variance of A and B with ddof 0, ours has ddof 1.

    In the first order it centres scores by their mean over A, B and every C, ours by that over A and B: a difference
    of (ours − theirs) · mean(c − a) / V, since mean((b − m)(c − a)) moves by that when m does.
    """
    design = make_design(sampler, len(known.total), n, 5)
    f_a, f_b, f_c = pick_freeze(known.f, design.a, design.b)
    first, total = salib(f_a, f_b, f_c)
    rows = np.concatenate([f_a, f_b])
    ddof = (2 * n - 1) / (2 * n)
    np.testing.assert_allclose(jansen(Scores(f_a, f_b, f_c)), total * ddof, rtol=1e-9)
    shift = np.concatenate([rows, f_c.ravel()]).mean() - rows.mean()
    moved = shift * (f_c - f_a).mean(axis=1) / rows.var(ddof=1)
    np.testing.assert_allclose(
        saltelli_first(Scores(f_a, f_b, f_c)), first * ddof + moved, rtol=1e-9, atol=1e-12
    )
