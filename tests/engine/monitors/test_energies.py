"""Change of the energy by scale: geometric means and Welch's intervals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from tests.fakes.monitors import config, rows

from wavescope.engine.monitors.config import profile_request
from wavescope.engine.monitors.energies import energy_changes

CONFIG = config()
FLOOR = 1 / (12 * 255**2)


def energies(n: int, seed: int, shift: float = 0.0) -> np.ndarray:
    return np.array([row.energies for row in rows(n, seed, shift=shift)])


def test_a_ratio_is_of_geometric_means_with_the_interval_of_welchs_test() -> None:
    before, after = energies(50, 0), energies(20, 1, shift=0.7)
    coarse, fine = energy_changes(CONFIG, before, after)
    for change, columns in ((coarse, [0]), (fine, [1, 2, 3])):
        first, second = (np.log(table[:, columns].mean(axis=1) + FLOOR) for table in (before, after))
        welch = stats.ttest_ind(second, first, equal_var=False)
        assert change.ratio == pytest.approx(np.exp(second.mean() - first.mean()))
        assert change.interval_95 == pytest.approx(tuple(np.exp(welch.confidence_interval(0.95))))
        assert change.shift == pytest.approx((second.mean() - first.mean()) / first.std(ddof=1))
        assert change.images == 20
    assert (coarse.scale, fine.scale, fine.level) == ("2px+", "1-2px", 1)
    assert (coarse.changed, fine.changed) == (False, True)
    assert fine.ratio == pytest.approx(2, abs=0.5)


def test_black_images_have_next_to_no_energy_and_no_spread() -> None:
    black = np.zeros((10, 4))
    assert all(
        change.ratio < 0.01 and change.changed for change in energy_changes(CONFIG, energies(50, 0), black)
    )
    for change in energy_changes(CONFIG, black, black):
        assert (change.ratio, *change.interval_95) == pytest.approx((1, 1, 1))
        assert change.shift == 0


def test_images_without_energies_are_passed_over_and_of_two_nothing_is_said() -> None:
    unknown = np.full((4, 4), np.nan)
    before, after = energies(50, 0), energies(20, 1)
    assert energy_changes(CONFIG, before, np.concatenate([unknown, after])) == energy_changes(
        CONFIG, before, after
    )
    assert energy_changes(CONFIG, before, np.concatenate([unknown, after[:2]])) == ()
    assert energy_changes(config(request=profile_request(levels=3)), np.ones((0, 10)), np.ones((9, 10))) == ()
