"""docs/monitoring.md says what ``make null-table`` measured and what the tests are."""

from __future__ import annotations

import re
from pathlib import Path

from wavescope.core.monitoring import bounded_mean, conformal, self_test
from wavescope.core.monitoring.scores import LEAST_SHARE, SIGNALS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "monitoring.md").read_text("utf-8")
RESULTS = (ROOT / "bench" / "results" / "null-table.md").read_text("utf-8")
TABLES = ("| test | c = 1,000, T", "| shift, standard deviations", "| rise of the share")


def words(text: str) -> str:
    return " ".join(text.split())


def test_its_tables_are_those_measured() -> None:
    for heading in TABLES:
        table = RESULTS[RESULTS.index(heading) :].split("\n\n")[0].strip()
        assert table in PAGE
    (spread,) = re.findall(r"Of \d+ references .*? in the highest\.", RESULTS)
    assert words(spread) in words(PAGE)


def test_only_tests_without_a_proof_exceed_their_bounds() -> None:
    table = RESULTS[RESULTS.index(TABLES[0]) :].split("\n\n")[0].splitlines()[3:]
    above = {row.split("|")[1].strip() for row in table if "**" in row}
    assert above == {
        "conformal with a frozen reference",
        "bounded mean with the reference's mean for the true one",
    }


def test_it_names_the_constants_and_the_signals() -> None:
    assert f"$\\kappa$ in {', '.join(map(str, conformal.KAPPAS))}" in words(PAGE)
    assert ", ".join(map(str, bounded_mean.FRACTIONS)) in words(PAGE)
    assert f"holds at most {conformal.POOL_CAP:,} scores. Of more, {conformal.POOL_KEPT:,} are kept" in words(
        PAGE
    )
    assert f"The last {conformal.HISTORY:,} observations are remembered" in words(PAGE)
    assert f"of at least {conformal.MIN_CALIBRATION} images" in words(PAGE)
    assert f"$\\delta$ is {bounded_mean.RISK} / $K$ each" in words(PAGE)
    assert f"0.1 + {bounded_mean.LARGEST_BET} \\, (1 - x_i)" in words(PAGE)
    assert f"false-alarm bound is at most {self_test.RISK}" in words(PAGE)
    assert f"by more than {self_test.MOST_AUTOCORRELATION}" in words(PAGE)
    assert f"each increased by {LEAST_SHARE}" in words(PAGE)
    assert conformal.MEAN_OBSERVATIONS == 1e6  # "a million"
    rows = re.findall(r"^\| `(\w+)` \|.*\| (large|either side) \|", PAGE, re.MULTILINE)
    assert dict(rows) == {
        name: "either side" if signal.two_sided else "large" for name, signal in SIGNALS.items()
    }
